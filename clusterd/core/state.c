/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state's basics: look-up, names of states, trace ring, jobs. */
#include "clusterd/core/internal.h"

#include <string.h>

void core_state_init(struct core_state *st)
{
	/* Slots beyond the counts are cleared when they are taken. */
	memset(st, 0, offsetof(struct core_state, volumes));
	memset(st->jobs, 0, sizeof(st->jobs));
	st->job_next = st->trace_next = 0;
	st->trace_total = 0;
	st->batch.id = 0;
	st->told = NULL;
	st->batch.len_bytes = 0;
	st->level = CORE_LEVEL;
	st->next_incarnation = 1;
	st->next_effect = 1;
}

const struct core_vm *core_vm_find(const struct core_state *st, const char *name, uint16_t *ret_index)
{
	uint16_t i;

	for (i = 0; i < st->vm_count; i++) {
		if (st->vms[i].state == CORE_VM_UNUSED ||
		    !core_str_equal(st->vms[i].config.name, name))
			continue;
		if (ret_index)
			*ret_index = i;
		return &st->vms[i];
	}
	return NULL;
}

const struct core_volume *core_volume_find(const struct core_state *st, const char *name,
					   uint16_t *ret_index)
{
	uint16_t i;

	for (i = 0; i < st->volume_count; i++) {
		if (st->volumes[i].state == CORE_VOLUME_UNUSED ||
		    !core_str_equal(st->volumes[i].name, name))
			continue;
		if (ret_index)
			*ret_index = i;
		return &st->volumes[i];
	}
	return NULL;
}

const struct core_node *core_node_find(const struct core_state *st, const char *name)
{
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state != CORE_NODE_UNUSED &&
		    core_str_equal(st->nodes[id].name, name))
			return &st->nodes[id];
	return NULL;
}

uint64_t core_name_hash(const char *name)
{
	return cl_hash64(0x686f6c6466617374u, name, strlen(name));
}

bool core_node_ok(const struct core_state *st, uint8_t id)
{
	const struct core_node *n;

	if (id == 0 || id > CL_NODES_MAX)
		return false;
	n = &st->nodes[id];
	return (n->state == CORE_NODE_UP || n->state == CORE_NODE_DRAINING ||
		n->state == CORE_NODE_PAUSED) &&
	       (st->members & CORE_NODE_BIT(id));
}

bool core_node_up(const struct core_state *st, uint8_t id)
{
	return core_node_ok(st, id) && st->nodes[id].state == CORE_NODE_UP;
}

uint64_t core_pr_key(const struct core_state *st, uint8_t node, uint32_t incarnation)
{
	uint64_t cluster = cl_crc32c(0, st->uuid, sizeof(st->uuid)) & 0xffffu;

	return 0xc5ull << 56 | cluster << 40 | (uint64_t)node << 32 | incarnation;
}

void core_trace_add(struct core_state *st, enum core_object object, const char *name,
		    uint8_t before, uint8_t after, enum core_reason why, uint8_t node, uint64_t n1,
		    uint64_t n2)
{
	struct core_trace *t = &st->trace[st->trace_next];

	st->trace_next = (st->trace_next + 1) % CORE_TRACE_MAX;
	st->trace_total++;
	t->seq = st->applied_seq;
	t->wall_ms = st->wall_ms;
	t->object = (uint8_t)object;
	t->before = before;
	t->after = after;
	t->cause = core_cause(why, node, n1, n2);
	core_cause_tell(st, &t->cause);
	core_str_copy(t->name, sizeof(t->name), name);
}

/* ---- jobs ----------------------------------------------------------------------------------- */

const struct core_job *core_job_find(const struct core_state *st, uint64_t id)
{
	uint32_t i;

	for (i = 0; i < CORE_JOBS_MAX; i++)
		if (id && st->jobs[i].id == id)
			return &st->jobs[i];
	return NULL;
}

uint64_t core_job_new(struct core_state *st, uint8_t command, enum core_object object,
		      uint16_t index, const char *name)
{
	struct core_job *job = &st->jobs[st->job_next];

	st->job_next = (st->job_next + 1) % CORE_JOBS_MAX;
	memset(job, 0, sizeof(*job));
	job->id = st->applied_seq;
	job->state = CORE_JOB_RUNNING;
	job->command = command;
	job->object = (uint8_t)object;
	job->index = index;
	core_str_copy(job->name, sizeof(job->name), name);
	return job->id;
}

void core_job_end(struct core_state *st, uint64_t *job, bool done, const char *text)
{
	struct core_job *j = (struct core_job *)core_job_find(st, *job);

	*job = 0;
	if (!j || j->state != CORE_JOB_RUNNING)
		return;
	j->state = done ? CORE_JOB_DONE : CORE_JOB_FAILED;
	core_str_copy(j->text, sizeof(j->text), text);
}

void core_job_end_reason(struct core_state *st, uint64_t *job, bool done, enum core_reason why,
			 uint8_t node, uint64_t n1, uint64_t n2)
{
	struct core_cause cause = core_cause(why, node, n1, n2);
	char text[CORE_TEXT_MAX];

	if (!*job)
		return;
	core_cause_tell(st, &cause);
	core_cause_render(st, &cause, text, sizeof(text));
	core_job_end(st, job, done, text);
}

/* ---- names ---------------------------------------------------------------------------------- */

#define NAME_OF(names, i) ((i) < CL_ARRAY_LEN(names) ? names[i] : "?")

const char *core_node_state_name(uint8_t state)
{
	static const char *const names[] = { "unused", "new",	 "joining", "up",	"draining",
					     "paused", "silent", "lost",    "fencing", "fenced",
					     "down", "isolated", "quarantined" };

	return NAME_OF(names, state);
}

const char *core_volume_state_name(uint8_t state)
{
	static const char *const names[] = { "unused", "adding",    "offline",	  "opening",
					     "active", "releasing", "recovering", "failed" };

	return NAME_OF(names, state);
}

const char *core_vm_state_name(uint8_t state)
{
	static const char *const names[] = { "unused",	 "creating", "stopped",	  "waiting",
					     "starting", "running",  "stopping",  "live-migrating",
					     "quick-migrating", "unknown", "failed", "deleting" };

	return NAME_OF(names, state);
}

const char *core_migration_phase_name(uint8_t phase)
{
	static const char *const names[] = { "none",   "incoming", "copying", "aborting", "committed",
					     "saving", "saved",	   "restoring", "resuming" };

	return NAME_OF(names, phase);
}

const char *core_effect_name(uint8_t kind)
{
	static const char *const names[] = {
		"none",	      "node-reset",  "volume-format", "volume-join",
		"volume-own", "volume-release", "volume-gone", "fence",	     "disk-create",
		"disk-delete", "vm-start",   "vm-stop",	      "vm-kill",     "vm-incoming",
		"vm-migrate", "vm-await",    "vm-finish",     "vm-resume",   "vm-save",
		"vm-restore", "vm-query",
	};

	return NAME_OF(names, kind);
}

const char *core_command_name(uint8_t kind)
{
	static const char *const operators[] = {
		"none",	      "init",	    "node-add",	 "node-pause",	 "node-resume",
		"node-confirm-dead", "volume-add", "volume-move", "vm-create",
		"vm-start",   "vm-stop",    "vm-delete", "vm-migrate",	 "vm-cancel",
		"cluster-set", "cluster-disarm", "cluster-arm", "cluster-level", "vm-set",
		"vm-change",  "batch-part", "batch-apply",
	};
	static const char *const daemons[] = { "members", "hello",	 "vote",     "tick",
					       "result",  "vm-exit", "key-lost", "csvd-lost" };

	if (kind >= CORE_CMD_MEMBERS)
		return NAME_OF(daemons, (size_t)kind - CORE_CMD_MEMBERS);
	return NAME_OF(operators, kind);
}

const char *core_proof_name(uint8_t proof)
{
	static const char *const names[] = { "none",	      "preempt-and-abort", "reboot",
					     "own-word", "operator",	   "held-nothing" };

	return NAME_OF(names, proof);
}

uint64_t core_retry_at(const struct core_state *st, uint64_t since_ms)
{
	uint64_t wait_ms = st->now_ms > since_ms ? st->now_ms - since_ms : 0;

	if (st->level < CORE_LEVEL_CALM || wait_ms < st->timing.retry_ms)
		wait_ms = st->timing.retry_ms;
	else if (wait_ms > CORE_RETRY_MAX_MS)
		wait_ms = CORE_RETRY_MAX_MS;
	return st->now_ms + wait_ms;
}

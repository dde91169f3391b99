/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole state as bytes (docs/formats/log.md), for the store and for nodes that are behind.  Only
 * used slots are written.  A reader refuses it whole when anything is out of range.
 */
#include "clusterd/core/coder.h"
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

#define SNAPSHOT_MAGIC	 0x53434648u /* "HFCS" */
#define SNAPSHOT_VERSION 3u

/* A number that indexes something: out of range makes the snapshot bad. */
static void code_limit8(struct coder *c, uint8_t *v, uint8_t max)
{
	code_u8(c, v);
	if (c->r && *v > max) {
		c->r->bad = true;
		*v = 0;
	}
}

static void code_limit16(struct coder *c, uint16_t *v, uint16_t max)
{
	code_u16(c, v);
	if (c->r && *v > max && *v != CORE_NONE) {
		c->r->bad = true;
		*v = 0;
	}
}

/* texts: the level has come from which on causes have one. */
static void code_cause(struct coder *c, struct core_cause *cause, bool texts)
{
	code_limit8(c, &cause->reason, CORE_WHY_COUNT - 1);
	code_limit8(c, &cause->node, CL_NODES_MAX);
	code_u64(c, &cause->n1);
	code_u64(c, &cause->n2);
	if (texts)
		CODE_STR(c, cause->text);
	else if (c->r)
		memset(cause->text, 0, sizeof(cause->text));
}

static void code_the_node(struct coder *c, struct core_node *n, bool texts)
{
	uint8_t i;

	code_limit8(c, &n->state, CORE_NODE_QUARANTINED);
	if (n->state == CORE_NODE_UNUSED)
		return;
	code_limit8(c, &n->id, CL_NODES_MAX);
	code_bool(c, &n->voter);
	code_bool(c, &n->pause);
	code_bool(c, &n->drain);
	code_bool(c, &n->failback);
	code_bool(c, &n->seen);
	code_bool(c, &n->doomed);
	code_bool(c, &n->reset);
	code_bool(c, &n->over);
	code_bool(c, &n->loose);
	code_u8(c, &n->level);
	code_limit8(c, &n->losses, CORE_LOSSES_MAX);
	code_u8(c, &n->proof);
	code_u8(c, &n->fence_tries);
	code_limit8(c, &n->fence_last, CL_NODES_MAX);
	code_cause(c, &n->cause, texts);
	code_u64(c, &n->job);
	CODE_STR(c, n->name);
	CODE_STR(c, n->address);
	CODE_STR(c, n->vm_address);
	code_bytes(c, n->boot_id, sizeof(n->boot_id));
	code_u32(c, &n->incarnation);
	code_u64(c, &n->pr_key);
	code_u64(c, &n->pr_key_old);
	code_u32(c, &n->memory_mib);
	code_u16(c, &n->cpus);
	code_u64(c, &n->csvd);
	code_u64(c, &n->since_ms);
	code_u64(c, &n->hold_until_ms);
	code_u64(c, &n->retry_ms);
	code_u64(c, &n->quarantine_until_ms);
	code_u32(c, &n->takeover_ms);
	for (i = 0; i < n->losses; i++)
		code_u64(c, &n->lost_ms[i]);
}

static void code_volume(struct coder *c, struct core_volume *v, bool texts)
{
	code_limit8(c, &v->state, CORE_VOLUME_FAILED);
	if (v->state == CORE_VOLUME_UNUSED)
		return;
	code_limit8(c, &v->owner, CL_NODES_MAX);
	code_limit8(c, &v->want, CL_NODES_MAX);
	code_u8(c, &v->tries);
	code_cause(c, &v->cause, texts);
	code_bool(c, &v->force);
	code_bool(c, &v->fresh);
	code_bool(c, &v->undo);
	CODE_STR(c, v->name);
	code_bytes(c, v->uuid, sizeof(v->uuid));
	CODE_STR(c, v->lun);
	code_u64(c, &v->size_bytes);
	code_u64(c, &v->term);
	code_u16(c, &v->attached);
	code_u16(c, &v->registered);
	code_u16(c, &v->maybe);
	code_u16(c, &v->stale);
	code_u16(c, &v->gone);
	code_u16(c, &v->fenced);
	code_u16(c, &v->failed);
	if (texts) { /* ... and nodes say what does not answer them */
		code_u16(c, &v->mute);
		code_u64(c, &v->mute_ms);
	}
	code_u64(c, &v->since_ms);
	code_u64(c, &v->retry_ms);
	code_u64(c, &v->job);
}

static void code_migration(struct coder *c, struct core_migration *m, bool texts)
{
	code_limit8(c, &m->phase, CORE_MIG_UNSAVE);
	code_bool(c, &m->quick);
	code_bool(c, &m->drain);
	code_bool(c, &m->switched);
	code_bool(c, &m->ready);
	code_bool(c, &m->spent);
	code_limit8(c, &m->rung, CORE_RUNG_OVER);
	code_limit8(c, &m->source, CL_NODES_MAX);
	code_limit8(c, &m->target, CL_NODES_MAX);
	code_u8(c, &m->tries);
	code_u16(c, &m->port);
	code_u64(c, &m->generation);
	code_u64(c, &m->job);
	code_u64(c, &m->since_ms);
	if (texts)
		code_cause(c, &m->first, texts);
	else if (c->r)
		memset(&m->first, 0, sizeof(m->first));
}

static void code_the_vm(struct coder *c, struct core_vm *vm, bool texts)
{
	struct core_vm_config *v = &vm->config;
	uint8_t i;

	code_limit8(c, &vm->state, CORE_VM_DELETING);
	if (vm->state == CORE_VM_UNUSED)
		return;
	code_bool(c, &vm->run);
	code_bool(c, &vm->saved);
	code_bool(c, &vm->force);
	code_bool(c, &vm->exited);
	code_bool(c, &vm->again);
	code_bool(c, &vm->adopt);
	code_u8(c, &vm->exit);
	code_limit8(c, &vm->node, CL_NODES_MAX);
	code_limit8(c, &vm->home, CL_NODES_MAX);
	code_limit8(c, &vm->prefer, CL_NODES_MAX);
	code_u8(c, &vm->failures);
	code_bool(c, &vm->restart);
	code_cause(c, &vm->cause, texts);
	code_limit8(c, &vm->avoid, CL_NODES_MAX);
	code_limit8(c, &vm->doubt, CL_NODES_MAX);
	code_u64(c, &vm->doubt_ms);
	code_u16(c, &vm->copies);
	code_u64(c, &vm->generation);
	code_u64(c, &vm->generation_last);
	code_u64(c, &vm->changed_seq);
	code_u64(c, &vm->hold_until_ms);
	code_u64(c, &vm->since_ms);
	code_u64(c, &vm->retry_ms);
	code_u64(c, &vm->wanted_ms);
	code_u64(c, &vm->failures_ms);
	code_u64(c, &vm->job);
	code_migration(c, &vm->migration, texts);
	core_policy_code(c, &vm->policy, CORE_SET_VM_ALL);
	CODE_STR(c, v->name);
	code_bytes(c, v->uuid, sizeof(v->uuid));
	code_u32(c, &v->memory_mib);
	code_u16(c, &v->cpus);
	CODE_STR(c, v->kernel);
	CODE_STR(c, v->initrd);
	CODE_STR(c, v->append);
	code_limit8(c, &v->disk_count, CORE_DISKS_MAX);
	code_limit8(c, &v->net_count, CORE_NETS_MAX);
	for (i = 0; i < v->disk_count; i++) {
		code_limit16(c, &v->disks[i].volume, CORE_VOLUMES_MAX - 1);
		CODE_STR(c, v->disks[i].path);
		core_disk_code(c, &v->disks[i]);
		code_bool(c, &v->disks[i].created);
	}
	for (i = 0; i < v->net_count; i++) {
		CODE_STR(c, v->nets[i].network);
		code_bytes(c, v->nets[i].mac, sizeof(v->nets[i].mac));
	}
}

static void code_effect(struct coder *c, struct core_effect *fx)
{
	code_limit8(c, &fx->kind, CORE_FX_KINDS - 1);
	if (!fx->kind)
		return;
	code_u64(c, &fx->id);
	code_limit8(c, &fx->node, CL_NODES_MAX);
	code_limit8(c, &fx->peer, CL_NODES_MAX);
	code_limit8(c, &fx->disk, CORE_DISKS_MAX - 1);
	code_limit16(c, &fx->volume, CORE_VOLUMES_MAX - 1);
	code_limit16(c, &fx->vm, CORE_VMS_MAX - 1);
	code_u16(c, &fx->port);
	code_u16(c, &fx->flags);
	code_u16(c, &fx->members);
	code_u32(c, &fx->incarnation);
	code_u32(c, &fx->pause_ms);
	code_u64(c, &fx->generation);
	code_u64(c, &fx->term);
	code_u64(c, &fx->pr_key);
	code_u64(c, &fx->pr_key_old);
	code_u64(c, &fx->since_ms);
}

static void code_job(struct coder *c, struct core_job *job)
{
	code_limit8(c, &job->state, CORE_JOB_FAILED);
	if (job->state == CORE_JOB_NONE)
		return;
	code_u64(c, &job->id);
	code_u8(c, &job->command);
	code_u8(c, &job->object);
	code_u16(c, &job->index);
	CODE_STR(c, job->name);
	CODE_STR(c, job->text);
}

static void code_trace(struct coder *c, struct core_trace *t, bool texts)
{
	code_u64(c, &t->seq);
	code_u64(c, &t->wall_ms);
	code_cause(c, &t->cause, texts);
	code_u8(c, &t->object);
	code_u8(c, &t->before);
	code_u8(c, &t->after);
	CODE_STR(c, t->name);
}

static void code_state(struct coder *c, struct core_state *st)
{
	uint32_t magic = SNAPSHOT_MAGIC, version = SNAPSHOT_VERSION, i, used;
	bool texts;

	code_u32(c, &magic);
	code_u32(c, &version);
	if (c->r && (magic != SNAPSHOT_MAGIC || version != SNAPSHOT_VERSION)) {
		c->r->bad = true;
		return;
	}
	code_u64(c, &st->applied_seq);
	code_u64(c, &st->now_ms);
	code_u64(c, &st->tick_seq);
	code_u64(c, &st->timing_seq);
	code_u64(c, &st->fast_seq);
	code_u64(c, &st->wall_ms);
	code_u64(c, &st->clock_ms);
	CODE_STR(c, st->name);
	code_bytes(c, st->uuid, sizeof(st->uuid));
	code_u32(c, &st->level);
	texts = st->level >= CORE_LEVEL_CAUSES;
	code_u32(c, &st->next_incarnation);
	code_u64(c, &st->next_effect);
	code_u16(c, &st->members);
	code_u16(c, &st->alive);
	code_bool(c, &st->disarmed);
	code_u64(c, &st->disarmed_wall_ms);
	CODE_STR(c, st->disarmed_by);
	if (c->r)
		core_settings_init(st);
	for (i = 0; i < core_setting_count_at(st->level); i++)
		code_u32(c, core_setting_at(st, i));
	for (i = 1; i <= CL_NODES_MAX; i++)
		code_the_node(c, &st->nodes[i], texts);
	code_limit16(c, &st->volume_count, CORE_VOLUMES_MAX);
	code_limit16(c, &st->vm_count, CORE_VMS_MAX);
	code_limit16(c, &st->effect_count, CORE_EFFECTS_MAX);
	if (c->r && (st->level > CORE_LEVEL || st->volume_count > CORE_VOLUMES_MAX ||
		     st->vm_count > CORE_VMS_MAX || st->effect_count > CORE_EFFECTS_MAX))
		c->r->bad = true;
	if (c->r && c->r->bad)
		return;
	for (i = 0; i < st->volume_count; i++)
		code_volume(c, &st->volumes[i], texts);
	for (i = 0; i < st->vm_count; i++)
		code_the_vm(c, &st->vms[i], texts);
	for (i = 0; i < st->effect_count; i++)
		code_effect(c, &st->effects[i]);
	code_u32(c, &st->job_next);
	for (i = 0; i < CORE_JOBS_MAX; i++)
		code_job(c, &st->jobs[i]);
	code_u32(c, &st->trace_next);
	code_u64(c, &st->trace_total);
	if (c->r && (st->job_next >= CORE_JOBS_MAX || st->trace_next >= CORE_TRACE_MAX)) {
		c->r->bad = true;
		return;
	}
	used = st->trace_total < CORE_TRACE_MAX ? (uint32_t)st->trace_total : CORE_TRACE_MAX;
	for (i = 0; i < used; i++)
		code_trace(c, &st->trace[i], texts);
	code_u64(c, &st->batch.id);
	code_u32(c, &st->batch.len_bytes);
	if (st->batch.len_bytes > CORE_BATCH_MAX) {
		c->r->bad = true;
		st->batch.len_bytes = 0;
	}
	code_bytes(c, st->batch.bytes, st->batch.len_bytes);
}

/* What points at other things must point at things that are there. */
static bool state_sound(const struct core_state *st)
{
	uint16_t i, d;

	for (i = 1; i <= CL_NODES_MAX; i++)
		if (st->nodes[i].state != CORE_NODE_UNUSED && st->nodes[i].id != i)
			return false;
	for (i = 0; i < st->vm_count; i++)
		for (d = 0; st->vms[i].state != CORE_VM_UNUSED && d < st->vms[i].config.disk_count;
		     d++) {
			uint16_t v = st->vms[i].config.disks[d].volume;

			if (v != CORE_NONE &&
			    (v >= st->volume_count || st->volumes[v].state == CORE_VOLUME_UNUSED))
				return false;
		}
	for (i = 0; i < st->effect_count; i++) {
		const struct core_effect *fx = &st->effects[i];

		if (!fx->kind)
			continue;
		if (!fx->node || (fx->vm != CORE_NONE && fx->vm >= st->vm_count) ||
		    (fx->volume != CORE_NONE && fx->volume >= st->volume_count))
			return false;
	}
	return true;
}

long core_snapshot_encode(const struct core_state *st, void *data, size_t cap_bytes)
{
	struct cl_writer w;
	struct coder c = { .w = &w };

	cl_writer_init(&w, data, cap_bytes);
	code_state(&c, (struct core_state *)st); /* a writer changes nothing */
	return cl_writer_done(&w);
}

int core_snapshot_decode(struct core_state *st, const void *data, size_t len_bytes)
{
	struct cl_reader r;
	struct coder c = { .r = &r };

	core_state_init(st);
	cl_reader_init(&r, data, len_bytes);
	code_state(&c, st);
	if (cl_reader_done(&r) || !state_sound(st))
		return -EBADMSG;
	st->tick_ms = core_timer_ms(st);
	return 0;
}

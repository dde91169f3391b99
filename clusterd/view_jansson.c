/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicated state as JSON (docs/formats/ipc.md).  Only reads.  Numbers
 * that do not fit a JSON reader's double, as keys, are hex strings.
 */
#include "clusterd/daemon.h"
#include "clusterd/settings_jansson.h"

#include <stdio.h>
#include <string.h>

#include "clusterd/config_jansson.h"
#include "clusterd/core/place.h"
#include "clusterd/policy_jansson.h"

static const char *const reason_names[] = {
	"NONE",
#define CORE_WHY(name, text) #name,
#include "clusterd/core/reasons.h"

#define SPACE_OLD_MS 60000
#undef CORE_WHY
};

/* "" -> null */
static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static const char *node_name(const struct core_state *st, uint8_t id)
{
	return id >= 1 && id <= CL_NODES_MAX ? st->nodes[id].name : "";
}

static json_t *node_set(const struct core_state *st, core_nodes set)
{
	json_t *list = json_array();

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (set & CORE_NODE_BIT(id))
			json_array_append_new(list, json_string(st->nodes[id].name));
	return list;
}

static json_t *cause_text(const struct core_state *st, const struct core_cause *cause)
{
	char text[512];

	core_cause_render(st, cause, text, sizeof(text));
	return json_string(text);
}

static json_t *hex64(uint64_t value)
{
	char text[20];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
	return json_string(text);
}

json_t *cd_view_node(struct cd *cd, uint8_t id)
{
	const struct core_state *st = cd_state(cd);
	const struct core_node *n = &st->nodes[id];
	uint64_t since = st->now_ms >= n->since_ms ? st->now_ms - n->since_ms : 0;

	return json_pack("{s:i s:s s:s s:s s:b s:b s:I s:o s:s s:I s:I s:i s:o s:I s:b s:b s:b s:i s:i}",
			 "id", id, "name", n->name, "address", n->address, "state",
			 core_node_state_name(n->state), "self", id == cd->self.id, "voter",
			 n->voter, "incarnation", (json_int_t)n->incarnation, "pr_key",
			 hex64(n->pr_key), "proof", core_proof_name(n->proof), "memory_mib",
			 (json_int_t)n->memory_mib, "used_mib",
			 (json_int_t)core_node_used_mib(st, id), "cpus", n->cpus, "reason",
			 cause_text(st, &n->cause), "since_ms",
			 (json_int_t)since, "pause", n->pause, "drain", n->drain, "corosync",
			 (st->alive & CORE_NODE_BIT(id)) != 0, "level", (int)n->level, "losses",
			 (int)n->losses);
}

/* What csvd of this node says of the volume, or null. */
static json_t *volume_local(const struct cd *cd, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach(cd->csvd_volumes, i, item)
		if (strcmp(json_string_value(json_object_get(item, "name")) ?
				   json_string_value(json_object_get(item, "name")) :
				   "",
			   name) == 0)
			return json_deep_copy(item);
	return json_null();
}

const json_t *cd_view_space(const struct cd *cd, const char *name)
{
	const json_t *item, *space = NULL;
	size_t i;

	json_array_foreach(cd->csvd_volumes, i, item)
	{
		const char *text = json_string_value(json_object_get(item, "name"));

		if (text && strcmp(text, name) == 0)
			space = json_object_get(item, "space");
	}
	/* Older than this it says nothing of now. */
	if (!json_is_object(space) ||
	    json_integer_value(json_object_get(space, "age_ms")) > SPACE_OLD_MS)
		return NULL;
	return space;
}

/* Bytes of a volume's file system, or null: this node does not know. */
static json_t *space_of(const struct cd *cd, const char *name, bool used)
{
	const json_t *space = cd_view_space(cd, name);
	json_int_t total = json_integer_value(json_object_get(space, "total"));
	json_int_t room = json_integer_value(json_object_get(space, "free"));

	if (!space)
		return json_null();
	return json_integer(used ? total - room : room);
}

json_t *cd_view_volume(struct cd *cd, uint16_t index)
{
	const struct core_state *st = cd_state(cd);
	const struct core_volume *v = &st->volumes[index];
	char uuid[CD_UUID_TEXT];

	cd_uuid_text(v->uuid, uuid);
	return json_pack(
		"{s:s s:s s:s s:I s:o s:o s:s s:o s:I s:o s:o s:o s:o s:I s:o}", "name", v->name,
		"uuid", uuid, "lun", v->lun, "size", (json_int_t)v->size_bytes, "used",
		space_of(cd, v->name, true), "free", space_of(cd, v->name, false), "state",
		core_volume_state_name(v->state), "owner", text_or_null(node_name(st, v->owner)),
		"term", (json_int_t)v->term, "attached", node_set(st, v->attached), "registered",
		node_set(st, v->registered), "mute", node_set(st, v->mute), "reason", cause_text(st, &v->cause), "since_ms",
		(json_int_t)(st->now_ms - v->since_ms), "local", volume_local(cd, v->name));
}

static json_t *vm_disks(const struct core_state *st, const struct core_vm_config *config)
{
	json_t *list = json_array();

	for (uint8_t i = 0; i < config->disk_count; i++) {
		const struct core_disk *d = &config->disks[i];

		json_array_append_new(list,
				      json_pack("{s:o s:s s:I s:b}", "volume",
						d->volume < CORE_VOLUMES_MAX
							? json_string(st->volumes[d->volume].name)
							: json_null(),
						"path", d->path, "size", (json_int_t)d->size_bytes,
						"readonly", d->readonly));
	}
	return list;
}

json_t *cd_view_vm(struct cd *cd, uint16_t index)
{
	const struct core_state *st = cd_state(cd);
	const struct core_vm *vm = &st->vms[index];
	const struct core_vm_config *c = &vm->config;
	char uuid[CD_UUID_TEXT];
	json_t *migration = json_null();

	if (vm->migration.phase)
		migration = json_pack("{s:s s:b s:s s:s s:s}", "phase",
				      core_migration_phase_name(vm->migration.phase), "quick",
				      vm->migration.quick, "rung",
				      core_rung_name(vm->migration.rung), "source",
				      node_name(st, vm->migration.source), "target",
				      node_name(st, vm->migration.target));
	cd_uuid_text(c->uuid, uuid);
	return json_pack("{s:s s:s s:s s:b s:b s:o s:o s:I s:I s:i s:s s:s s:s s:o s:o s:o s:b s:o "
			 "s:I s:i s:o}",
			 "name", c->name, "uuid", uuid, "state", core_vm_state_name(vm->state),
			 "run", vm->run, "paused", vm->cause.reason == CORE_WHY_VM_NO_SPACE, "node",
			 text_or_null(node_name(st, vm->node)), "home",
			 text_or_null(node_name(st, vm->home)), "generation",
			 (json_int_t)vm->generation, "memory_mib", (json_int_t)c->memory_mib,
			 "cpus", c->cpus, "kernel", c->kernel, "initrd", c->initrd, "append",
			 c->append, "disks", vm_disks(st, c), "nets", cd_config_nets(c), "reason",
			 cause_text(st, &vm->cause), "saved", vm->saved, "migration", migration,
			 "since_ms", (json_int_t)(st->now_ms - vm->since_ms), "failures",
			 (int)vm->failures, "policy", cd_policy_json(st, &vm->policy));
}

/* Node losses that can be absorbed, and what keeps it from being more. */
static json_t *view_spare(const struct core_state *st)
{
	static const char *const limits[] = { "not-asked", "quorum", "room" };
	/* One more than wanted, two at least: three take a while with 16 nodes and 1,000 VMs. */
	uint32_t max = st->settings.spare + 1 > 2 ? st->settings.spare + 1 : 2;
	struct core_spare spare;

	core_spare(st, CORE_NONE, (uint8_t)max, &spare);
	return json_pack("{s:i s:I s:s s:o s:o}", "losses", (int)spare.losses, "wanted",
			 (json_int_t)st->settings.spare, "limit", limits[spare.limit], "lost",
			 node_set(st, spare.lost), "vm",
			 spare.vm == CORE_NONE ? json_null() :
						 json_string(st->vms[spare.vm].config.name));
}

json_t *cd_view_job(struct cd *cd, const struct core_job *job)
{
	static const char *const states[] = { "none", "running", "done", "failed" };

	return json_pack("{s:I s:s s:s s:s s:s}", "id", (json_int_t)job->id, "command",
			 core_command_name(job->command), "name", job->name, "state",
			 job->state < CL_ARRAY_LEN(states) ? states[job->state] : "none", "text",
			 job->text);
}

json_t *cd_view_trace(const struct cd *cd, const struct core_trace *trace)
{
	const struct core_state *st = cd_state(cd);
	const struct core_cause *cause = &trace->cause;
	char text[512];

	core_trace_render(st, trace, text, sizeof(text));
	return json_pack("{s:I s:I s:s s:s s:s s:s s:s s:s s:I s:I s:s}", "ts_ms",
			 (json_int_t)trace->wall_ms, "seq", (json_int_t)trace->seq, "object",
			 core_object_name(trace->object), "name", trace->name, "old",
			 core_object_state_name(trace->object, trace->before), "new",
			 core_object_state_name(trace->object, trace->after), "reason",
			 cause->reason < CL_ARRAY_LEN(reason_names) ? reason_names[cause->reason] : "",
			 "node", node_name(st, cause->node), "n1", (json_int_t)cause->n1, "n2",
			 (json_int_t)cause->n2, "text", text);
}

json_t *cd_view_status(struct cd *cd)
{
	struct cd_store_counts counts = { 0 };
	const struct core_state *st = cd_state(cd);
	json_t *nodes = json_array(), *volumes = json_array(), *vms = json_array();
	json_t *jobs = json_array();
	char uuid[CD_UUID_TEXT];
	json_t *status;

	if (!st)
		return json_pack("{s:b s:s s:o s:o s:o s:o}", "ok", 1, "state", "not-in-cluster",
				 "nodes", nodes, "volumes", volumes, "vms", vms, "jobs", jobs);
	if (cd->store)
		counts = cd_store_counts_get(cd->store);
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state != CORE_NODE_UNUSED)
			json_array_append_new(nodes, cd_view_node(cd, id));
	for (uint16_t i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED)
			json_array_append_new(volumes, cd_view_volume(cd, i));
	for (uint16_t i = 0; i < st->vm_count; i++)
		if (st->vms[i].state != CORE_VM_UNUSED)
			json_array_append_new(vms, cd_view_vm(cd, i));
	for (unsigned i = 0; i < CORE_JOBS_MAX; i++)
		if (st->jobs[i].state == CORE_JOB_RUNNING)
			json_array_append_new(jobs, cd_view_job(cd, &st->jobs[i]));
	cd_uuid_text(cd->self.uuid, uuid);
	status = json_pack("{s:b s:s s:s s:s s:i s:s s:b s:{s:i s:i s:i} s:{s:I s:I s:I s:I} "
			 "s:{s:I s:I} s:b s:s s:o s:o s:o s:o}",
			 "ok", 1, "cluster", cd->self.cluster, "uuid", uuid, "node", cd->self.name,
			 "node_id", (int)cd->self.id, "state",
			 log_state_name(cd->replica->log.state), "quorate", cd->votes.quorate,
			 "votes", "expected", (int)cd->votes.expected, "total",
			 (int)cd->votes.total, "needed", (int)cd->votes.needed, "log", "epoch",
			 (json_int_t)cd->replica->log.epoch, "seq",
			 (json_int_t)cd->replica->log.last.seq, "commit",
			 (json_int_t)cd->replica->log.commit.seq, "refused",
			 (json_int_t)cd->replica->log.counters.malformed, "store", "commits",
			 (json_int_t)counts.commits, "entries", (json_int_t)counts.entries,
			 "frozen", cd->replica->frozen,
			 "trouble", cd->trouble, "nodes", nodes, "volumes", volumes, "vms", vms,
			 "jobs", jobs);
	json_object_set_new(status, "level", json_integer(st->level));
	json_object_set_new(status, "level_here", json_integer(CORE_LEVEL));
	json_object_set_new(status, "disarmed",
			    st->disarmed ? json_pack("{s:s s:I}", "by", st->disarmed_by, "ts_ms",
						     (json_int_t)st->disarmed_wall_ms) :
					   json_null());
	json_object_set_new(status, "settings", cd_settings_json(st));
	json_object_set_new(status, "spare", view_spare(st));
	return status;
}

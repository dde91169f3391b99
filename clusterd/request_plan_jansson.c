/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `plan` on a change, and `timing`: both run the core's own code on a copy of the state, in a worker, and
 * change nothing.
 */
#include "clusterd/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/core/plan.h"
#include "clusterd/totem_cmap.h"

struct ask {
	struct cd_job job;
	struct cd *cd;
	struct cd_ipc_call *call;
	struct core_state before, copy;
	struct core_command scratch[2], cmd;
	bool command;
	uint8_t fail;
	struct core_totem totem;
	struct core_plan plan;
};

static struct ask *ask_new(struct cd *cd, struct cd_ipc_call *call, void (*run)(struct cd_job *job),
			   void (*done)(struct cd_job *job))
{
	struct ask *ask = calloc(1, sizeof(*ask));

	if (!ask)
		abort();
	ask->job = (struct cd_job){ .run = run, .done = done };
	ask->cd = cd;
	ask->call = call;
	ask->before = *cd_state(cd);
	return ask;
}

static const char *node_name(const struct core_state *st, uint8_t id)
{
	return id ? st->nodes[id].name : "";
}

static json_t *name_or_null(const char *name)
{
	return name[0] ? json_string(name) : json_null();
}

static json_t *paces(const struct core_pace *pace)
{
	json_t *list = json_array();

	for (unsigned k = 0; k < CORE_PACE_KINDS; k++)
		json_array_append_new(list, json_pack("{s:s s:I s:i}", "what", core_pace_text(k),
						      "ms", (json_int_t)pace->ms[k], "measured",
						      (int)pace->samples[k]));
	return list;
}

/* ---- plan ----------------------------------------------------------------------------------- */

static void plan_run(struct cd_job *job)
{
	struct ask *ask = (struct ask *)job;
	struct core_plan_ask question = { .cmd = ask->command ? &ask->cmd : NULL, .fail = ask->fail };
	struct core_totem totem = cd_totem_read();

	question.detect_ms = totem.known ? totem.token_ms + totem.consensus_ms : 0;
	ask->copy = ask->before;
	core_plan_run(&ask->copy, ask->scratch, &question, &ask->plan);
}

static json_t *disks_deleted(const struct core_state *st, const struct core_vm *vm)
{
	json_t *list = json_array();

	for (uint8_t i = 0; i < vm->config.disk_count; i++) {
		const struct core_disk *d = &vm->config.disks[i];

		if (d->created && d->volume < st->volume_count)
			json_array_append_new(list,
					      json_pack("{s:s s:s s:I}", "volume",
							st->volumes[d->volume].name, "path", d->path,
							"size", (json_int_t)d->size_bytes));
	}
	return list;
}

static json_t *item_json(const struct ask *ask, const struct core_plan_item *item)
{
	const struct core_state *st = &ask->before;
	bool vm = item->object == CORE_OBJECT_VM;
	/* A batch may make objects that are not there before. */
	const struct core_state *named = vm && !item->before ? &ask->copy : st;
	json_t *json = json_pack(
		"{s:s s:s s:s s:o s:o s:s s:s s:I s:I s:b s:o}", "object", core_object_name(item->object),
		"name", vm ? named->vms[item->index].config.name : st->volumes[item->index].name,
		"method", core_plan_method_name(item->method), "from",
		name_or_null(node_name(st, item->from)), "to", name_or_null(node_name(st, item->to)),
		"before", core_object_state_name(item->object, item->before), "after",
		core_object_state_name(item->object, item->after), "begin_ms",
		(json_int_t)item->begin_ms, "end_ms", (json_int_t)item->end_ms, "measured",
		item->measured, "blocker", name_or_null(item->text));

	if (vm && item->method == CORE_PLAN_DELETE)
		json_object_set_new(json, "disks",
				    ask->cmd.keep ? json_array()
						  : disks_deleted(st, &st->vms[item->index]));
	return json;
}

static void plan_done(struct cd_job *job)
{
	struct ask *ask = (struct ask *)job;
	const struct core_plan *plan = &ask->plan;
	json_t *items = json_array();

	if (plan->err) {
		json_decref(items);
		cd_ipc_reply_error(ask->call, -plan->err, "%s", plan->text);
		free(ask);
		return;
	}
	for (uint16_t i = 0; i < plan->count; i++)
		json_array_append_new(items, item_json(ask, &plan->items[i]));
	cd_ipc_reply(ask->call, json_pack("{s:b s:b s:b s:I s:s s:o s:o}", "ok", 1, "plan", 1,
					  "finished", plan->finished, "end_ms",
					  (json_int_t)plan->end_ms, "text", plan->text, "items",
					  items, "paces", paces(&plan->pace)));
	free(ask);
}

void cd_request_plan(struct cd *cd, struct cd_ipc_call *call, const struct core_command *cmd)
{
	struct ask *ask = ask_new(cd, call, plan_run, plan_done);

	ask->command = true;
	ask->cmd = *cmd;
	cd_pool_submit(cd->work, &ask->job);
}

void cd_request_node_fail(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = cd_request_name(call, request, "name");
	const struct core_node *n = name ? core_node_find(cd_state(cd), name) : NULL;
	struct ask *ask;

	if (!name)
		return;
	if (!n) {
		cd_ipc_reply_error(call, ENOENT, "node %s: there is no such node", name);
		return;
	}
	if (!json_is_true(json_object_get(request, "plan"))) {
		cd_ipc_reply_error(call, EINVAL, "node-fail is only ever a plan");
		return;
	}
	ask = ask_new(cd, call, plan_run, plan_done);
	ask->fail = n->id;
	cd_pool_submit(cd->work, &ask->job);
}

/* ---- timing --------------------------------------------------------------------------------- */

static void timing_run(struct cd_job *job)
{
	((struct ask *)job)->totem = cd_totem_read();
}

static json_t *model_json(const struct core_timing_model *m)
{
	json_t *rows = json_array(), *rules = json_array();

	for (unsigned i = 0; i < m->row_count; i++)
		json_array_append_new(rows, json_pack("{s:s s:s s:o s:s}", "phase", m->rows[i].phase,
						      "what", m->rows[i].what, "ms",
						      m->rows[i].used ?
							      json_integer((json_int_t)m->rows[i].ms) :
							      json_null(),
						      "text", m->rows[i].text));
	for (unsigned i = 0; i < m->rule_count; i++)
		json_array_append_new(rules,
				      json_pack("{s:s s:I s:I s:b s:b s:s}", "formula",
						m->rules[i].formula, "sum_ms",
						(json_int_t)m->rules[i].sum_ms, "limit_ms",
						(json_int_t)m->rules[i].limit_ms, "holds",
						m->rules[i].holds, "safety", m->rules[i].safety,
						"otherwise", m->rules[i].otherwise));
	return json_pack("{s:b s:b s:I s:I s:I s:I s:o s:o}", "ok", 1, "corosync", m->known,
			 "detect_ms", (json_int_t)m->detect_ms, "fence_ms", (json_int_t)m->fence_ms,
			 "restart_ms", (json_int_t)m->restart_ms, "restart_worst_ms",
			 (json_int_t)m->restart_worst_ms, "rows", rows, "rules", rules);
}

static void timing_done(struct cd_job *job)
{
	struct ask *ask = (struct ask *)job;
	struct core_timing_model model;
	struct core_pace pace;

	core_pace_read(&ask->before, &pace);
	core_timing_model(&ask->before.timing, &ask->totem, &pace, &model);
	cd_ipc_reply(ask->call, model_json(&model));
	free(ask);
}

void cd_request_timing(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	cd_pool_submit(cd->work, &ask_new(cd, call, timing_run, timing_done)->job);
}

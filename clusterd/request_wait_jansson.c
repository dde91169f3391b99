/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients that wait: for a job's end, or for events.  Each is answered once, when there is something to say
 * or its time is over; one that went away is forgotten.
 */
#include "clusterd/request.h"

#include <errno.h>

#define WAIT_MAX_MS 60000u
#define EVENTS_MAX  200u

static void waiter_add(struct cd *cd, struct cd_ipc_call *call, const json_t *request, uint64_t job,
		       uint64_t since, unsigned max)
{
	json_int_t wait = json_integer_value(json_object_get(request, "wait_ms"));

	for (unsigned i = 0; i < CD_WAITERS_MAX; i++) {
		if (cd->waiters[i].call)
			continue;
		cd->waiters[i] = (struct cd_waiter){
			.call = call,
			.deadline_ms = cd_now_ms() + (wait < 0	       ? 0 :
						      wait > WAIT_MAX_MS ? WAIT_MAX_MS :
									   (uint64_t)wait),
			.job = job,
			.since = since,
			.max = max,
		};
		cd_request_wake(cd);
		return;
	}
	cd_ipc_reply_error(call, EAGAIN, "%u clients wait already", CD_WAITERS_MAX);
}

void cd_request_job(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	json_int_t id = json_integer_value(json_object_get(request, "id"));

	if (id <= 0)
		cd_ipc_reply_error(call, EINVAL, "job id %lld is not allowed", (long long)id);
	else
		waiter_add(cd, call, request, (uint64_t)id, 0, 0);
}

void cd_request_events(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	json_int_t since = json_integer_value(json_object_get(request, "since"));
	json_int_t max = json_integer_value(json_object_get(request, "max"));

	waiter_add(cd, call, request, 0, since < 0 ? 0 : (uint64_t)since,
		   max < 1 || max > EVENTS_MAX ? EVENTS_MAX : (unsigned)max);
}

/* Events with an id after since, up to max, from the oldest that is kept. */
static json_t *events_list(const struct cd *cd, uint64_t since, unsigned max)
{
	json_t *list = json_array();
	uint64_t id = since + 1;

	if (cd->events_next > CD_EVENTS_KEPT && id < cd->events_next - CD_EVENTS_KEPT)
		id = cd->events_next - CD_EVENTS_KEPT;
	for (; id < cd->events_next && json_array_size(list) < max; id++) {
		const struct cd_event_line *line = &cd->events[id % CD_EVENTS_KEPT];

		if (line->json && line->id == id)
			json_array_append(list, line->json);
	}
	return list;
}

static bool events_answer(struct cd *cd, struct cd_waiter *w, bool late)
{
	json_t *list = events_list(cd, w->since, w->max);

	if (!json_array_size(list) && !late) {
		json_decref(list);
		return false;
	}
	cd_ipc_reply(w->call, json_pack("{s:b s:I s:o}", "ok", 1, "newest",
					(json_int_t)(cd->events_next - 1), "events", list));
	return true;
}

static bool job_answer(struct cd *cd, struct cd_waiter *w, bool late)
{
	const struct core_job *job = core_job_find(cd_state(cd), w->job);
	json_t *view, *object = json_null();

	if (!job) {
		/* The log may be behind here: the job's entry is its id. */
		if (!late && cd_state(cd)->applied_seq < w->job)
			return false;
		cd_ipc_reply_error(w->call, ENOENT, "job %llu is not known any more",
				   (unsigned long long)w->job);
		return true;
	}
	if (job->state == CORE_JOB_RUNNING && !late)
		return false;
	view = cd_view_job(cd, job);
	if (job->object == CORE_OBJECT_VM && job->index < CORE_VMS_MAX &&
	    cd_state(cd)->vms[job->index].state != CORE_VM_UNUSED) {
		json_decref(object);
		object = cd_view_vm(cd, job->index);
	} else if (job->object == CORE_OBJECT_VOLUME && job->index < CORE_VOLUMES_MAX &&
		   cd_state(cd)->volumes[job->index].state != CORE_VOLUME_UNUSED) {
		json_decref(object);
		object = cd_view_volume(cd, job->index);
	} else if (job->object == CORE_OBJECT_NODE && job->index <= CL_NODES_MAX && job->index) {
		json_decref(object);
		object = cd_view_node(cd, (uint8_t)job->index);
	}
	cd_ipc_reply(w->call, json_pack("{s:b s:o s:o}", "ok", 1, "job", view, "object", object));
	return true;
}

void cd_request_wake(struct cd *cd)
{
	uint64_t now = cd_now_ms();

	for (unsigned i = 0; i < CD_WAITERS_MAX; i++) {
		struct cd_waiter *w = &cd->waiters[i];
		bool late = now >= w->deadline_ms;

		if (!w->call)
			continue;
		if (!cd_ipc_call_alive(w->call)) {
			cd_ipc_reply(w->call, NULL);
			w->call = NULL;
		} else if (w->job ? job_answer(cd, w, late) : events_answer(cd, w, late)) {
			w->call = NULL;
		}
	}
}

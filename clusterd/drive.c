/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Joins the pure replica with corosync, the store and the workers.  The sink only
 * queues: it never calls back into the replica.
 */
#include "clusterd/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/monitor_vmm.h"
#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#define COMMAND_TIMEOUT_MS 30000u

const struct core_state *cd_state(const struct cd *cd)
{
	return cd->replica ? &cd->replica->st : NULL;
}

/* ---- events --------------------------------------------------------------------------------- */

/* Takes over json. */
static void event_add(struct cd *cd, uint64_t id, json_t *json)
{
	struct cd_event_line *line = &cd->events[id % CD_EVENTS_KEPT];

	json_object_set_new(json, "id", json_integer((json_int_t)id));
	json_decref(line->json);
	line->id = id;
	line->json = json;
	cd->events_next = id + 1;
}

static void event_new(struct cd *cd, uint64_t number, json_t *json)
{
	uint64_t id = cd->events_next;
	struct cd_event event = {
		.id = id,
		.seq = number,
		.ts_ms = json_integer_value(json_object_get(json, "ts_ms")),
	};
	CL_CLEANUP_FREE char *text = json_dumps(json, JSON_COMPACT);

	event_add(cd, id, json);
	if (!text)
		return;
	event.json = text;
	if (cd->store)
		cd_store_event(cd->store, &event);
}

static void event_load(void *arg, const struct cd_event *event)
{
	struct cd *cd = arg;
	json_t *json = json_loads(event->json, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(json)) {
		json_decref(json);
		return;
	}
	event_add(cd, event->id, json);
	if (event->seq > cd->traced)
		cd->traced = event->seq;
}

void cd_drive_note(struct cd *cd, const char *object, const char *name, const char *before,
		   const char *after, const char *text)
{
	cl_notice("%s %s: %s -> %s: %s", object, name, before, after, text);
	event_new(cd, 0,
		  json_pack("{s:I s:I s:s s:s s:s s:s s:s s:s s:s}", "ts_ms",
			    (json_int_t)cd_wall_ms(), "seq", (json_int_t)0, "object", object, "name",
			    name, "old", before, "new", after, "reason", "local", "node",
			    cd->self.name, "text", text));
}

/*
 * Takes the trace records that the state got since the last look.  Their
 * number is the same on every node; a snapshot may have skipped some.
 */
static void traces_take(struct cd *cd)
{
	const struct core_state *st = cd_state(cd);
	uint64_t first = cd->traced;

	if (st->trace_total > CORE_TRACE_MAX && first < st->trace_total - CORE_TRACE_MAX)
		first = st->trace_total - CORE_TRACE_MAX;
	for (uint64_t n = first; n < st->trace_total; n++) {
		uint64_t back = st->trace_total - n; /* 1: the newest */
		const struct core_trace *trace =
			&st->trace[(st->trace_next + 2 * CORE_TRACE_MAX - back) % CORE_TRACE_MAX];

		event_new(cd, n + 1, cd_view_trace(cd, trace));
	}
	cd->traced = st->trace_total;
}

/* ---- commands ------------------------------------------------------------------------------- */

void cd_drive_command(struct cd *cd, const struct core_command *cmd, unsigned timeout_ms,
		      void (*answer)(struct cd *cd, void *arg, int err,
				     const struct core_answer *answer),
		      void *arg)
{
	struct cd_pending *pending = calloc(1, sizeof(*pending));
	int rc = pending ? 0 : -ENOMEM;

	if (rc == 0) {
		*pending = (struct cd_pending){
			.next = cd->pending,
			.cookie = ++cd->next_cookie,
			.deadline_ms = cd_now_ms() + (timeout_ms ? timeout_ms : COMMAND_TIMEOUT_MS),
			.answer = answer,
			.arg = arg,
		};
		cd->pending = pending;
		rc = replica_command(cd->replica, cd_now_ms(), pending->cookie, cmd);
		if (rc < 0) {
			cd->pending = pending->next;
			free(pending);
		}
	}
	if (rc < 0)
		answer(cd, arg, rc, NULL);
}

static void pending_answer(struct cd *cd, uint64_t cookie, int err, const struct core_answer *answer)
{
	for (struct cd_pending **p = &cd->pending; *p; p = &(*p)->next) {
		struct cd_pending *pending = *p;

		if (pending->cookie != cookie)
			continue;
		*p = pending->next;
		pending->answer(cd, pending->arg, err, answer);
		free(pending);
		return;
	}
}

static void pending_expire(struct cd *cd)
{
	uint64_t now = cd_now_ms();
	bool again;

	do {
		again = false;
		for (struct cd_pending *p = cd->pending; p && !again; p = p->next) {
			if (p->deadline_ms > now)
				continue;
			replica_withdraw(cd->replica, p->cookie);
			pending_answer(cd, p->cookie, -ETIMEDOUT, NULL);
			again = true;
		}
	} while (again);
}

/* ---- sink ----------------------------------------------------------------------------------- */

/* An answer is given after the replica's call has returned: its receiver may propose again. */
struct late_answer {
	struct cd *cd;
	uint64_t cookie;
	struct core_answer answer;
};

static void late_answer_run(void *arg)
{
	struct late_answer *late = arg;

	pending_answer(late->cd, late->cookie, late->answer.err, &late->answer);
	free(late);
}

static void on_replica(void *arg, const struct replica_out *out)
{
	struct cd *cd = arg;
	struct late_answer *late;

	switch (out->kind) {
	case REPLICA_MULTICAST:
		/* A message that is dropped here is one that the net lost: the log repeats. */
		(void)cd_link_send(cd->link, out->data, out->len_bytes);
		break;
	case REPLICA_STORE:
		cd_store_write(cd->store, out->log);
		break;
	case REPLICA_EFFECT:
		cd_effect_run(cd, out->effect);
		break;
	case REPLICA_EFFECT_VOID:
		cd_effect_void(cd, out->effect->id);
		break;
	case REPLICA_LOCAL:
		cd_local_run(cd, out->local);
		break;
	case REPLICA_ANSWER:
		late = calloc(1, sizeof(*late));
		if (!late)
			abort();
		late->cd = cd;
		late->cookie = out->cookie;
		late->answer = *out->answer;
		cd_post_call(cd->post, late_answer_run, late);
		break;
	case REPLICA_TRACE: {
		char text[512];

		core_trace_render(cd_state(cd), out->trace, text, sizeof(text));
		cl_notice("%s", text);
		break;
	}
	case REPLICA_CHANGED:
		cd->changed = true;
		break;
	}
}

/* After each call into the replica. */
void cd_drive_settle(struct cd *cd)
{
	if (!cd->changed)
		return;
	cd->changed = false;
	traces_take(cd);
	cd_effect_changed(cd);
	cd_cluster_changed(cd);
	cd_grants_changed(cd);
	cd_request_wake(cd);
}

/* ---- store ---------------------------------------------------------------------------------- */

static void on_durable(void *arg, uint64_t op)
{
	struct cd *cd = arg;

	replica_durable(cd->replica, cd_now_ms(), op);
	cd_drive_settle(cd);
}

static void on_trouble(void *arg, const char *text)
{
	struct cd *cd = arg;

	snprintf(cd->trouble, sizeof(cd->trouble), "%s", text ? text : "");
	if (text)
		cl_error("the state cannot be written, trying again: %s", text);
	else
		cl_notice("the state can be written again");
}

/* Whatever this node has acknowledged must be found again by the next clusterd, or refused by it. */
static void on_over(void *arg, const char *text)
{
	struct cd *cd = arg;

	cl_error("%s: what is on disk is not known any more; clusterd ends, VMs and volumes go on", text);
	cd->exit_status = CD_EXIT_DISK;
	qb_loop_stop(cd->loop);
}

static const struct cd_store_ops store_ops = { on_durable, on_trouble, on_over };

/* ---- corosync ------------------------------------------------------------------------------- */

/*
 * What comes between the group's first configuration and the first word on votes belongs to that
 * configuration: a SYNC among it is what our own arrival caused, and nobody repeats it.
 */
struct cd_early {
	struct cd_early *next;
	uint8_t node;
	size_t len_bytes;
	uint8_t data[];
};

static void early_keep(struct cd *cd, uint8_t node, const void *data, size_t len_bytes)
{
	struct cd_early *early = malloc(sizeof(*early) + len_bytes), **tail = &cd->early;

	if (!early)
		abort();
	early->next = NULL;
	early->node = node;
	early->len_bytes = len_bytes;
	memcpy(early->data, data, len_bytes);
	while (*tail)
		tail = &(*tail)->next;
	*tail = early;
}

/* Hands them over, or forgets them with the configuration that they belong to. */
static void early_over(struct cd *cd, bool deliver)
{
	struct cd_early *early;

	while ((early = cd->early)) {
		cd->early = early->next;
		if (deliver &&
		    replica_message(cd->replica, cd_now_ms(), early->node, early->data,
				    early->len_bytes) < 0)
			cl_warning("a malformed message of %zu bytes from node %u was dropped",
				   early->len_bytes, early->node);
		free(early);
	}
}

void cd_drive_config(struct cd *cd)
{
	core_nodes members = cd->link_up ? cd->group_nodes & cd->ring_nodes : 0;

	/* Half a picture would look like a loss: a restarted clusterd would freeze its VMs. */
	if (cd->link_up && (!cd->group_known || !cd->votes_known))
		return;
	replica_config(cd->replica, cd_now_ms(), members, cd->link_up ? cd->ring_nodes : 0,
		       cd->link_up && cd->votes.quorate);
	early_over(cd, cd->link_up);
	cd_drive_settle(cd);
}

static core_nodes node_bit(uint32_t node)
{
	return node >= 1 && node <= CL_NODES_MAX ? CORE_NODE_BIT(node) : 0;
}

static void on_up(void *arg, uint32_t local)
{
	struct cd *cd = arg;

	if (local != cd->self.id) {
		cl_error("corosync says that this is node %u, node.json says %u", local,
			 cd->self.id);
		return;
	}
	cl_notice("connected to corosync as node %u", local);
	cd->link_up = true;
	cd->group_known = cd->votes_known = false;
	early_over(cd, false);
	cd->group_nodes = 0;
	cd->ring_nodes = 0;
	cd_timing_warn(cd);
}

static void on_down(void *arg)
{
	struct cd *cd = arg;

	cl_warning("the connection to corosync is lost; trying again");
	cd->link_up = false;
	cd->group_nodes = cd->ring_nodes = 0;
	cd->votes = (struct cd_votes){ 0 };
	cd_drive_config(cd);
}

/* One line for the first, the second, the fourth, ...: a flood does not fill the log. */
static void malformed_tell(const struct cd *cd, uint32_t node, size_t len_bytes)
{
	uint64_t count = cd->replica->log.counters.malformed;

	if ((count & (count - 1)) == 0)
		cl_warning("a malformed message of %zu bytes from node %u was refused; %llu in all",
			   len_bytes, node, (unsigned long long)count);
}

static void on_deliver(void *arg, uint32_t node, uint32_t pid, const void *data, size_t len_bytes)
{
	struct cd *cd = arg;

	if (!cd->link_up || !node_bit(node))
		return;
	if (!cd->votes_known) {
		if (cd->group_known)
			early_keep(cd, (uint8_t)node, data, len_bytes);
		return;
	}
	if (replica_message(cd->replica, cd_now_ms(), (uint8_t)node, data, len_bytes) < 0)
		malformed_tell(cd, node, len_bytes);
	cd_drive_settle(cd);
}

static void on_confchg(void *arg, const struct cd_member *members, size_t n,
		       const struct cd_member *left, size_t n_left,
		       const struct cd_member *joined, size_t n_joined)
{
	struct cd *cd = arg;
	bool rejoined = false;

	if (!cd->link_up)
		return;
	early_over(cd, false);
	/*
	 * A clusterd that died and came back may be in one change, or its successor may join before
	 * the death is told: the replica must see it gone in between.
	 */
	for (size_t i = 0; i < n_joined; i++)
		if (cd->group_nodes & node_bit(joined[i].node) && joined[i].node != cd->self.id) {
			cd->group_nodes &= (core_nodes)~node_bit(joined[i].node);
			rejoined = true;
		}
	if (rejoined)
		cd_drive_config(cd);
	cd->group_nodes = 0;
	for (size_t i = 0; i < n; i++)
		cd->group_nodes |= node_bit(members[i].node);
	for (size_t i = 0; i < n_left; i++)
		if (left[i].reason == CD_LEFT_NODEDOWN)
			cd->ring_nodes &= (core_nodes)~node_bit(left[i].node);
	cd->ring_nodes |= cd->group_nodes;
	cd->group_known = true;
	cd_drive_config(cd);
}

static void on_ring(void *arg, const uint32_t *nodes, size_t n)
{
	struct cd *cd = arg;

	if (!cd->link_up)
		return;
	cd->ring_nodes = 0;
	for (size_t i = 0; i < n; i++)
		cd->ring_nodes |= node_bit(nodes[i]);
	cd_drive_config(cd);
}

static void on_votes(void *arg, const struct cd_votes *votes)
{
	struct cd *cd = arg;
	char text[128];

	if (!cd->link_up)
		return;
	if (votes->quorate != cd->votes.quorate) {
		snprintf(text, sizeof(text), "corosync counts %u of %u votes, %u are needed",
			 votes->total, votes->expected, votes->needed);
		cd_drive_note(cd, "local", cd->self.name,
			      cd->votes.quorate ? "quorate" : "not quorate",
			      votes->quorate ? "quorate" : "not quorate", text);
	}
	cd->votes = *votes;
	cd->votes_known = true;
	cd_drive_config(cd);
}

static const struct cd_link_ops link_ops = {
	.up = on_up,
	.down = on_down,
	.deliver = on_deliver,
	.confchg = on_confchg,
	.ring = on_ring,
	.votes = on_votes,
};

/* ---- start ---------------------------------------------------------------------------------- */

static int boot_id_read(uint8_t out[CL_UUID_BYTES])
{
	CL_CLEANUP_FREE char *text = NULL;
	int rc = cd_file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL);

	if (rc < 0)
		return rc;
	text[strcspn(text, "\n")] = '\0';
	return cd_uuid_parse(text, out);
}

int cd_drive_start(struct cd *cd, const struct core_command *genesis, char **ret_error)
{
	uint8_t boot_id[CL_UUID_BYTES];
	char path[CD_PATH_MAX];
	uint64_t instance, commit = 0;
	bool empty = true;
	int rc;

	*ret_error = NULL;
	cd_path(path, sizeof(path), CD_DIR_STATE, "state.db");
	rc = boot_id_read(boot_id);
	if (rc < 0)
		return rc;
	rc = cd_store_open(path, cd->self.uuid, cd->self.id, true, &cd->store, ret_error);
	if (rc < 0)
		return rc;
	cd->events_next = 1;
	cd->replica = calloc(1, sizeof(*cd->replica));
	if (!cd->replica)
		return -ENOMEM;
	cd_pki_random(&instance, sizeof(instance));
	replica_init(cd->replica, (uint8_t)cd->self.id, boot_id, instance, on_replica, cd);
	cd->replica->wall_ms = (uint64_t)cd_wall_ms();
	rc = cd_store_restore(cd->store, cd->replica, &commit, &empty, ret_error);
	if (rc == 0)
		rc = cd_store_events_load(cd->store, CD_EVENTS_KEPT, event_load, cd);
	if (rc == 0)
		rc = cd_link_new(cd->post, &link_ops, cd, &cd->link);
	if (rc == 0)
		rc = cd_store_start(cd->store, cd->post, &store_ops, cd);
	if (rc < 0)
		return rc;
	if (genesis)
		rc = replica_bootstrap(cd->replica, genesis);
	if (rc == 0)
		rc = replica_start(cd->replica, cd_now_ms(), commit);
	if (rc < 0 && asprintf(ret_error, "%s: damaged state file: the log does not apply", path) < 0)
		*ret_error = NULL;
	if (rc == 0) {
		cd->member = true;
		cd_csvd_keep(cd);
		cd_drive_settle(cd);
	}
	return rc;
}

void cd_drive_timer(struct cd *cd)
{
	if (!cd->replica)
		return;
	cd_lease_look(cd);
	cd_monitor_retry(cd);
	replica_timer(cd->replica, cd_now_ms(), (uint64_t)cd_wall_ms());
	cd_drive_settle(cd);
	if (cd->grants_again_ms && cd_now_ms() >= cd->grants_again_ms)
		cd_grants_changed(cd);
	pending_expire(cd);
	cd_request_wake(cd);
}

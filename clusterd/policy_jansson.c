/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See policy_jansson.h.  Nodes have names here and ids in the core.  What belongs together (a limit and its
 * period, a group and how strict it is) is taken together: a part that is missing gets its default.
 */
#include "clusterd/policy_jansson.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const rung_names[] = { [CORE_RUNG_LIVE] = "live",
					  [CORE_RUNG_QUICK] = "quick",
					  [CORE_RUNG_SHUTDOWN] = "shutdown" };

static json_t *node_names(const struct core_state *st, const struct core_vm_policy *p, bool possible)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CL_NODES_MAX; i++) {
		unsigned id = possible ? i + 1 : p->preferred[i];

		if (possible ? (p->possible & CORE_NODE_BIT(id)) != 0 : id != 0)
			json_array_append_new(list, json_string(st->nodes[id].name));
	}
	return list;
}

json_t *cd_policy_json(const struct core_state *st, const struct core_vm_policy *p)
{
	char failback[24] = "never";

	if (p->failback == CORE_FAILBACK_IMMEDIATE)
		snprintf(failback, sizeof(failback), "immediate");
	else if (p->failback == CORE_FAILBACK_WINDOW)
		snprintf(failback, sizeof(failback), "%02u-%02u", p->failback_from, p->failback_to);
	return json_pack("{s:s s:o s:o s:o s:b s:o s:I s:s s:i s:s s:I}", "priority",
			 core_priority_name(p->priority), "preferred", node_names(st, p, false),
			 "possible", node_names(st, p, true), "anti_affinity",
			 p->apart[0] ? json_string(p->apart) : json_null(), "anti_affinity_hard",
			 p->apart_hard, "failover_limit",
			 p->failover_limit == CORE_LIMIT_AUTO ? json_null() :
								json_integer(p->failover_limit),
			 "failover_period_s", (json_int_t)p->failover_period_s, "failback", failback,
			 "restart_wait_s", (int)p->restart_wait_s, "drain", core_rung_name(p->drain),
			 "max_pause_ms", (json_int_t)p->max_pause_ms);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reading {
	const struct core_state *st;
	const char *key;
	const json_t *value;
	struct core_vm_policy *p;
	char *error;
	size_t cap_bytes;
};

static int wrong(const struct reading *r, const char *allowed)
{
	char *seen = json_dumps(r->value, JSON_ENCODE_ANY | JSON_COMPACT);

	snprintf(r->error, r->cap_bytes, "%s %.60s: allowed %s", r->key, seen ? seen : "?", allowed);
	free(seen);
	return -EINVAL;
}

static int number(const struct reading *r, json_int_t min, json_int_t max, json_int_t *ret_value)
{
	char allowed[80];

	*ret_value = json_integer_value(r->value);
	if (json_is_integer(r->value) && *ret_value >= min && *ret_value <= max)
		return 0;
	snprintf(allowed, sizeof(allowed), "%lld to %lld", (long long)min, (long long)max);
	return wrong(r, allowed);
}

static int read_priority(const struct reading *r)
{
	const char *text = json_string_value(r->value);

	for (uint8_t i = CORE_PRIORITY_NONE; text && i <= CORE_PRIORITY_HIGH; i++) {
		if (strcmp(core_priority_name(i), text) != 0)
			continue;
		r->p->priority = i;
		return 0;
	}
	return wrong(r, "high, medium, low, none");
}

static int read_nodes(const struct reading *r)
{
	bool possible = strcmp(r->key, "possible") == 0;
	const json_t *name;
	core_nodes set = 0;
	size_t i;

	if (!json_is_array(r->value) || json_array_size(r->value) > CL_NODES_MAX)
		return wrong(r, "a list of up to 16 nodes");
	memset(r->p->preferred, 0, possible ? 0 : sizeof(r->p->preferred));
	json_array_foreach(r->value, i, name) {
		const char *text = json_string_value(name);
		const struct core_node *n = text ? core_node_find(r->st, text) : NULL;

		if (!n) {
			snprintf(r->error, r->cap_bytes, "%s: there is no node '%.64s'", r->key,
				 text ? text : "?");
			return -ENOENT;
		}
		if (set & CORE_NODE_BIT(n->id))
			return wrong(r, "each node once");
		set |= CORE_NODE_BIT(n->id);
		if (!possible)
			r->p->preferred[i] = n->id;
	}
	if (possible)
		r->p->possible = set;
	return 0;
}

static int read_group(const struct reading *r)
{
	const char *text = json_string_value(r->value);

	if (!json_is_null(r->value) && (!text || !cl_name_valid(text)))
		return wrong(r, "a name (1 to 63 of A-Z a-z 0-9 . _ -) or null");
	snprintf(r->p->apart, sizeof(r->p->apart), "%s", text ? text : "");
	return 0;
}

static int read_hard(const struct reading *r)
{
	if (!json_is_boolean(r->value))
		return wrong(r, "true, false");
	r->p->apart_hard = json_is_true(r->value);
	return 0;
}

static int read_limit(const struct reading *r)
{
	json_int_t v = CORE_LIMIT_AUTO;

	if (!json_is_null(r->value) && number(r, 0, CORE_LIMIT_MAX, &v) < 0)
		return -EINVAL;
	r->p->failover_limit = (uint8_t)v;
	return 0;
}

static int read_period(const struct reading *r)
{
	json_int_t v;
	int rc = number(r, 1, CORE_PERIOD_MAX_S, &v);

	r->p->failover_period_s = rc < 0 ? CORE_PERIOD_S : (uint32_t)v;
	return rc;
}

static int read_failback(const struct reading *r)
{
	const char *text = json_string_value(r->value);
	unsigned from, to;
	char end;

	if (text && strcmp(text, "never") == 0) {
		r->p->failback = CORE_FAILBACK_NEVER;
		return 0;
	}
	if (text && strcmp(text, "immediate") == 0) {
		r->p->failback = CORE_FAILBACK_IMMEDIATE;
		return 0;
	}
	if (!text || sscanf(text, "%2u-%2u%c", &from, &to, &end) != 2 || from > 23 || to > 23 ||
	    from == to)
		return wrong(r, "never, immediate, or hours of the day in UTC as 22-05");
	r->p->failback = CORE_FAILBACK_WINDOW;
	r->p->failback_from = (uint8_t)from;
	r->p->failback_to = (uint8_t)to;
	return 0;
}

static int read_wait(const struct reading *r)
{
	json_int_t v;
	int rc = number(r, 0, CORE_RESTART_WAIT_MAX_S, &v);

	r->p->restart_wait_s = rc < 0 ? 0 : (uint16_t)v;
	return rc;
}

static int read_drain(const struct reading *r)
{
	const char *text = json_string_value(r->value);

	for (uint8_t i = 0; text && i < CL_ARRAY_LEN(rung_names); i++) {
		if (!rung_names[i] || strcmp(rung_names[i], text) != 0)
			continue;
		r->p->drain = i;
		return 0;
	}
	return wrong(r, "live, quick, shutdown");
}

static int read_pause(const struct reading *r)
{
	json_int_t v;
	int rc = number(r, 0, CORE_MAX_PAUSE_MAX_MS, &v);

	r->p->max_pause_ms = rc < 0 ? 0 : (uint32_t)v;
	return rc;
}

static const struct {
	const char *key;
	uint32_t bit;
	int (*read)(const struct reading *r);
} members[] = {
	{ "priority", CORE_SET_PRIORITY, read_priority },
	{ "preferred", CORE_SET_PREFERRED, read_nodes },
	{ "possible", CORE_SET_POSSIBLE, read_nodes },
	{ "anti_affinity", CORE_SET_APART, read_group },
	{ "anti_affinity_hard", CORE_SET_APART, read_hard },
	{ "failover_limit", CORE_SET_LIMIT, read_limit },
	{ "failover_period_s", CORE_SET_LIMIT, read_period },
	{ "failback", CORE_SET_FAILBACK, read_failback },
	{ "restart_wait_s", CORE_SET_RESTART_WAIT, read_wait },
	{ "drain", CORE_SET_DRAIN, read_drain },
	{ "max_pause_ms", CORE_SET_MAX_PAUSE, read_pause },
};

int cd_policy_read(const struct core_state *st, const json_t *json, struct core_vm_policy *ret_policy,
		   uint32_t *ret_set, char *error, size_t cap_bytes)
{
	struct core_vm_policy policy = { .failover_limit = CORE_LIMIT_AUTO,
					 .failover_period_s = CORE_PERIOD_S };
	struct reading r = { .st = st, .p = &policy, .error = error, .cap_bytes = cap_bytes };
	uint32_t set = 0;

	if (json && !json_is_object(json)) {
		snprintf(error, cap_bytes, "policy: an object is needed");
		return -EINVAL;
	}
	json_object_foreach((json_t *)json, r.key, r.value) {
		unsigned i = 0;
		int rc;

		while (i < CL_ARRAY_LEN(members) && strcmp(members[i].key, r.key) != 0)
			i++;
		if (i == CL_ARRAY_LEN(members)) {
			snprintf(error, cap_bytes, "policy: '%.40s' is not known", r.key);
			return -EINVAL;
		}
		rc = members[i].read(&r);
		if (rc < 0)
			return rc;
		set |= members[i].bit;
	}
	*ret_policy = policy;
	*ret_set = set;
	return 0;
}

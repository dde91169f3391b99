/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's policy on the command line, for `vm create` and `vm set`, and as `vm show` prints it.  Spelling only:
 * clusterd knows what is allowed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/ctl/ctl.h"

enum option {
	PRIORITY,
	PREFERRED,
	POSSIBLE,
	ANTI_AFFINITY,
	FAILOVER_LIMIT,
	FAILBACK,
	RESTART_WAIT,
	DRAIN,
	MAX_PAUSE,
};

const char *const ctl_policy_options[CTL_POLICY_OPTIONS] = {
	[PRIORITY] = "priority",
	[PREFERRED] = "preferred",
	[POSSIBLE] = "possible",
	[ANTI_AFFINITY] = "anti-affinity",
	[FAILOVER_LIMIT] = "failover-limit",
	[FAILBACK] = "failback",
	[RESTART_WAIT] = "restart-wait",
	[DRAIN] = "drain",
	[MAX_PAUSE] = "max-pause",
};

static json_t *names(const char *text, const char *nobody)
{
	json_t *list = json_array();

	if (strcmp(text, nobody) == 0)
		return list;
	while (*text) {
		size_t len = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	return list;
}

/* "GROUP", "GROUP,hard" or "none" */
static bool group(json_t *json, const char *text)
{
	const char *comma = strchr(text, ',');

	if (comma && strcmp(comma, ",hard") != 0 && strcmp(comma, ",soft") != 0)
		return false;
	json_object_set_new(json, "anti_affinity",
			    strcmp(text, "none") == 0 ?
				    json_null() :
				    json_stringn(text, comma ? (size_t)(comma - text) : strlen(text)));
	json_object_set_new(json, "anti_affinity_hard",
			    json_boolean(comma && strcmp(comma, ",hard") == 0));
	return true;
}

/* "N", "N/PERIOD", "auto" or "auto/PERIOD" */
static bool limit(json_t *json, const char *text)
{
	const char *slash = strchr(text, '/');
	uint64_t n = 0, ms = 0;
	char number[24];

	snprintf(number, sizeof(number), "%.*s", slash ? (int)(slash - text) : (int)strlen(text), text);
	if (strcmp(number, "auto") != 0 && ctl_number_parse(number, 0, INT32_MAX, &n) < 0)
		return false;
	if (slash && (ctl_period_parse(slash + 1, 1000, &ms) < 0 || ms % 1000))
		return false;
	json_object_set_new(json, "failover_limit",
			    strcmp(number, "auto") == 0 ? json_null() : json_integer((json_int_t)n));
	if (slash)
		json_object_set_new(json, "failover_period_s", json_integer((json_int_t)(ms / 1000)));
	return true;
}

static bool take(json_t *json, enum option option, const char *text)
{
	uint64_t ms;

	switch (option) {
	case PRIORITY:
		return json_object_set_new(json, "priority", json_string(text)) == 0;
	case PREFERRED:
		return json_object_set_new(json, "preferred", names(text, "none")) == 0;
	case POSSIBLE:
		return json_object_set_new(json, "possible", names(text, "any")) == 0;
	case ANTI_AFFINITY:
		return group(json, text);
	case FAILOVER_LIMIT:
		return limit(json, text);
	case FAILBACK:
		return json_object_set_new(json, "failback", json_string(text)) == 0;
	case RESTART_WAIT:
		return ctl_period_parse(text, 1000, &ms) == 0 && ms % 1000 == 0 &&
		       json_object_set_new(json, "restart_wait_s",
					   json_integer((json_int_t)(ms / 1000))) == 0;
	case DRAIN:
		return json_object_set_new(json, "drain", json_string(text)) == 0;
	case MAX_PAUSE:
		return ctl_period_parse(text, 1, &ms) == 0 &&
		       json_object_set_new(json, "max_pause_ms", json_integer((json_int_t)ms)) == 0;
	}
	return false;
}

int ctl_policy_request(const struct ctl *ctl, json_t *request)
{
	static const char *const expected[] = {
		[PRIORITY] = "high, medium, low or none",
		[PREFERRED] = "nodes with commas between, or none",
		[POSSIBLE] = "nodes with commas between, or any",
		[ANTI_AFFINITY] = "GROUP, GROUP,hard or none",
		[FAILOVER_LIMIT] = "N, N/PERIOD or auto/PERIOD, as 3/6h",
		[FAILBACK] = "never, immediate or hours as 22-05",
		[RESTART_WAIT] = "a time as 30s",
		[DRAIN] = "live, quick or shutdown",
		[MAX_PAUSE] = "a time as 500ms or 10s",
	};
	json_t *policy = json_object();

	for (unsigned i = 0; i < CTL_POLICY_OPTIONS; i++) {
		if (!ctl->policy[i] || take(policy, (enum option)i, ctl->policy[i]))
			continue;
		json_decref(policy);
		return ctl_error(ctl, CTL_USAGE, "EINVAL", "--%s '%.80s': expected %s",
				 ctl_policy_options[i], ctl->policy[i], expected[i]);
	}
	if (json_object_size(policy))
		json_object_set(request, "policy", policy);
	json_decref(policy);
	return CTL_OK;
}

/* ---- shown ---------------------------------------------------------------------------------- */

static void list_text(const json_t *list, const char *nobody, char *out, size_t cap_bytes)
{
	const json_t *name;
	size_t i, len = 0;

	snprintf(out, cap_bytes, "%s", nobody);
	json_array_foreach(list, i, name)
		if (len < cap_bytes)
			len += (size_t)snprintf(out + len, cap_bytes - len, "%s%s", len ? ", " : "",
						json_string_value(name));
}

void ctl_policy_text(const json_t *policy, unsigned line, char *out, size_t cap_bytes)
{
	const json_t *limit = json_object_get(policy, "failover_limit");
	long long wait = json_integer_value(json_object_get(policy, "restart_wait_s"));
	long long period = json_integer_value(json_object_get(policy, "failover_period_s"));
	long long pause = json_integer_value(json_object_get(policy, "max_pause_ms"));
	char number[24];

	switch (line) {
	case 0:
		snprintf(out, cap_bytes, "%s; lower ones wait for it %lld s at most",
			 ctl_text(policy, "priority"), wait);
		break;
	case 1:
		list_text(json_object_get(policy, "preferred"), "none", out, cap_bytes);
		break;
	case 2:
		list_text(json_object_get(policy, "possible"), "any", out, cap_bytes);
		break;
	case 3:
		snprintf(out, cap_bytes, "%s%s",
			 ctl_text(policy, "anti_affinity")[0] ? ctl_text(policy, "anti_affinity") : "none",
			 json_is_true(json_object_get(policy, "anti_affinity_hard")) ? ", hard" : "");
		break;
	case 4:
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(limit));
		snprintf(out, cap_bytes, "%s failures within %lld s",
			 json_is_integer(limit) ? number : "auto (nodes - 1, at least 2)", period);
		break;
	case 5:
		snprintf(out, cap_bytes, "%s", ctl_text(policy, "failback"));
		break;
	default:
		snprintf(out, cap_bytes, "%s at worst; live with a pause of up to %lld ms",
			 ctl_text(policy, "drain"), pause);
		break;
	}
}

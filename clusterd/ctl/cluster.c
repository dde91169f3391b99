/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands on the cluster as a whole: settings, maintenance, functional level, timing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/core/core.h"
#include "clusterd/ctl/ctl.h"

#define QUESTION_MS 30000

static json_int_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

static const char *who(void)
{
	const char *name = getenv("SUDO_USER");

	return name && name[0] ? name : "root";
}

/* ---- settings ------------------------------------------------------------------------------- */

static int settings_show(struct ctl *ctl)
{
	json_t *status = NULL, *settings;
	int rc = ctl_call(ctl, json_pack("{s:s}", "do", "status"), QUESTION_MS, &status);

	if (rc != CTL_OK)
		return rc;
	settings = json_object_get(status, "settings");
	if (!settings) {
		json_decref(status);
		return ctl_error(ctl, CTL_NO_CLUSTER, "ENOTCONN", "this node is not in a cluster");
	}
	if (ctl->json)
		ctl_json(json_pack("{s:O}", "settings", settings));
	for (unsigned i = 0; i < core_setting_count() && !ctl->json; i++) {
		const struct core_setting *s = &core_settings[i];

		printf("%-22s %8lld %-2s  (%u; %u to %u) %s\n", s->name,
		       (long long)number(settings, s->name), s->unit, s->value, s->min, s->max,
		       s->text);
	}
	json_decref(status);
	return CTL_OK;
}

int ctl_cluster_set(struct ctl *ctl)
{
	json_t *sets = json_object();

	for (unsigned i = 0; i < core_setting_count(); i++) {
		const struct core_setting *s = &core_settings[i];
		uint64_t v;

		if (!ctl->sets[i])
			continue;
		if (ctl_number_parse(ctl->sets[i], s->min, s->max, &v) < 0) {
			json_decref(sets);
			return ctl_error(ctl, CTL_USAGE, "EINVAL", "--%s '%.40s': allowed %u to %u",
					 s->name, ctl->sets[i], s->min, s->max);
		}
		json_object_set_new(sets, s->name, json_integer((json_int_t)v));
	}
	if (!json_object_size(sets)) {
		json_decref(sets);
		return settings_show(ctl);
	}
	return ctl_change(ctl, json_pack("{s:s s:o}", "do", "cluster-set", "sets", sets));
}

/* ---- maintenance, level --------------------------------------------------------------------- */

int ctl_cluster_disarm(struct ctl *ctl)
{
	return ctl_change(ctl, json_pack("{s:s s:s}", "do", "cluster-disarm", "who", who()));
}

int ctl_cluster_arm(struct ctl *ctl)
{
	return ctl_change(ctl, json_pack("{s:s s:s}", "do", "cluster-arm", "who", who()));
}

int ctl_cluster_level(struct ctl *ctl)
{
	json_t *status = NULL, *node;
	size_t i;
	int rc;

	if (ctl->raise)
		return ctl_change(ctl, json_pack("{s:s s:s}", "do", "cluster-level", "who", who()));
	rc = ctl_call(ctl, json_pack("{s:s}", "do", "status"), QUESTION_MS, &status);
	if (rc != CTL_OK)
		return rc;
	if (!json_object_get(status, "level")) {
		json_decref(status);
		return ctl_error(ctl, CTL_NO_CLUSTER, "ENOTCONN", "this node is not in a cluster");
	}
	if (ctl->json) {
		json_t *nodes = json_object();

		json_array_foreach(json_object_get(status, "nodes"), i, node)
			json_object_set(nodes, ctl_text(node, "name"), json_object_get(node, "level"));
		ctl_json(json_pack("{s:O s:o}", "level", json_object_get(status, "level"), "nodes",
				   nodes));
	} else {
		printf("functional level %lld\n", (long long)number(status, "level"));
		json_array_foreach(json_object_get(status, "nodes"), i, node)
			printf("node %s knows %lld\n", ctl_text(node, "name"),
			       (long long)number(node, "level"));
	}
	json_decref(status);
	return CTL_OK;
}

/* ---- timing --------------------------------------------------------------------------------- */

int ctl_timing(struct ctl *ctl)
{
	json_t *reply = NULL, *item;
	bool safe = true;
	size_t i;
	int rc = ctl_call(ctl, json_pack("{s:s}", "do", "timing"), QUESTION_MS, &reply);

	if (rc != CTL_OK)
		return rc;
	json_array_foreach(json_object_get(reply, "rules"), i, item)
		safe &= json_is_true(json_object_get(item, "holds")) ||
			json_is_false(json_object_get(item, "safety"));
	if (ctl->json) {
		rc = ctl_json(reply);
		return rc == CTL_OK && !safe ? CTL_FAILED : rc;
	}
	json_array_foreach(json_object_get(reply, "rows"), i, item)
		if (json_is_null(json_object_get(item, "ms")))
			printf("%-14s %-18s %11s  %s\n", ctl_text(item, "phase"),
			       ctl_text(item, "what"), "-", ctl_text(item, "text"));
		else
			printf("%-14s %-18s %8lld ms  %s\n", ctl_text(item, "phase"),
			       ctl_text(item, "what"), (long long)number(item, "ms"),
			       ctl_text(item, "text"));
	if (!json_is_true(json_object_get(reply, "corosync")))
		printf("\ncorosync does not tell its times: what follows is without them\n");
	printf("\nworst case, from the moment a node dies:\n"
	       "  its loss is known   %8lld ms\n  fenced              %8lld ms\n"
	       "  its VMs start       %8lld ms (%lld ms if one try of the fence gets no answer)\n\n",
	       (long long)number(reply, "detect_ms"), (long long)number(reply, "fence_ms"),
	       (long long)number(reply, "restart_ms"), (long long)number(reply, "restart_worst_ms"));
	json_array_foreach(json_object_get(reply, "rules"), i, item) {
		bool holds = json_is_true(json_object_get(item, "holds"));

		printf("%-7s %s: %lld <= %lld%s%s\n",
		       holds					      ? "ok" :
		       json_is_true(json_object_get(item, "safety")) ? "UNSAFE" :
								       "warning",
		       ctl_text(item, "formula"), (long long)number(item, "sum_ms"),
		       (long long)number(item, "limit_ms"), holds ? "" : " does not hold: ",
		       holds ? "" : ctl_text(item, "otherwise"));
	}
	json_decref(reply);
	return safe ? CTL_OK : CTL_FAILED;
}

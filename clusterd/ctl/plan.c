/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --plan: asks what a command would lead to, and shows it as a table. */
#include <stdio.h>
#include <string.h>

#include "clusterd/ctl/ctl.h"

#define PLAN_MS 120000

static json_int_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

static const char *method_words(const char *method, const json_t *item)
{
	if (strcmp(method, "live") == 0)
		return "live migration";
	if (strcmp(method, "quick") == 0)
		return "save and restore";
	if (strcmp(method, "restart") == 0)
		return "restart";
	if (strcmp(method, "stop") == 0)
		return "stops";
	if (strcmp(method, "delete") == 0)
		return "deleted";
	if (strcmp(method, "owner") == 0)
		return "owner";
	return ctl_text(item, "from")[0] ? "BLOCKED" : "WAITS";
}

static void seconds(json_int_t ms, char *out, size_t cap_bytes)
{
	snprintf(out, cap_bytes, "%lld.%lld s", (long long)(ms / 1000), (long long)(ms % 1000 / 100));
}

static void item_show(const json_t *item)
{
	const char *from = ctl_text(item, "from"), *to = ctl_text(item, "to");
	const char *blocker = ctl_text(item, "blocker");
	const json_t *disk;
	char way[160], begin[32], end[32];
	size_t i;

	snprintf(way, sizeof(way), "%s%s%s", from[0] ? from : "-", strcmp(from, to) ? " -> " : "",
		 strcmp(from, to) == 0 ? "" : to[0] ? to : "-");
	seconds(number(item, "begin_ms"), begin, sizeof(begin));
	seconds(number(item, "end_ms"), end, sizeof(end));
	printf("  %-6s %-16s %-16s %-16s", ctl_text(item, "object"), ctl_text(item, "name"), way,
	       method_words(ctl_text(item, "method"), item));
	if (blocker[0])
		printf(" %s\n", blocker);
	else
		printf(" from %s to %s (%s)\n", begin, end,
		       json_is_true(json_object_get(item, "measured")) ? "as measured before" :
									 "assumed");
	json_array_foreach(json_object_get(item, "disks"), i, disk)
		printf("         its disk %s/%s is deleted\n", ctl_text(disk, "volume"),
		       ctl_text(disk, "path"));
}

int ctl_plan(struct ctl *ctl, json_t *request)
{
	json_t *reply = NULL, *item;
	bool finished;
	char text[32];
	size_t i;
	int rc;

	json_object_set_new(request, "plan", json_true());
	rc = ctl_call(ctl, request, PLAN_MS, &reply);
	if (rc != CTL_OK)
		return rc;
	finished = json_is_true(json_object_get(reply, "finished"));
	if (ctl->json) {
		ctl_json(reply);
		return finished ? CTL_OK : CTL_FAILED;
	}
	printf("plan, nothing is done:\n");
	json_array_foreach(json_object_get(reply, "items"), i, item)
		item_show(item);
	if (!json_array_size(json_object_get(reply, "items")))
		printf("  nothing would change\n");
	seconds(number(reply, "end_ms"), text, sizeof(text));
	printf("%s after about %s\n", finished ? "done" : "NOT done: what is marked stays as it is, the rest",
	       text);
	json_array_foreach(json_object_get(reply, "paces"), i, item) {
		seconds(number(item, "ms"), text, sizeof(text));
		if (number(item, "measured"))
			printf("  %s: %s, measured %lld times\n", ctl_text(item, "what"), text,
			       (long long)number(item, "measured"));
		else
			printf("  %s: %s, assumed\n", ctl_text(item, "what"), text);
	}
	json_decref(reply);
	return finished ? CTL_OK : CTL_FAILED;
}

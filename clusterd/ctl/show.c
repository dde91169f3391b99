/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables for people.  Every text comes from the cluster and is printed without control bytes. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clusterd/ctl/ctl.h"

#define COLUMNS_MAX 9
#define CELL_MAX    96

static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static void line(char *out, size_t cap, const char *text)
{
	snprintf(out, cap, "%s", text && *text ? text : "-");
	clean(out);
}

/* Prints rows under heads; each cell was filled by line(). */
static void table_print(const char *const heads[], unsigned columns,
			char (*cells)[COLUMNS_MAX][CELL_MAX], size_t rows)
{
	unsigned width[COLUMNS_MAX];

	for (unsigned c = 0; c < columns; c++) {
		width[c] = (unsigned)strlen(heads[c]);
		for (size_t r = 0; r < rows; r++)
			if (strlen(cells[r][c]) > width[c])
				width[c] = (unsigned)strlen(cells[r][c]);
	}
	for (unsigned c = 0; c < columns; c++)
		printf("%-*s%s", c + 1 < columns ? (int)width[c] : 0, heads[c],
		       c + 1 < columns ? "  " : "\n");
	for (size_t r = 0; r < rows; r++)
		for (unsigned c = 0; c < columns; c++)
			printf("%-*s%s", c + 1 < columns ? (int)width[c] : 0, cells[r][c],
			       c + 1 < columns ? "  " : "\n");
}

#define ROWS_MAX 512

static char cells[ROWS_MAX][COLUMNS_MAX][CELL_MAX];

static json_int_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

void ctl_show_nodes(const json_t *nodes)
{
	static const char *const heads[] = { "NODE", "STATE", "ADDRESS", "VMS-MEMORY", "WHY" };
	const json_t *n;
	char text[CELL_MAX];
	size_t i, rows = 0;

	json_array_foreach(nodes, i, n) {
		if (rows == ROWS_MAX)
			break;
		snprintf(text, sizeof(text), "%.60s%s", ctl_text(n, "name"),
			 json_is_true(json_object_get(n, "self")) ? " *" : "");
		line(cells[rows][0], CELL_MAX, text);
		line(cells[rows][1], CELL_MAX, ctl_text(n, "state"));
		line(cells[rows][2], CELL_MAX, ctl_text(n, "address"));
		snprintf(text, sizeof(text), "%lld of %lld MiB", (long long)number(n, "used_mib"),
			 (long long)number(n, "memory_mib"));
		line(cells[rows][3], CELL_MAX, text);
		line(cells[rows++][4], CELL_MAX, ctl_text(n, "reason"));
	}
	table_print(heads, CL_ARRAY_LEN(heads), cells, rows);
}

/* "93%" and "280M", as this node knows them. */
static void space_cells(const json_t *v, char *used, char *room)
{
	json_int_t used_bytes = number(v, "used"), room_bytes = number(v, "free");

	used[0] = room[0] = '\0';
	if (!json_is_integer(json_object_get(v, "free")) || used_bytes + room_bytes <= 0)
		return;
	snprintf(used, CELL_MAX, "%lld%%",
		 (long long)((used_bytes * 100 + used_bytes + room_bytes - 1) /
			     (used_bytes + room_bytes)));
	ctl_size_text((uint64_t)room_bytes, room, CELL_MAX);
}

void ctl_show_volumes(const json_t *volumes)
{
	static const char *const heads[] = { "VOLUME", "STATE", "OWNER", "SIZE", "USED",
					     "FREE",   "HERE",	"LUN",	 "WHY" };
	const json_t *v;
	size_t i, rows = 0;

	json_array_foreach(volumes, i, v) {
		if (rows == ROWS_MAX)
			break;
		line(cells[rows][0], CELL_MAX, ctl_text(v, "name"));
		line(cells[rows][1], CELL_MAX, ctl_text(v, "state"));
		line(cells[rows][2], CELL_MAX, ctl_text(v, "owner"));
		ctl_size_text((uint64_t)number(v, "size"), cells[rows][3], CELL_MAX);
		space_cells(v, cells[rows][4], cells[rows][5]);
		line(cells[rows][6], CELL_MAX, ctl_text(json_object_get(v, "local"), "state"));
		line(cells[rows][7], CELL_MAX, ctl_text(v, "lun"));
		line(cells[rows++][8], CELL_MAX, ctl_text(v, "reason"));
	}
	table_print(heads, CL_ARRAY_LEN(heads), cells, rows);
}

void ctl_show_vms(const json_t *vms)
{
	static const char *const heads[] = { "VM", "STATE", "NODE", "MEMORY", "CPUS", "WHY" };
	const json_t *vm;
	char text[CELL_MAX];
	size_t i, rows = 0;

	json_array_foreach(vms, i, vm) {
		if (rows == ROWS_MAX)
			break;
		line(cells[rows][0], CELL_MAX, ctl_text(vm, "name"));
		snprintf(text, sizeof(text), "%.60s%s", ctl_text(vm, "state"),
			 json_is_true(json_object_get(vm, "paused")) ? ", paused" : "");
		line(cells[rows][1], CELL_MAX, text);
		line(cells[rows][2], CELL_MAX, ctl_text(vm, "node"));
		snprintf(text, sizeof(text), "%lld MiB", (long long)number(vm, "memory_mib"));
		line(cells[rows][3], CELL_MAX, text);
		snprintf(text, sizeof(text), "%lld", (long long)number(vm, "cpus"));
		line(cells[rows][4], CELL_MAX, text);
		line(cells[rows++][5], CELL_MAX, ctl_text(vm, "reason"));
	}
	table_print(heads, CL_ARRAY_LEN(heads), cells, rows);
}

static void field(const char *name, const char *text)
{
	char out[1200];

	line(out, sizeof(out), text);
	printf("%-12s %s\n", name, out);
}

void ctl_show_vm(const json_t *vm)
{
	static const char *const texts[] = { "name",   "uuid",	 "state", "node", "home", "reason",
					     "kernel", "initrd", "append" };
	const json_t *item;
	char text[512], size[32];
	size_t i;

	for (i = 0; i < CL_ARRAY_LEN(texts); i++)
		field(texts[i], ctl_text(vm, texts[i]));
	snprintf(text, sizeof(text), "%lld MiB, %lld cpus, generation %lld",
		 (long long)number(vm, "memory_mib"), (long long)number(vm, "cpus"),
		 (long long)number(vm, "generation"));
	field("machine", text);
	json_array_foreach(json_object_get(vm, "disks"), i, item) {
		ctl_size_text((uint64_t)number(item, "size"), size, sizeof(size));
		snprintf(text, sizeof(text), "%s/%s %s%s", ctl_text(item, "volume"),
			 ctl_text(item, "path"), number(item, "size") ? size : "",
			 json_is_true(json_object_get(item, "readonly")) ? "read-only" : "");
		field("disk", text);
	}
	json_array_foreach(json_object_get(vm, "nets"), i, item) {
		snprintf(text, sizeof(text), "%s %s", ctl_text(item, "switch"),
			 ctl_text(item, "mac"));
		field("net", text);
	}
	item = json_object_get(vm, "policy");
	for (i = 0; i < CTL_POLICY_LINES; i++) {
		static const char *const names[CTL_POLICY_LINES] = {
			"priority", "preferred", "possible", "apart", "limit", "failback", "drain"
		};

		ctl_policy_text(item, (unsigned)i, text, sizeof(text));
		field(names[i], text);
	}
	item = json_object_get(vm, "migration");
	if (json_is_object(item)) {
		snprintf(text, sizeof(text), "%s %s to %s", ctl_text(item, "phase"),
			 ctl_text(item, "source"), ctl_text(item, "target"));
		field("migration", text);
	}
}

void ctl_show_luns(const json_t *luns)
{
	static const char *const heads[] = { "LUN", "SIZE", "PATHS", "PRODUCT", "VOLUME", "CONTENT" };
	const json_t *lun, *path;
	size_t i, p, rows = 0;

	json_array_foreach(luns, i, lun) {
		char paths[CELL_MAX] = "";

		if (rows == ROWS_MAX)
			break;
		json_array_foreach(json_object_get(lun, "paths"), p, path) {
			size_t len = strlen(paths);

			snprintf(paths + len, sizeof(paths) - len, "%s%s", len ? "," : "",
				 json_string_value(path) ? json_string_value(path) : "");
		}
		line(cells[rows][0], CELL_MAX, ctl_text(lun, "id"));
		ctl_size_text((uint64_t)number(lun, "size"), cells[rows][1], CELL_MAX);
		line(cells[rows][2], CELL_MAX, paths);
		line(cells[rows][3], CELL_MAX, ctl_text(lun, "product"));
		line(cells[rows][4], CELL_MAX, ctl_text(lun, "volume"));
		line(cells[rows++][5], CELL_MAX, ctl_text(lun, "found"));
	}
	table_print(heads, CL_ARRAY_LEN(heads), cells, rows);
}

static void spare_print(const json_t *spare)
{
	json_int_t losses = number(spare, "losses"), wanted = number(spare, "wanted");
	const char *limit = ctl_text(spare, "limit");
	const json_t *node;
	char lost[256] = "";
	size_t i, len = 0;

	if (!json_is_object(spare))
		return;
	json_array_foreach(json_object_get(spare, "lost"), i, node)
		if (len < sizeof(lost))
			len += (size_t)snprintf(lost + len, sizeof(lost) - len, "%s%s",
						len ? " and " : "", json_string_value(node));
	if (losses)
		printf("%sthe loss of %lld node%s can be absorbed", losses < wanted ? "*** only " : "",
		       (long long)losses, losses == 1 ? "" : "s");
	else
		printf("%sno node's loss can be absorbed", wanted ? "*** " : "");
	if (strcmp(limit, "room") == 0)
		printf("; without %s there would be no room for VM %s", lost, ctl_text(spare, "vm"));
	else if (strcmp(limit, "quorum") == 0)
		printf(losses ? "; with one more the votes run out" : ": the votes would run out");
	else
		printf(", or more");
	if (losses < wanted)
		printf("; the spare to keep is %lld ***", (long long)wanted);
	printf("\n");
}

void ctl_show_status(const json_t *status)
{
	const json_t *votes = json_object_get(status, "votes");
	const char *trouble = ctl_text(status, "trouble"), *state = ctl_text(status, "state");

	if (strcmp(state, "not-in-cluster") == 0) {
		printf("this node is not in a cluster\n");
		return;
	}
	printf("cluster %s, seen from node %s: %s, votes %lld of %lld (%lld needed), log %s at %lld\n",
	       ctl_text(status, "cluster"), ctl_text(status, "node"),
	       json_is_true(json_object_get(status, "quorate")) ? "quorate" : "NO QUORUM",
	       (long long)number(votes, "total"), (long long)number(votes, "expected"),
	       (long long)number(votes, "needed"), state,
	       (long long)number(json_object_get(status, "log"), "commit"));
	if (json_is_object(json_object_get(status, "disarmed"))) {
		const json_t *disarmed = json_object_get(status, "disarmed");
		time_t when = (time_t)(number(disarmed, "ts_ms") / 1000);
		char since[32];
		struct tm tm;

		localtime_r(&when, &tm);
		strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
		printf("*** DISARMED by %s since %s: no node is fenced, no VM restarts;"
		       " `clusterctl cluster arm` ***\n",
		       ctl_text(disarmed, "by"), since);
	}
	if (number(status, "level") < number(status, "level_here"))
		printf("functional level %lld; this node knows %lld (`clusterctl cluster level --raise`)\n",
		       (long long)number(status, "level"), (long long)number(status, "level_here"));
	spare_print(json_object_get(status, "spare"));
	if (json_is_true(json_object_get(status, "frozen")))
		printf("this node is cut off: its VMs are frozen\n");
	if (trouble[0])
		printf("the state cannot be written: %s\n", trouble);
	printf("\n");
	ctl_show_nodes(json_object_get(status, "nodes"));
	if (json_array_size(json_object_get(status, "volumes"))) {
		printf("\n");
		ctl_show_volumes(json_object_get(status, "volumes"));
	}
	if (json_array_size(json_object_get(status, "vms"))) {
		printf("\n");
		ctl_show_vms(json_object_get(status, "vms"));
	}
	if (json_array_size(json_object_get(status, "jobs"))) {
		const json_t *job;
		size_t i;

		printf("\n");
		json_array_foreach(json_object_get(status, "jobs"), i, job)
			printf("running: %s %s\n", ctl_text(job, "command"), ctl_text(job, "name"));
	}
}

void ctl_show_event(const json_t *event)
{
	json_int_t ts = number(event, "ts_ms");
	time_t seconds = (time_t)(ts / 1000);
	char when[32], text[1024];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	line(text, sizeof(text), ctl_text(event, "text"));
	printf("%s.%03d  %s\n", when, (int)(ts % 1000), text);
}

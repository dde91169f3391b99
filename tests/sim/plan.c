/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans as text: scenario files and what the shrinker prints.  swarm.c makes plans from seeds. */
#include "tests/sim/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static const char *const whens[PLAN_WHENS] = { "now", "begin", "done", "answer", "send", "deliver",
					       "durable" };

static const char *const acts[PLAN_ACTS] = {
	[PLAN_ACT_NONE] = "none",
	[PLAN_POWER] = "power",
	[PLAN_POWER_ALL] = "power-all",
	[PLAN_DAEMON] = "daemon",
	[PLAN_STALL] = "stall",
	[PLAN_STOP] = "stop",
	[PLAN_CSVD] = "csvd",
	[PLAN_WALL] = "wall",
	[PLAN_ISOLATE] = "isolate",
	[PLAN_SPLIT] = "split",
	[PLAN_CUT] = "cut",
	[PLAN_SEVER] = "sever",
	[PLAN_MEND] = "mend",
	[PLAN_FSYNC] = "fsync",
	[PLAN_COPY] = "copy",
	[PLAN_OLD_DISK] = "old-disk",
	[PLAN_BAD_DISK] = "bad-disk",
	[PLAN_KEY] = "key",
	[PLAN_FORGET] = "forget",
	[PLAN_NEXUS] = "nexus",
	[PLAN_PATHS] = "paths",
	[PLAN_WRITES] = "writes",
	[PLAN_GUEST] = "guest",
	[PLAN_VMM] = "vmm",
	[PLAN_HANG] = "hang",
	[PLAN_REPLY] = "reply",
	[PLAN_VM_CREATE] = "vm-create",
	[PLAN_VM_START] = "vm-start",
	[PLAN_VM_STOP] = "vm-stop",
	[PLAN_VM_DELETE] = "vm-delete",
	[PLAN_VM_MIGRATE] = "vm-migrate",
	[PLAN_VM_CANCEL] = "vm-cancel",
	[PLAN_NODE_PAUSE] = "node-pause",
	[PLAN_NODE_RESUME] = "node-resume",
	[PLAN_CONFIRM] = "confirm-dead",
	[PLAN_VOLUME_MOVE] = "volume-move",
	[PLAN_VM_SET] = "vm-set",
	[PLAN_CAPS] = "caps",
	[PLAN_CLUSTER] = "cluster",
};

static const char *const messages[] = { "none",	   "sync", "status", "epoch",	"propose",
					"ack", "want", "tail",	 "snapshot" };
static const char *const stores[] = { "none", "append", "truncate", "promise", "snapshot" };

static const char *arg_name(const struct plan_step *step)
{
	if (step->when == PLAN_DURABLE)
		return stores[step->arg];
	if (step->when >= PLAN_SEND)
		return messages[step->arg];
	return core_effect_name(step->arg);
}

static int find(const char *const *names, unsigned count, const char *word)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], word) == 0)
			return (int)i;
	return -1;
}

static int arg_find(uint8_t when, const char *word)
{
	uint8_t kind;

	if (when == PLAN_DURABLE)
		return find(stores, CL_ARRAY_LEN(stores), word);
	if (when >= PLAN_SEND)
		return find(messages, CL_ARRAY_LEN(messages), word);
	for (kind = 1; kind < CORE_FX_KINDS; kind++)
		if (strcmp(core_effect_name(kind), word) == 0)
			return kind;
	return -1;
}

static void node_print(FILE *file, const char *key, uint8_t node)
{
	if (node == PLAN_OTHER)
		fprintf(file, " %s=other", key);
	else if (node)
		fprintf(file, " %s=%u", key, node);
}

void plan_step_print(const struct plan_step *step, FILE *file)
{
	fprintf(file, "at %u", step->at_ms);
	if (step->when) {
		fprintf(file, " when %s %s", whens[step->when], arg_name(step));
		if (step->on)
			fprintf(file, " on=%u", step->on);
		if (step->nth > 1)
			fprintf(file, " nth=%u", step->nth);
	}
	fprintf(file, " %s", acts[step->act]);
	node_print(file, "node", step->node);
	node_print(file, "peer", step->peer);
	if (step->vm)
		fprintf(file, " vm=%u", step->vm);
	if (step->volume)
		fprintf(file, " volume=%u", step->volume);
	if (step->for_ms)
		fprintf(file, " for=%u", step->for_ms);
	if (step->value)
		fprintf(file, " value=%d", step->value);
	fputc('\n', file);
}

void plan_print(const struct plan *plan, FILE *file)
{
	uint32_t i;

	fprintf(file, "title %s\n", plan->title[0] ? plan->title : "(none)");
	if (plan->mutant)
		fprintf(file, "mutant %d %s\n", plan->mutant, plan->caught);
	fprintf(file, "world seed=%llu nodes=%u vms=%u volumes=%u lost=%u fail=%u slow=%u store=%u"
		      " lazy-abort=%u stop=%u heal=%u\n",
		(unsigned long long)plan->world_seed, plan->nodes, plan->vms, plan->volumes,
		plan->p_lost, plan->p_fail, plan->p_slow, plan->store, plan->lazy_abort,
		plan->stop_ms, plan->heal_ms);
	for (i = 1; i <= plan->nodes; i++)
		if (plan->drift_ppm[i])
			fprintf(file, "drift node=%u value=%d\n", i, plan->drift_ppm[i]);
	for (i = 0; i < plan->count; i++)
		if (plan->steps[i].act)
			plan_step_print(&plan->steps[i], file);
	for (i = 0; i < plan->expect_count; i++)
		fprintf(file, "%s %s\n", plan->expect[i].never ? "never" : "expect",
			plan->expect[i].text);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reading {
	const char *path;
	unsigned line;
	char *error;
	size_t cap;
};

static int bad(struct reading *rd, const char *seen, const char *allowed)
{
	snprintf(rd->error, rd->cap, "%s:%u: '%s': expected %s", rd->path, rd->line,
		 seen ? seen : "(end of line)", allowed);
	return -EBADMSG;
}

/* key=number; other and where are nodes. */
static bool pair(char *word, const char **ret_key, long *ret_value)
{
	char *value = strchr(word, '='), *end;

	if (!value || !value[1])
		return false;
	*value++ = '\0';
	*ret_key = word;
	if (strcmp(value, "other") == 0) {
		*ret_value = PLAN_OTHER;
		return true;
	}
	if (strcmp(value, "where") == 0) {
		*ret_value = PLAN_WHERE;
		return true;
	}
	*ret_value = strtol(value, &end, 10);
	return !*end;
}

static int world_read(struct reading *rd, struct plan *plan, char **save)
{
	char *word;

	while ((word = strtok_r(NULL, " \t", save)) != NULL) {
		const char *key;
		char copy[64];
		long v;

		snprintf(copy, sizeof(copy), "%s", word);
		if (strncmp(word, "seed=", 5) == 0) {
			plan->world_seed = strtoull(word + 5, NULL, 10);
			continue;
		}
		if (!pair(word, &key, &v) || v < 0)
			return bad(rd, copy, "key=number");
		if (strcmp(key, "nodes") == 0 && v >= 1 && v <= (long)SIM_NODES)
			plan->nodes = (uint8_t)v;
		else if (strcmp(key, "vms") == 0 && v <= (long)SIM_VMS)
			plan->vms = (uint8_t)v;
		else if (strcmp(key, "volumes") == 0 && v >= 1 && v <= (long)SIM_VOLUMES)
			plan->volumes = (uint8_t)v;
		else if (strcmp(key, "lost") == 0 && v <= 100)
			plan->p_lost = (uint8_t)v;
		else if (strcmp(key, "fail") == 0 && v <= 100)
			plan->p_fail = (uint8_t)v;
		else if (strcmp(key, "slow") == 0 && v <= 100)
			plan->p_slow = (uint8_t)v;
		else if (strcmp(key, "store") == 0 && v <= 1)
			plan->store = (uint8_t)v;
		else if (strcmp(key, "lazy-abort") == 0 && v <= 1)
			plan->lazy_abort = v;
		else if (strcmp(key, "stop") == 0)
			plan->stop_ms = (uint32_t)v;
		else if (strcmp(key, "heal") == 0)
			plan->heal_ms = (uint32_t)v;
		else
			return bad(rd, copy, "seed nodes vms volumes lost fail slow store lazy-abort stop heal");
	}
	return 0;
}

static int step_pairs(struct reading *rd, struct plan_step *step, char **save)
{
	char *word;

	while ((word = strtok_r(NULL, " \t", save)) != NULL) {
		const char *key;
		char copy[64];
		long v;

		snprintf(copy, sizeof(copy), "%s", word);
		if (!pair(word, &key, &v))
			return bad(rd, copy, "key=number");
		if (strcmp(key, "node") == 0 && (v == PLAN_OTHER || v <= (long)SIM_NODES))
			step->node = (uint8_t)v;
		else if (strcmp(key, "peer") == 0 && (v == PLAN_OTHER || v <= (long)SIM_NODES))
			step->peer = (uint8_t)v;
		else if (strcmp(key, "vm") == 0 && v < (long)SIM_VMS)
			step->vm = (uint8_t)v;
		else if (strcmp(key, "volume") == 0 && v < (long)SIM_VOLUMES)
			step->volume = (uint8_t)v;
		else if (strcmp(key, "for") == 0)
			step->for_ms = (uint32_t)v;
		else if (strcmp(key, "value") == 0)
			step->value = (int32_t)v;
		else
			return bad(rd, copy, "node peer vm volume for value, in range");
	}
	return 0;
}

static int step_read(struct reading *rd, struct plan *plan, char **save)
{
	struct plan_step *step = &plan->steps[plan->count];
	char *word = strtok_r(NULL, " \t", save), *end;
	int n;

	if (plan->count == PLAN_STEPS)
		return bad(rd, "at", "fewer steps");
	memset(step, 0, sizeof(*step));
	step->at_ms = word ? (uint32_t)strtoul(word, &end, 10) : 0;
	if (!word || *end)
		return bad(rd, word, "milliseconds");
	word = strtok_r(NULL, " \t", save);
	if (word && strcmp(word, "when") == 0) {
		word = strtok_r(NULL, " \t", save);
		n = word ? find(whens, PLAN_WHENS, word) : -1;
		if (n <= 0)
			return bad(rd, word, "begin done answer send deliver durable");
		step->when = (uint8_t)n;
		step->nth = 1;
		word = strtok_r(NULL, " \t", save);
		n = word ? arg_find(step->when, word) : -1;
		if (n <= 0)
			return bad(rd, word, "an effect, a message of the log or a store operation");
		step->arg = (uint8_t)n;
		word = strtok_r(NULL, " \t", save);
		for (; word && strchr(word, '='); word = strtok_r(NULL, " \t", save)) {
			if (strncmp(word, "on=", 3) == 0)
				step->on = (uint8_t)atoi(word + 3);
			else if (strncmp(word, "nth=", 4) == 0)
				step->nth = (uint8_t)atoi(word + 4);
			else
				return bad(rd, word, "on=NODE nth=NUMBER");
		}
	}
	n = word ? find(acts, PLAN_ACTS, word) : -1;
	if (n <= 0)
		return bad(rd, word, "an action (tests/sim/plan.h)");
	step->act = (uint8_t)n;
	plan->count++;
	return step_pairs(rd, step, save);
}

static int line_read(struct reading *rd, struct plan *plan, char *line)
{
	char *save = NULL, *word, *rest = line + strcspn(line, " \t");
	struct plan_step drift = { 0 };

	rest += strspn(rest, " \t");
	if (strncmp(line, "title ", 6) == 0) {
		snprintf(plan->title, sizeof(plan->title), "%.*s", (int)sizeof(plan->title) - 1, rest);
		return 0;
	}
	if (strncmp(line, "expect ", 7) == 0 || strncmp(line, "never ", 6) == 0) {
		if (plan->expect_count == PLAN_EXPECT)
			return bad(rd, line, "fewer expectations");
		plan->expect[plan->expect_count].never = line[0] == 'n';
		snprintf(plan->expect[plan->expect_count++].text, sizeof(plan->expect[0].text), "%.*s",
			 (int)sizeof(plan->expect[0].text) - 1, rest);
		return 0;
	}
	word = strtok_r(line, " \t", &save);
	if (strcmp(word, "mutant") == 0) {
		word = strtok_r(NULL, " \t", &save);
		plan->mutant = word ? atoi(word) : 0;
		word = strtok_r(NULL, " \t", &save);
		snprintf(plan->caught, sizeof(plan->caught), "%s", word ? word : "");
		return plan->mutant > 0 && word ? 0 : bad(rd, word, "number and invariant");
	}
	if (strcmp(word, "world") == 0)
		return world_read(rd, plan, &save);
	if (strcmp(word, "at") == 0)
		return step_read(rd, plan, &save);
	if (strcmp(word, "drift") == 0) {
		int err = step_pairs(rd, &drift, &save);

		if (!err)
			plan->drift_ppm[drift.node % 8] = drift.value;
		return err;
	}
	return bad(rd, word, "title mutant world drift at expect never");
}

int plan_read(struct plan *plan, const char *path, char *error, size_t cap_bytes)
{
	struct reading rd = { .path = path, .error = error, .cap = cap_bytes };
	FILE *file = fopen(path, "r");
	char line[512];
	int err = 0;

	if (!file) {
		snprintf(error, cap_bytes, "%s: %s", path, strerror(errno));
		return -errno;
	}
	memset(plan, 0, sizeof(*plan));
	plan->nodes = 3;
	plan->vms = plan->volumes = 1;
	plan->heal_ms = 45000;
	plan->world_seed = 1;
	plan->stop_ms = 500;
	while (!err && fgets(line, sizeof(line), file)) {
		rd.line++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			err = line_read(&rd, plan, line);
	}
	fclose(file);
	return err;
}

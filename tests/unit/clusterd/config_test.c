/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/config_*: what is exported is read back the same; every mistake is named where it stands. */
#include "tests/unit/clusterd/core_flow.h"

#include <stdio.h>
#include <stdlib.h>

#include "clusterd/config_at.h"
#include "clusterd/config_jansson.h"
#include "tests/unit/unit.h"

static const char *const document =
	"{\n"
	" \"format\": \"holdfast-config\", \"version\": 1,\n"
	" \"cluster\": {\"name\": \"demo\", \"settings\": {\"silent-ms\": 30000}},\n"
	" \"nodes\": [{\"name\": \"n1\"}, {\"name\": \"n2\"}],\n"
	" \"volumes\": [{\"name\": \"data\", \"lun\": \"naa.1\"}],\n"
	" \"vms\": [\n"
	"  {\"name\": \"b\", \"memory_mib\": 512, \"cpus\": 1, \"kernel\": \"/k\",\n"
	"   \"disks\": [{\"volume\": \"data\", \"path\": \"b.img\", \"size\": 4096}]},\n"
	"  {\"name\": \"a\", \"memory_mib\": 512, \"cpus\": 1, \"kernel\": \"/k\", \"append\": \"\\\"{[,\",\n"
	"   \"policy\": {\"priority\": \"high\", \"preferred\": [\"n2\"]}}\n"
	" ]\n"
	"}\n";

static void at(const char *text, const char *path, unsigned line, unsigned column)
{
	unsigned l, c;

	cd_config_at(text, strlen(text), path, &l, &c);
	CU_ASSERT_EQUAL(l, line);
	CU_ASSERT_EQUAL(c, column);
	if (l != line || c != column)
		printf("%s: %u:%u\n", path, l, c);
}

static void places(void)
{
	at(document, "", 1, 1);
	at(document, "version", 2, 42);
	at(document, "cluster.settings.silent-ms", 3, 56);
	at(document, "vms[0]", 7, 3);
	at(document, "vms[0].disks[0].size", 8, 58);
	at(document, "vms[1].policy.preferred[0]", 10, 49);
	/* Where nothing is, the last on the way; and nothing is read beyond the end. */
	at(document, "vms[7].name", 6, 9);
	at(document, "vms[1].nothing", 9, 3);
	at("{\"\303\244\": 1, \"b\": 2}", "b", 1, 15);
	for (size_t len = 0; len < strlen(document); len++) {
		char *copy = malloc(len + 1);
		unsigned l, c;

		memcpy(copy, document, len);
		cd_config_at(copy, len, "vms[1].policy.preferred[0]", &l, &c);
		CU_ASSERT_TRUE(l >= 1 && c >= 1);
		free(copy);
	}
}

static struct cd_config *read_text(const char *text, const struct core_state *cluster)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	struct cd_config *config;

	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	config = cd_config_read(root, cluster);
	json_decref(root);
	return config;
}

static void good(void)
{
	struct cd_config *c = read_text(document, NULL);

	CU_ASSERT_EQUAL(c->problem_count, 0);
	for (unsigned i = 0; i < c->problem_count; i++)
		printf("%s: %s\n", c->problems[i].path, c->problems[i].text);
	CU_ASSERT_EQUAL(c->n_vms, 2);
	CU_ASSERT_STRING_EQUAL(c->vms[0].config.name, "a");
	CU_ASSERT_EQUAL(c->vms[0].index, 1);
	CU_ASSERT_EQUAL(c->vms[0].policy.preferred[0], 2);
	CU_ASSERT_EQUAL(c->vms[1].config.disks[0].size_bytes, 4096);
	CU_ASSERT_EQUAL(c->settings->set_count, 1);
	cd_config_free(c);
}

/* document with one piece replaced. */
static char *but(const char *what, const char *with)
{
	const char *p = strstr(document, what);
	char *out = calloc(1, strlen(document) + strlen(with) + 1);

	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	memcpy(out, document, (size_t)(p - document));
	strcat(out, with);
	strcat(out, p + strlen(what));
	return out;
}

static void mistakes(void)
{
	static const struct {
		const char *what, *with, *path, *text;
	} cases[] = {
		{ "\"version\": 1", "\"version\": 2", "version", "version: 2: allowed 1 to 1" },
		{ "holdfast-config", "other", "format", "allowed \"holdfast-config\"" },
		{ "\"cluster\": {", "\"clutser\": {}, \"cluster\": {", "clutser",
		  "'clutser' is not known here: allowed format version cluster nodes volumes vms" },
		{ "30000", "1", "cluster.settings.silent-ms", "silent-ms 1: allowed 5000 to 3600000" },
		{ "\"silent-ms\": 30000", "\"takeover-ms\": 9000", "cluster.settings",
		  "freeze-kill-ms 5000 + kill 2000 + skew 4000 = 11000 must not be more than takeover-ms"
		  " 9000" },
		{ "\"silent-ms\"", "\"silent\"", "cluster.settings.silent", "allowed are freeze-kill-ms" },
		{ "{\"name\": \"n2\"}", "{\"name\": \"n1\"}", "nodes[1]", "node n1 is named twice" },
		{ "{\"name\": \"n2\"}", "7", "nodes[1]", "7: an object is expected" },
		{ "{\"name\": \"n2\"}", "{\"name\": \"-\"}", "nodes[1].name", "name: \"-\": allowed 1 to 63" },
		{ "\"naa.1\"", "\"\"", "volumes[0].lun", "lun: \"\": allowed text of 1 to" },
		{ "512", "5", "vms[0].memory_mib", "memory_mib: 5: allowed 64 to 1048576" },
		{ "\"memory_mib\": 512, ", "", "vms[0]", "memory_mib: nothing: allowed 64 to 1048576" },
		{ "\"cpus\": 1", "\"cpus\": \"1\"", "vms[0].cpus", "cpus: \"1\": allowed 1 to 4" },
		{ "\"/k\"", "\"k\"", "vms[0].kernel", "kernel: \"k\": allowed an absolute path" },
		{ "\"volume\": \"data\"", "\"volume\": \"date\"", "vms[0].disks[0].volume",
		  "volume: \"date\": allowed the name of a volume" },
		{ "4096", "5000", "vms[0].disks[0].size", "size: 5000: allowed multiples of 4096" },
		{ "b.img", "../b.img", "vms[0].disks[0].path", "allowed a path below the volume" },
		{ "\"name\": \"a\"", "\"name\": \"b\"", "vms[", "VM b is named twice" },
		{ "\"high\"", "\"higher\"", "vms[1].policy", "allowed high, medium, low, none" },
		{ "[\"n2\"]", "[\"n9\"]", "vms[1].policy", "there is no node 'n9'" },
	};

	for (unsigned i = 0; i < CL_ARRAY_LEN(cases); i++) {
		char *text = but(cases[i].what, cases[i].with);
		struct cd_config *c = read_text(text, NULL);
		bool found = false;

		CU_ASSERT_TRUE(c->problem_count >= 1);
		for (unsigned k = 0; k < c->problem_count; k++)
			found |= strncmp(c->problems[k].path, cases[i].path, strlen(cases[i].path)) == 0 &&
				 strstr(c->problems[k].text, cases[i].text);
		CU_ASSERT_TRUE(found);
		if (!found)
			printf("%s -> %s: %s\n", cases[i].with, c->problems[0].path,
			       c->problems[0].text);
		cd_config_free(c);
		free(text);
	}
}

static void all_mistakes_are_told(void)
{
	struct cd_config *c = read_text("{\"format\": 1, \"version\": 9, \"x\": 1, \"vms\": [{}, 3]}", NULL);

	CU_ASSERT_EQUAL(c->problem_count, 1); /* what is unknown may hide the rest */
	cd_config_free(c);
	c = read_text("{\"format\": 1, \"version\": 9, \"vms\": [{}, 3]}", NULL);
	CU_ASSERT_EQUAL(c->problem_count, 7);
	cd_config_free(c);
}

/* What is written is good, the same each time, and the same again after it was read. */
static void round_trip(void)
{
	json_t *one, *two;
	struct cd_config *c;
	char *a, *b;

	flow_cluster();
	one = cd_config_write(&st);
	two = cd_config_write(&st);
	a = json_dumps(one, JSON_SORT_KEYS | JSON_INDENT(2));
	b = json_dumps(two, JSON_SORT_KEYS | JSON_INDENT(2));
	CU_ASSERT_STRING_EQUAL(a, b);
	c = cd_config_read(one, NULL);
	CU_ASSERT_EQUAL(c->problem_count, 0);
	for (unsigned i = 0; i < c->problem_count; i++)
		printf("%s: %s\n", c->problems[i].path, c->problems[i].text);
	CU_ASSERT_EQUAL(c->n_nodes, 3);
	CU_ASSERT_EQUAL(c->n_vms, 1);
	CU_ASSERT_EQUAL(c->vms[0].config.memory_mib, flow_web()->config.memory_mib);
	CU_ASSERT_STRING_EQUAL(c->vms[0].config.disks[0].path, "web.img");
	cd_config_free(c);
	free(a);
	free(b);
	json_decref(one);
	json_decref(two);
}

UNIT_MAIN("config", { "places", places }, { "good", good }, { "mistakes", mistakes },
	  { "all mistakes", all_mistakes_are_told }, { "round trip", round_trip })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csv/grants.c: a VM's image is served to the nodes that the log names, up to their generations. */
#include "csv/grants.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

static const struct csv_fh web = {.ino = 131, .gen = 7}, mail = {.ino = 132, .gen = 1},
			   iso = {.ino = 140, .gen = 1}, again = {.ino = 131, .gen = 8};
static const char *whose;

/* web is at node 1 with generation 5 and moves to node 2 with 6; mail is at node 3. */
static struct csv_grants *table(void)
{
	struct csv_grants *g = calloc(1, sizeof(*g) + 2 * sizeof(g->vms[0]));

	CU_ASSERT_PTR_NOT_NULL_FATAL(g);
	g->seq = 9;
	g->count = 2;
	strcpy(g->vms[0].vm, "web");
	g->vms[0].fh[1] = web;
	g->vms[0].generation[0] = 5;
	g->vms[0].generation[1] = 6;
	strcpy(g->vms[1].vm, "mail");
	g->vms[1].fh[0] = mail;
	g->vms[1].generation[2] = 1;
	return g;
}

static void no_table(void)
{
	struct csv_grants g = {0};

	CU_ASSERT_EQUAL(csv_grants_xopen(NULL, web, 3, "web", 1, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_xopen(&g, web, 3, "web", 1, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_io(&g, web, 3, &whose), CSV_GRANTS_YES);
	/* An empty table is a table: nobody runs a VM. */
	g.seq = 1;
	CU_ASSERT_EQUAL(csv_grants_xopen(&g, web, 3, "web", 1, &whose), CSV_GRANTS_NOT_HERE);
	CU_ASSERT_EQUAL(csv_grants_io(&g, web, 3, &whose), CSV_GRANTS_YES);
}

static void xopen(void)
{
	struct csv_grants *g = table();

	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 1, "web", 5, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 1, "web", 4, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 2, "web", 6, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 1, "web", 6, &whose), CSV_GRANTS_TOO_HIGH);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 2, "web", 1ull << 63, &whose), CSV_GRANTS_TOO_HIGH);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 3, "web", 1, &whose), CSV_GRANTS_NOT_HERE);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 0, "web", 1, &whose), CSV_GRANTS_NOT_HERE);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, CL_NODES_MAX + 1, "web", 1, &whose),
			CSV_GRANTS_NOT_HERE);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 1, "db", 1, &whose), CSV_GRANTS_OTHER_VM);
	CU_ASSERT_EQUAL(csv_grants_xopen(g, iso, 1, "db", 1, &whose), CSV_GRANTS_NOT_HERE);
	/* In the name of its own VM for the disk of another. */
	CU_ASSERT_EQUAL(csv_grants_xopen(g, web, 3, "mail", 1, &whose), CSV_GRANTS_OTHER_VM);
	CU_ASSERT_STRING_EQUAL(whose, "web");
	free(g);
}

static void io(void)
{
	struct csv_grants *g = table();

	CU_ASSERT_EQUAL(csv_grants_io(g, web, 1, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_io(g, web, 2, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_io(g, web, 3, &whose), CSV_GRANTS_NOT_HERE);
	CU_ASSERT_STRING_EQUAL(whose, "web");
	CU_ASSERT_EQUAL(csv_grants_io(g, mail, 1, &whose), CSV_GRANTS_NOT_HERE);
	/* Ordinary files, and a later file with the same inode number. */
	CU_ASSERT_EQUAL(csv_grants_io(g, iso, 3, &whose), CSV_GRANTS_YES);
	CU_ASSERT_EQUAL(csv_grants_io(g, again, 3, &whose), CSV_GRANTS_YES);
	/* A path that was not found is no file. */
	CU_ASSERT_EQUAL(csv_grants_io(g, (struct csv_fh){0}, 3, &whose), CSV_GRANTS_YES);
	free(g);
}

UNIT_MAIN("grants", {"no table", no_table}, {"xopen", xopen}, {"io", io})

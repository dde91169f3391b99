/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/proto.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint8_t buf[CSV_RPC_BODY_MAX + CSV_RPC_HEADER_BYTES];
static struct csv_rpc_msg in, out;

static void fill(struct csv_rpc_msg *m)
{
	memset(m, 0, sizeof(*m));
	m->fh = (struct csv_fh){0x123456789abcull, 77};
	m->fh2 = (struct csv_fh){42, 1};
	strcpy(m->name, "a name");
	strcpy(m->name2, "other");
	strcpy(m->text, "some/where");
	strcpy(m->vm, "vm1");
	m->attr = (struct csv_attr){.fh = {9, 8}, .mode = 0100644, .size = 1ull << 40, .mtime_ns = -5};
	m->statfs.bfree = 17;
	m->mode = 0755;
	m->node = 3;
	m->flags = 5;
	m->off = 4096;
	m->len = 8192;
	m->generation = 12;
	m->seq = 99;
	m->version = 7;
	m->data = "0123456789";
	m->data_bytes = 10;
}

static void every_operation(void)
{
	for (unsigned op = CSV_OP_HELLO; op < CSV_OP_COUNT; op++) {
		for (unsigned kind = CSV_RPC_REQUEST; kind <= CSV_RPC_REPLY; kind++) {
			struct csv_rpc_hdr h = {.kind = kind, .op = op, .term = 5, .seq = 6, .slot = 2}, g;
			uint8_t again[8192];
			long n, k;

			fill(&in);
			n = csv_rpc_encode(&h, &in, buf, sizeof(buf));
			CU_ASSERT_FATAL(n >= (long)CSV_RPC_HEADER_BYTES);
			CU_ASSERT_EQUAL_FATAL(csv_rpc_header_decode(buf, &g), 0);
			CU_ASSERT(g.op == op && g.kind == kind && g.term == 5 && g.seq == 6 && g.slot == 2);
			CU_ASSERT_EQUAL((long)(g.body_bytes + CSV_RPC_HEADER_BYTES), n);
			CU_ASSERT_EQUAL_FATAL(csv_rpc_body_decode(&g, buf + CSV_RPC_HEADER_BYTES, &out), 0);
			/* What was decoded encodes to the same bytes. */
			k = csv_rpc_encode(&g, &out, again, sizeof(again));
			CU_ASSERT(k == n && !memcmp(again, buf, (size_t)n));
			/* One byte less or more is refused. */
			if (g.body_bytes) {
				g.body_bytes--;
				CU_ASSERT_EQUAL(csv_rpc_body_decode(&g, buf + CSV_RPC_HEADER_BYTES, &out), -EBADMSG);
				g.body_bytes++;
			}
			g.body_bytes++;
			CU_ASSERT_EQUAL(csv_rpc_body_decode(&g, buf + CSV_RPC_HEADER_BYTES, &out), -EBADMSG);
		}
	}
}

static void bad_headers(void)
{
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = CSV_OP_PING}, g;
	static const struct {
		unsigned at;
		uint8_t v;
	} bad[] = {{0, 0}, {4, 9}, {5, 3}, {5, 0}, {6, 0}, {6, CSV_OP_COUNT}, {11, 0xff}, {12, 1}, {32, CSV_RPC_SLOTS}};

	fill(&in);
	CU_ASSERT(csv_rpc_encode(&h, &in, buf, sizeof(buf)) == CSV_RPC_HEADER_BYTES);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t copy[CSV_RPC_HEADER_BYTES];

		memcpy(copy, buf, sizeof(copy));
		copy[bad[i].at] = bad[i].v;
		CU_ASSERT_EQUAL(csv_rpc_header_decode(copy, &g), -EBADMSG);
	}
	h.op = CSV_OP_COUNT;
	CU_ASSERT_EQUAL(csv_rpc_encode(&h, &in, buf, sizeof(buf)), -EINVAL);
	h.op = CSV_OP_LOOKUP;
	CU_ASSERT_EQUAL(csv_rpc_encode(&h, &in, buf, CSV_RPC_HEADER_BYTES + 3), -EMSGSIZE);
}

static void names(void)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/"};
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = CSV_OP_LOOKUP}, g;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_FALSE(csv_component_valid(bad[i]));
		fill(&in);
		strcpy(in.name, bad[i]);
		CU_ASSERT(csv_rpc_encode(&h, &in, buf, sizeof(buf)) > 0);
		CU_ASSERT_EQUAL(csv_rpc_header_decode(buf, &g), 0);
		CU_ASSERT_EQUAL(csv_rpc_body_decode(&g, buf + CSV_RPC_HEADER_BYTES, &out), -EBADMSG);
	}
	CU_ASSERT_TRUE(csv_component_valid("..."));
	CU_ASSERT_TRUE(csv_component_valid("a b\n"));
}

static void status_has_no_body(void)
{
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REPLY, .op = CSV_OP_LOOKUP, .status = -ENOENT}, g;

	CU_ASSERT_EQUAL(csv_rpc_encode(&h, NULL, buf, sizeof(buf)), CSV_RPC_HEADER_BYTES);
	CU_ASSERT_EQUAL(csv_rpc_header_decode(buf, &g), 0);
	CU_ASSERT_EQUAL(g.status, -ENOENT);
	CU_ASSERT_EQUAL(csv_rpc_body_decode(&g, buf + CSV_RPC_HEADER_BYTES, &out), 0);
}

static void extents(void)
{
	struct csv_wire_extent e[3] = {{0, 1 << 20, 8192}, {8192, 4096, 4096}, {16384, 1 << 30, 4096}}, d[3];
	long n = csv_extents_encode(e, 3, buf, sizeof(buf));

	CU_ASSERT_EQUAL_FATAL(n, 3 * CSV_RPC_EXTENT_BYTES);
	CU_ASSERT_EQUAL(csv_extents_decode(buf, (size_t)n, 4096, d, 3), 3);
	CU_ASSERT(!memcmp(e, d, sizeof(e)));
	CU_ASSERT_EQUAL(csv_extents_decode(buf, (size_t)n, 4096, d, 2), -E2BIG);
	CU_ASSERT_EQUAL(csv_extents_decode(buf, (size_t)n - 1, 4096, d, 3), -EBADMSG);
	CU_ASSERT_EQUAL(csv_extents_decode(buf, (size_t)n, 65536, d, 3), -EBADMSG);
	for (unsigned i = 0; i < 4; i++) {
		struct csv_wire_extent b[2] = {{0, 0, 8192}, {8192, 8192, 4096}};

		if (i == 0)
			b[1].file_off = 4096; /* overlaps */
		if (i == 1)
			b[1].len = 0;
		if (i == 2)
			b[1].dev_off = UINT64_MAX - 4095; /* wraps */
		if (i == 3)
			b[0].len = 100;
		n = csv_extents_encode(b, 2, buf, sizeof(buf));
		CU_ASSERT_EQUAL(csv_extents_decode(buf, (size_t)n, 4096, d, 3), -EBADMSG);
	}
}

UNIT_MAIN("proto", {"every operation there and back", every_operation}, {"bad headers", bad_headers},
	  {"names that are paths", names}, {"an error has no body", status_has_no_body},
	  {"extents", extents})

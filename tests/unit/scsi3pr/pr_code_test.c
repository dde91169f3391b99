/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte images by the tables of SPC-4 (6.15, 6.16, 7.6.4) and SBC-3 (5.16). */
#include "scsi3pr/pr_code.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static void commands(void)
{
	/* SPC-4 6.15.1: operation code, service action, allocation length at 7 */
	static const uint8_t in[10] = { 0x5e, 0x02, 0, 0, 0, 0, 0, 0x01, 0x08, 0 };
	/* 6.16.1: scope and type at 2, parameter list length at 5 */
	static const uint8_t out[10] = { 0x5f, 0x05, 0x08, 0, 0, 0, 0, 0, 0x18, 0 };
	static const uint8_t inquiry[6] = { 0x12, 0x01, 0x83, 0x10, 0x00, 0 };
	static const uint8_t capacity[16] = { 0x9e, 0x10, [13] = 32 };
	static const uint8_t read[10] = { 0x28, 0, 0x01, 0x02, 0x03, 0x04, 0, 0, 1, 0 };
	uint8_t cdb[PR_CDB_MAX];

	CU_ASSERT_EQUAL(pr_in_encode(PR_IN_REPORT_CAPABILITIES, 0x108, cdb), 10);
	CU_ASSERT_EQUAL(memcmp(cdb, in, sizeof(in)), 0);
	CU_ASSERT_EQUAL(pr_out_encode(PR_OUT_PREEMPT_AND_ABORT, 0, 8, 24, cdb), 10);
	CU_ASSERT_EQUAL(memcmp(cdb, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(pr_inquiry_encode(true, 0x83, 4096, cdb), 6);
	CU_ASSERT_EQUAL(memcmp(cdb, inquiry, sizeof(inquiry)), 0);
	CU_ASSERT_EQUAL(pr_read_capacity16_encode(32, cdb), 16);
	CU_ASSERT_EQUAL(memcmp(cdb, capacity, sizeof(capacity)), 0);
	CU_ASSERT_EQUAL(pr_read10_encode(0x01020304, 1, cdb), 10);
	CU_ASSERT_EQUAL(memcmp(cdb, read, sizeof(read)), 0);
}

static void out_parameter_list(void)
{
	/* SPC-4 6.16.3: keys, obsolete, SPEC_I_PT ALL_TG_PT APTPL at 20 */
	static const uint8_t image[24] = { 0xc5, 1,    2,    3,	   4,	 5, 6, 7, 0xc5, 0x11, 0x12,
					   0x13, 0x14, 0x15, 0x16, 0x17, 0, 0, 0, 0,	0x01 };
	struct pr_out_list list = { .key = 0xc501020304050607,
				    .action_key = 0xc511121314151617,
				    .aptpl = true },
			   back;
	uint8_t buf[PR_OUT_LIST_BYTES];

	pr_out_list_encode(&list, buf);
	CU_ASSERT_EQUAL(memcmp(buf, image, sizeof(buf)), 0);
	CU_ASSERT_EQUAL(pr_out_list_decode(buf, sizeof(buf), &back), 0);
	CU_ASSERT(back.key == list.key && back.action_key == list.action_key && back.aptpl);
	CU_ASSERT_EQUAL(pr_out_list_decode(buf, 23, &back), -EBADMSG);
	list.all_ports = list.specify_initiators = true;
	pr_out_list_encode(&list, buf);
	CU_ASSERT_EQUAL(buf[20], 0x0d);
}

static void keys(void)
{
	/* 6.15.2: PRgeneration, additional length, keys */
	static const uint8_t image[] = { 0, 0, 1, 2, 0, 0, 0, 16, 0xc5, 0, 0, 0,
					 0, 0, 0, 1, 0, 0, 0, 0,  0,	0, 0, 2 };
	static struct scsi3pr_keys k;
	uint8_t bad[24];

	CU_ASSERT_EQUAL(pr_keys_decode(image, sizeof(image), &k), 0);
	CU_ASSERT_EQUAL(k.generation, 0x102);
	CU_ASSERT_EQUAL(k.n, 2);
	CU_ASSERT(k.key[0] == 0xc500000000000001 && k.key[1] == 2);
	CU_ASSERT(scsi3pr_keys_have(&k, 2) && !scsi3pr_keys_have(&k, 3));
	for (size_t cut = 0; cut < 8; cut++)
		CU_ASSERT_EQUAL(pr_keys_decode(image, cut, &k), -EBADMSG);
	for (size_t cut = 8; cut < sizeof(image); cut++) {
		CU_ASSERT_EQUAL(pr_keys_decode(image, cut, &k), -EMSGSIZE);
		CU_ASSERT_EQUAL(k.n, 0);
	}
	memcpy(bad, image, sizeof(bad));
	bad[7] = 15;
	CU_ASSERT_EQUAL(pr_keys_decode(bad, sizeof(bad), &k), -EBADMSG);
	memset(bad + 4, 0xff, 4);
	bad[7] = 0xf8;
	CU_ASSERT_EQUAL(pr_keys_decode(bad, sizeof(bad), &k), -EMSGSIZE);
}

static void reservation(void)
{
	/* 6.15.3: held, type 8, key 0 as for all all-registrants types */
	static const uint8_t held[24] = { 0, 0, 0, 9, 0, 0, 0, 16, [21] = 0x08 };
	static const uint8_t none[8] = { 0, 0, 0, 9 };
	struct scsi3pr_reservation r;

	CU_ASSERT_EQUAL(pr_reservation_decode(held, sizeof(held), &r), 0);
	CU_ASSERT(r.held && r.type == 8 && r.scope == 0 && r.key == 0 && r.generation == 9);
	CU_ASSERT_EQUAL(pr_reservation_decode(none, sizeof(none), &r), 0);
	CU_ASSERT(!r.held);
	CU_ASSERT_EQUAL(pr_reservation_decode(held, 23, &r), -EBADMSG);
	CU_ASSERT_EQUAL(pr_reservation_decode(held, 7, &r), -EBADMSG);
}

static void capabilities(void)
{
	/* 6.15.4: what LIO answers: CRH, ATP_C, PTPL_C; TMV, PTPL_A; all six types */
	static const uint8_t image[8] = { 0, 8, 0x15, 0x81, 0xea, 0x01 };
	struct scsi3pr_capabilities c;

	CU_ASSERT_EQUAL(pr_capabilities_decode(image, sizeof(image), &c), 0);
	CU_ASSERT(c.persist_capable && c.persist_active && c.all_ports_capable && c.types_valid);
	CU_ASSERT(c.compatible_handling && !c.specify_initiators_capable);
	CU_ASSERT_EQUAL(c.types, 1u << 1 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8);
	CU_ASSERT_EQUAL(pr_capabilities_decode(image, 7, &c), -EBADMSG);
}

static void full_status(void)
{
	/* 6.15.5 with an iSCSI TransportID of format 01b (7.6.4.6) */
	static const uint8_t image[8 + 24 + 28] = {
		[3] = 3,     [7] = 52,	  [8] = 0xc5, [15] = 1, /* key */
		[20] = 0x01, [21] = 0x08,			/* holder; scope, type */
		[27] = 2,					/* relative target port */
		[31] = 28,					/* additional descriptor length */
		[32] = 0x45, [35] = 24, /* format 01b, iSCSI; length of the name */
		[36] = 'i',  'q',	  'n',	      '.',	'a',  ',', 'i',
		',',	     '0',	  'x',	      '1',	0x1b, 0,
	};
	static struct scsi3pr_full_status s;
	uint8_t bad[sizeof(image)];

	CU_ASSERT_EQUAL(pr_full_status_decode(image, sizeof(image), &s), 0);
	CU_ASSERT_EQUAL_FATAL(s.n, 1);
	CU_ASSERT(s.nexus[0].holder && s.nexus[0].type == 8 && s.nexus[0].target_port == 2);
	CU_ASSERT_STRING_EQUAL(s.nexus[0].initiator, "iqn.a,i,0x1?"); /* no escape gets through */
	CU_ASSERT_EQUAL(pr_full_status_decode(image, sizeof(image) - 1, &s), 0);
	CU_ASSERT(s.truncated && s.n == 0);
	memcpy(bad, image, sizeof(bad));
	bad[31] = 29;
	CU_ASSERT_EQUAL(pr_full_status_decode(bad, sizeof(bad), &s), -EBADMSG);
	bad[31] = 0;
	CU_ASSERT_EQUAL(pr_full_status_decode(bad, sizeof(bad), &s), -EBADMSG);
	memset(bad + 28, 0xff, 4);
	CU_ASSERT_EQUAL(pr_full_status_decode(bad, sizeof(bad), &s), -EBADMSG);
	CU_ASSERT_EQUAL(pr_full_status_decode(image, 4, &s), -EBADMSG);
}

static void capacity(void)
{
	static const uint8_t image[12] = { 0, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 0, 0, 2, 0 };
	uint8_t bad[12];
	uint64_t blocks;
	uint32_t bytes;

	CU_ASSERT_EQUAL(pr_capacity16_decode(image, sizeof(image), &blocks, &bytes), 0);
	CU_ASSERT(blocks == 0x400000 && bytes == 512);
	CU_ASSERT_EQUAL(pr_capacity16_decode(image, 11, &blocks, &bytes), -EBADMSG);
	memcpy(bad, image, sizeof(bad));
	bad[10] = 0;
	CU_ASSERT_EQUAL(pr_capacity16_decode(bad, sizeof(bad), &blocks, &bytes), -EBADMSG);
	memset(bad, 0xff, 8);
	bad[10] = 2;
	CU_ASSERT_EQUAL(pr_capacity16_decode(bad, sizeof(bad), &blocks, &bytes), -EBADMSG);
}

UNIT_MAIN("scsi3pr/pr_code", { "commands", commands }, { "out parameter list", out_parameter_list },
	  { "keys", keys }, { "reservation", reservation }, { "capabilities", capabilities },
	  { "full status", full_status }, { "capacity", capacity })

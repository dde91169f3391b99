/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/gpt.h"
#include "csv/lun.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct csv_super super_example(void)
{
	struct csv_super s = { .name = "vol1", .data_off = CSV_LUN_DATA_OFF, .created_ms = 42 };

	for (unsigned i = 0; i < CL_UUID_BYTES; i++) {
		s.cluster_uuid[i] = (uint8_t)i;
		s.volume_uuid[i] = (uint8_t)(0xf0 + i);
	}
	s.data_bytes = 100 * CSV_LUN_DATA_ALIGN;
	return s;
}

static struct csv_term term_example(void)
{
	struct csv_term t = { .term = 7,
			      .owner = 16,
			      .owner_key = 0xc5000f1000000009,
			      .state = CSV_TERM_GRACE,
			      .clients = 0x8001,
			      .sequence = 1234567 };

	memset(t.volume_uuid, 0xab, CL_UUID_BYTES);
	return t;
}

static void superblock_round_trip(void)
{
	struct csv_super s = super_example(), back;
	uint8_t buf[CSV_LUN_BLOCK];

	csv_super_encode(&s, buf);
	CU_ASSERT_EQUAL(memcmp(buf, "HFSUPER1", 8), 0);
	CU_ASSERT_EQUAL(buf[114], 0x10); /* 17 MiB at 112, docs/formats/lun.md */
	CU_ASSERT_EQUAL(buf[115], 0x01);
	CU_ASSERT_EQUAL(csv_super_decode(buf, &back), 0);
	CU_ASSERT_EQUAL(memcmp(&s, &back, sizeof(s)), 0);
}

static void term_round_trip(void)
{
	struct csv_term t = term_example(), back;
	uint8_t buf[CSV_LUN_BLOCK];

	csv_term_encode(&t, buf);
	CU_ASSERT_EQUAL(buf[32], 7);
	CU_ASSERT_EQUAL(buf[40], 16);
	CU_ASSERT_EQUAL(buf[44], 2);
	CU_ASSERT_EQUAL(csv_term_decode(buf, &back), 0);
	CU_ASSERT(csv_term_equal(&t, &back));
	back.sequence++;
	CU_ASSERT(!csv_term_equal(&t, &back));
}

static void any_changed_byte_is_refused(void)
{
	struct csv_super s = super_example(), s_back;
	struct csv_term t = term_example(), t_back;
	uint8_t a[CSV_LUN_BLOCK], b[CSV_LUN_BLOCK];

	csv_super_encode(&s, a);
	csv_term_encode(&t, b);
	for (unsigned i = 0; i < CSV_LUN_BLOCK; i++) {
		a[i] ^= 0x20;
		b[i] ^= 0x20;
		CU_ASSERT_EQUAL_FATAL(csv_super_decode(a, &s_back), -EBADMSG);
		CU_ASSERT_EQUAL_FATAL(csv_term_decode(b, &t_back), -EBADMSG);
		a[i] ^= 0x20;
		b[i] ^= 0x20;
	}
}

static void fields_out_of_range_are_refused(void)
{
	struct csv_super s = super_example(), s_back;
	struct csv_term t = term_example(), t_back;
	uint8_t buf[CSV_LUN_BLOCK];

	t.owner = 17;
	csv_term_encode(&t, buf);
	CU_ASSERT_EQUAL(csv_term_decode(buf, &t_back), -EBADMSG);
	t = term_example();
	t.state = (enum csv_term_state)4;
	csv_term_encode(&t, buf);
	CU_ASSERT_EQUAL(csv_term_decode(buf, &t_back), -EBADMSG);
	t = term_example();
	t.clients = 0x10000;
	csv_term_encode(&t, buf);
	CU_ASSERT_EQUAL(csv_term_decode(buf, &t_back), -EBADMSG);
	strcpy(s.name, "../x");
	csv_super_encode(&s, buf);
	CU_ASSERT_EQUAL(csv_super_decode(buf, &s_back), -EBADMSG);
	s = super_example();
	s.data_bytes = UINT64_MAX - (CSV_LUN_DATA_ALIGN - 1);
	csv_super_encode(&s, buf);
	CU_ASSERT_EQUAL(csv_super_decode(buf, &s_back), -EBADMSG);
	s = super_example();
	s.data_off = 0;
	csv_super_encode(&s, buf);
	CU_ASSERT_EQUAL(csv_super_decode(buf, &s_back), -EBADMSG);
}

static void zeroes_are_no_record(void)
{
	static const uint8_t zero[CSV_LUN_BLOCK];
	struct csv_super s;
	struct csv_term t;

	CU_ASSERT_EQUAL(csv_super_decode(zero, &s), -ENODATA);
	CU_ASSERT_EQUAL(csv_term_decode(zero, &t), -ENODATA);
}

static void uuid_text(void)
{
	static const uint8_t uuid[CL_UUID_BYTES] = {
		0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
		0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10
	};
	const char *text = "01234567-89ab-cdef-fedc-ba9876543210";
	char out[CSV_LUN_UUID_TEXT];
	uint8_t back[CL_UUID_BYTES];

	csv_uuid_format(uuid, out);
	CU_ASSERT_STRING_EQUAL(out, text);
	CU_ASSERT_EQUAL(csv_uuid_parse("01234567-89AB-CDEF-FEDC-BA9876543210", back), 0);
	CU_ASSERT_EQUAL(memcmp(uuid, back, sizeof(uuid)), 0);
	CU_ASSERT_EQUAL(csv_uuid_parse("", back), -EINVAL);
	CU_ASSERT_EQUAL(csv_uuid_parse("01234567-89ab-cdef-fedc-ba987654321", back), -EINVAL);
	CU_ASSERT_EQUAL(csv_uuid_parse("01234567-89ab-cdef-fedc-ba98765432100", back), -EINVAL);
	CU_ASSERT_EQUAL(csv_uuid_parse("01234567x89ab-cdef-fedc-ba9876543210", back), -EINVAL);
	CU_ASSERT_EQUAL(csv_uuid_parse("0123456g-89ab-cdef-fedc-ba9876543210", back), -EINVAL);
}

static void layout_and_partition_table(void)
{
	static const uint8_t uuid[CL_UUID_BYTES] = { 1, 2, 3, 4 };
	const uint64_t lun = (1ull << 30) + 3 * 4096; /* not a whole MiB */
	uint8_t *head = calloc(1, CSV_GPT_BYTES), *tail = calloc(1, CSV_GPT_BYTES);
	uint64_t off, bytes;

	CU_ASSERT_EQUAL(csv_lun_layout(CSV_LUN_SIZE_MIN - 1, &off, &bytes), -ENOSPC);
	CU_ASSERT_EQUAL(csv_lun_layout(lun, &off, &bytes), 0);
	CU_ASSERT_EQUAL(off, CSV_LUN_DATA_OFF);
	CU_ASSERT(off + bytes <= lun - CSV_GPT_BYTES);
	CU_ASSERT_EQUAL(bytes % CSV_LUN_DATA_ALIGN, 0);
	CU_ASSERT_EQUAL_FATAL(csv_gpt_encode(lun, 4096, uuid, head, tail), 0);
	CU_ASSERT_EQUAL(memcmp(head + 4096, "EFI PART", 8), 0);
	CU_ASSERT_EQUAL(memcmp(tail + CSV_GPT_BYTES - 4096, "EFI PART", 8), 0);
	CU_ASSERT_EQUAL(head[510], 0x55);
	CU_ASSERT_EQUAL(csv_gpt_encode(lun + 1, 512, uuid, head, tail), -EINVAL);
	CU_ASSERT_EQUAL(csv_gpt_encode(lun, 520, uuid, head, tail), -EINVAL);
	free(head);
	free(tail);
}

UNIT_MAIN("csv/lunfmt", { "superblock: round trip", superblock_round_trip },
	  { "term record: round trip", term_round_trip },
	  { "any changed byte is refused", any_changed_byte_is_refused },
	  { "fields out of range are refused", fields_out_of_range_are_refused },
	  { "zeroes are no record", zeroes_are_no_record }, { "uuid text", uuid_text },
	  { "layout and partition table", layout_and_partition_table })

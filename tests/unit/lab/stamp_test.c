// SPDX-License-Identifier: GPL-2.0-or-later
/* Stamps survive coding; damage to any byte is seen; the memory pattern's sum holds and tells. */
#include <CUnit/Basic.h>
#include <errno.h>
#include <string.h>

#include "tests/lab/guest/ram.h"
#include "tests/lab/guest/stamp.h"

static void stamp_coding_test(void)
{
	struct stamp s = { .generation = 3, .seq = 9, .mono_ns = 1, .wall_ns = 2, .prev_hash = 4,
			   .ram_hash = 5, .ram_bad = 6, .read_bad = 7, .io_errors = 8,
			   .boot_id = "boot", .disk_id = "disk" };
	uint8_t bytes[STAMP_BYTES] = { 0 }, again[STAMP_BYTES];
	struct stamp back;

	CU_ASSERT_EQUAL(stamp_decode(bytes, &back), -ENODATA);
	stamp_encode(&s, bytes);
	CU_ASSERT_EQUAL(stamp_decode(bytes, &back), 0);
	CU_ASSERT_EQUAL(back.generation, 3);
	CU_ASSERT_EQUAL(back.io_errors, 8);
	stamp_encode(&back, again); /* the struct has holes: compare what is coded */
	CU_ASSERT_EQUAL(memcmp(bytes, again, sizeof(bytes)), 0);
	for (unsigned i = 0; i < STAMP_BYTES; i++) {
		bytes[i] ^= 0x10;
		CU_ASSERT_EQUAL(stamp_decode(bytes, &back), -EBADMSG);
		bytes[i] ^= 0x10;
	}
	s.seq = 0;
	stamp_encode(&s, bytes);
	CU_ASSERT_EQUAL(stamp_decode(bytes, &back), -EBADMSG);
}

static void super_coding_test(void)
{
	struct stamp_super s = { .slots = stamp_slots_of(1 << 20), .disk_id = "disk" }, back;
	uint8_t bytes[STAMP_SUPER_BYTES] = { 0 };

	CU_ASSERT_EQUAL(s.slots, ((1 << 20) - 4096) / 512);
	CU_ASSERT_EQUAL(stamp_slots_of(100), 0);
	CU_ASSERT_EQUAL(stamp_super_decode(bytes, &back), -ENODATA);
	stamp_super_encode(&s, bytes);
	CU_ASSERT_EQUAL(stamp_super_decode(bytes, &back), 0);
	CU_ASSERT_EQUAL(back.slots, s.slots);
	bytes[9] ^= 1;
	CU_ASSERT_EQUAL(stamp_super_decode(bytes, &back), -EBADMSG);
}

static void id_text_test(void)
{
	uint8_t id[STAMP_ID_BYTES] = { 0xab, 1, 2, 3 }, back[STAMP_ID_BYTES];
	char text[33];

	stamp_id_text(id, text);
	CU_ASSERT_STRING_EQUAL(text, "ab010203000000000000000000000000");
	CU_ASSERT_TRUE(stamp_id_parse(text, back));
	CU_ASSERT_EQUAL(memcmp(id, back, sizeof(id)), 0);
	text[4] = 'x';
	CU_ASSERT_FALSE(stamp_id_parse(text, back));
	CU_ASSERT_FALSE(stamp_id_parse("ab", back));
}

static void ram_test(void)
{
	static uint64_t words[8 * RAM_PAGE_WORDS], seen[8];
	struct ram ram;
	uint64_t sum;

	ram_init(&ram, words, seen, 8, 42);
	sum = ram.sum;
	ram_step(&ram, 1000, 100);
	CU_ASSERT_EQUAL(ram.sum, sum);
	CU_ASSERT_EQUAL(ram.bad, 0);
	words[3 * RAM_PAGE_WORDS + 17] ^= 1; /* one bit of one page */
	ram_step(&ram, 0, 8);
	CU_ASSERT_EQUAL(ram.bad, 1);
	CU_ASSERT_NOT_EQUAL(ram.sum, sum);
	ram_step(&ram, 100, 8);
	CU_ASSERT_EQUAL(ram.bad, 1);
	CU_ASSERT_NOT_EQUAL(ram.sum, sum);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed = 1;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("stamp", NULL, NULL);
	if (suite && CU_add_test(suite, "stamp coding", stamp_coding_test) &&
	    CU_add_test(suite, "superblock coding", super_coding_test) &&
	    CU_add_test(suite, "id text", id_text_test) &&
	    CU_add_test(suite, "memory pattern", ram_test)) {
		CU_basic_set_mode(CU_BRM_NORMAL);
		CU_basic_run_tests();
		failed = CU_get_number_of_failures();
	}
	CU_cleanup_registry();
	return failed ? 1 : 0;
}

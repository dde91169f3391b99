/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/text.c: cuts, never overruns, always ends. */
#include "clusterd/core/text.h"

#include <string.h>

#include "tests/unit/unit.h"

static void numbers(void)
{
	struct core_text t;
	char out[64];

	core_text_init(&t, out, sizeof(out));
	core_text_u64(&t, 0);
	core_text_add(&t, " ");
	core_text_u64(&t, UINT64_MAX);
	core_text_add(&t, " ");
	core_text_hex(&t, 0);
	core_text_add(&t, " ");
	core_text_hex(&t, 0xc5aaull << 48);
	CU_ASSERT_STRING_EQUAL(out, "0 18446744073709551615 0x0 0xc5aa000000000000");
}

static void cut(void)
{
	struct core_text t;
	char out[8];

	memset(out, 'x', sizeof(out));
	core_text_init(&t, out, 5);
	core_text_add(&t, "abc");
	core_text_u64(&t, 123);
	CU_ASSERT_STRING_EQUAL(out, "abc1");
	CU_ASSERT_EQUAL(out[5], 'x');
	core_text_join(out, 5, "a", "b", "cdefg", NULL);
	CU_ASSERT_STRING_EQUAL(out, "abcd");
	core_str_copy(out, 4, "abcdef");
	CU_ASSERT_STRING_EQUAL(out, "abc");
}

UNIT_MAIN("core text", { "numbers", numbers }, { "cut", cut })

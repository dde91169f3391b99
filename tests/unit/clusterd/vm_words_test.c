/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line of a vmm's log that explains its end. */
#include "clusterd/vm_words.h"
#include "tests/unit/unit.h"

#include <string.h>

#define AT	"2026-11-27T11:53:58.123Z vmm[286] "
#define FAREWELL AT "notice: VM a: ends (error)\n"

static char words[128];

static void is(const char *log, enum cd_words which, const char *expected)
{
	bool found = cd_log_words(log, which, words, sizeof(words));

	CU_ASSERT_EQUAL(found, expected != NULL);
	if (expected && found)
		CU_ASSERT_STRING_EQUAL(words, expected);
}

static void test_errors(void)
{
	const char *log = AT "info: starts\n" AT "error: disk a.img of volume vol1: stale\n" AT
			     "error: VM a: cannot start\n" FAREWELL;

	is(log, CD_WORDS_FIRST_ERROR, "disk a.img of volume vol1: stale");
	is(log, CD_WORDS_LAST_ERROR, "VM a: cannot start");
	is(log, CD_WORDS_LAST_LINE, NULL);
	is(FAREWELL, CD_WORDS_FIRST_ERROR, NULL);
	is("", CD_WORDS_FIRST_ERROR, NULL);
	/* The guest's text in a line changes nothing of its level. */
	is(AT "warning: vmm[1] error: x\n" FAREWELL, CD_WORDS_FIRST_ERROR, NULL);
	is(AT "error: \x01\x7f\n", CD_WORDS_FIRST_ERROR, "??");
	is(AT "error: cut", CD_WORDS_FIRST_ERROR, "cut");
}

static void test_other_lines(void)
{
	const char *linker = "vmm: error while loading shared libraries: liburing.so.2\n";
	const char *assertion = AT "error: an old one\n" AT "info: goes on\nvmm: blk.c:45: release: Assertion\n";

	is(linker, CD_WORDS_FIRST_ERROR, "vmm: error while loading shared libraries: liburing.so.2");
	is(assertion, CD_WORDS_LAST_LINE, "vmm: blk.c:45: release: Assertion");
	/* It was killed: what it had survived days before does not explain that. */
	is(AT "error: an old one\n", CD_WORDS_LAST_LINE, NULL);
}

static void test_long(void)
{
	static char log[4096] = AT "error: ";

	memset(log + strlen(log), 'x', 3000);
	CU_ASSERT_TRUE(cd_log_words(log, CD_WORDS_FIRST_ERROR, words, sizeof(words)));
	CU_ASSERT_EQUAL(strlen(words), sizeof(words) - 1);
}

UNIT_MAIN("vm_words", { "errors", test_errors }, { "other lines", test_other_lines },
	  { "a long line", test_long })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CUnit program in a few lines:
 *
 *	static void case_one(void) { CU_ASSERT_EQUAL(1 + 1, 2); }
 *	UNIT_MAIN("file", { "case one", case_one })
 *
 * The exit status is non-zero if an assertion failed or no test ran.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <CUnit/Basic.h>

struct unit_case {
	const char *name;
	void (*run)(void);
};

#define UNIT_MAIN(suite, ...)                                                                      \
	int main(void)                                                                             \
	{                                                                                          \
		static const struct unit_case cases[] = { __VA_ARGS__ };                           \
		CU_pSuite s;                                                                       \
		unsigned bad;                                                                      \
                                                                                                   \
		if (CU_initialize_registry() != CUE_SUCCESS)                                       \
			return 99;                                                                 \
		s = CU_add_suite(suite, NULL, NULL);                                               \
		for (size_t i = 0; s && i < sizeof(cases) / sizeof(cases[0]); i++)                 \
			CU_add_test(s, cases[i].name, cases[i].run);                               \
		CU_basic_set_mode(CU_BRM_NORMAL);                                                  \
		CU_basic_run_tests();                                                              \
		bad = CU_get_number_of_failures() || !CU_get_number_of_asserts();                  \
		CU_cleanup_registry();                                                             \
		return bad ? 1 : 0;                                                                \
	}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/field_jansson.c: what comes from others is taken whole or refused. */
#include "clusterd/field_jansson.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static void test_text(void)
{
	json_t *json = json_pack("{s:s s:i}", "name", "n1", "number", 7);

	CU_ASSERT_STRING_EQUAL(cd_field_text(json, "name"), "n1");
	CU_ASSERT_STRING_EQUAL(cd_field_text(json, "number"), "");
	CU_ASSERT_STRING_EQUAL(cd_field_text(json, "absent"), "");
	CU_ASSERT_STRING_EQUAL(cd_field_text(NULL, "name"), "");
	json_decref(json);
}

static void test_address(void)
{
	static const char *const bad[] = { "",	       "n1",		 "10.0.0",    "10.0.0.256",
					   "10.0.0.1 ", "10.0.0.1:7400", "fe80::1%2", "[::1]" };
	char text[200];

	CU_ASSERT_TRUE(cd_address_valid("10.77.1.11"));
	CU_ASSERT_TRUE(cd_address_valid("fd00::11"));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_FALSE(cd_address_valid(bad[i]));
	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	CU_ASSERT_FALSE(cd_address_valid(text));
}

static void test_hex(void)
{
	static const char *const bad[] = { "", "00ff7", "00ff7g", "00FF7f", "00ff7f00", " 0ff7f" };
	uint8_t bytes[3] = { 0x00, 0xff, 0x7f }, back[3];
	char text[7];

	cd_hex_encode(bytes, sizeof(bytes), text);
	CU_ASSERT_STRING_EQUAL(text, "00ff7f");
	CU_ASSERT_EQUAL(cd_hex_decode(text, back, sizeof(back)), 0);
	CU_ASSERT_EQUAL(memcmp(bytes, back, sizeof(bytes)), 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(cd_hex_decode(bad[i], back, sizeof(back)), -EBADMSG);
}

UNIT_MAIN("fields", { "text", test_text }, { "address", test_address }, { "hex", test_hex })

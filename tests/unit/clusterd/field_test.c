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

static void members(const char *text, const char *wrong)
{
	json_t *json = json_loads(text, 0, NULL);
	char error[512] = "";
	bool good;

	CU_ASSERT_PTR_NOT_NULL_FATAL(json);
	good = cd_members_check(json, "name:s force:b wait_ms:i sets:o disks:a method:live|quick",
				error, sizeof(error));
	CU_ASSERT_EQUAL(good, wrong == NULL);
	if (wrong)
		CU_ASSERT_PTR_NOT_NULL(strstr(error, wrong));
	json_decref(json);
}

/* What is not understood is refused: nothing becomes a default in silence. */
static void test_members(void)
{
	members("{\"do\":\"vm-x\"}", NULL);
	members("{\"do\":\"vm-x\",\"name\":\"a\",\"force\":true,\"wait_ms\":5,\"sets\":{},"
		"\"disks\":[],"
		"\"method\":\"quick\"}",
		NULL);
	members("{\"do\":\"vm-x\",\"method\":\"qick\"}",
		"vm-x: method: \"qick\"; allowed: live|quick");
	members("{\"do\":\"vm-x\",\"method\":\"live|quick\"}", "method");
	members("{\"do\":\"vm-x\",\"method\":\"\"}", "method");
	members("{\"do\":\"vm-x\",\"method\":1}", "method: 1; allowed");
	members("{\"do\":\"vm-x\",\"force\":1}", "force: 1; allowed: true or false");
	members("{\"do\":\"vm-x\",\"force\":\"yes\"}", "true or false");
	members("{\"do\":\"vm-x\",\"name\":7}", "name: 7; allowed: a text");
	members("{\"do\":\"vm-x\",\"wait_ms\":1.5}", "an integer");
	members("{\"do\":\"vm-x\",\"keep_disk\":true}",
		"'keep_disk' is not known to this clusterd; known: name:s");
	members("{\"do\":\"vm-x\",\"nam\":\"a\"}", "'nam' is not known");
}

UNIT_MAIN("fields", { "text", test_text }, { "address", test_address }, { "hex", test_hex },
	  { "members", test_members })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, numbers, disks and nets of the command line, as tables. */
#include "clusterd/ctl/parse.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static void test_sizes(void)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} table[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "4k", 0, 4096 },
		{ "256M", 0, 256ull << 20 },
		{ "256MiB", 0, 256ull << 20 },
		{ "1G", 0, 1ull << 30 },
		{ "2tb", -EINVAL, 0 },
		{ "2TB", 0, 2ull << 40 },
		{ "", -EINVAL, 0 },
		{ "M", -EINVAL, 0 },
		{ "-1G", -EINVAL, 0 },
		{ " 1G", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "1GG", -EINVAL, 0 },
		{ "1X", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "16777216T", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
	};

	for (unsigned i = 0; i < CL_ARRAY_LEN(table); i++) {
		uint64_t bytes = 0;

		CU_ASSERT_EQUAL(ctl_size_parse(table[i].text, &bytes), table[i].rc);
		CU_ASSERT_EQUAL(bytes, table[i].bytes);
	}
}

static void test_numbers(void)
{
	uint64_t v = 7;

	CU_ASSERT_EQUAL(ctl_number_parse("4", 1, 4, &v), 0);
	CU_ASSERT_EQUAL(v, 4);
	CU_ASSERT_EQUAL(ctl_number_parse("0", 1, 4, &v), -ERANGE);
	CU_ASSERT_EQUAL(ctl_number_parse("5", 1, 4, &v), -ERANGE);
	CU_ASSERT_EQUAL(ctl_number_parse("4x", 1, 4, &v), -EINVAL);
	CU_ASSERT_EQUAL(ctl_number_parse("", 1, 4, &v), -EINVAL);
	CU_ASSERT_EQUAL(v, 4);
}

static void test_periods(void)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t ms;
	} table[] = {
		{ "7", 0, 7000 },	  { "500ms", 0, 500 },	{ "30s", 0, 30000 },
		{ "5m", 0, 300000 },	  { "6h", 0, 21600000 }, { "1d", 0, 86400000 },
		{ "0", 0, 0 },		  { "", -EINVAL, 1 },	{ "h", -EINVAL, 1 },
		{ "1w", -EINVAL, 1 },	  { "1.5h", -EINVAL, 1 }, { "-1s", -EINVAL, 1 },
		{ "1sm", -EINVAL, 1 },	  { "99999999999999999d", -ERANGE, 1 },
	};

	for (unsigned i = 0; i < CL_ARRAY_LEN(table); i++) {
		uint64_t ms = 1;

		CU_ASSERT_EQUAL(ctl_period_parse(table[i].text, 1000, &ms), table[i].rc);
		CU_ASSERT_EQUAL(ms, table[i].ms);
	}
}

static void test_disks(void)
{
	static const struct {
		const char *text, *volume, *path;
		uint64_t size;
	} good[] = {
		{ "vol1/web.img", "vol1", "web.img", 0 },
		{ "vol1/a/b.img,size=1G", "vol1", "a/b.img", 1ull << 30 },
		{ "/clusterstorage/vol1/web.img", "vol1", "web.img", 0 },
	};
	static const char *const bad[] = { "",	      "vol1",	     "vol1/",	     "/etc/passwd",
					   "../x/y",  "v l/x",	     "vol1/x,size=", "vol1/x,size=0",
					   "vol1/x,size=100", "vol1/x,cache=none",
					   "vol1,size=1G/x" };
	struct ctl_disk disk;
	const char *why;

	for (unsigned i = 0; i < CL_ARRAY_LEN(good); i++) {
		CU_ASSERT_EQUAL_FATAL(ctl_disk_parse(good[i].text, &disk, &why), 0);
		CU_ASSERT_STRING_EQUAL(disk.volume, good[i].volume);
		CU_ASSERT_STRING_EQUAL(disk.path, good[i].path);
		CU_ASSERT_EQUAL(disk.size_bytes, good[i].size);
	}
	for (unsigned i = 0; i < CL_ARRAY_LEN(bad); i++) {
		why = NULL;
		CU_ASSERT_EQUAL(ctl_disk_parse(bad[i], &disk, &why), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(why);
	}
}

static void test_nets(void)
{
	static const char *const bad[] = { "", ",mac=52:54:00:12:34:56", "vmbr0,mac=",
					   "vmbr0,mac=53:54:00:12:34:56", "vmbr0,mac=52-54-00-12-34-56",
					   "vmbr0,vlan=3", "vm br0" };
	struct ctl_net net;
	const char *why;

	CU_ASSERT_EQUAL(ctl_net_parse("vmbr0", &net, &why), 0);
	CU_ASSERT_STRING_EQUAL(net.name, "vmbr0");
	CU_ASSERT_STRING_EQUAL(net.mac, "");
	CU_ASSERT_EQUAL(ctl_net_parse("vmbr0,mac=52:54:00:12:34:56", &net, &why), 0);
	CU_ASSERT_STRING_EQUAL(net.mac, "52:54:00:12:34:56");
	for (unsigned i = 0; i < CL_ARRAY_LEN(bad); i++)
		CU_ASSERT_EQUAL(ctl_net_parse(bad[i], &net, &why), -EINVAL);
}

static void test_size_text(void)
{
	char text[32];

	ctl_size_text(0, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "0 B");
	ctl_size_text(1536ull << 20, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "1.5 GiB");
}

static void test_readonly(void)
{
	struct ctl_disk disk;
	const char *why;

	CU_ASSERT_EQUAL(ctl_disk_parse("vol1/iso/a.iso,readonly", &disk, &why), 0);
	CU_ASSERT_TRUE(disk.readonly);
	CU_ASSERT_STRING_EQUAL(disk.path, "iso/a.iso");
	CU_ASSERT_EQUAL(ctl_disk_parse("vol1/a.img,size=1G", &disk, &why), 0);
	CU_ASSERT_FALSE(disk.readonly);
	CU_ASSERT_TRUE(ctl_disk_parse("vol1/a.img,readonl", &disk, &why) < 0);
}

static void test_near(void)
{
	char text[CTL_WORD_MAX + 2];

	CU_ASSERT_EQUAL(ctl_distance("status", "status"), 0);
	CU_ASSERT_EQUAL(ctl_distance("statsu", "status"), 1); /* two swapped */
	CU_ASSERT_EQUAL(ctl_distance("", "abc"), 3);
	CU_ASSERT_EQUAL(ctl_distance("abc", ""), 3);
	CU_ASSERT_EQUAL(ctl_distance("kitten", "sitting"), 3);
	CU_ASSERT_EQUAL(ctl_distance("lsit", "list"), 1);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	CU_ASSERT_EQUAL(ctl_distance(text, "status"), CTL_WORD_MAX + 1);
	CU_ASSERT_TRUE(ctl_near("statsu", "status"));
	CU_ASSERT_TRUE(ctl_near("vn", "vm"));
	CU_ASSERT_FALSE(ctl_near("v", "vm"));
	CU_ASSERT_FALSE(ctl_near("foo", "vm"));
	CU_ASSERT_FALSE(ctl_near("shrink", "list"));
}

UNIT_MAIN("ctl_parse", { "sizes", test_sizes }, { "numbers", test_numbers },
	  { "periods", test_periods }, { "disks", test_disks }, { "nets", test_nets },
	  { "size text", test_size_text }, { "near words", test_near },
	  { "read-only", test_readonly })

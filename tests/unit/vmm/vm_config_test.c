/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: one that is good, and refusals that name file, field, seen, allowed. */
#include "vmm/vm_config.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOOD                                                                                       \
	"{\"name\":\"vm1\",\"generation\":3,\"memory_mib\":256,\"cpus\":2,\"kernel\":\"/k\","          \
	"\"run_dir\":\"/run/x\",\"uid\":64001"

static char path[] = "/tmp/vm_config_test.XXXXXX";

/* The error's text (malloc'ed), or NULL and *ret_config. */
static char *load(const char *text, struct vmm_config **ret_config)
{
	FILE *f = fopen(path, "w");
	char *error = NULL;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE(fputs(text, f) >= 0);
	fclose(f);
	*ret_config = NULL;
	return vmm_config_load(path, ret_config, &error) < 0 ? error : NULL;
}

static void refused(const char *text, const char *field, const char *also)
{
	struct vmm_config *c;
	char *error = load(text, &c);

	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	if (!strstr(error, path) || !strstr(error, field) || !strstr(error, also)) {
		fprintf(stderr, "seen: %s\n", error);
		CU_FAIL("the refusal does not say it");
	}
	CU_ASSERT_PTR_NULL(strchr(error, '\n'));
	free(error);
}

static void test_good(void)
{
	struct vmm_config *c;
	char *error;

	(void)!mkstemp(path);
	error = load(
		GOOD
		",\"append\":\"a b\",\"initrd\":\"/i\",\"downtime_ms\":50,\"paused\":true,"
		"\"disks\":[{\"volume\":\"v1\",\"path\":\"vms/a.img\"},{\"file\":\"/dev/"
		"x\",\"readonly\":true}],"
		"\"nets\":[{\"tap\":\"t0\",\"bridge\":\"br0\",\"mac\":\"52:54:00:12:34:56\"}]}",
		&c);
	CU_ASSERT_PTR_NULL_FATAL(error);
	CU_ASSERT_STRING_EQUAL(c->name, "vm1");
	CU_ASSERT_EQUAL(c->generation, 3);
	CU_ASSERT_EQUAL(c->n_disks, 2);
	CU_ASSERT_STRING_EQUAL(c->disks[0].path, "vms/a.img");
	CU_ASSERT_STRING_EQUAL(c->disks[1].file, "/dev/x");
	CU_ASSERT_FALSE(c->disks[0].readonly);
	CU_ASSERT_TRUE(c->disks[1].readonly);
	CU_ASSERT_EQUAL(c->nets[0].mac[5], 0x56);
	CU_ASSERT_EQUAL(c->downtime_ms, 50);
	CU_ASSERT_TRUE(c->paused);
	vmm_config_free(c);
	error = load(GOOD ",\"later\":1}", &c); /* from a newer clusterd */
	CU_ASSERT_PTR_NULL(error);
	CU_ASSERT_EQUAL(c->downtime_ms, 300);
	vmm_config_free(c);
}

static void test_bad(void)
{
	refused("", "line", "");
	refused("[]", "(top)", "JSON object");
	refused(GOOD ",\"cpus\":3}", "", "duplicate");
	refused("{\"name\":\"a/b\"}", "name", "allowed");
	refused("{\"name\":\"a\"}", "kernel", "missing");
	refused("{\"name\":\"a\",\"kernel\":\"k\"}", "kernel", "absolute");
	refused("{\"name\":\"a\",\"kernel\":\"/k\",\"run_dir\":\"/r\",\"memory_mib\":1,\"cpus\":1}",
		"memory_mib: 1", "32");
	refused("{\"name\":\"a\",\"kernel\":\"/k\",\"run_dir\":\"/r\",\"memory_mib\":64,\"cpus\":5}",
		"cpus: 5", "1 to 4");
	refused(GOOD ",\"disks\":{}}", "disks", "array");
	refused(GOOD ",\"disks\":[{}]}", "disks[0].file", "neither");
	refused(GOOD ",\"disks\":[{\"file\":\"/a\",\"volume\":\"v\"}]}", "disks[0].file", "both");
	refused(GOOD ",\"disks\":[{\"file\":\"/a\"},{\"volume\":\"v\",\"path\":\"../x\"}]}",
		"disks[1].path", "..");
	refused(GOOD ",\"disks\":[{\"volume\":\"v\",\"path\":\"/x\"}]}", "disks[0].path", "/x");
	refused(GOOD ",\"nets\":[{\"tap\":\"t\",\"mac\":\"01:00:5e:00:00:01\"}]}", "nets[0].mac",
		"unicast");
	refused(GOOD ",\"nets\":[{\"tap\":\"t\",\"mac\":\"52:54:00:12:34:5\"}]}", "nets[0].mac",
		"allowed");
	refused(GOOD ",\"nets\":[{\"tap\":\"a-name-that-is-too-long\",\"mac\":\"52:54:00:12:34:56\"}]}",
		"nets[0].tap", "15");
	refused(GOOD ",\"nets\":[{\"tap\":\"t\",\"mac\":\"00:00:00:00:00:00\"}]}", "nets[0].mac",
		"zeros");
	refused(GOOD ",\"nets\":[{\"tap\":\"t\",\"mac\":\"52:54:00:12:34:56\"},"
		     "{\"tap\":\"u\",\"mac\":\"52:54:00:12:34:56\"}]}",
		"nets[1].mac: 52:54:00:12:34:56", "once in a VM");
	refused(GOOD ",\"nets\":[{\"tap\":\"t\",\"mac\":\"52:54:00:12:34:56\"},"
		     "{\"tap\":\"t\",\"mac\":\"52:54:00:12:34:57\"}]}",
		"nets[1].tap: t", "once in a VM");
	refused(GOOD ",\"disks\":[{\"file\":\"/a\"},{\"file\":\"/b\"},{\"file\":\"/a\"}]}",
		"disks[2]: /a", "once in a VM");
	refused(GOOD ",\"disks\":[{\"volume\":\"v\",\"path\":\"a/b\"},"
		     "{\"volume\":\"v\",\"path\":\"a/b\"}]}",
		"disks[1]: a/b", "once in a VM");
	refused(GOOD ",\"disks\":[{\"file\":\"/a\",\"readonly\":1}]}", "disks[0].readonly",
		"true or false");
	refused(GOOD ",\"paused\":1}", "paused", "true or false");
	unlink(path);
}

UNIT_MAIN("vm_config", { "a good one", test_good }, { "refusals", test_bad })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked of a file before it is a guest's disk.  disk_file-test.sh runs it on a file system
 * over 4096-byte sectors (DISK_FILE_BLOCK) and with read-only devices (DISK_FILE_RO).
 */
#include "vmm/disk_uring.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "disk_file_test.XXXXXX"; /* here: /tmp may have no direct I/O */

static const char *path_of(const char *name)
{
	static char path[4][256];
	static unsigned n;
	char *p = path[n++ % 4];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void file_make(const char *name, off_t bytes)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, bytes), 0);
	close(fd);
}

static struct vmm_disk *disk_open(const char *name, bool readonly, char **ret_error)
{
	struct vmm_disk *d = NULL;

	*ret_error = NULL;
	return vmm_disk_file_new(NULL, path_of(name), readonly, NULL, NULL, &d, ret_error) < 0
		       ? NULL
		       : d;
}

static void refused(const char *name, const char *text)
{
	char *error;

	CU_ASSERT_PTR_NULL(disk_open(name, false, &error));
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	if (!strstr(error, text)) {
		fprintf(stderr, "seen: %s\n", error);
		CU_FAIL("the refusal does not say it");
	}
	free(error);
}

static void test_open(void)
{
	struct vmm_disk *a, *b, *c;
	unsigned a_align;
	char *error;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	file_make("a", 1 << 20);
	file_make("b", 1 << 20);
	file_make("odd", 1000);
	file_make("empty", 0);
	a = disk_open("a", false, &error);
	if (!a && strstr(error, "direct I/O")) {
		fprintf(stderr, "skipped: %s\n", error);
		free(error);
		return;
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(a);
	CU_ASSERT_TRUE(a->align_bytes == 512 || a->align_bytes == 4096);
	if (getenv("DISK_FILE_BLOCK"))
		CU_ASSERT_EQUAL(a->align_bytes, (unsigned)atoi(getenv("DISK_FILE_BLOCK")));
	CU_ASSERT_EQUAL(a->size_bytes, 1 << 20);
	CU_ASSERT_EQUAL(link(path_of("a"), path_of("other")), 0);
	b = disk_open("b", true, &error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(b);
	CU_ASSERT_TRUE(b->readonly);
	c = disk_open("other", false, &error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_FALSE(vmm_disk_file_same(a, b));
	CU_ASSERT_TRUE(vmm_disk_file_same(a, c));
	a_align = a->align_bytes;
	a->ops->free(a);
	b->ops->free(b);
	c->ops->free(c);
	refused("odd", "1000 bytes; allowed: a multiple of");
	refused("empty", "0 bytes; allowed");
	refused("none", "No such file");
	if (a_align > 512) {
		file_make("odd", 4096 + 512);
		refused("odd", "4608 bytes; allowed: a multiple of 4096");
	}
}

static void test_device(void)
{
	const char *path = getenv("DISK_FILE_RO");
	struct vmm_disk *d = NULL;
	char *error = NULL;

	if (!path)
		return;
	CU_ASSERT_TRUE(vmm_disk_file_new(NULL, path, false, NULL, NULL, &d, &error) < 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(error, "the device is read-only; allowed: with \"readonly\""));
	free(error);
	CU_ASSERT_EQUAL(vmm_disk_file_new(NULL, path, true, NULL, NULL, &d, &error), 0);
	CU_ASSERT_EQUAL(d->align_bytes, 4096);
	d->ops->free(d);
}

static void test_end(void)
{
	static const char *const names[] = { "a", "b", "odd", "empty", "other" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(path_of(names[i]));
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

UNIT_MAIN("disk_file", { "open", test_open }, { "device", test_device }, { "end", test_end })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/logs_linux.c: no guest and no peer fills the run folder by what it makes others write.
 */
#include "clusterd/logs_linux.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/logs_test.XXXXXX";

static void path_of(char path[256], const char *name)
{
	snprintf(path, 256, "%s/%s", top, name);
}

static void dir_make(const char *name)
{
	char path[256];

	path_of(path, name);
	CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
}

/* Opens to append, as a program that logs does, and writes so many lines of 64 bytes. */
static int log_make(const char *name, unsigned lines)
{
	char path[256], line[80];
	int fd;

	path_of(path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	for (unsigned i = 0; i < lines; i++) {
		snprintf(line, sizeof(line), "%062u\n", i);
		CU_ASSERT_EQUAL(write(fd, line, 63), 63);
	}
	return fd;
}

static long size_of(const char *name)
{
	struct stat st;
	char path[256];

	path_of(path, name);
	return stat(path, &st) ? -1 : (long)st.st_size;
}

static void one_is_cut(void)
{
	char path[256], text[64] = "";
	int csvd, vmm, fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	setenv("HOLDFAST_RUN_DIR", top, 1);
	dir_make("vm");
	dir_make("vm/web");
	dir_make("vm-old");
	csvd = log_make("csvd.log", 5000);
	vmm = log_make("vm/web/vmm.log", 100);
	CU_ASSERT_EQUAL(cd_logs_bound(200000, 1u << 30), 1);
	CU_ASSERT_TRUE(size_of("csvd.log") > 49000 && size_of("csvd.log") < 51000);
	CU_ASSERT_EQUAL(size_of("vm/web/vmm.log"), 6300);
	/* The last line is there, and who writes goes on behind it. */
	CU_ASSERT_EQUAL(write(csvd, "more\n", 5), 5);
	path_of(path, "csvd.log");
	fd = open(path, O_RDONLY);
	CU_ASSERT_EQUAL(pread(fd, text, 10, size_of("csvd.log") - 10), 10);
	CU_ASSERT_STRING_EQUAL(text, "4999\nmore\n");
	close(fd);
	close(csvd);
	close(vmm);
	CU_ASSERT_EQUAL(cd_logs_bound(200000, 1u << 30), 0);
}

static void all_have_a_share(void)
{
	close(log_make("vm/web/serial.log", 3000));
	dir_make("vm-old/mail");
	close(log_make("vm-old/mail/vmm.log", 3000));
	/* Four files, 430 KB; the small one keeps all that it has. */
	CU_ASSERT_EQUAL(cd_logs_bound(200000, 100000), 3);
	CU_ASSERT_TRUE(size_of("csvd.log") + size_of("vm/web/vmm.log") +
			       size_of("vm/web/serial.log") + size_of("vm-old/mail/vmm.log") <=
		       100000);
	CU_ASSERT_EQUAL(size_of("vm/web/vmm.log"), 6300);
}

/* What lies there under the name of a log and is none. */
static void links_are_left_alone(void)
{
	char path[256], target[256];

	close(log_make("precious", 5000));
	path_of(target, "precious");
	path_of(path, "vm/web/vmm.log");
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(symlink(target, path), 0);
	path_of(path, "vm/evil");
	CU_ASSERT_EQUAL(symlink(top, path), 0);
	path_of(path, "vm/web/serial.log");
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	CU_ASSERT_EQUAL(cd_logs_bound(200000, 1u << 30), 0);
	CU_ASSERT_EQUAL(size_of("precious"), 5000 * 63);
	snprintf(path, sizeof(path), "rm -rf %s", top);
	CU_ASSERT_EQUAL(system(path), 0);
	CU_ASSERT_EQUAL(cd_logs_bound(200000, 1u << 30), 0);
}

UNIT_MAIN("logs", { "one is cut", one_is_cut }, { "all have a share", all_have_a_share },
	  { "links are left alone", links_are_left_alone })

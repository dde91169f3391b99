/* SPDX-License-Identifier: GPL-2.0-or-later */
/* common/cl_lease.c: one writer, readers, a writer that comes back, and what is no lease page. */
#include "common/cl_lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char folder[] = "/tmp/cl_lease_test.XXXXXX", path[64];

/* As a clusterd whose past is that of a machine that never stops. */
static void set(struct cl_lease *lease, uint64_t until_ms, uint64_t proof_ms)
{
	struct cl_moments past = { 0 };
	struct cl_moment first = { .boot_ms = 1 };

	cl_moments_add(&past, &first);
	CU_ASSERT(cl_lease_give(lease, &past, until_ms, proof_ms));
}

static void writer_and_reader(void)
{
	struct cl_lease *writer = NULL, *again = NULL;
	const struct cl_lease *reader = NULL;

	CU_ASSERT_EQUAL(cl_lease_open(path, &reader), -ENOENT);
	CU_ASSERT_EQUAL_FATAL(cl_lease_create(path, &writer), 0);
	CU_ASSERT_EQUAL_FATAL(cl_lease_open(path, &reader), 0);
	CU_ASSERT_EQUAL(cl_lease_until_ms(reader), 0);
	set(writer, 5000, 1000);
	CU_ASSERT_EQUAL(cl_lease_until_ms(reader), 5000);
	CU_ASSERT_EQUAL(cl_lease_proof_ms(reader), 1000);
	/* An end keeps what the last proof was, for the words. */
	set(writer, 0, 0);
	CU_ASSERT_EQUAL(cl_lease_until_ms(reader), 0);
	CU_ASSERT_EQUAL(cl_lease_proof_ms(reader), 1000);
	set(writer, 7000, 2000);
	cl_lease_close(writer);
	/* A clusterd that comes back disturbs nobody. */
	CU_ASSERT_EQUAL_FATAL(cl_lease_create(path, &again), 0);
	CU_ASSERT_EQUAL(cl_lease_until_ms(again), 7000);
	set(again, 8000, 3000);
	CU_ASSERT_EQUAL(cl_lease_until_ms(reader), 8000);
	cl_lease_close(again);
	cl_lease_close(reader);
	cl_lease_close(NULL);
	unlink(path);
}

static void refused(off_t len_bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	const struct cl_lease *reader = NULL;
	struct cl_lease *writer = NULL;

	CU_ASSERT_EQUAL(ftruncate(fd, len_bytes), 0);
	close(fd);
	CU_ASSERT_EQUAL(cl_lease_open(path, &reader), -EBADMSG);
	CU_ASSERT_EQUAL(cl_lease_create(path, &writer), -EBADMSG);
	CU_ASSERT_PTR_NULL(reader);
	unlink(path);
}

static void no_lease_page(void)
{
	refused(0);
	refused(100);
	refused(4096); /* zeros */
	refused(8192);
}

static void clock_goes_on(void)
{
	uint64_t before = cl_lease_now_ms();

	CU_ASSERT(before > 0);
	CU_ASSERT(cl_lease_now_ms() >= before);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/lease", folder);
}

/* Whatever clocks this machine has: they go on, and what was not asked for is not told. */
static void clocks(void)
{
	struct cl_clocks c;
	struct cl_moment a, b;

	cl_clocks_open(&c);
	CU_ASSERT(cl_clocks_read(&c, true, true, &a));
	CU_ASSERT(cl_clocks_read(&c, true, true, &b));
	CU_ASSERT(a.boot_ms > 0 && b.boot_ms >= a.boot_ms);
	CU_ASSERT(b.tsc >= a.tsc && !!a.tsc == c.tsc);
	CU_ASSERT((a.rtc_s != 0) == (c.rtc_fd >= 0));
	CU_ASSERT(cl_clocks_read(&c, false, false, &b));
	CU_ASSERT(b.rtc_s == 0 && b.tsc == 0 && b.boot_ms >= a.boot_ms);
	/* A clock that is there and cannot be read is not one that is not there. */
	cl_clocks_close(&c);
	c.rtc_fd = open("/dev/null", O_RDONLY);
	CU_ASSERT(!cl_clocks_read(&c, true, true, &b));
	cl_clocks_close(&c);
}

static void clean(void)
{
	CU_ASSERT_EQUAL(rmdir(folder), 0);
}

UNIT_MAIN("cl_lease", { "the clock", clock_goes_on }, { "clocks", clocks },
	  { "writer and reader", writer_and_reader }, { "what is no lease page", no_lease_page },
	  { "nothing is left", clean })

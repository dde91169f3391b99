/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked of a file before it is a guest's disk.  disk_file-test.sh runs it on a file system
 * over 4096-byte sectors (DISK_FILE_BLOCK) and with read-only devices (DISK_FILE_RO).
 */
#include "vmm/disk_uring.h"
#include "vmm/io.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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

/* ---- a file system that is full ----------------------------------------------------------------
 */

#define WRITE_BYTES 65536u
#define WRITES	    300u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned n_done, n_failed, n_full, n_room, n_errors;

static void on_done(struct vmm_disk_req *req, int res)
{
	n_done++;
	n_failed += res < 0;
}

static void on_news(void *arg, struct vmm_disk *d, enum vmm_udisk_news news)
{
	n_full += news == VMM_UDISK_NO_SPACE;
	n_room += news == VMM_UDISK_ROOM;
	n_errors += news == VMM_UDISK_ERROR;
}

static void on_fenced(struct vmm_udisk *d)
{
	CU_FAIL("fenced");
}

/* Waits until cond holds of what the I/O thread changes. */
#define until(cond)                                                                                \
	do {                                                                                       \
		pthread_mutex_lock(&lock);                                                         \
		bool holds = (cond);                                                               \
		pthread_mutex_unlock(&lock);                                                       \
		if (holds)                                                                         \
			break;                                                                     \
		(void)poll(NULL, 0, 10);                                                           \
	} while (1)

/* Nothing fails and nothing is lost: what found no room is written when there is some. */
static void test_space(void)
{
	static struct vmm_disk_req reqs[WRITES];
	static struct iovec iovs[WRITES];
	const char *filler = getenv("DISK_FILE_FILLER");
	struct vmm_uring *ring = NULL;
	struct vmm_disk *disk = NULL;
	struct vmm_io *io = NULL;
	uint8_t *data = NULL, *back = NULL;
	char *error = NULL;
	int fd;

	if (!filler)
		return;
	CU_ASSERT_EQUAL_FATAL(posix_memalign((void **)&data, 4096, WRITE_BYTES), 0);
	CU_ASSERT_EQUAL_FATAL(posix_memalign((void **)&back, 4096, WRITE_BYTES), 0);
	memset(data, 'd', WRITE_BYTES);
	CU_ASSERT_EQUAL_FATAL(vmm_io_new(&lock, &io), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_uring_new(io, &ring), 0);
	vmm_uring_watch(ring, on_news, NULL);
	file_make("sparse", (off_t)WRITES * WRITE_BYTES);
	CU_ASSERT_EQUAL_FATAL(
		vmm_disk_file_new(ring, path_of("sparse"), false, on_fenced, NULL, &disk, &error),
		0);
	CU_ASSERT_EQUAL_FATAL(disk->ops->open(disk, 1, &error), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_io_start(io, NULL), 0);
	for (unsigned i = 0; i < WRITES; i++) {
		iovs[i] = (struct iovec){ data, WRITE_BYTES };
		reqs[i] = (struct vmm_disk_req){ .op = VMM_DISK_WRITE,
						 .offset_bytes = (uint64_t)i * WRITE_BYTES,
						 .iov = &iovs[i],
						 .n_iov = 1,
						 .len_bytes = WRITE_BYTES,
						 .done = on_done };
		pthread_mutex_lock(&lock);
		CU_ASSERT_EQUAL(disk->ops->submit(disk, &reqs[i]), 0);
		vmm_udisk_flush((struct vmm_udisk *)disk);
		pthread_mutex_unlock(&lock);
	}
	until(n_full > 0 && n_done > 0);
	(void)poll(NULL, 0, 300); /* whatever else comes */
	pthread_mutex_lock(&lock);
	CU_ASSERT_TRUE(disk->no_space);
	CU_ASSERT_TRUE(n_done < WRITES);
	CU_ASSERT_EQUAL(n_failed + n_errors + n_room, 0);
	n_full = 0;
	vmm_udisk_reissue((struct vmm_udisk *)disk); /* in vain */
	vmm_udisk_flush((struct vmm_udisk *)disk);
	pthread_mutex_unlock(&lock);
	until(n_full > 0);
	pthread_mutex_lock(&lock);
	CU_ASSERT_TRUE(disk->no_space);
	CU_ASSERT_EQUAL(n_failed + n_errors + n_room, 0);
	pthread_mutex_unlock(&lock);
	CU_ASSERT_EQUAL(unlink(filler), 0);
	while (n_room == 0) {
		pthread_mutex_lock(&lock);
		if (((struct vmm_udisk *)disk)->held)
			vmm_udisk_reissue((struct vmm_udisk *)disk);
		vmm_udisk_flush((struct vmm_udisk *)disk);
		pthread_mutex_unlock(&lock);
		(void)poll(NULL, 0, 50);
	}
	until(n_done == WRITES);
	CU_ASSERT_FALSE(disk->no_space);
	CU_ASSERT_EQUAL(disk->state, VMM_DISK_OPEN);
	CU_ASSERT_EQUAL(disk->errors, 0);
	CU_ASSERT_EQUAL(n_failed + n_errors, 0);
	CU_ASSERT_EQUAL(n_room, 1);
	vmm_io_stop(io);
	vmm_uring_free(ring);
	vmm_io_free(io);
	disk->ops->free(disk);
	fd = open(path_of("sparse"), O_RDONLY);
	for (unsigned i = 0; i < WRITES; i++) {
		CU_ASSERT_EQUAL(pread(fd, back, WRITE_BYTES, (off_t)i * WRITE_BYTES), WRITE_BYTES);
		CU_ASSERT_EQUAL(memcmp(back, data, WRITE_BYTES), 0);
	}
	close(fd);
	free(data);
	free(back);
}

static void test_end(void)
{
	static const char *const names[] = { "a", "b", "odd", "empty", "other", "sparse" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(path_of(names[i]));
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

UNIT_MAIN("disk_file", { "open", test_open }, { "device", test_device },
	  { "a full file system", test_space }, { "end", test_end })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What csv/map.h promises, on a real device-mapper: run as root with a scratch disk of at least 64
 * MiB (destroyed).  Exit 0 all held, 1 not, 77 no device-mapper here.
 */
#include "csv/map.h"

#include "common/cl_cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB 1048576ull

static unsigned failed;

#define EXPECT(what, cond)                                                                         \
	do {                                                                                       \
		bool ok_ = (cond);                                                                 \
		printf("%s %s\n", ok_ ? "ok" : "NOT OK", what);                                    \
		failed += !ok_;                                                                    \
	} while (0)

static int block_io(int fd, bool write_it, uint64_t off, uint8_t value)
{
	void *buf;
	ssize_t n;
	int ret = 0;

	if (posix_memalign(&buf, 4096, 4096) != 0)
		return -ENOMEM;
	memset(buf, value, 4096);
	n = write_it ? pwrite(fd, buf, 4096, (off_t)off) : pread(fd, buf, 4096, (off_t)off);
	if (n < 0)
		ret = -errno;
	else if (n != 4096)
		ret = -ENODATA;
	else if (!write_it)
		ret = ((uint8_t *)buf)[0] == value && ((uint8_t *)buf)[4095] == value ? 0 : -EILSEQ;
	free(buf);
	return ret;
}

struct late {
	int fd;
	atomic_int result; /* 1 = not yet */
};

static void *late_write(void *arg)
{
	struct late *late = arg;

	atomic_store(&late->result, block_io(late->fd, true, 0, 0x77));
	return NULL;
}

static void wait_result(struct late *late)
{
	for (int i = 0; i < 600 && atomic_load(&late->result) == 1; i++)
		usleep(100000);
}

static void suspend_holds_io(const char *name, int fd, int raw)
{
	struct late late = { .fd = fd, .result = 1 };
	pthread_t thread;

	EXPECT("suspend", csv_map_suspend(name) == 0);
	EXPECT("suspend twice", csv_map_suspend(name) == 0);
	pthread_create(&thread, NULL, late_write, &late);
	usleep(500000);
	EXPECT("a write waits while suspended", atomic_load(&late.result) == 1);
	EXPECT("the disk does not have it", block_io(raw, false, 5 * MIB, 0x77) == -EILSEQ);
	EXPECT("resume", csv_map_resume(name) == 0);
	wait_result(&late);
	EXPECT("then it is done", atomic_load(&late.result) == 0);
	EXPECT("and on the disk", block_io(raw, false, 5 * MIB, 0x77) == 0);
	pthread_join(thread, NULL);
}

static void down_fails_queued_io(const char *name, int fd, int raw)
{
	struct late late = { .fd = fd, .result = 1 };
	struct csv_map_info info;
	pthread_t thread;

	block_io(raw, true, 5 * MIB, 0x01);
	EXPECT("suspend before down", csv_map_suspend(name) == 0);
	pthread_create(&thread, NULL, late_write, &late);
	usleep(300000);
	EXPECT("down", csv_map_down(name) == 0);
	wait_result(&late);
	EXPECT("the queued write failed with EIO", atomic_load(&late.result) == -EIO);
	pthread_join(thread, NULL);
	EXPECT("never reached the disk", block_io(raw, false, 5 * MIB, 0x01) == 0);
	EXPECT("a read fails too", block_io(fd, false, 0, 1) == -EIO);
	EXPECT("info says down", csv_map_info(name, &info) == 0 && info.is_down);
	EXPECT("down twice", csv_map_down(name) == 0);
}

static bool listed(const char *name, const char *uuid)
{
	CL_CLEANUP_FREE struct csv_map_info *infos = NULL;
	size_t n = 0;

	if (csv_map_list(&infos, &n) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(infos[i].name, name) == 0 && strcmp(infos[i].uuid, uuid) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const struct csv_extent file[] = {
		{ 0, 4 * MIB, MIB },
		{ MIB, 9 * MIB, MIB },
		{ 2 * MIB, 10 * MIB, 2 * MIB },
	};
	const struct csv_extent other[] = { { 0, 20 * MIB, 4 * MIB } };
	const struct csv_extent hole[] = { { 0, 0, MIB }, { 2 * MIB, 4 * MIB, MIB } };
	const struct csv_extent beyond[] = { { 0, 62 * MIB, 2 * MIB } };
	const char *name = "hf-contract-map", *uuid = "contract-map";
	struct csv_map_backing backing = { .base_bytes = MIB, .size_bytes = 63 * MIB };
	struct csv_map_info info;
	dev_t dev = 0, again = 0;
	int raw, fd, ret;

	if (argc != 2) {
		fprintf(stderr, "usage: csv_map_contract SCRATCH-DISK\n");
		return 2;
	}
	backing.device = argv[1];
	raw = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (raw < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	ret = csv_map_create(name, uuid, &backing, file, 3, false, &dev);
	if (ret == -ENOENT || ret == -ENODEV) {
		fprintf(stderr, "skipped: the kernel has no device-mapper\n");
		return 77;
	}
	EXPECT("create", ret == 0);
	EXPECT("create again is refused",
	       csv_map_create(name, uuid, &backing, file, 3, false, NULL) == -EEXIST);
	EXPECT("info: size", csv_map_info(name, &info) == 0 && info.size_bytes == 4 * MIB &&
				     info.dev == dev && !info.suspended && !info.is_down);
	EXPECT("listed", listed(name, uuid));
	EXPECT("no such device", csv_map_info("hf-none", &info) == -ENXIO);
	EXPECT("a hole is refused",
	       csv_map_create("hf-hole", "h", &backing, hole, 2, false, NULL) == -EINVAL);
	EXPECT("an extent beyond the partition is refused",
	       csv_map_create("hf-beyond", "b", &backing, beyond, 1, false, NULL) == -EINVAL);
	fd = csv_map_open(name, O_RDWR | O_DIRECT);
	EXPECT("open", fd >= 0);
	EXPECT("write in extent 1", block_io(fd, true, 4096, 0xa1) == 0);
	EXPECT("lies at base + 4 MiB", block_io(raw, false, 5 * MIB + 4096, 0xa1) == 0);
	EXPECT("write in extent 3", block_io(fd, true, 4 * MIB - 4096, 0xa3) == 0);
	EXPECT("lies at base + 12 MiB - 4096", block_io(raw, false, 13 * MIB - 4096, 0xa3) == 0);
	EXPECT("beyond the end: no byte", block_io(fd, false, 4 * MIB, 0) == -ENODATA);
	suspend_holds_io(name, fd, raw);
	EXPECT("replace", csv_map_replace(name, &backing, other, 1, false) == 0);
	EXPECT("write to the new extent", block_io(fd, true, 0, 0xb1) == 0);
	EXPECT("lies at base + 20 MiB", block_io(raw, false, 21 * MIB, 0xb1) == 0);
	EXPECT("remove while open is busy", csv_map_remove(name, false) == -EBUSY);
	EXPECT("replace while suspended",
	       csv_map_suspend(name) == 0 && csv_map_replace(name, &backing, file, 3, false) == 0 &&
		       csv_map_info(name, &info) == 0 && info.suspended);
	EXPECT("takes effect at resume",
	       csv_map_resume(name) == 0 && block_io(fd, false, 4096, 0xa1) == 0);
	down_fails_queued_io(name, fd, raw);
	EXPECT("forced remove", csv_map_remove(name, true) == 0);
	close(fd);
	/* the kernel removes it from a work queue */
	for (int tries = 0; tries < 600 && csv_map_info(name, &info) != -ENXIO; tries++)
		usleep(50000);
	EXPECT("gone at the last close", csv_map_info(name, &info) == -ENXIO);
	EXPECT("data partition", csv_map_create_data("contract", &backing, &dev) == 0);
	EXPECT("is found again",
	       csv_map_create_data("contract", &backing, &again) == 0 && again == dev);
	backing.size_bytes -= MIB;
	EXPECT("made anew for another table",
	       csv_map_create_data("contract", &backing, &again) == 0 &&
		       csv_map_info("hf-contract-data", &info) == 0 &&
		       info.size_bytes == backing.size_bytes);
	EXPECT("removed", csv_map_remove("hf-contract-data", false) == 0);
	close(raw);
	printf("%u failed\n", failed);
	return failed != 0;
}

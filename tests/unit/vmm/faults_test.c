/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM without processors on a full file system: it stands still, is told so once, goes on by
 * itself when there is room; an I/O error is told.  The file system is disk_file-test.sh's
 * (DISK_FILE_FILLER: what takes its room).
 */
#include "vmm/machine.h"
#include "tests/unit/unit.h"
#include "vmm/vm_config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_BYTES 65536u
#define WRITES	    300u
#define PATH	    "faults.img"

static struct vmm_config config;
static struct vmm_machine machine;
static struct vmm vm;
static unsigned n_done, n_failed, told[3];
static char words[400];

static void on_done(struct vmm_disk_req *req, int res)
{
	n_done++;
	n_failed += res < 0;
}

static void on_fenced(struct vmm_udisk *d)
{
	CU_FAIL("fenced");
}

static void on_fault(void *arg, enum vmm_fault fault, unsigned disk, const char *text)
{
	told[fault]++;
	(void)snprintf(words, sizeof(words), "%s", text);
}

static bool stalled(void)
{
	bool on;

	pthread_mutex_lock(&vm.run_lock);
	on = vm.stalled;
	pthread_mutex_unlock(&vm.run_lock);
	return on;
}

static void news_take(void)
{
	memset(told, 0, sizeof(told));
	vmm_faults_take(&vm, on_fault, NULL);
}

static void make(void)
{
	char *error = NULL;
	int fd = open(PATH, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, (off_t)WRITES * WRITE_BYTES), 0);
	close(fd);
	strcpy(config.disks[0].file, PATH);
	config.n_disks = 1;
	vm.config = &config;
	vm.machine = &machine;
	pthread_mutex_init(&vm.dev_lock, NULL);
	pthread_mutex_init(&vm.run_lock, NULL);
	pthread_cond_init(&vm.run_cond, NULL);
	CU_ASSERT_EQUAL_FATAL(vmm_io_new(&vm.dev_lock, &vm.io), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_uring_new(vm.io, &machine.uring), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_faults_new(&vm, &error), 0);
	CU_ASSERT_EQUAL_FATAL(
		vmm_disk_file_new(machine.uring, PATH, false, on_fenced, &vm, &vm.disks[0], &error),
		0);
	vm.n_disks = 1;
	CU_ASSERT_EQUAL_FATAL(vm.disks[0]->ops->open(vm.disks[0], 1, &error), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_io_start(vm.io, NULL), 0);
}

static void submit(struct vmm_disk_req *req)
{
	pthread_mutex_lock(&vm.dev_lock);
	CU_ASSERT_EQUAL(vm.disks[0]->ops->submit(vm.disks[0], req), 0);
	vmm_udisk_flush((struct vmm_udisk *)vm.disks[0]);
	pthread_mutex_unlock(&vm.dev_lock);
}

static void test_space(void)
{
	static struct vmm_disk_req reqs[WRITES];
	static struct iovec iovs[WRITES];
	const char *filler = getenv("DISK_FILE_FILLER");
	char text[400], name[64];
	uint8_t *data = NULL;

	if (!filler)
		return;
	make();
	CU_ASSERT_EQUAL_FATAL(posix_memalign((void **)&data, 4096, WRITE_BYTES), 0);
	memset(data, 'd', WRITE_BYTES);
	for (unsigned i = 0; i < WRITES; i++) {
		iovs[i] = (struct iovec){ data, WRITE_BYTES };
		reqs[i] = (struct vmm_disk_req){ .op = VMM_DISK_WRITE,
						 .offset_bytes = (uint64_t)i * WRITE_BYTES,
						 .iov = &iovs[i],
						 .n_iov = 1,
						 .len_bytes = WRITE_BYTES,
						 .done = on_done };
		submit(&reqs[i]);
	}
	while (!stalled())
		(void)poll(NULL, 0, 10);
	(void)poll(NULL, 0, 1200); /* it is tried again meanwhile, in vain */
	CU_ASSERT_TRUE(stalled());
	CU_ASSERT_TRUE(vmm_no_space(&vm, text, sizeof(text)));
	CU_ASSERT_STRING_EQUAL(text, "no space on the file system of disk " PATH);
	CU_ASSERT_STRING_EQUAL(vmm_disk_name(&vm, 0, name, sizeof(name)), PATH);
	news_take();
	CU_ASSERT_EQUAL(told[VMM_FAULT_NO_SPACE], 1);
	CU_ASSERT_EQUAL(told[VMM_FAULT_ERROR], 0);
	CU_ASSERT_STRING_EQUAL(words, text);
	/* Not while the lease is over, room or not. */
	pthread_mutex_lock(&vm.dev_lock);
	vm.devs_frozen = true;
	pthread_mutex_unlock(&vm.dev_lock);
	(void)poll(NULL, 0, 300); /* what was under way */
	CU_ASSERT_EQUAL(unlink(filler), 0);
	vmm_space_retry(&vm);
	(void)poll(NULL, 0, 500);
	CU_ASSERT_TRUE(stalled());
	pthread_mutex_lock(&vm.dev_lock);
	vm.devs_frozen = false;
	pthread_mutex_unlock(&vm.dev_lock);
	while (stalled()) /* by itself */
		(void)poll(NULL, 0, 10);
	pthread_mutex_lock(&vm.dev_lock);
	CU_ASSERT_EQUAL(n_done, WRITES);
	CU_ASSERT_EQUAL(n_failed, 0);
	CU_ASSERT_EQUAL(vm.disks[0]->errors, 0);
	pthread_mutex_unlock(&vm.dev_lock);
	CU_ASSERT_FALSE(vmm_no_space(&vm, text, sizeof(text)));
	news_take();
	CU_ASSERT_EQUAL(told[VMM_FAULT_ROOM], 1);
	/* An error that the guest is given: beyond what direct I/O takes. */
	n_done = n_failed = 0;
	iovs[0].iov_len = reqs[0].len_bytes = WRITE_BYTES;
	reqs[0].offset_bytes = 100;
	submit(&reqs[0]);
	for (unsigned done = 0; !done; (void)poll(NULL, 0, 10)) {
		pthread_mutex_lock(&vm.dev_lock);
		done = n_done;
		pthread_mutex_unlock(&vm.dev_lock);
	}
	CU_ASSERT_EQUAL(n_failed, 1);
	CU_ASSERT_EQUAL(vm.disks[0]->errors, 1);
	CU_ASSERT_EQUAL(vm.disks[0]->error, EINVAL);
	CU_ASSERT_FALSE(stalled());
	news_take();
	CU_ASSERT_EQUAL(told[VMM_FAULT_ERROR], 1);
	news_take();
	CU_ASSERT_EQUAL(told[VMM_FAULT_ERROR], 0);
	vmm_io_stop(vm.io);
	vmm_uring_free(machine.uring);
	vm.disks[0]->ops->free(vm.disks[0]);
	vmm_faults_free(&vm);
	vmm_io_free(vm.io);
	free(data);
	CU_ASSERT_EQUAL(unlink(PATH), 0);
}

UNIT_MAIN("faults", { "a full file system", test_space })

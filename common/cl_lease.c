/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lease page; see cl_lease.h. */
#include "common/cl_lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cl_cleanup.h"

#define PAGE_BYTES 4096

static int map(int fd, int prot, struct cl_lease **ret_lease)
{
	struct stat st;
	void *page;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != PAGE_BYTES)
		return -EBADMSG;
	page = mmap(NULL, PAGE_BYTES, prot, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	if (((struct cl_lease *)page)->magic != CL_LEASE_MAGIC) {
		munmap(page, PAGE_BYTES);
		return -EBADMSG;
	}
	*ret_lease = page;
	return 0;
}

/* Whole or not there: a vmm never maps half a page. */
static int page_new(const char *path)
{
	static const struct cl_lease fresh = { .magic = CL_LEASE_MAGIC };
	CL_CLEANUP_CLOSE int fd = -1;
	char tmp[512];

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || ftruncate(fd, PAGE_BYTES) < 0 ||
	    pwrite(fd, &fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh) || rename(tmp, path) < 0)
		return -errno;
	return 0;
}

int cl_lease_create(const char *path, struct cl_lease **ret_lease)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int rc;

	if (fd < 0 && errno == ENOENT) {
		rc = page_new(path);
		if (rc < 0)
			return rc;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	}
	return fd < 0 ? -errno : map(fd, PROT_READ | PROT_WRITE, ret_lease);
}

int cl_lease_open(const char *path, const struct cl_lease **ret_lease)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct cl_lease *lease = NULL;
	int rc = fd < 0 ? -errno : map(fd, PROT_READ, &lease);

	*ret_lease = lease;
	return rc;
}

void cl_lease_close(const struct cl_lease *lease)
{
	if (lease)
		munmap((void *)(uintptr_t)lease, PAGE_BYTES);
}

uint64_t cl_lease_until_ms(const struct cl_lease *lease)
{
	return __atomic_load_n(&lease->until_ms, __ATOMIC_ACQUIRE);
}

uint64_t cl_lease_proof_ms(const struct cl_lease *lease)
{
	return __atomic_load_n(&lease->proof_ms, __ATOMIC_RELAXED);
}

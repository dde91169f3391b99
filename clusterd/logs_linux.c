/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bounds of logs; see logs_linux.h.  Files are cut in place: whoever has one open (O_APPEND) need
 * not know.  A line that is written at that very moment may be lost, which is why it is done
 * rarely.
 */
#include "clusterd/logs_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_types.h"

#define SHARE_MIN (16u << 10)

struct sweep {
	uint64_t limit; /* of one file; UINT64_MAX: only count */
	uint64_t bytes; /* found */
	unsigned files, cut;
};

/* Keeps the last keep bytes. */
static bool log_cut(int fd, off_t size, size_t keep)
{
	static const char note[] = "[earlier output dropped]\n";
	CL_CLEANUP_FREE char *tail = malloc(keep);
	ssize_t n = tail ? pread(fd, tail, keep, size - (off_t)keep) : 0;

	if (ftruncate(fd, 0) < 0)
		return false;
	(void)!write(fd, note, sizeof(note) - 1);
	if (n > 0)
		(void)!write(fd, tail, (size_t)n);
	return true;
}

static void log_look(struct sweep *sweep, int dir, const char *name)
{
	CL_CLEANUP_CLOSE int fd = openat(
		dir, name, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	sweep->files++;
	if ((uint64_t)st.st_size > sweep->limit) {
		sweep->cut += log_cut(fd, st.st_size, (size_t)(sweep->limit / 4));
		if (fstat(fd, &st) < 0)
			return;
	}
	sweep->bytes += (uint64_t)st.st_size;
}

/* The folders of VMs below RUN/name. */
static void vms_look(struct sweep *sweep, const char *name)
{
	static const char *const logs[] = { "vmm.log", "vmm.log.1", "serial.log" };
	char path[CD_PATH_MAX];
	struct dirent *e;
	DIR *dir;

	cd_path(path, sizeof(path), CD_DIR_RUN, "%s", name);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		CL_CLEANUP_CLOSE int vm = -1;

		if (e->d_name[0] == '.')
			continue;
		vm = openat(dirfd(dir), e->d_name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		for (unsigned i = 0; vm >= 0 && i < CL_ARRAY_LEN(logs); i++)
			log_look(sweep, vm, logs[i]);
	}
	if (dir)
		closedir(dir);
}

static struct sweep sweep_run(uint64_t limit)
{
	struct sweep sweep = { .limit = limit };
	CL_CLEANUP_CLOSE int run = open(cd_path_dir(CD_DIR_RUN), O_DIRECTORY | O_CLOEXEC);

	if (run >= 0)
		log_look(&sweep, run, "csvd.log");
	vms_look(&sweep, "vm");
	vms_look(&sweep, "vm-old");
	return sweep;
}

unsigned cd_logs_bound(uint64_t each_max, uint64_t total_max)
{
	struct sweep first = sweep_run(each_max), second = { 0 };
	struct statvfs fs;
	uint64_t share;

	if (statvfs(cd_path_dir(CD_DIR_RUN), &fs) == 0 && fs.f_blocks &&
	    (uint64_t)fs.f_blocks * fs.f_frsize / 8 < total_max)
		total_max = (uint64_t)fs.f_blocks * fs.f_frsize / 8;
	if (first.bytes > total_max && first.files) {
		share = total_max / first.files;
		second = sweep_run(share > SHARE_MIN ? share : SHARE_MIN);
	}
	return first.cut + second.cut;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks and cgroups of vmms; see presence_linux.h.  A lock file holds "PID START CGROUP", written
 * by us alone. */
#include "clusterd/presence_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/exec_linux.h"
#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"

#define PREFIX	   "vm-"
#define RECORD_MAX (CD_PATH_MAX + 64u)
#define EVENTS_MAX 4096u

/* What is known of a VM's last start. */
struct record {
	pid_t pid;	/* 0: not known */
	uint64_t start; /* when it began; 0: not known */
	char cgroup[CD_PATH_MAX];
};

static void lock_path(const char *name, char out[CD_PATH_MAX])
{
	cd_path(out, CD_PATH_MAX, CD_DIR_RUN, "lock/" PREFIX "%s", name);
}

/* Open file description locks go with the description, over fork and exec, and can be asked for
 * without taking one. */
static int lock_set(int fd, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int lock_held(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type != F_UNLCK;
}

/* ---- start ---------------------------------------------------------------------------------- */

static int record_write(int fd, pid_t pid, uint64_t start, const char *cgroup)
{
	char text[RECORD_MAX];
	int len = snprintf(text, sizeof(text), "%d %llu %s\n", pid, (unsigned long long)start,
			   cgroup);

	if (len >= (int)sizeof(text))
		return -ENAMETOOLONG;
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
		return errno ? -errno : -EIO;
	return 0;
}

int cd_presence_take(const char *name, const char *cgroup, struct cd_presence *ret_presence)
{
	char dir[CD_PATH_MAX], path[CD_PATH_MAX], full[CD_PATH_MAX] = "";
	CL_CLEANUP_CLOSE int write_fd = -1, pass_fd = -1;
	int rc;

	cd_path(dir, sizeof(dir), CD_DIR_RUN, "lock");
	rc = cd_path_mkdirs(dir, 0700);
	if (rc < 0)
		return rc;
	lock_path(name, path);
	write_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (write_fd < 0)
		return -errno;
	rc = lock_set(write_fd, F_WRLCK);
	if (rc < 0)
		return rc;
	(void)cd_exec_cgroup_path(cgroup, full, sizeof(full)); /* a node may have none */
	rc = record_write(write_fd, 0, 0, full);
	/* From exclusive to shared without a gap; the vmm's own is read-only, or it could fill /run
	 * by it. */
	if (rc == 0)
		rc = lock_set(write_fd, F_RDLCK);
	if (rc < 0)
		return rc;
	pass_fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (pass_fd < 0)
		return -errno;
	rc = lock_set(pass_fd, F_RDLCK);
	if (rc < 0)
		return rc;
	*ret_presence = (struct cd_presence){ cl_steal_fd(&write_fd), cl_steal_fd(&pass_fd) };
	return 0;
}

static int record_parse(int fd, struct record *ret)
{
	char text[RECORD_MAX];
	unsigned long long start = 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	int at = 0;

	memset(ret, 0, sizeof(*ret));
	if (n < 0)
		return -errno;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (sscanf(text, "%d %llu %n", &ret->pid, &start, &at) < 2 || at == 0 ||
	    strlen(text + at) >= sizeof(ret->cgroup)) {
		memset(ret, 0, sizeof(*ret)); /* of a start that did not come so far */
		return 0;
	}
	ret->start = start;
	strcpy(ret->cgroup, text + at);
	return 0;
}

void cd_presence_pid(const struct cd_presence *presence, pid_t pid)
{
	struct record record;

	if (record_parse(presence->write_fd, &record) == 0)
		(void)record_write(presence->write_fd, pid, cd_exec_start(pid), record.cgroup);
}

void cd_presence_release(struct cd_presence *presence)
{
	if (presence->write_fd >= 0)
		close(presence->write_fd);
	if (presence->pass_fd >= 0)
		close(presence->pass_fd);
	*presence = CD_PRESENCE_NONE;
}

/* ---- look ----------------------------------------------------------------------------------- */

/* "populated 1": a process lives in it or below. */
static int cgroup_look(const char *cgroup)
{
	char path[CD_PATH_MAX + 32];
	CL_CLEANUP_FREE char *text = NULL;
	const char *at;
	int rc;

	if (!cgroup[0])
		return 0;
	snprintf(path, sizeof(path), "%s/cgroup.events", cgroup);
	rc = cd_file_read(path, EVENTS_MAX, &text, NULL);
	if (rc == -ENOENT || rc == -ENODEV)
		return 0; /* a cgroup can only be removed when it is empty */
	if (rc < 0)
		return rc;
	at = strstr(text, "populated ");
	return at ? at[strlen("populated ")] != '0' : -EBADMSG;
}

static int file_look(const char *path, struct record *ret)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int held, rc;

	memset(ret, 0, sizeof(*ret));
	if (fd < 0)
		return -errno;
	held = lock_held(fd);
	rc = record_parse(fd, ret);
	if (held > 0)
		return 1;
	if (rc == 0)
		rc = cgroup_look(ret->cgroup);
	return held < 0 && rc <= 0 ? held : rc;
}

/* Without a file (none was started, or somebody swept the folder) the cgroup of that name is asked.
 */
static int look(const char *name, struct record *ret)
{
	char path[CD_PATH_MAX], cgroup[CL_NAME_MAX + 8];
	int rc;

	lock_path(name, path);
	rc = file_look(path, ret);
	if (rc != -ENOENT)
		return rc;
	snprintf(cgroup, sizeof(cgroup), PREFIX "%s", name);
	rc = cd_exec_cgroup_path(cgroup, ret->cgroup, sizeof(ret->cgroup));
	if (rc < 0)
		return rc == -EOPNOTSUPP ? 0 : rc;
	return cgroup_look(ret->cgroup);
}

int cd_presence_look(const char *name)
{
	struct record record;

	return look(name, &record);
}

int cd_presence_each(int (*fn)(void *arg, const char *name), void *arg)
{
	char dir[CD_PATH_MAX];
	struct dirent *entry;
	int rc = 0;
	DIR *list;

	cd_path(dir, sizeof(dir), CD_DIR_RUN, "lock");
	list = opendir(dir);
	if (!list)
		return errno == ENOENT ? 0 : -errno; /* nothing was ever started by this build */
	while (rc == 0 && (errno = 0, entry = readdir(list))) {
		const char *name = entry->d_name + strlen(PREFIX);

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 || !cl_name_valid(name))
			continue;
		rc = cd_presence_look(name);
		if (rc > 0)
			rc = fn(arg, name);
	}
	if (rc == 0 && errno)
		rc = -errno;
	closedir(list);
	return rc;
}

/* ---- kill ----------------------------------------------------------------------------------- */

/* cgroup.kill is of Linux 5.14. */
static int cgroup_kill(const char *cgroup)
{
	char path[CD_PATH_MAX + 32], *text, *at, *end;
	CL_CLEANUP_CLOSE int fd = -1;
	int rc;

	if (!cgroup[0])
		return 0;
	snprintf(path, sizeof(path), "%s/cgroup.kill", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		return write(fd, "1", 1) == 1 ? 0 : -errno;
	if (errno != ENOENT)
		return -errno;
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	rc = cd_file_read(path, 1u << 20, &text, NULL);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	for (at = text; rc == 0; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid > 1 && kill((pid_t)pid, SIGKILL) < 0 && errno != ESRCH)
			rc = -errno;
	}
	free(text);
	return rc;
}

int cd_presence_kill(const char *name)
{
	struct record record;
	int rc = look(name, &record), again;

	if (rc == 0)
		return 0;
	rc = cgroup_kill(record.cgroup);
	again = record.pid ? cd_exec_kill_started(record.pid, record.start) : 0;
	return rc < 0 ? rc : again;
}

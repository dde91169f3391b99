/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run folders by descriptors; see rundir_linux.h. */
#include "clusterd/rundir_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"

#define DEPTH_MAX 16u /* of what a vmm may have built there when the folder was still its own */

/* A folder of root's that nobody else writes in. */
static int folder_open(int at, const char *name)
{
	CL_CLEANUP_CLOSE int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	return cl_steal_fd(&fd);
}

static int parent_open(const char *name)
{
	char path[CD_PATH_MAX];
	int rc;

	cd_path(path, sizeof(path), CD_DIR_RUN, "%s", name);
	rc = cd_path_mkdirs(path, 0711);
	return rc < 0 ? rc : folder_open(AT_FDCWD, path);
}

/* Removes what has the name, of whatever kind; a link is removed, not what it names. */
static int tree_remove(int at, const char *name, unsigned depth)
{
	struct dirent *entry;
	DIR *dir;
	int fd, rc = 0;

	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth == 0)
		return -ELOOP;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (rc == 0 && (errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = tree_remove(fd, entry->d_name, depth - 1);
	if (rc == 0 && errno)
		rc = -errno;
	closedir(dir);
	return rc == 0 && unlinkat(at, name, AT_REMOVEDIR) < 0 ? -errno : rc;
}

/* Whoever has the lock runs there, whatever else we believe.  A folder of before there were locks
 * has none. */
static int lock_ask(int parent, const char *name)
{
	CL_CLEANUP_CLOSE int dir =
		openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CL_CLEANUP_CLOSE int fd = -1;

	if (dir < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	fd = openat(dir, "lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

int cd_rundir_make(const char *name)
{
	CL_CLEANUP_CLOSE int parent = parent_open("vm");
	CL_CLEANUP_CLOSE int old = parent_open("vm-old");
	int rc;

	if (parent < 0 || old < 0)
		return parent < 0 ? parent : old;
	rc = lock_ask(parent, name);
	if (rc == 0)
		rc = tree_remove(old, name, DEPTH_MAX);
	if (rc == 0 && renameat(parent, name, old, name) < 0 && errno != ENOENT)
		rc = -errno;
	if (rc == 0 && mkdirat(parent, name, 0700) < 0)
		rc = -errno;
	return rc < 0 ? rc : folder_open(parent, name);
}

int cd_rundir_open(const char *name, const char *file)
{
	CL_CLEANUP_CLOSE int parent = parent_open("vm");
	CL_CLEANUP_CLOSE int dir = -1, fd = -1;
	struct stat st;

	if (parent < 0)
		return parent;
	dir = folder_open(parent, name);
	if (dir < 0)
		return dir;
	fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	return cl_steal_fd(&fd);
}

int cd_rundir_log(int dir_fd, const char *file)
{
	int fd = openat(dir_fd, file,
			O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

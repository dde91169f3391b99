/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run folder by its descriptor; see rundir.h. */
#include "vmm/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "vmm/text.h"

#define LOCK_NAME "lock"
#define BACKLOG	  16

static int folder_open(const char *path, char **ret_error)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return vmm_error(ret_error, errno, "run_dir %s: %s", path, strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return vmm_error(ret_error, EPERM,
				 "run_dir %s: of user %u, mode %04o; allowed: of user %u, writable "
				 "by nobody else",
				 path, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777),
				 (unsigned)geteuid());
	return cl_steal_fd(&fd);
}

/* The pid by which the mounted /proc knows us. */
static int pid_outside(void)
{
	char text[16] = "";

	return readlink("/proc/self", text, sizeof(text) - 1) > 0 ? atoi(text) : (int)getpid();
}

int vmm_rundir_open(const char *path, struct vmm_rundir *ret_dir, char **ret_error)
{
	CL_CLEANUP_CLOSE int fd = folder_open(path, ret_error);
	CL_CLEANUP_CLOSE int lock = -1;

	if (fd < 0)
		return fd;
	lock = openat(fd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0)
		return vmm_error(ret_error, errno, "%s/" LOCK_NAME ": %s", path, strerror(errno));
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? vmm_error(ret_error, EBUSY,
							"run_dir %s: another vmm runs there; "
							"allowed: one for each folder",
							path)
					    : vmm_error(ret_error, errno, "%s/" LOCK_NAME ": %s",
							path, strerror(errno));
	*ret_dir = (struct vmm_rundir){ cl_steal_fd(&fd), cl_steal_fd(&lock), path, pid_outside() };
	return 0;
}

void vmm_rundir_close(struct vmm_rundir *dir)
{
	if (dir->fd >= 0)
		close(dir->fd);
	if (dir->lock_fd >= 0)
		close(dir->lock_fd);
	dir->fd = dir->lock_fd = -1;
}

static int name_clear(const struct vmm_rundir *dir, const char *name)
{
	return unlinkat(dir->fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int vmm_rundir_file(const struct vmm_rundir *dir, const char *name)
{
	int r = name_clear(dir, name), fd;

	if (r < 0)
		return r;
	fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	return fd < 0 ? -errno : fd;
}

int vmm_rundir_log(const struct vmm_rundir *dir, const char *name)
{
	CL_CLEANUP_CLOSE int fd = openat(dir->fd, name,
					 O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK |
						 O_NOCTTY | O_CLOEXEC,
					 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid())
		return -EPERM;
	return cl_steal_fd(&fd);
}

int vmm_rundir_socket(const struct vmm_rundir *dir, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	CL_CLEANUP_CLOSE int fd = -1;
	int r = name_clear(dir, name);

	if (r < 0)
		return r;
	/* By the folder that was looked at, whatever becomes of its path; and a path of any length
	 * fits. */
	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir->fd, name) >=
	    (int)sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The mode is set before anybody can connect: fchmod() works on the unbound inode. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    fchmodat(dir->fd, name, 0600, 0) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return cl_steal_fd(&fd);
}

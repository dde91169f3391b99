/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vmm's namespaces, user and limits; see sandbox.h. */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/rundir.h"
#include "vmm/text.h"

#define FILES_MAX    1024
#define CAPS_MAX     63 /* numbers of capabilities that a kernel may have */
#define ROOT_FLAGS   (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define ROOT_OPTIONS "size=64k,nr_inodes=64,mode=0755"
#define ROOT_AT	     "/run" /* what the new root covers for a moment, in our namespace only */

static int fail(char **ret_error, int err, const char *what)
{
	return vmm_error(ret_error, err, "sandbox: %s: %s", what, strerror(err));
}

/* ---- standard streams ----------------------------------------------------------------------- */

int vmm_sandbox_stdio(const struct vmm_rundir *dir, char **ret_error)
{
	int in, log = vmm_rundir_log(dir, "vmm.log");

	if (log < 0)
		return fail(ret_error, -log, "run_dir/vmm.log");
	in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (in < 0 || dup2(in, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
		int err = errno;

		close(log);
		if (in >= 0)
			close(in);
		return fail(ret_error, err, "standard streams");
	}
	if (in > 2)
		close(in);
	if (log > 2)
		close(log);
	return 0;
}

/* ---- namespaces ----------------------------------------------------------------------------- */

/* path below the working directory, and every folder on the way to it. */
static int folders_make(const char *path)
{
	char part[PATH_MAX];
	int n = snprintf(part, sizeof(part), ".%s", path);

	if (n < 0 || (size_t)n >= sizeof(part))
		return -ENAMETOOLONG;
	for (char *end = strchr(part + 2, '/'); end; end = strchr(end + 1, '/')) {
		*end = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*end = '/';
	}
	if (mkdir(part, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* The folder itself, at its own path below the working directory; what is mounted in it is not
 * taken along. */
static int folder_keep(int fd, const char *path)
{
	char from[32], to[PATH_MAX];
	int r = folders_make(path);

	if (r < 0)
		return r;
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	(void)snprintf(to, sizeof(to), ".%s", path);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | ROOT_FLAGS, NULL) < 0)
		return -errno;
	return 0;
}

/* The working directory, a mount, becomes all that there is. */
static int root_change(void)
{
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -errno : 0;
	/* A root that is the kernel's first one cannot be put away, only covered. */
	if (errno != EINVAL)
		return -errno;
	return mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0
		       ? -errno
		       : 0;
}

int vmm_sandbox_namespaces(const char *keep_dir, bool keep_net, char **ret_error)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
		    (keep_net ? 0 : CLONE_NEWNET);
	int keep = -1, r = 0;

	if (geteuid() != 0)
		return 0;
	if (unshare(flags) < 0)
		return fail(ret_error, errno, "namespaces of its own");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail(ret_error, errno, "private mounts");
	if (keep_dir) {
		keep = open(keep_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (keep < 0)
			return fail(ret_error, errno, keep_dir);
	}
	/* The kept folder may lie below what is covered: it is had by its descriptor. */
	if (mount("vmm", ROOT_AT, "tmpfs", ROOT_FLAGS, ROOT_OPTIONS) < 0 || chdir(ROOT_AT) < 0)
		r = -errno;
	if (r == 0 && keep >= 0)
		r = folder_keep(keep, keep_dir);
	if (keep >= 0)
		close(keep);
	if (r < 0)
		return fail(ret_error, -r, "a root of its own");
	r = root_change();
	if (r == 0 &&
	    mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | ROOT_FLAGS, NULL) < 0)
		r = -errno;
	return r < 0 ? fail(ret_error, -r, "an empty root") : 0;
}

/* ---- user ----------------------------------------------------------------------------------- */

static int limit(int resource, rlim_t most)
{
	struct rlimit old, new;

	if (getrlimit(resource, &old) < 0)
		return -errno;
	new.rlim_max = old.rlim_max < most ? old.rlim_max : most;
	new.rlim_cur = new.rlim_max;
	return setrlimit(resource, &new) < 0 ? -errno : 0;
}

static int caps_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

static int caps_none(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	return data[0].effective | data[0].permitted | data[0].inheritable | data[1].effective |
			       data[1].permitted | data[1].inheritable
		       ? -EPERM
		       : 0;
}

int vmm_sandbox_user(uid_t uid, gid_t gid, char **ret_error)
{
	uid_t r, e, s;
	int rc;

	if (uid == 0 || gid == 0)
		return fail(ret_error, EINVAL,
			    "a VM does not run as root; allowed is a uid above 0");
	/* Fails only for a leader, which has a session of its own. */
	(void)setsid();
	umask(077);
	if (chdir("/") < 0)
		return fail(ret_error, errno, "/");
	rc = limit(RLIMIT_CORE, 0);
	rc = rc ? rc : limit(RLIMIT_NOFILE, FILES_MAX);
	if (rc)
		return fail(ret_error, -rc, "setrlimit");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(ret_error, errno, "no_new_privs");
	if (geteuid() == 0) {
		for (int cap = 0; cap <= CAPS_MAX; cap++)
			if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
				return fail(ret_error, errno, "bounding set");
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			return fail(ret_error, errno, "change of user");
	}
	rc = caps_drop();
	if (rc)
		return fail(ret_error, -rc, "capset");
	/* Believe none of it without a look. */
	if (getresuid(&r, &e, &s) < 0 || r != uid || e != uid || s != uid)
		return fail(ret_error, EPERM, "not the VM's user");
	rc = caps_none();
	if (rc || setuid(0) == 0)
		return fail(ret_error, EPERM, "privileges are left");
	return 0;
}

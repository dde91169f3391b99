/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vmm's sandbox (see sandbox.h).
 *
 * The filter is an allow-list for the whole process.  Narrowed by argument: ioctl to KVM's and a few
 * of block devices; clone to threads; mmap and mprotect to what is not executable; socket to Unix
 * and TCP/UDP; prctl to naming a thread.  Opening files stays allowed (saving a VM), as a user that owns next to nothing.
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cl_types.h"
#include "vmm/rundir.h"

#define FILES_MAX     1024
#define CAPS_MAX      63 /* numbers of capabilities that a kernel may have */
#define IOC_TYPE_MASK 0xff00u
#define IOC_TYPE_KVM  0xae00u /* KVMIO of linux/kvm.h */
#define IOC_TCGETS    0x5401u

static int fail(char **ret_error, int err, const char *what)
{
	if (asprintf(ret_error, "sandbox: %s: %s", what, strerror(err)) < 0)
		*ret_error = NULL;
	return -err;
}

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
			       data[1].permitted | data[1].inheritable ?
		       -EPERM :
		       0;
}

int vmm_sandbox_user(uid_t uid, gid_t gid, const char *run_dir, char **ret_error)
{
	uid_t r, e, s;
	int rc;

	if (uid == 0 || gid == 0)
		return fail(ret_error, EINVAL, "a VM does not run as root; allowed is a uid above 0");
	/* Fails only for a leader, which has a session of its own. */
	(void)setsid();
	umask(077);
	if (chdir(run_dir) < 0)
		return fail(ret_error, errno, run_dir);
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

static const int allowed[] = {
	/* memory and threads (mmap, mprotect, clone are below) */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
	SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(membarrier), SCMP_SYS(gettid),
	SCMP_SYS(getpid), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(exit),
	SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
	/* signals */
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill),
	/* files that are open */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
	SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(statx), SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(dup3), SCMP_SYS(fstatfs),
	SCMP_SYS(io_uring_enter),
	/* files by name: saving a VM, disks that are plain files */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename),
	SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(readlink), SCMP_SYS(getcwd),
	/* waiting and clocks */
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_create1),
	SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_gettime), SCMP_SYS(pipe2), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	/* sockets (socket itself is below) */
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(shutdown),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
	/* what libraries ask about their process */
	SCMP_SYS(getrandom), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrusage),
};

/* Adds a rule for a call whose argument n, masked, has that value. */
static int rule(scmp_filter_ctx f, uint32_t action, int call, unsigned n, uint64_t mask,
		uint64_t value)
{
	const struct scmp_arg_cmp cmp = { .arg = n, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask,
					  .datum_b = value };

	return seccomp_rule_add_array(f, action, call, 1, &cmp);
}

static int rules(scmp_filter_ctx f)
{
	static const unsigned block_ioctls[] = { BLKGETSIZE64, BLKSSZGET, BLKPBSZGET, BLKIOOPT };
	static const int domains[] = { AF_UNIX, AF_INET, AF_INET6 };
	const uint32_t allow = SCMP_ACT_ALLOW;
	int r = 0;

	for (size_t i = 0; i < CL_ARRAY_LEN(allowed) && !r; i++)
		r = seccomp_rule_add(f, allow, allowed[i], 0);
	for (size_t i = 0; i < CL_ARRAY_LEN(block_ioctls) && !r; i++)
		r = rule(f, allow, SCMP_SYS(ioctl), 1, UINT32_MAX, block_ioctls[i]);
	r = r ? r : rule(f, allow, SCMP_SYS(ioctl), 1, IOC_TYPE_MASK, IOC_TYPE_KVM);
	/* A C library asks whether standard output is a terminal: no. */
	r = r ? r : rule(f, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1, UINT32_MAX, IOC_TCGETS);
	r = r ? r : rule(f, allow, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
	r = r ? r : rule(f, allow, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
	r = r ? r : rule(f, allow, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
	/* Its flags lie in memory, out of the filter's sight: the C library falls back to clone. */
	r = r ? r : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (size_t i = 0; i < CL_ARRAY_LEN(domains) && !r; i++)
		r = rule(f, allow, SCMP_SYS(socket), 0, UINT32_MAX, (uint64_t)domains[i]);
	r = r ? r : rule(f, allow, SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_NAME);
	/* Reading limits, not setting them. */
	r = r ? r : rule(f, allow, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
	return r;
}

int vmm_sandbox_seccomp(char **ret_error)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!f)
		return fail(ret_error, ENOMEM, "seccomp");
	r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	r = r ? r : seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 1);
	r = r ? r : seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A balanced tree instead of a list: KVM_RUN is an ioctl too. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = r ? r : rules(f);
	r = r ? r : seccomp_load(f);
	seccomp_release(f);
	return r ? fail(ret_error, -r, "seccomp") : 0;
}

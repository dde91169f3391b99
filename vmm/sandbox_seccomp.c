/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system-call filters (see sandbox.h): an allow-list for each kind of thread.
 *
 * No thread opens a file, makes a name or looks one up: what it needs was opened before, or is
 * handed in.  No thread has a socket of a network; the I/O thread alone can make one, a Unix one,
 * to find a csvd that was started anew.
 *
 * Narrowed by argument: ioctl to what each kind asks of KVM; mmap and mprotect to what is not
 * executable; clone to threads; signals to our own process; sending to what is connected, without
 * TCP's "connect by sending".
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_types.h"
#include "vmm/text.h"

#define IOC_TYPE_MASK 0xff00u
#define IOC_TYPE_KVM  0xae00u /* KVMIO of linux/kvm.h */
#define IOC_TCGETS    0x5401u

#define V   (1u << VMM_THREAD_VCPU)
#define I   (1u << VMM_THREAD_IO)
#define G   (1u << VMM_THREAD_GUARD)
#define C   (1u << VMM_THREAD_CONTROL)
#define W   (1u << VMM_THREAD_WORKER)
#define T   (1u << VMM_THREAD_TUNNEL)
#define ALL (V | I | G | C | W | T)
/* Those that may run a device: a vCPU by a register, the I/O thread by an event, the others by
 * letting them go on. */
#define DEV (V | I | G | C | W)

enum condition {
	ANY = 0,
	NOT_EXECUTABLE, /* argument 2 */
	THREAD,
	OWN_PROCESS, /* argument 0 */
	UNIX,
	CONNECTED,   /* sendto: without an address */
	NO_FASTOPEN, /* sendmsg */
	OPEN_FD_3,   /* AT_EMPTY_PATH in argument 3, or 2: by descriptor */
	OPEN_FD_2,
	THREAD_NAME,
	READING, /* prlimit64: without new limits */
};

static const struct {
	int call;
	unsigned kinds;
	enum condition condition;
} calls[] = {
	/* memory */
	{ SCMP_SYS(brk), ALL, ANY },
	{ SCMP_SYS(munmap), ALL, ANY },
	{ SCMP_SYS(madvise), ALL, ANY },
	{ SCMP_SYS(mremap), ALL & ~V, ANY },
	{ SCMP_SYS(mmap), ALL, NOT_EXECUTABLE },
	{ SCMP_SYS(mprotect), ALL, NOT_EXECUTABLE },
	/* threads and signals */
	{ SCMP_SYS(futex), ALL, ANY },
	{ SCMP_SYS(exit), ALL, ANY },
	{ SCMP_SYS(exit_group), ALL, ANY },
	{ SCMP_SYS(rt_sigreturn), ALL, ANY },
	{ SCMP_SYS(rt_sigprocmask), ALL, ANY },
	{ SCMP_SYS(restart_syscall), ALL, ANY },
	{ SCMP_SYS(getpid), ALL, ANY },
	{ SCMP_SYS(gettid), ALL, ANY },
	{ SCMP_SYS(tgkill), ALL, OWN_PROCESS },
	{ SCMP_SYS(sched_yield), ALL & ~V, ANY },
	{ SCMP_SYS(clone), W | T, THREAD },
	{ SCMP_SYS(set_robust_list), W | T, ANY },
	{ SCMP_SYS(rseq), W | T, ANY },
	{ SCMP_SYS(prctl), W | T, THREAD_NAME },
	{ SCMP_SYS(sched_getaffinity), I | C | W | T, ANY },
	{ SCMP_SYS(prlimit64), C | W | T, READING },
	/* clocks, where the kernel does not give them without a call */
	{ SCMP_SYS(clock_gettime), ALL, ANY },
	{ SCMP_SYS(gettimeofday), T, ANY },
	{ SCMP_SYS(time), T, ANY },
	{ SCMP_SYS(clock_nanosleep), W, ANY },
	{ SCMP_SYS(nanosleep), W, ANY },
	/* descriptors: of devices (event counters, taps, logs), of clients of the serial line */
	{ SCMP_SYS(read), ALL, ANY },
	{ SCMP_SYS(write), ALL, ANY },
	{ SCMP_SYS(close), ALL, ANY },
	{ SCMP_SYS(sendto), DEV | T, CONNECTED },
	{ SCMP_SYS(epoll_ctl), DEV, ANY },
	{ SCMP_SYS(ftruncate), DEV, ANY },
	{ SCMP_SYS(io_uring_enter), DEV, ANY },
	{ SCMP_SYS(getrandom), DEV | T, ANY },
	{ SCMP_SYS(timerfd_settime), DEV, ANY },
	{ SCMP_SYS(readv), I | C | W, ANY },
	{ SCMP_SYS(writev), I | C | W | T, ANY },
	{ SCMP_SYS(poll), ALL & ~V, ANY },
	{ SCMP_SYS(ppoll), T, ANY },
	{ SCMP_SYS(epoll_wait), I | C, ANY },
	{ SCMP_SYS(epoll_pwait), I | C, ANY },
	{ SCMP_SYS(fcntl), I | C | W | T, ANY },
	/* sockets that are there */
	{ SCMP_SYS(accept4), I | C | T, ANY },
	{ SCMP_SYS(getsockopt), I | C | W | T, ANY },
	{ SCMP_SYS(getpeername), C | T, ANY },
	{ SCMP_SYS(setsockopt), W | T, ANY },
	{ SCMP_SYS(shutdown), C | W | T, ANY },
	{ SCMP_SYS(recvfrom), I | C | W | T, ANY },
	{ SCMP_SYS(recvmsg), I | C | W | T, ANY },
	{ SCMP_SYS(sendmsg), I | C | W | T, NO_FASTOPEN },
	/* csvd was started anew: libcsv finds it again */
	{ SCMP_SYS(socket), I, UNIX },
	{ SCMP_SYS(connect), I, ANY },
	{ SCMP_SYS(eventfd2), T, ANY },
	{ SCMP_SYS(rt_sigaction), T, ANY },
	/* what is known of a file that is open; a saved VM */
	{ SCMP_SYS(fstat), I | C | W | T, ANY },
	{ SCMP_SYS(newfstatat), I | C | W | T, OPEN_FD_3 },
	{ SCMP_SYS(statx), I | C | W, OPEN_FD_2 },
	{ SCMP_SYS(lseek), C | W | T, ANY },
	{ SCMP_SYS(pread64), DEV, ANY }, /* the guard's clocks, too */
	{ SCMP_SYS(pwrite64), W, ANY },
	{ SCMP_SYS(fallocate), W, ANY },
	{ SCMP_SYS(fsync), W, ANY },
	{ SCMP_SYS(fdatasync), W, ANY },
	/* what libraries ask about their process */
	{ SCMP_SYS(sysinfo), C | W | T, ANY },
	{ SCMP_SYS(uname), T, ANY },
	{ SCMP_SYS(getrusage), T, ANY },
	{ SCMP_SYS(getuid), T, ANY },
	{ SCMP_SYS(geteuid), T, ANY },
	/* clone3 is refused (below) */
};

/* Of ioctl: one more call for each kind that has any. */
static const struct {
	unsigned long request;
	unsigned kinds;
} ioctls[] = {
	{ KVM_RUN, V },		  { KVM_GET_REGS, V },	   { KVM_GET_SREGS, V },
	{ KVM_SIGNAL_MSI, DEV },  { KVM_IRQ_LINE, DEV },   { KVM_IOEVENTFD, V | I },
	{ KVM_KVMCLOCK_CTRL, G }, { BLKGETSIZE64, I | W }, { BLKSSZGET, I | W },
	{ BLKPBSZGET, I | W },	  { BLKIOOPT, I | W },	   { BLKROGET, I | W },
};

/*
 * Refused, not fatal: a C library may try them on a path that nobody has seen, and goes on without.
 * clone3's flags lie in memory, out of the filter's sight: the C library falls back to clone.
 */
static const struct {
	int call, err;
} refused[] = {
	{ SCMP_SYS(open), EACCES },	{ SCMP_SYS(openat), EACCES },
	{ SCMP_SYS(stat), EACCES },	{ SCMP_SYS(lstat), EACCES },
	{ SCMP_SYS(access), EACCES },	{ SCMP_SYS(faccessat), EACCES },
	{ SCMP_SYS(readlink), EACCES }, { SCMP_SYS(getcwd), EACCES },
	{ SCMP_SYS(clone3), ENOSYS },
};

static int rule_1(scmp_filter_ctx f, uint32_t action, int call, struct scmp_arg_cmp cmp)
{
	return seccomp_rule_add_array(f, action, call, 1, &cmp);
}

/* Argument n, masked, has that value. */
static struct scmp_arg_cmp masked(unsigned n, uint64_t mask, uint64_t value)
{
	return (struct scmp_arg_cmp){
		.arg = n, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value
	};
}

static int call_add(scmp_filter_ctx f, int call, enum condition condition)
{
	const uint32_t allow = SCMP_ACT_ALLOW;
	const struct scmp_arg_cmp connected[] = { masked(3, MSG_FASTOPEN, 0),
						  masked(4, UINT64_MAX, 0) };

	switch (condition) {
	case ANY:
		return seccomp_rule_add_array(f, allow, call, 0, NULL);
	case NOT_EXECUTABLE:
		return rule_1(f, allow, call, masked(2, PROT_EXEC, 0));
	case THREAD:
		return rule_1(f, allow, call, masked(0, CLONE_THREAD, CLONE_THREAD));
	case OWN_PROCESS:
		return rule_1(f, allow, call, masked(0, UINT32_MAX, (uint64_t)getpid()));
	case UNIX:
		return rule_1(f, allow, call, masked(0, UINT32_MAX, AF_UNIX));
	case CONNECTED:
		return seccomp_rule_add_array(f, allow, call, CL_ARRAY_LEN(connected), connected);
	case NO_FASTOPEN:
		return rule_1(f, allow, call, masked(2, MSG_FASTOPEN, 0));
	case OPEN_FD_3:
		return rule_1(f, allow, call, masked(3, AT_EMPTY_PATH, AT_EMPTY_PATH));
	case OPEN_FD_2:
		return rule_1(f, allow, call, masked(2, AT_EMPTY_PATH, AT_EMPTY_PATH));
	case THREAD_NAME:
		return rule_1(f, allow, call, masked(0, UINT32_MAX, PR_SET_NAME));
	case READING:
		return rule_1(f, allow, call, masked(2, UINT64_MAX, 0));
	}
	return -EINVAL;
}

/* What is asked of a name: refused to all; of a descriptor it may be permitted (calls[]). */
static int names_refuse(scmp_filter_ctx f, unsigned kind)
{
	static const struct {
		int call;
		unsigned flags; /* number of the argument */
	} both[] = { { SCMP_SYS(newfstatat), 3 }, { SCMP_SYS(statx), 2 } };
	int r = 0;

	for (size_t i = 0; i < CL_ARRAY_LEN(both) && !r; i++) {
		struct scmp_arg_cmp by_name = masked(both[i].flags, AT_EMPTY_PATH, 0);
		unsigned n = 0;

		for (size_t j = 0; j < CL_ARRAY_LEN(calls); j++)
			n |= calls[j].call == both[i].call && (calls[j].kinds & kind);
		r = seccomp_rule_add_array(f, SCMP_ACT_ERRNO(EACCES), both[i].call, n, &by_name);
	}
	return r;
}

static int rules(scmp_filter_ctx f, unsigned kind)
{
	int r = 0;

	for (size_t i = 0; i < CL_ARRAY_LEN(calls) && !r; i++)
		if (calls[i].kinds & kind)
			r = call_add(f, calls[i].call, calls[i].condition);
	for (size_t i = 0; i < CL_ARRAY_LEN(ioctls) && !r; i++)
		if ((ioctls[i].kinds & kind) &&
		    !(kind == W && (ioctls[i].request & IOC_TYPE_MASK) == IOC_TYPE_KVM))
			r = rule_1(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl),
				   masked(1, UINT32_MAX, ioctls[i].request));
	/* Saving and loading a machine takes most of what KVM has. */
	if (!r && kind == W)
		r = rule_1(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl),
			   masked(1, IOC_TYPE_MASK, IOC_TYPE_KVM));
	/* A C library asks whether standard output is a terminal: no. */
	r = r ? r
	      : rule_1(f, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl),
		       masked(1, UINT32_MAX, IOC_TCGETS));
	for (size_t i = 0; i < CL_ARRAY_LEN(refused) && !r; i++)
		r = seccomp_rule_add_array(f, SCMP_ACT_ERRNO((uint32_t)refused[i].err),
					   refused[i].call, 0, NULL);
	return r ? r : names_refuse(f, kind);
}

unsigned vmm_sandbox_calls(enum vmm_thread kind)
{
	unsigned n = 0, any_ioctl = 0;

	for (size_t i = 0; i < CL_ARRAY_LEN(calls); i++)
		n += calls[i].kinds >> kind & 1u;
	for (size_t i = 0; i < CL_ARRAY_LEN(ioctls); i++)
		any_ioctl |= ioctls[i].kinds >> kind & 1u;
	return n + any_ioctl;
}

int vmm_sandbox_filter(enum vmm_thread kind, char **ret_error)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!f)
		return vmm_error(ret_error, ENOMEM, "sandbox: seccomp: out of memory");
	r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	r = r ? r : seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 1);
	/* A balanced tree instead of a list: KVM_RUN is an ioctl too. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = r ? r : rules(f, 1u << kind);
	r = r ? r : seccomp_load(f);
	seccomp_release(f);
	return r ? vmm_error(ret_error, -r, "sandbox: seccomp: %s", strerror(-r)) : 0;
}

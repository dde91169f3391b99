/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is left after the sandbox: looked at from inside, in children that go through it. */
#include "vmm/sandbox.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OTHER_ID 54321

/* Under ASan the run-time library needs calls of its own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static uid_t test_uid(void)
{
	return geteuid() == 0 ? OTHER_ID : geteuid();
}

static gid_t test_gid(void)
{
	return geteuid() == 0 ? OTHER_ID : getegid();
}

#define UNFILTERED VMM_THREADS

/* Wait status of a child that enters the sandbox, as that kind of thread, and then does that. */
static int in_sandbox(enum vmm_thread kind, int (*what)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		uid_t uid = test_uid();
		gid_t gid = test_gid();
		char *error = NULL;

		if (vmm_sandbox_user(uid, gid, &error))
			_exit(90);
		if (kind != UNFILTERED && vmm_sandbox_filter(kind, &error))
			_exit(91);
		_exit(what());
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return status;
}

static bool status_line(const char *key, const char *value)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	size_t n = strlen(key);
	bool ok = false;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, n) == 0 && strstr(line + n, value))
			ok = true;
	if (f)
		fclose(f);
	return ok;
}

static int look(void)
{
	struct rlimit core;

	if (!status_line("CapEff:", "0000000000000000") ||
	    !status_line("CapPrm:", "0000000000000000") || !status_line("NoNewPrivs:", "1"))
		return 1;
	if (getuid() == OTHER_ID && (!status_line("CapBnd:", "0000000000000000") ||
				     !status_line("Uid:", "54321\t54321\t54321\t54321")))
		return 2;
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
		return 3;
	if (setuid(0) == 0 || getsid(0) != getpid())
		return 4;
	return 0;
}

static void *thread_main(void *arg)
{
	*(int *)arg = 7;
	return NULL;
}

static int dev_null = -1;

/* Memory, a descriptor, a clock, a random number: of everybody. */
static int usual_work(void)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct timespec now;

	if (p == MAP_FAILED || munmap(p, 65536) || write(dev_null, "x", 1) != 1)
		return 1;
	return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) ? 2 : 0;
}

/* Helpers for a migration or a save. */
static int thread_work(void)
{
	pthread_t t;
	int v = 0;

	return pthread_create(&t, NULL, thread_main, &v) || pthread_join(t, NULL) || v != 7
		       ? 1
		       : usual_work();
}

static int unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 || close(fd) < 0 ? 1 : 0;
}

static int do_thread(void)
{
	pthread_t t;
	int v = 0;

	return pthread_create(&t, NULL, thread_main, &v);
}

static int do_exec(void)
{
	execl("/bin/true", "true", NULL);
	return 0;
}

static int do_fork(void)
{
	return fork() < 0 ? 1 : 0;
}

static int do_ptrace(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int do_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static int do_packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) < 0;
}

static int do_inet_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int do_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static int do_bind(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	return bind(0, (struct sockaddr *)&a, sizeof(a));
}

static int do_send_to_address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "x" };

	return sendto(0, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)) < 0;
}

static int do_fast_open(void)
{
	return send(0, "x", 1, MSG_FASTOPEN) < 0;
}

static int do_tty_ioctl(void)
{
	return ioctl(0, 0x5412 /* TIOCSTI */, "x");
}

static int do_limit(void)
{
	struct rlimit r = { 1, 1 };

	return setrlimit(RLIMIT_NOFILE, &r);
}

static int do_kill(void)
{
	return kill(1, 0);
}

static int do_signal_other(void)
{
	return (int)syscall(SYS_tgkill, 1, 1, 0);
}

static int do_unlink(void)
{
	return unlink("/x");
}

static int do_rename(void)
{
	return rename("/x", "/y");
}

static int do_symlink(void)
{
	return symlink("/x", "/y");
}

static int do_chmod(void)
{
	return chmod("/x", 0777);
}

static int do_mount(void)
{
	return (int)syscall(SYS_mount, "a", "/", "tmpfs", 0, NULL);
}

static int do_unshare(void)
{
	return (int)syscall(SYS_unshare, 0);
}

static int do_ring(void)
{
	return (int)syscall(SYS_io_uring_setup, 8, NULL);
}

static int do_memory_of_other(void)
{
	return (int)syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0);
}

static int do_bpf(void)
{
	return (int)syscall(SYS_bpf, 0, NULL, 0);
}

/* Create a VM in the VM: only the worker may ask KVM for more than it has for running one. */
static int do_kvm_create(void)
{
	return ioctl(0, 0xae01 /* KVM_CREATE_VM */, 0);
}

static int do_write_file(void)
{
	return pwrite(dev_null, "x", 1, 0) < 0;
}

static int opens_nothing(void)
{
	struct stat st;
	char text[8];

	return open("/dev/null", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES &&
			       openat(AT_FDCWD, "/", O_PATH) < 0 && errno == EACCES &&
			       stat("/", &st) < 0 && access("/", F_OK) < 0 && errno == EACCES &&
			       readlink("/proc/self/exe", text, sizeof(text)) < 0 && errno == EACCES
		       ? 0
		       : 1;
}

static void user_and_capabilities(void)
{
	int status = in_sandbox(UNFILTERED, look);

	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

static const char *const kinds[] = { "vCPU", "I/O", "guard", "control", "worker", "tunnel" };

static void works(enum vmm_thread kind, int (*what)(void))
{
	int status = in_sandbox(kind, what);

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		(void)printf("%s: status %#x\n", kinds[kind], (unsigned)status);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void kills(enum vmm_thread kind, int (*what)(void), size_t n)
{
	int status = in_sandbox(kind, what);

	if (!WIFSIGNALED(status))
		(void)printf("%s: deed %zu: status %#x\n", kinds[kind], n, (unsigned)status);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void each_kind_works(void)
{
	if (SANITIZED) {
		CU_PASS("the sanitizer's own calls are not in the list");
		return;
	}
	for (enum vmm_thread kind = 0; kind < VMM_THREADS; kind++) {
		works(kind, usual_work);
		works(kind, opens_nothing);
	}
	works(VMM_THREAD_WORKER, thread_work);
	works(VMM_THREAD_TUNNEL, thread_work);
	works(VMM_THREAD_IO, unix_socket);
}

static void each_kind_is_confined(void)
{
	int (*const deeds[])(void) = {
		do_exec,
		do_fork,
		do_ptrace,
		do_exec_memory,
		do_packet_socket,
		do_inet_socket,
		do_bind,
		do_tty_ioctl,
		do_limit,
		do_kill,
		do_signal_other,
		do_unlink,
		do_rename,
		do_symlink,
		do_chmod,
		do_mount,
		do_unshare,
		do_ring,
		do_memory_of_other,
		do_bpf,
		do_send_to_address,
		do_fast_open,
	};
	static const struct {
		enum vmm_thread kind;
		int (*deed)(void);
	} more[] = {
		{ VMM_THREAD_VCPU, do_unix_socket },	{ VMM_THREAD_GUARD, do_unix_socket },
		{ VMM_THREAD_CONTROL, do_unix_socket }, { VMM_THREAD_WORKER, do_unix_socket },
		{ VMM_THREAD_TUNNEL, do_unix_socket },	{ VMM_THREAD_VCPU, do_thread },
		{ VMM_THREAD_IO, do_thread },		{ VMM_THREAD_GUARD, do_thread },
		{ VMM_THREAD_CONTROL, do_thread },	{ VMM_THREAD_VCPU, do_kvm_create },
		{ VMM_THREAD_IO, do_kvm_create },	{ VMM_THREAD_GUARD, do_kvm_create },
		{ VMM_THREAD_CONTROL, do_kvm_create },	{ VMM_THREAD_TUNNEL, do_kvm_create },
		{ VMM_THREAD_VCPU, do_write_file },	{ VMM_THREAD_IO, do_write_file },
		{ VMM_THREAD_GUARD, do_write_file },	{ VMM_THREAD_CONTROL, do_write_file },
		{ VMM_THREAD_TUNNEL, do_write_file },
	};

	for (enum vmm_thread kind = 0; kind < VMM_THREADS && !SANITIZED; kind++)
		for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
			kills(kind, deeds[i], i);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]) && !SANITIZED; i++)
		kills(more[i].kind, more[i].deed, 100 + i);
}

/* A list that grows is seen here.  What a guest drives directly has the shortest. */
static void how_many_calls(void)
{
	static const unsigned most[VMM_THREADS] = {
		[VMM_THREAD_VCPU] = 27,	   [VMM_THREAD_IO] = 50,     [VMM_THREAD_GUARD] = 30,
		[VMM_THREAD_CONTROL] = 50, [VMM_THREAD_WORKER] = 64, [VMM_THREAD_TUNNEL] = 60
	};

	for (enum vmm_thread kind = 0; kind < VMM_THREADS; kind++) {
		unsigned n = vmm_sandbox_calls(kind);

		(void)printf("%s: %u calls\n", kinds[kind], n);
		CU_ASSERT(n > 10 && n <= most[kind]);
	}
}

static void begin(void)
{
	pthread_t t;
	int v = 0;

	dev_null = open("/dev/null", O_RDWR | O_CLOEXEC);
	CU_ASSERT(dev_null >= 0);
	/* With its first thread a C library prepares signals; a vmm has made some before its filters. */
	CU_ASSERT(pthread_create(&t, NULL, thread_main, &v) == 0 && pthread_join(t, NULL) == 0);
}

static void root_is_refused(void)
{
	char *error = NULL;

	CU_ASSERT_EQUAL(vmm_sandbox_user(0, 0, &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "does not run as root"));
	free(error);
}

UNIT_MAIN("sandbox", { "begin", begin }, { "user and capabilities", user_and_capabilities },
	  { "each kind works", each_kind_works },
	  { "each kind is confined", each_kind_is_confined }, { "how many calls", how_many_calls },
	  { "root is refused", root_is_refused })

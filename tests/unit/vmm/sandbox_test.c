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
#include <sys/wait.h>
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

/* Wait status of a child that enters the sandbox and then does that. */
static int in_sandbox(bool filter, int (*what)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		uid_t uid = test_uid();
		gid_t gid = test_gid();
		char *error = NULL;

		if (vmm_sandbox_user(uid, gid, "/", &error))
			_exit(90);
		if (filter && vmm_sandbox_seccomp(&error))
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

static int look_filtered(void)
{
	return status_line("Seccomp:", "2") ? 0 : 1;
}

static void *thread_main(void *arg)
{
	*(int *)arg = 7;
	return NULL;
}

static int usual_work(void)
{
	pthread_t t;
	int v = 0, fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || p == MAP_FAILED || write(fd, "x", 1) != 1 || close(fd) < 0)
		return 1;
	if (pthread_create(&t, NULL, thread_main, &v) || pthread_join(t, NULL) || v != 7)
		return 2;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || close(fd) < 0 ? 3 : 0;
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

static int do_tty_ioctl(void)
{
	return ioctl(0, 0x5412 /* TIOCSTI */, "x");
}

static int do_limit(void)
{
	struct rlimit r = { 1, 1 };

	return setrlimit(RLIMIT_NOFILE, &r);
}

static void user_and_capabilities(void)
{
	int status = in_sandbox(false, look);

	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
}

static void filter_lets_work_through(void)
{
	int status;

	if (SANITIZED) {
		CU_PASS("the sanitizer's own calls are not in the list");
		return;
	}
	status = in_sandbox(true, look_filtered);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	status = in_sandbox(true, usual_work);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void filter_kills(void)
{
	int (*const deeds[])(void) = { do_exec,	  do_fork,	    do_ptrace, do_exec_memory,
				       do_packet_socket, do_tty_ioctl, do_limit };

	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]) && !SANITIZED; i++) {
		int status = in_sandbox(true, deeds[i]);

		CU_ASSERT(WIFSIGNALED(status));
		CU_ASSERT_EQUAL(WTERMSIG(status), SIGSYS);
	}
}

static void root_is_refused(void)
{
	char *error = NULL;

	CU_ASSERT_EQUAL(vmm_sandbox_user(0, 0, "/", &error), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "does not run as root"));
	free(error);
}

UNIT_MAIN("sandbox", { "user and capabilities", user_and_capabilities },
	  { "filter lets work through", filter_lets_work_through }, { "filter kills", filter_kills },
	  { "root is refused", root_is_refused })

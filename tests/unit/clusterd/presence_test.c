/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which vmms are here: not overlooked without descriptors, under another program's name, with an overwritten command
 * line, or started by a clusterd that took no lock.  The vmm is this program, copied and called as one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/exec_linux.h"
#include "clusterd/paths_linux.h"
#include "clusterd/presence_linux.h"
#include "clusterd/vmproc_linux.h"
#include "common/cl_cleanup.h"
#include "tests/unit/unit.h"

#define WAIT_MS 10000

static char run_dir[] = "/tmp/hf-presence-XXXXXX";
static char program[128];

/* As a vmm: lives until it is killed; "hide": with nothing left of its command line; "shut": and of its lock. */
__attribute__((constructor)) static void as_vmm(int argc, char **argv)
{
	bool hide = argc == 4 && strcmp(argv[3], "hide") == 0;

	if (argc < 3 || strcmp(argv[1], "--config") != 0)
		return;
	if (argc == 4 && strcmp(argv[3], "shut") == 0)
		hide = close(3) == 0;
	for (int i = 0; hide && i < argc; i++)
		memset(argv[i], 'x', strlen(argv[i]));
	if (write(1, "up\n", 3) < 0)
		_exit(1);
	for (;;)
		pause();
}

static void world(void)
{
	char command[400], self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (program[0])
		return;
	if (n < 0 || !mkdtemp(run_dir))
		abort();
	self[n] = '\0';
	setenv("HOLDFAST_RUN_DIR", run_dir, 1);
	snprintf(program, sizeof(program), "%s/vmm", run_dir);
	snprintf(command, sizeof(command), "cp %s %s", self, program);
	if (system(command))
		abort();
}

static pid_t start(const char *vm, bool lock, const char *option)
{
	char config[CD_PATH_MAX], log[CD_PATH_MAX], cgroup[CL_NAME_MAX + 8];
	const char *argv[] = { program, "--config", config, option, NULL };
	struct cd_presence presence = CD_PRESENCE_NONE;
	CL_CLEANUP_CLOSE int log_fd = -1;
	struct stat st = { 0 };
	pid_t pid = 0;
	int rc = 0;

	world();
	cd_path(config, sizeof(config), CD_DIR_RUN, "vm/%s/config.json", vm);
	cd_path(log, sizeof(log), CD_DIR_RUN, "%s.log", vm);
	snprintf(cgroup, sizeof(cgroup), "vm-%s", vm);
	unlink(log);
	log_fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (lock)
		rc = cd_presence_take(vm, cgroup, &presence);
	CU_ASSERT_EQUAL(rc, 0);
	rc = cd_exec_spawn(&(struct cd_exec){ .argv = argv, .log_fd = log_fd,
					      .cgroup = lock ? cgroup : NULL,
					      .pass_fds = { presence.pass_fd, -1 } },
			   &pid);
	CU_ASSERT_EQUAL(rc, 0);
	if (lock && rc == 0)
		cd_presence_pid(&presence, pid);
	cd_presence_release(&presence);
	for (int i = 0; i < WAIT_MS && st.st_size == 0; i++) {
		usleep(1000);
		fstat(log_fd, &st);
	}
	return pid;
}

/* A zombie that nobody has asked for yet runs no more. */
static bool alive(pid_t pid)
{
	char path[40], *text = NULL, *at;
	bool zombie = false;

	if (kill(pid, 0) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (cd_file_read(path, 4096, &text, NULL) == 0) {
		at = strrchr(text, ')');
		zombie = at && (at[2] == 'Z' || at[2] == 'X');
	}
	free(text);
	return !zombie;
}

static void comes_and_goes(void)
{
	pid_t pid;

	world();
	CU_ASSERT_EQUAL(cd_vmproc_look("a"), 0);
	pid = start("a", true, NULL);
	CU_ASSERT_EQUAL(cd_vmproc_look("a"), 1);
	CU_ASSERT_EQUAL(cd_vmproc_look("b"), 0);
	CU_ASSERT_EQUAL(cd_vmproc_wait("a", 0), -ETIMEDOUT);
	CU_ASSERT_EQUAL(cd_vmproc_kill("a", WAIT_MS), 0);
	CU_ASSERT_FALSE(alive(pid));
	CU_ASSERT_EQUAL(cd_vmproc_look("a"), 0);
}

/* poc2 of the review. */
static void without_descriptors(void)
{
	pid_t pid = start("a", true, NULL), old = start("o", false, NULL);
	struct cd_vmproc list[8];
	struct rlimit was, few;
	size_t n;

	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	few.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &few);
	CU_ASSERT_EQUAL(cd_vmproc_look("a"), -EMFILE);
	CU_ASSERT_EQUAL(cd_vmproc_look("o"), -EMFILE);
	CU_ASSERT_EQUAL(cd_vmproc_kill("a", 50), -EMFILE);
	CU_ASSERT_EQUAL(cd_vmproc_wait("o", 50), -EMFILE);
	CU_ASSERT_EQUAL(cd_vmproc_list(list, 8, &n), -EMFILE);
	CU_ASSERT_EQUAL(cd_vmprocs_kill_all(50), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &was);
	CU_ASSERT_TRUE(alive(pid) && alive(old));
	CU_ASSERT_EQUAL(cd_vmproc_list(list, 8, &n), 0);
	CU_ASSERT_EQUAL(n, 2);
	CU_ASSERT_EQUAL(cd_vmproc_list(list, 1, &n), -EOVERFLOW);
	CU_ASSERT_EQUAL(cd_vmprocs_kill_all(WAIT_MS), 0);
	CU_ASSERT_FALSE(alive(pid) || alive(old));
}

/* A new build was installed: the running program has another name, or none. */
static void renamed(void)
{
	pid_t pid = start("a", true, NULL), old = start("o", false, NULL);
	char other[140], command[400];

	snprintf(other, sizeof(other), "%s.before", program);
	CU_ASSERT_EQUAL(rename(program, other), 0);
	CU_ASSERT_EQUAL(cd_vmproc_look("a"), 1);
	CU_ASSERT_EQUAL(cd_vmproc_look("o"), 1);
	CU_ASSERT_EQUAL(cd_vmproc_kill("a", WAIT_MS), 0);
	CU_ASSERT_EQUAL(cd_vmproc_kill("o", WAIT_MS), 0);
	CU_ASSERT_FALSE(alive(pid) || alive(old));
	snprintf(command, sizeof(command), "cp %s %s", other, program);
	CU_ASSERT_EQUAL(system(command), 0);
}

/* A vmm that was taken over hides what it can. */
static void hostile(void)
{
	pid_t pid = start("a", true, "hide");
	char cgroup[CD_PATH_MAX], procs[CD_PATH_MAX + 16];

	CU_ASSERT_EQUAL(cd_vmproc_look("a"), 1);
	CU_ASSERT_EQUAL(cd_vmproc_kill("a", WAIT_MS), 0);
	CU_ASSERT_FALSE(alive(pid));
	pid = start("a", true, "shut");
	CU_ASSERT_FATAL(cd_exec_cgroup_path("vm-a", cgroup, sizeof(cgroup)) == 0 ||
			cgroup[0] == '\0');
	snprintf(procs, sizeof(procs), "%s/cgroup.kill", cgroup);
	if (cgroup[0] && access(procs, W_OK) == 0) {
		CU_ASSERT_EQUAL(cd_vmproc_look("a"), 1);
		CU_ASSERT_EQUAL(cd_vmproc_kill("a", WAIT_MS), 0);
		CU_ASSERT_FALSE(alive(pid));
		rmdir(cgroup);
	} else {
		printf("(no cgroup v2 that we may write here) ");
		kill(pid, SIGKILL);
	}
}

/* The second witness, by files such as a cgroup has. */
static void cgroup_says(void)
{
	char lock[CD_PATH_MAX], events[CD_PATH_MAX], record[CD_PATH_MAX];
	int n;

	world();
	cd_path(lock, sizeof(lock), CD_DIR_RUN, "lock/vm-c");
	cd_path(events, sizeof(events), CD_DIR_RUN, "group");
	CU_ASSERT_EQUAL(mkdir(events, 0700), 0);
	n = snprintf(record, sizeof(record), "0 0 %.200s\n", events);
	CU_ASSERT_EQUAL(cd_file_write(lock, 0600, record, (size_t)n), 0);
	CU_ASSERT_EQUAL(cd_vmproc_look("c"), 0); /* removed: it was empty */
	cd_path(events, sizeof(events), CD_DIR_RUN, "group/cgroup.events");
	CU_ASSERT_EQUAL(cd_file_write(events, 0600, "populated 1\nfrozen 0\n", 21), 0);
	CU_ASSERT_EQUAL(cd_vmproc_look("c"), 1);
	CU_ASSERT_EQUAL(cd_vmproc_wait("c", 10), -ETIMEDOUT);
	CU_ASSERT_EQUAL(cd_file_write(events, 0600, "populated 0\nfrozen 0\n", 21), 0);
	CU_ASSERT_EQUAL(cd_vmproc_look("c"), 0);
	CU_ASSERT_EQUAL(cd_file_write(events, 0600, "frozen 0\n", 9), 0);
	CU_ASSERT(cd_vmproc_look("c") < 0);
	unlink(events);
	CU_ASSERT_EQUAL(mkdir(events, 0700), 0);
	CU_ASSERT_EQUAL(cd_vmproc_look("c"), -EISDIR);
	rmdir(events);
}

static void one_each(void)
{
	struct cd_presence first = CD_PRESENCE_NONE, second = CD_PRESENCE_NONE;

	world();
	CU_ASSERT_EQUAL(cd_presence_take("a", "vm-a", &first), 0);
	CU_ASSERT_EQUAL(cd_presence_take("a", "vm-a", &second), -EBUSY);
	CU_ASSERT_EQUAL(cd_presence_take("b", "vm-b", &second), 0);
	cd_presence_release(&second);
	/* What the vmm gets holds it alone, and cannot be written. */
	close(first.write_fd);
	first.write_fd = -1;
	CU_ASSERT_EQUAL(cd_presence_take("a", "vm-a", &second), -EBUSY);
	CU_ASSERT_EQUAL(write(first.pass_fd, "x", 1), -1);
	CU_ASSERT_EQUAL(cd_presence_look("a"), 1);
	cd_presence_release(&first);
	CU_ASSERT_EQUAL(cd_presence_look("a"), 0);
}

static void end(void)
{
	char command[100];

	world();
	snprintf(command, sizeof(command), "rm -rf %s", run_dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN("presence of vmms", { "comes and goes", comes_and_goes },
	  { "without descriptors", without_descriptors }, { "renamed", renamed }, { "hostile", hostile },
	  { "cgroup", cgroup_says },
	  { "one each", one_each }, { "end", end })

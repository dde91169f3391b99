/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A run folder: whose it must be, that it has one owner, and that what somebody left in it is never
 * followed. */
#include "vmm/rundir.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[] = "/tmp/hf-rundir-XXXXXX", run[64], outside[64];

static void fresh(void)
{
	char command[200];
	int fd;

	snprintf(command, sizeof(command), "rm -rf %s/*", top);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	CU_ASSERT_EQUAL_FATAL(mkdir(run, 0700), 0);
	fd = open(outside, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL(write(fd, "precious", 8), 8);
	close(fd);
}

static void outside_is_whole(void)
{
	struct stat st;

	CU_ASSERT_EQUAL(lstat(outside, &st), 0);
	CU_ASSERT(S_ISREG(st.st_mode));
	CU_ASSERT_EQUAL(st.st_size, 8);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
}

static int refused(void)
{
	struct vmm_rundir dir = VMM_RUNDIR_NONE;
	char *error = NULL;
	int r = vmm_rundir_open(run, &dir, &error);

	CU_ASSERT_PTR_NOT_NULL(error);
	free(error);
	vmm_rundir_close(&dir);
	return r;
}

static void whose_it_is(void)
{
	fresh();
	CU_ASSERT_EQUAL(chmod(run, 0770), 0);
	CU_ASSERT_EQUAL(refused(), -EPERM);
	CU_ASSERT_EQUAL(chmod(run, 0777), 0);
	CU_ASSERT_EQUAL(refused(), -EPERM);
	CU_ASSERT_EQUAL(chmod(run, 0700), 0);
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(chown(run, 64078, 64078), 0);
		CU_ASSERT_EQUAL(refused(), -EPERM);
	}
	fresh();
	CU_ASSERT_EQUAL(rmdir(run), 0);
	CU_ASSERT_EQUAL(refused(), -ENOENT);
	CU_ASSERT_EQUAL(symlink(top, run), 0);
	CU_ASSERT(refused() < 0);
	fresh();
	{
		char lock[80];

		snprintf(lock, sizeof(lock), "%s/lock", run);
		CU_ASSERT_EQUAL(symlink(outside, lock), 0);
	}
	CU_ASSERT_EQUAL(refused(), -ELOOP);
	outside_is_whole();
}

/* Another process, for a lock belongs to an open file. */
static void one_owner(void)
{
	struct vmm_rundir dir = VMM_RUNDIR_NONE;
	char *error = NULL, path[80];
	struct stat before, after;
	int fd, status = -1;
	pid_t pid;

	fresh();
	CU_ASSERT_EQUAL_FATAL(vmm_rundir_open(run, &dir, &error), 0);
	fd = vmm_rundir_file(&dir, "serial.log");
	CU_ASSERT_EQUAL(write(fd, "boot", 4), 4);
	close(fd);
	snprintf(path, sizeof(path), "%s/serial.log", run);
	CU_ASSERT_EQUAL(stat(path, &before), 0);
	pid = fork();
	if (pid == 0) {
		struct vmm_rundir second = VMM_RUNDIR_NONE;

		_exit(vmm_rundir_open(run, &second, &error) == -EBUSY && error &&
				      strstr(error, "another vmm runs there")
			      ? 0
			      : 1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(stat(path, &after), 0);
	CU_ASSERT(before.st_ino == after.st_ino && after.st_size == 4);
	vmm_rundir_close(&dir);
	CU_ASSERT_EQUAL(vmm_rundir_open(run, &dir, &error), 0);
	vmm_rundir_close(&dir);
}

static void plant(const char *name, const char *target)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/%s", run, name);
	CU_ASSERT_EQUAL_FATAL(symlink(target, path), 0);
}

/* The folder is ours now, so nobody can plant; but it may be one of a time when somebody could. */
static void nothing_is_followed(void)
{
	struct vmm_rundir dir = VMM_RUNDIR_NONE;
	char *error = NULL, path[80];
	struct stat st;
	int fd;

	fresh();
	plant("serial.log", outside);
	plant("control.sock", outside);
	plant("vmm.log", outside);
	CU_ASSERT_EQUAL_FATAL(vmm_rundir_open(run, &dir, &error), 0);
	fd = vmm_rundir_file(&dir, "serial.log");
	CU_ASSERT(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, "evil", 4), 4);
	close(fd);
	fd = vmm_rundir_socket(&dir, "control.sock");
	CU_ASSERT(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/control.sock", run);
	CU_ASSERT(lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	CU_ASSERT_EQUAL(vmm_rundir_log(&dir, "vmm.log"), -ELOOP);
	outside_is_whole();
	/* A second name of a file elsewhere, a folder, a pipe without a reader. */
	snprintf(path, sizeof(path), "%s/vmm.log", run);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(link(outside, path), 0);
	CU_ASSERT_EQUAL(vmm_rundir_log(&dir, "vmm.log"), -EPERM);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(vmm_rundir_log(&dir, "vmm.log"), -EISDIR);
	CU_ASSERT_EQUAL(vmm_rundir_file(&dir, "vmm.log"), -EISDIR);
	CU_ASSERT_EQUAL(vmm_rundir_socket(&dir, "vmm.log"), -EISDIR);
	CU_ASSERT_EQUAL(rmdir(path), 0);
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	CU_ASSERT(vmm_rundir_log(&dir, "vmm.log") < 0);
	CU_ASSERT_EQUAL(unlink(path), 0);
	fd = vmm_rundir_log(&dir, "vmm.log");
	CU_ASSERT(fd >= 0);
	close(fd);
	outside_is_whole();
	vmm_rundir_close(&dir);
}

static void begin(void)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	snprintf(run, sizeof(run), "%s/run", top);
	snprintf(outside, sizeof(outside), "%s/outside", top);
}

static void end(void)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN("rundir", { "begin", begin }, { "whose it is", whose_it_is }, { "one owner", one_owner },
	  { "nothing is followed", nothing_is_followed }, { "end", end })

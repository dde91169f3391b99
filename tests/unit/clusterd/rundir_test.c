/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run folder of a VM is made anew whatever the one of its last life holds: links, folders,
 * pipes under each of the names that are used in it.  Nothing outside changes, and nothing of it is
 * read.
 */
#include "clusterd/check_linux.h"
#include "clusterd/exec_linux.h"
#include "clusterd/rundir_linux.h"
#include "clusterd/vmproc_linux.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const names[] = { "config.json", "config.json.new", "control.sock",
				     "serial.sock", "serial.log",      "console.sock",
				     "vmm.log",	    "vmm.log.1",       "vmm.pid",
				     "lock" };

static char top[] = "/tmp/hf-rundir-XXXXXX", folder[80], outside[80];

static int sh(const char *format, const char *a, const char *b)
{
	char command[400];

	snprintf(command, sizeof(command), format, a, b);
	return system(command);
}

static void outside_is_whole(void)
{
	struct stat st;

	CU_ASSERT_EQUAL(lstat(outside, &st), 0);
	CU_ASSERT(S_ISREG(st.st_mode) && st.st_size == 9 && (st.st_mode & 07777) == 0600);
}

/* As a vmm of before could: the folder is its own, and it may do anything in it. */
static void plant_all(const char *command)
{
	CU_ASSERT_EQUAL(sh("rm -rf %s; mkdir -m 700 %s", folder, folder), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		CU_ASSERT_EQUAL_FATAL(sh(command, outside, path), 0);
	}
	if (geteuid() == 0)
		CU_ASSERT_EQUAL(sh("chown -h 64078 %s %s/*", folder, folder), 0);
}

static void made_anew(void)
{
	struct stat st;
	int fd = cd_rundir_make("web"), log;

	CU_ASSERT(fd >= 0);
	CU_ASSERT(lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
		  (st.st_mode & 07777) == 0700 && st.st_nlink == 2);
	CU_ASSERT_EQUAL(sh("test -z \"$(ls -A %s)\"%s", folder, ""), 0);
	log = cd_rundir_log(fd, "vmm.log");
	CU_ASSERT(log >= 0);
	/* Once only: it is made, never found. */
	CU_ASSERT_EQUAL(cd_rundir_log(fd, "vmm.log"), -EEXIST);
	close(log);
	close(fd);
	outside_is_whole();
}

static void whatever_was_there(void)
{
	static const char *const deeds[] = {
		"ln -s %s %s", ": %s; mkdir -p %s/a/b", ": %s; mkfifo %s",
		"ln %s %s",    "ln -s %s.new %s",	": %s; printf secret > %s",
	};

	made_anew(); /* none was there */
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		plant_all(deeds[i]);
		made_anew();
	}
	/* The folder's own name as a link. */
	CU_ASSERT_EQUAL(sh("rm -rf %s; ln -s /tmp %s", folder, folder), 0);
	made_anew();
	/* The life before last is gone, the last is kept. */
	CU_ASSERT_EQUAL(sh("echo last > %s/vmm.log%s", folder, ""), 0);
	made_anew();
	CU_ASSERT_EQUAL(sh("grep -q last %s/vm-old/web/vmm.log%s", top, ""), 0);
}

static void nothing_is_followed(void)
{
	char words[200];

	CU_ASSERT_EQUAL(sh("rm -rf %s; mkdir -m 700 %s", folder, folder), 0);
	CU_ASSERT_EQUAL(sh("ln -s %s %s/vmm.log", outside, folder), 0);
	CU_ASSERT_EQUAL(cd_rundir_open("web", "vmm.log"), -ELOOP);
	cd_vmproc_words("web", CD_WORDS_FIRST_ERROR, words, sizeof(words));
	CU_ASSERT_PTR_NULL(strstr(words, "precious"));
	CU_ASSERT_EQUAL(sh("rm %s/vmm.log; mkfifo %s/vmm.log", folder, folder), 0);
	CU_ASSERT_EQUAL(cd_rundir_open("web", "vmm.log"), -EPERM);
	CU_ASSERT_EQUAL(sh("rm %s/vmm.log; echo last words > %s/vmm.log", folder, folder), 0);
	cd_vmproc_words("web", CD_WORDS_FIRST_ERROR, words, sizeof(words));
	CU_ASSERT_STRING_EQUAL(words, "last words");
	/* A folder that is somebody else's is not looked into. */
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(sh("chown 64078 %s%s", folder, ""), 0);
		CU_ASSERT_EQUAL(cd_rundir_open("web", "vmm.log"), -EPERM);
	}
	{
		char log[96];

		snprintf(log, sizeof(log), "%s/csvd.log", top);
		CU_ASSERT_EQUAL(symlink(outside, log), 0);
		CU_ASSERT_EQUAL(cd_exec_log(log), -ELOOP);
	}
	outside_is_whole();
}

/* A process that nobody saw still has the folder: nothing of it is touched. */
static void one_that_runs(void)
{
	char lock[96];
	struct stat before, after;
	int fd;

	made_anew();
	snprintf(lock, sizeof(lock), "%s/lock", folder);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CU_ASSERT_EQUAL(flock(fd, LOCK_EX), 0);
	CU_ASSERT_EQUAL(stat(folder, &before), 0);
	CU_ASSERT_EQUAL(cd_rundir_make("web"), -EBUSY);
	CU_ASSERT(stat(folder, &after) == 0 && before.st_ino == after.st_ino);
	close(fd);
	made_anew();
}

static void users(void)
{
	char file[96], error[300];

	snprintf(file, sizeof(file), "%s/subuid", top);
	CU_ASSERT_EQUAL(cd_check_uid(5000, file, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(sh("printf 'a:1000:1000\\n# b\\n\\nb:4000:1001\\n' > %s%s", file, ""), 0);
	CU_ASSERT_EQUAL(cd_check_uid(3999, file, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(cd_check_uid(4000, file, error, sizeof(error)), -EADDRINUSE);
	CU_ASSERT_EQUAL(cd_check_uid(5000, file, error, sizeof(error)), -EADDRINUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "line 4: 1001 ids from 4000 are given to b"));
	CU_ASSERT_EQUAL(cd_check_uid(5001, file, error, sizeof(error)), 0);
	CU_ASSERT_EQUAL(sh("echo nonsense >> %s%s", file, ""), 0);
	CU_ASSERT_EQUAL(cd_check_uid(5001, file, error, sizeof(error)), -EBADMSG);
	CU_ASSERT_EQUAL(sh("rm %s; mkdir %s", file, file), 0);
	CU_ASSERT(cd_check_uid(5001, file, error, sizeof(error)) < 0);
}

static void begin(void)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	CU_ASSERT_EQUAL(setenv("HOLDFAST_RUN_DIR", top, 1), 0);
	snprintf(folder, sizeof(folder), "%s/vm/web", top);
	snprintf(outside, sizeof(outside), "%s/outside", top);
	CU_ASSERT_EQUAL(sh("umask 077; echo precious > %s%s", outside, ""), 0);
}

static void end(void)
{
	CU_ASSERT_EQUAL(sh("rm -rf %s%s", top, ""), 0);
}

UNIT_MAIN("clusterd/rundir", { "begin", begin }, { "whatever was there", whatever_was_there },
	  { "nothing is followed", nothing_is_followed }, { "one that runs", one_that_runs },
	  { "users", users }, { "end", end })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other programs: run one and wait (workers only), or start one that outlives us
 * in a session and, where that can be done, a cgroup of its own.  Never a shell.
 */
#ifndef CD_EXEC_LINUX_H
#define CD_EXEC_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Runs argv (NULL at the end; argv[0] is looked up in PATH) without input.  out gets the start of what it
 * wrote to both outputs.  Its exit status (0..255), or -errno: -ETIMEDOUT after killing it.
 */
int cd_exec_run(const char *const argv[], int timeout_ms, char *out, size_t cap_bytes);

/* A program to be started detached.  All is borrowed. */
struct cd_exec {
	const char *const *argv;
	int log_fd;	    /* its standard output and error */
	const char *cgroup; /* name of a cgroup below ours; NULL: none */
	int oom_score_adj;  /* what is ended first when memory runs out: -1000 (never) to 1000 */
	bool own_pids;	    /* it sees no process but itself, as number 1; needs root */
	int pass_fds[2];    /* it finds them open as numbers 3 and 4; -1: none */
};

/*
 * Starts it: new session, parent init, nothing open but 0, 1, 2 and what is passed.  Blocks until exec succeeded or
 * failed: 0 or -errno.
 */
int cd_exec_spawn(const struct cd_exec *e, pid_t *ret_pid);
/* A log of ours that is appended to: fd or -errno.  Refused (-EPERM) is anything but a regular file. */
int cd_exec_log(const char *path);

/* Folder of the cgroup of that name below ours: 0, -EOPNOTSUPP (this node has no cgroup v2) or -errno. */
int cd_exec_cgroup_path(const char *name, char *out, size_t cap_bytes);

/* 1: pid is a process whose executable's base name is name; 0: it is none; -errno: not known. */
int cd_exec_look(pid_t pid, const char *name);
/* When the process began (clock ticks since boot); 0: not known. */
uint64_t cd_exec_start(pid_t pid);
/* SIGKILL by pidfd to the process that began then, so that a reused pid is never hit.  0, -ESRCH or -errno. */
int cd_exec_kill_started(pid_t pid, uint64_t start);

#endif

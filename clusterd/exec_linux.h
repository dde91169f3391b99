/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other programs: run one and wait (workers only), or start one that outlives us
 * in a session and, where that can be done, a cgroup of its own.  Never a shell.
 */
#ifndef CD_EXEC_LINUX_H
#define CD_EXEC_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Runs argv (NULL at the end; argv[0] is looked up in PATH) without input.  out gets the start of what it
 * wrote to both outputs.  Its exit status (0..255), or -errno: -ETIMEDOUT after killing it.
 */
int cd_exec_run(const char *const argv[], int timeout_ms, char *out, size_t cap_bytes);

/*
 * Starts argv detached: new session, parent init, standard output and error appended to log_path,
 * in cgroup NAME below ours.  Blocks until exec succeeded or failed: 0 or -errno.
 */
int cd_exec_spawn(const char *const argv[], const char *log_path, const char *cgroup,
		  pid_t *ret_pid);

/* True while pid is a process whose executable's base name is name. */
bool cd_exec_is(pid_t pid, const char *name);
/* SIGKILL if cd_exec_is(); by pidfd, so that a reused pid is never hit.  0, -ESRCH or -errno. */
int cd_exec_kill(pid_t pid, const char *name, int sig);

#endif

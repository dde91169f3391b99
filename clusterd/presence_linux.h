/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a vmm of a VM is on this node, by two witnesses that need no name in /proc:
 *
 *   the lock    RUN/lock/vm-NAME, root's, in a folder that no VM's user can enter; taken before the vmm is forked and
 *               passed to it open (cd_exec.pass_fds).  It ends with the last thread of the last process that has it, not
 *               with a connection, a pid file or the program's name.
 *   the cgroup  that the vmm was started in, where the node has cgroup v2: a vmm that was taken over can close a
 *               descriptor, but cannot leave its cgroup.
 *
 * A look takes no lock: many may look at once, beside a start.  1: it is here, 0: it is not, -errno: that is not known,
 * and nobody may act as if it were not here (docs/decisions/could-not-look.md).  Any thread.
 */
#ifndef CD_PRESENCE_LINUX_H
#define CD_PRESENCE_LINUX_H

#include <sys/types.h>

#include "common/cl_types.h"

struct cd_presence {
	int write_fd; /* ours, during the start */
	int pass_fd;  /* for the vmm: it cannot write by it */
};

#define CD_PRESENCE_NONE ((struct cd_presence){ -1, -1 })

/* The lock of a VM that is about to be started: 0, -EBUSY (somebody has it), -errno. */
int cd_presence_take(const char *name, const char *cgroup, struct cd_presence *ret_presence);
/* What the start gave, for cd_presence_kill(). Best effort. */
void cd_presence_pid(const struct cd_presence *presence, pid_t pid);
/* Our part of it; the vmm, if there is one, keeps its own. Takes CD_PRESENCE_NONE. */
void cd_presence_release(struct cd_presence *presence);

int cd_presence_look(const char *name);
/* For each VM that is here: fn, which ends it by anything but 0. 0, fn's result or -errno: not all are known. */
int cd_presence_each(int (*fn)(void *arg, const char *name), void *arg);
/* SIGKILL to all that was started for the VM and can be found.  0 or -errno of the first that failed. */
int cd_presence_kill(const char *name);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the vmm gives up before it lets a guest run.  A guest that takes the vmm over finds a user
 * of its own, no capability and no way to get one, an empty root folder, no network, no other
 * process, and for each kind of thread a short list of system calls.
 *
 * In this order, with everything that is opened as root open: namespaces, user, threads, and in
 * each thread its filter first.
 */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/thread.h"

struct vmm_rundir;

/*
 * From here on standard output and error go to run_dir/vmm.log and input is empty, so that nothing
 * of who started the vmm is needed.  As root.
 */
int vmm_sandbox_stdio(const struct vmm_rundir *dir, char **ret_error);

/*
 * Mount, IPC, UTS and cgroup namespaces of its own, and one of the network unless that is kept. The
 * root becomes an empty folder that cannot be written, but for keep_dir (NULL: nothing), which
 * stays where it is, read-only.  Without root nothing happens.  0 or -errno with a malloc'ed
 * ret_error; then the vmm must not go on.
 */
int vmm_sandbox_namespaces(const char *keep_dir, bool keep_net, char **ret_error);

/*
 * A session of its own, umask, limits, and the VM's uid and gid for good, with no capability and no
 * supplementary group.  Before any thread exists.  0 or -errno with a malloc'ed ret_error; then the
 * vmm must not go on.  Without root it checks that it is that user already.
 */
int vmm_sandbox_user(uid_t uid, gid_t gid, char **ret_error);

/*
 * The system-call filter of the calling thread, and of those that it makes: what is not listed
 * kills the process (SIGSYS; the kernel's log names the call); opening files and asking for them by
 * name is refused (EACCES).
 */
int vmm_sandbox_filter(enum vmm_thread kind, char **ret_error);

/* How many calls are permitted to it, those that are looked at more closely among them. */
unsigned vmm_sandbox_calls(enum vmm_thread kind);

#endif

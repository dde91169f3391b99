/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the vmm gives up before it lets a guest run.  A guest that takes the vmm over finds a
 * user of its own, no capability, no way to get one, and a short list of system calls.
 */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include <sys/types.h>

struct vmm_rundir;

/*
 * From here on standard output and error go to run_dir/vmm.log and input is empty, so that nothing
 * of who started the vmm is needed.  As root.
 */
int vmm_sandbox_stdio(const struct vmm_rundir *dir, char **ret_error);

/*
 * A session of its own, run_dir as working directory, umask, limits, and the VM's uid and gid
 * for good, with no capability and no supplementary group.  Before any thread exists.  0 or -errno with a
 * malloc'ed ret_error; then the vmm must not go on.  Without root it checks that it is that user already.
 */
int vmm_sandbox_user(uid_t uid, gid_t gid, const char *run_dir, char **ret_error);

/*
 * The system-call filter, for all threads: what is not listed kills the process (SIGSYS; the kernel's
 * log names the call).  Everything that is opened as root is open.
 */
int vmm_sandbox_seccomp(char **ret_error);

#endif

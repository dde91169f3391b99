/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's run folder: sockets, logs, pid.  It is its starter's (root's), and nothing in it can be
 * changed by the VM's user: what is opened in it is opened before the user changes, and never
 * through a link that somebody left.
 *
 * Who holds its lock owns the folder.  A second vmm is turned away before it touches anything in
 * it.
 */
#ifndef VMM_RUNDIR_H
#define VMM_RUNDIR_H

struct vmm_rundir {
	int fd;		  /* the folder; -1: not open */
	int lock_fd;	  /* its file "lock", locked for the life of the process */
	const char *path; /* borrowed */
	int pid;	  /* ours, as the node sees it: in a PID namespace we would be 1 */
};

#define VMM_RUNDIR_NONE                                                                            \
	{                                                                                          \
		-1, -1, "", 0                                                                      \
	}

/*
 * Opens and locks the folder.  0 or -errno with a malloc'ed ret_error: -EPERM where another user
 * than ours owns it or may write in it, -EBUSY where a vmm runs on it.
 */
int vmm_rundir_open(const char *path, struct vmm_rundir *ret_dir, char **ret_error);
void vmm_rundir_close(struct vmm_rundir *dir);

/* A new, empty file to append to (mode 0600) in place of what had the name; fd or -errno. */
int vmm_rundir_file(const struct vmm_rundir *dir, const char *name);
/* The file to append to, made if it is missing; -EPERM if it is anything but a file of ours. */
int vmm_rundir_log(const struct vmm_rundir *dir, const char *name);
/* A stream socket (mode 0600) that listens there in place of what had the name; fd or -errno. */
int vmm_rundir_socket(const struct vmm_rundir *dir, const char *name);

#endif

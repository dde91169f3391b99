/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run folders of VMs: RUN/vm/NAME, root's, made anew at each start.  What a VM's process of an
 * earlier life left in one is put aside as a whole, never opened and never followed; of the last
 * life it is kept in RUN/vm-old/NAME.
 */
#ifndef CD_RUNDIR_LINUX_H
#define CD_RUNDIR_LINUX_H

#include <stddef.h>

/*
 * An empty folder RUN/vm/NAME (0700), open: fd or -errno; -EBUSY while a vmm holds the lock of the
 * one that is there.
 */
int cd_rundir_make(const char *name);
/* Opens a regular file of root's in RUN/vm/NAME to read it: fd or -errno; never waits, never
 * follows a link. */
int cd_rundir_open(const char *name, const char *file);
/* A new file to append to in a folder that cd_rundir_make() gave: fd or -errno. */
int cd_rundir_log(int dir_fd, const char *file);

#endif

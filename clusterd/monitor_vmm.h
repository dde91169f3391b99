/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who listens to the vmms of this node: one thread a VM holds a connection to
 * its control socket.  An end that nobody here asked for is told to the core.
 */
#ifndef CD_MONITOR_VMM_H
#define CD_MONITOR_VMM_H

#include <stdint.h>

struct cd;

/* Loop thread.  Starts to listen to that VM, or takes note of its new generation. */
void cd_monitor_add(struct cd *cd, const char *vm, uint64_t generation);
/* An effect ends this VM here: its exit is expected and not told. */
void cd_monitor_expect_exit(struct cd *cd, const char *vm);
/* Why that VM is frozen here, or NULL; borrowed until the loop goes on. */
const char *cd_monitor_frozen(struct cd *cd, const char *vm);
/* Why that VM stands still here for want of space, or NULL; borrowed likewise. */
const char *cd_monitor_stalled(struct cd *cd, const char *vm);

/* Now and then: those for which there was no thread. */
void cd_monitor_retry(struct cd *cd);

#endif

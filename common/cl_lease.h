/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease page (docs/formats/lease.md): clusterd writes into it until when this node's VMs may run, each
 * vmm reads it.  It outlives clusterd: a restarted one goes on with the same page.  One word is written at a time,
 * so that nobody needs a lock and a writer that is stopped in the middle holds up nobody.
 *
 * Moments are milliseconds of CLOCK_BOOTTIME, which counts suspended time and is the same for every
 * process of a node, and what other clocks say where that one may stand still.  The page lies in a
 * folder that a reboot empties.  What is read of it: cl_moment.h.
 */
#ifndef CL_LEASE_H
#define CL_LEASE_H

#include <stdint.h>

#include "common/cl_moment.h"

/* For clusterd: makes the page if it is not there and keeps what it says if it is.  0 or -errno. */
int cl_lease_create(const char *path, struct cl_lease **ret_lease);
/* For a vmm, read-only.  0, -errno, -EBADMSG if that is no lease page. */
int cl_lease_open(const char *path, const struct cl_lease **ret_lease);
/* NULL is fine. */
void cl_lease_close(const struct cl_lease *lease);

uint64_t cl_lease_until_ms(const struct cl_lease *lease);
uint64_t cl_lease_proof_ms(const struct cl_lease *lease);
uint64_t cl_lease_now_ms(void);

/* The clocks of this machine (cl_clocks_linux.c). */
struct cl_clocks {
	int rtc_fd;    /* -1: none */
	bool tsc;      /* it runs at one rate */
	bool may_stop; /* CLOCK_BOOTTIME: a virtual machine, or one that counts by another clock
			  than its TSC */
};

/* Never fails: what is not there is not read.  May need /sys and /proc; later reads need pread()
 * only. */
void cl_clocks_open(struct cl_clocks *clocks);
void cl_clocks_close(struct cl_clocks *clocks);
/*
 * Of the others only what is asked for and there; 0 where a clock was not read.  False: a clock
 * that is there could not be read now.
 */
bool cl_clocks_read(const struct cl_clocks *clocks, bool rtc, bool tsc, struct cl_moment *ret_now);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease page (docs/formats/lease.md): clusterd writes into it until when this node's VMs may run, each
 * vmm reads it.  It outlives clusterd: a restarted one goes on with the same page.  One word is written at a time,
 * so that nobody needs a lock and a writer that is stopped in the middle holds up nobody.
 *
 * Moments are milliseconds of CLOCK_BOOTTIME, which counts suspended time and is the same for every process of a
 * node.  The page lies in a folder that a reboot empties.
 */
#ifndef CL_LEASE_H
#define CL_LEASE_H

#include <stdint.h>

#define CL_LEASE_MAGIC 0x31455341454c4648ull /* "HFLEASE1" */

/* A mapped page; the first two words and magic are what docs/formats/lease.md says. */
struct cl_lease {
	uint64_t magic;
	uint64_t until_ms; /* 0: ended */
	uint64_t proof_ms; /* when the node was last sure to be heard by a majority; for people */
};

/* For clusterd: makes the page if it is not there and keeps what it says if it is.  0 or -errno. */
int cl_lease_create(const char *path, struct cl_lease **ret_lease);
/* For a vmm, read-only.  0, -errno, -EBADMSG if that is no lease page. */
int cl_lease_open(const char *path, const struct cl_lease **ret_lease);
/* NULL is fine. */
void cl_lease_close(const struct cl_lease *lease);

void cl_lease_set(struct cl_lease *lease, uint64_t until_ms, uint64_t proof_ms);
uint64_t cl_lease_until_ms(const struct cl_lease *lease);
uint64_t cl_lease_proof_ms(const struct cl_lease *lease);
uint64_t cl_lease_now_ms(void);

#endif

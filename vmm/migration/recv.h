/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination's half of migration, and restoring from a file.
 */
#ifndef VMM_MIGRATION_RECV_H
#define VMM_MIGRATION_RECV_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/migration/link.h"
#include "vmm/migration/machine.h"

struct vmm_recv_stats {
	uint64_t received_bytes;
	uint64_t data_pages;
	uint64_t zero_pages;
	uint32_t rounds;
	uint64_t age_ns;      /* how long the guest had been stopped when END came */
	uint64_t begin_ns;    /* CLOCK_MONOTONIC at which the first bytes came */
	uint64_t end_ns;      /* ... END came */
	uint64_t load_us;     /* checking and loading after END */
	uint64_t generation;  /* of the source */
	char source[CL_NAME_MAX];
};

struct vmm_recv_params {
	bool live; /* answers on the link: ACCEPT, then READY or FAIL */
	/*
	 * A file's: CLOCK_MONOTONIC of this node before which the guest cannot have stopped, 0 = not known.  Its
	 * clock is not moved on by more than the time since, whatever the wall clocks of the nodes say.
	 */
	uint64_t stopped_since_ns;
};

/*
 * Reads a stream into a machine that has never run.  0: it is complete, checked and loaded; else -errno and ret_error
 * (malloc'ed) says which section at which offset and why, and the machine must not run.
 * stats may be read by other threads for display only.  Blocking.
 */
int vmm_recv(const struct vmm_mig_machine *m, struct vmm_link *link,
	     const struct vmm_recv_params *params,
	     struct vmm_recv_stats *stats, char **ret_error);

#endif

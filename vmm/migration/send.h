/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source's half of migration, and saving to a file.
 */
#ifndef VMM_MIGRATION_SEND_H
#define VMM_MIGRATION_SEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/migration/link.h"
#include "vmm/migration/machine.h"

struct vmm_send_params {
	uint64_t downtime_us;
	uint64_t bandwidth_bps; /* cap, bytes a second; 0 = none */
	uint32_t rounds_max;	/* 0 = default */
	bool switch_anyway;	/* beyond the target rather than fail */
	bool no_throttle;	/* the guest is not held back; when that does not converge, it ends early */
	bool verify;		/* hash all memory at the end on both sides (costs downtime) */
};

/* What is known so far; a copy is given to progress(). */
struct vmm_send_stats {
	uint32_t round;
	uint32_t throttle_pct;
	uint64_t sent_bytes;	  /* on the wire, before TLS */
	uint64_t data_pages;
	uint64_t zero_pages;
	uint64_t remaining_bytes;
	uint64_t dirty_bps;
	uint64_t bandwidth_bps;
	uint64_t est_downtime_us;
	uint64_t state_us;	  /* of the dry run, then of the real one */
	uint64_t state_bytes;
	uint64_t pause_us;	  /* stopping vCPUs and devices */
	uint64_t final_pages;	  /* sent while paused */
	uint64_t final_us;	  /* that took */
	uint64_t paused_ns;	  /* CLOCK_MONOTONIC at which the guest stopped, 0 = not yet */
	uint64_t sent_ns;	  /* ... END was handed to the link */
	uint64_t ready_ns;	  /* ... the destination was ready */
	uint64_t peer_load_us;
	uint64_t total_us;
};

struct vmm_send_hooks {
	void *arg;
	void (*progress)(void *arg, const struct vmm_send_stats *stats);
	/*
	 * Asked right before the guest is paused for the switch-over: false ends the migration
	 * (it was cancelled); after true it cannot be cancelled any more.
	 */
	bool (*may_switch)(void *arg);
	/*
	 * Asked right before END is written.  From here on the destination may become ready, whatever
	 * the link says; false ends the migration.
	 */
	bool (*may_end)(void *arg);
	/* END was written. */
	void (*switched)(void *arg, const struct vmm_send_stats *stats);
};

enum vmm_send_result {
	VMM_SEND_READY,	  /* the destination has it all; both paused */
	VMM_SEND_FAILED,  /* the destination cannot run it; the guest runs here */
	VMM_SEND_UNKNOWN, /* after END: the guest is paused here and must stay so until told */
};

/*
 * Live migration over a link whose other end is vmm_recv().  cancel is looked at
 * between batches.  Blocking.  ret_error is malloc'ed unless READY.
 */
enum vmm_send_result vmm_send_live(const struct vmm_mig_machine *m, struct vmm_link *link,
				   const struct vmm_send_params *params,
				   const struct vmm_send_hooks *hooks, const atomic_bool *cancel,
				   struct vmm_send_stats *stats, char **ret_error);

/*
 * Writes the machine to a file's link.  runs: most of it while the guest runs, which is paused for the rest and
 * stays so; after a failure or cancel it runs on.  Else the caller has paused it.  0 or -errno.
 */
int vmm_send_save(const struct vmm_mig_machine *m, struct vmm_link *link, bool runs,
		  const atomic_bool *cancel, struct vmm_send_stats *stats, char **ret_error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a pre-copy migration stops copying and switches over.
 *
 * After each pass the sender tells how much it sent, in what time, and how much is dirty now;
 * the answer is one of: another pass, the same with the guest held back more, switch over now,
 * or give up.  The downtime is estimated from three numbers that are kept apart:
 * memory (pending bytes / bandwidth), state (measured by a dry run) and fixed (round trip and
 * the peer's loading).  Passes make only the first smaller: where memory alone would meet half the target, or is little
 * beside the others, and these are still too long after they were measured again, it switches over, since waiting gains
 * nothing.
 *
 * Pure: no I/O, no clock, no allocation.
 */
#ifndef VMM_MIGRATION_PRECOPY_H
#define VMM_MIGRATION_PRECOPY_H

#include <stdbool.h>
#include <stdint.h>

enum vmm_precopy_verdict {
	VMM_PRECOPY_AGAIN = 0,
	VMM_PRECOPY_SWITCH,
	VMM_PRECOPY_GIVE_UP,
};

struct vmm_precopy {
	/* set by the caller */
	uint64_t downtime_us; /* target */
	uint64_t state_us;
	uint64_t fixed_us;
	uint32_t rounds_max;
	bool switch_anyway; /* at rounds_max: switch beyond the target instead of giving up */
	bool no_throttle;   /* never hold the guest back: give up after some stalls */

	/* kept by vmm_precopy_round() */
	uint32_t round;
	uint32_t stalls;
	uint32_t state_bound; /* passes in a row that were too long only by what more passes cannot change */
	uint32_t throttle_pct; /* how much of its time the guest is held back */
	uint64_t bandwidth_bps; /* bytes a second, smoothed */
	uint64_t dirty_bps;
	uint64_t pending_bytes;
	uint64_t est_downtime_us;
};

#define VMM_PRECOPY_ROUNDS_DEFAULT 40u
#define VMM_PRECOPY_STATE_PASSES   3u
#define VMM_PRECOPY_STALLS_PLAIN   3u /* in a row, without throttling: more passes will not help */
#define VMM_PRECOPY_THROTTLE_FIRST 20u
#define VMM_PRECOPY_THROTTLE_STEP  15u
#define VMM_PRECOPY_THROTTLE_MAX   95u

/*
 * One pass ended: sent_bytes went out (zero pages do not count) in elapsed_us, and pending_bytes
 * are dirty now.
 */
enum vmm_precopy_verdict vmm_precopy_round(struct vmm_precopy *p, uint64_t sent_bytes,
					   uint64_t elapsed_us, uint64_t pending_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Convergence of pre-copy (see precopy.h).
 *
 * A pass that leaves at least three quarters of what the one before left is a stall; the second stall
 * in a row, and each one after it, holds the guest back one step more, where that is allowed.  A pass too short to measure (under 64 KiB or 1 ms)
 * does not touch the bandwidth: its figure would be the latency of one call.
 */
#include "vmm/migration/precopy.h"

#define MEASURE_MIN_BYTES (64u << 10)
#define MEASURE_MIN_US	  1000u

enum vmm_precopy_verdict vmm_precopy_round(struct vmm_precopy *p, uint64_t sent_bytes,
					   uint64_t elapsed_us, uint64_t pending_bytes)
{
	uint64_t before = p->pending_bytes;
	uint64_t us = elapsed_us ? elapsed_us : 1, memory_us = 0, constant_us;

	p->round++;
	if (sent_bytes >= MEASURE_MIN_BYTES && elapsed_us >= MEASURE_MIN_US) {
		uint64_t now_bps = sent_bytes * 1000 / us * 1000;

		p->bandwidth_bps = p->bandwidth_bps ? (p->bandwidth_bps + now_bps) / 2 : now_bps;
	}
	p->dirty_bps = pending_bytes * 1000 / us * 1000;
	p->pending_bytes = pending_bytes;
	if (pending_bytes) {
		uint64_t kib_s = p->bandwidth_bps >> 10;

		memory_us = (pending_bytes >> 10) * 1000000 / (kib_s ? kib_s : 1);
	}
	p->est_downtime_us = memory_us + p->state_us + p->fixed_us;
	if (p->est_downtime_us <= p->downtime_us)
		return VMM_PRECOPY_SWITCH;
	constant_us = p->state_us + p->fixed_us;
	if (memory_us <= p->downtime_us / 2 || memory_us <= constant_us / 4)
		p->state_bound += p->downtime_us && constant_us >= p->downtime_us / 2;
	else
		p->state_bound = 0;
	if (p->state_bound >= VMM_PRECOPY_STATE_PASSES)
		return VMM_PRECOPY_SWITCH;
	if (p->round >= p->rounds_max)
		return p->switch_anyway ? VMM_PRECOPY_SWITCH : VMM_PRECOPY_GIVE_UP;
	if (p->round > 1 && pending_bytes >= before - before / 4) {
		p->stalls++;
		if (p->no_throttle) {
			if (p->stalls >= VMM_PRECOPY_STALLS_PLAIN && !p->switch_anyway)
				return VMM_PRECOPY_GIVE_UP;
		} else if (p->stalls >= 2) {
			p->throttle_pct = p->throttle_pct ?
						  p->throttle_pct + VMM_PRECOPY_THROTTLE_STEP :
						  VMM_PRECOPY_THROTTLE_FIRST;
			if (p->throttle_pct > VMM_PRECOPY_THROTTLE_MAX)
				p->throttle_pct = VMM_PRECOPY_THROTTLE_MAX;
		}
	} else {
		p->stalls = 0;
	}
	return VMM_PRECOPY_AGAIN;
}

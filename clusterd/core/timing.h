/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deadlines of a node's loss, and why they are safe.
 *
 * What must hold: a VM of a lost node does not *execute* any more when it may start elsewhere.  (The
 * disks are safe without any of this: fencing is proof, and comes first.  This keeps the network and
 * the clients from two of it.)  The lease sees to it, and needs nothing of the lost node but its vmm:
 *
 *   P   a proof: a beat was sent then that a majority has answered (beat.c)
 *   L   the entry that says LOST is committed: always later than every proof of the lost node
 *
 *   second      lost node                             majority
 *   P           a beat is sent
 *   P + 1       answered: the vmms may run until P + lease
 *   >= P        clusterd stops, or is cut off, or all of the node stands still
 *   L >= P                                            LOST, fencing starts; the hold begins
 *   P + 10      every vmm freezes itself (lease)
 *   P + 12      ... and has done so (CORE_LEASE_STOP_MS)
 *   L + 12                                            takeover_ms: its VMs may start elsewhere
 *
 * Safe if     lease + CORE_LEASE_STOP_MS <= takeover_ms, whatever the network's delays and timeouts:
 *             the lease is made from takeover_ms so that this holds.
 *
 * Only rates of clocks are compared: the lost node's CLOCK_BOOTTIME (where that may stand still with the
 * machine: the first of several clocks, common/cl_moment.h) and the majority's cluster time, which
 * never runs ahead of a real clock (each TICK counts only what its proposer saw pass since the last one).
 *
 * A clusterd that runs and sees that it is cut off does not wait for the lease's end:
 *
 *   second    lost node                             majority
 *   0         corosync: no quorum: FREEZE           corosync: node gone: LOST, fencing starts
 *   1                                               PREEMPT AND ABORT answered: its disks refuse it
 *   5         KILL: every vmm dies (freeze_kill)
 *   5..7      the kill is carried out (CORE_KILL_EXEC_MS)
 *   12                                              takeover_ms: its VMs may start elsewhere
 *
 * Both sides of a split are told within CORE_SKEW_MS of each other (token + consensus), so that nothing
 * of the VM is left there at the takeover if
 *           freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS <= takeover_ms
 *           5000           + 2000              + 4000         <= 12000
 */
#ifndef CLUSTERD_CORE_TIMING_H
#define CLUSTERD_CORE_TIMING_H

#define CORE_FREEZE_KILL_MS 5000u
#define CORE_KILL_EXEC_MS   2000u
#define CORE_SKEW_MS	    4000u
#define CORE_TAKEOVER_MS    12000u
#define CORE_LEASE_STOP_MS  2000u  /* from the lease's end until the vmm's last instruction, at most */
#define CORE_BEAT_MS	    1000u
#define CORE_UNHEARD_MS	    10000u /* a member that is silent so long is not one: its lease is over, too */
#define CORE_FENCE_TRY_MS   60000u /* one PREEMPT AND ABORT on one LUN: scsi3pr's own time-out */
#define CORE_SILENT_MS	    60000u
#define CORE_RETRY_MS	    2000u
#define CORE_RETRY_MAX_MS   60000u /* what stays wrong is tried again no less often than this */
#define CORE_NEAR_MS	    30000u /* a retry further away than this is waited for with slow ticks */
#define CORE_TICK_MS	    500u   /* a TICK is proposed so often while something is near */
#define CORE_TICK_SLOW_MS   60000u /* ... and while what is waited for is hours away */
#define CORE_QUARANTINE_LOSSES	 3u
#define CORE_QUARANTINE_PERIOD_S 3600u
#define CORE_QUARANTINE_S	 7200u
#define CORE_STABLE_MS	    60000u /* a VM that ran so long has forgotten its failures */
#define CORE_STORAGE_MS                                                                            \
	30000u /* a LUN that does not answer a node so long, while it answers others ... */
#define CORE_STORAGE_SETTLE_MS                                                                     \
	15000u /* ... which have had this long to say that it does not: a second and a             \
		  command's time-out of the watch, and some */
#define CORE_RUNG_TRIES	    2u	   /* tries of a drain's rung that fail for other reasons */
#define CORE_RESTORE_TRIES  3u
#define CORE_PAUSE_MS	    300u   /* of a live migration, unless more is allowed */
#define CORE_DRAIN_AGAIN_MS 60000u /* a VM that no rung could move is tried again */

#define CORE_TIMING_SAFE(t) \
	((uint64_t)(t)->freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS <= (t)->takeover_ms)

/* takeover_ms as CORE_TIMING_SAFE() wants it leaves more than a few beats. */
#define CORE_LEASE_MS(t) ((uint64_t)(t)->takeover_ms - CORE_LEASE_STOP_MS)

/* What takeover_ms must be at least, so that nothing freezes while corosync makes up its mind. */
#define CORE_TAKEOVER_FOR(detect_ms) ((detect_ms) + 2 * CORE_BEAT_MS + CORE_LEASE_STOP_MS)

#endif

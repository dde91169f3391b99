/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deadlines of a node's loss, and why they are safe.
 *
 * Two clocks run: the lost node's own (monotonic, from its loss of quorum) and
 * the majority's cluster time (TICKs, from the entry that says LOST).  They start
 * within CORE_SKEW_MS of each other: corosync tells both sides of a split within
 * token + consensus, and an entry commits only after that.  Cluster time never runs
 * ahead of a real clock (each TICK counts only what its proposer saw pass since the last one).
 *
 *   second    lost node                             majority
 *   0         corosync: no quorum: FREEZE           corosync: node gone: LOST, fencing starts
 *   1                                               PREEMPT AND ABORT answered: its disks refuse it
 *   5         KILL: every vmm dies (freeze_kill)
 *   5..7      the kill is carried out (CORE_KILL_EXEC_MS)
 *   12                                              takeover_ms: its VMs may start elsewhere
 *
 * Safe if   freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS <= takeover_ms
 *           5000           + 2000              + 4000         <= 12000
 *
 * The disks are safe without any of this: fencing is proof, and comes first.  The hold
 * keeps a VM from *executing* twice (its network, its clients) while it is cut off.
 */
#ifndef CLUSTERD_CORE_TIMING_H
#define CLUSTERD_CORE_TIMING_H

#define CORE_FREEZE_KILL_MS 5000u
#define CORE_KILL_EXEC_MS   2000u
#define CORE_SKEW_MS	    4000u
#define CORE_TAKEOVER_MS    12000u
#define CORE_SILENT_MS	    60000u
#define CORE_RETRY_MS	    2000u
#define CORE_TICK_MS	    500u   /* a TICK is proposed so often while one is wanted */
#define CORE_STABLE_MS	    60000u /* a VM that ran so long has forgotten its failures */
#define CORE_VM_TRIES	    3u
#define CORE_RESTORE_TRIES  3u
#define CORE_MIGRATIONS_MAX 2u /* leaving one node at a time */

#define CORE_TIMING_SAFE(t) \
	((uint64_t)(t)->freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS <= (t)->takeover_ms)

#endif

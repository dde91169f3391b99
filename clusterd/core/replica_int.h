/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by replica.c, issue.c, local.c and beat.c: one replica's parts. */
#ifndef CLUSTERD_CORE_REPLICA_INT_H
#define CLUSTERD_CORE_REPLICA_INT_H

#include "clusterd/core/replica.h"

#define BEAT_BYTES (4u + 8u + 8u + CL_NODES_MAX * 8u)

/* replica.c */
void replica_emit(struct replica *r, const struct replica_out *out);
void replica_emit_local(struct replica *r, const struct replica_local *local);
/* One command at a time, cleared but for its report. */
struct core_command *replica_fresh(struct replica *r);
/* Its cookie; 0: not now. */
uint64_t replica_propose(struct replica *r, struct core_command *cmd, uint8_t voter_add);
/* What runs here changes now: it must be told anew before anything goes on. */
void replica_hello_anew(struct replica *r);

/* issue.c: effects of this node */
/* What is no longer wanted is called off. */
void replica_issues_forget(struct replica *r);
void replica_effects_issue(struct replica *r);
void replica_results_propose(struct replica *r);

/* local.c: freeze, kill, thaw and lease of this node's VMs */
/* Others may decide without this node. */
bool replica_is_cut(const struct replica *r);
void replica_local_rules(struct replica *r);
void replica_freeze(struct replica *r, const char *why);

/* beat.c: who hears whom */
void replica_beat_config(struct replica *r, core_nodes members);
void replica_beat_timer(struct replica *r);
bool replica_beat_is(const void *data, size_t len_bytes);
int replica_beat_take(struct replica *r, uint8_t node, const void *data, size_t len_bytes);
/* Members whose clusterd speaks; self included. */
core_nodes replica_beat_present(const struct replica *r);
/* When this node was last sure to be heard by a majority (it counts itself), 0: not yet. */
uint64_t replica_beat_proof_ms(const struct replica *r);

#endif

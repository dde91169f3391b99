/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one thread that talks to corosync, so that a stopped or slow corosync
 * never blocks the loop.  It connects, joins, reconnects for ever, and posts what it
 * hears to the loop in the order in which corosync gave it.
 */
#ifndef CD_LINK_COROSYNC_H
#define CD_LINK_COROSYNC_H

#include "clusterd/group_cpg.h"
#include "clusterd/post_linux.h"
#include "clusterd/quorum_votequorum.h"

/* All on the loop's thread.  Pointers are borrowed for the call. */
struct cd_link_ops {
	void (*up)(void *arg, uint32_t local_node);
	void (*down)(void *arg); /* corosync went away; no membership until up again */
	void (*deliver)(void *arg, uint32_t node, uint32_t pid, const void *data, size_t len_bytes);
	void (*confchg)(void *arg, const struct cd_member *members, size_t n,
			const struct cd_member *left, size_t n_left,
			const struct cd_member *joined, size_t n_joined);
	void (*ring)(void *arg, const uint32_t *nodes, size_t n);
	void (*votes)(void *arg, const struct cd_votes *votes);
};

struct cd_link;

/* 0 or -errno.  Runs until the process ends. */
int cd_link_new(struct cd_post *post, const struct cd_link_ops *ops, void *arg,
		struct cd_link **ret_link);
/* Loop thread.  Queues; a message queued while the link is down is dropped. -ENOBUFS if too many. */
int cd_link_send(struct cd_link *link, const void *data, size_t len_bytes);

#endif

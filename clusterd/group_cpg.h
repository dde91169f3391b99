/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Membership and total order from corosync's closed process group "holdfast".
 * All calls of one cd_group are made by one thread (link_corosync.c's), which
 * may block in corosync; the callbacks run inside cd_group_dispatch().
 */
#ifndef CD_GROUP_CPG_H
#define CD_GROUP_CPG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cd_left_reason {
	CD_LEFT_LEAVE,	  /* left by itself: clusterd stopped in order */
	CD_LEFT_PROCDOWN, /* clusterd died there, the node and its VMs live */
	CD_LEFT_NODEDOWN, /* the node is gone from corosync's membership */
};

struct cd_member {
	uint32_t node, pid;
	enum cd_left_reason reason; /* in the left list only */
};

struct cd_group_ops {
	void (*deliver)(void *arg, uint32_t node, uint32_t pid, const void *data, size_t len_bytes);
	void (*confchg)(void *arg, const struct cd_member *members, size_t n,
			const struct cd_member *left, size_t n_left,
			const struct cd_member *joined, size_t n_joined);
	/* corosync's own membership, before or after the confchg that belongs to it */
	void (*ring)(void *arg, const uint32_t *nodes, size_t n);
};

struct cd_group;

/* Joins.  0, -EAGAIN: corosync is not there (yet), or -errno.  ops is borrowed. */
int cd_group_open(const struct cd_group_ops *ops, void *arg, struct cd_group **ret_group);
void cd_group_close(struct cd_group *group);
int cd_group_fd(const struct cd_group *group);
uint32_t cd_group_local(const struct cd_group *group);
/* 0, or -EPIPE: corosync is gone; close and open again. */
int cd_group_dispatch(struct cd_group *group);
/* 0 sent, -EAGAIN: corosync's flow control, again later; -EPIPE as above. */
int cd_group_send(struct cd_group *group, const void *data, size_t len_bytes);

#endif

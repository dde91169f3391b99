/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Votes from corosync's votequorum.  Used by link_corosync.c's thread only. */
#ifndef CD_QUORUM_VOTEQUORUM_H
#define CD_QUORUM_VOTEQUORUM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cl_types.h"

struct cd_votes {
	bool quorate;
	uint32_t expected, total, needed;
};

struct cd_quorum;

/* 0, -EAGAIN: corosync is not there, or -errno. changed runs inside dispatch. */
int cd_quorum_open(void (*changed)(void *arg, const struct cd_votes *votes), void *arg,
		   struct cd_quorum **ret_quorum);
void cd_quorum_close(struct cd_quorum *quorum);
int cd_quorum_fd(const struct cd_quorum *quorum);
/*
 * corosync tells of a change of quorum, but not of every change of the counts behind it (a
 * joiner's vote arrives after its membership): looks, and calls changed if a count moved.
 */
void cd_quorum_look(struct cd_quorum *quorum);
/* 0 or -EPIPE. */
int cd_quorum_dispatch(struct cd_quorum *quorum);

#endif

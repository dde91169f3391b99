/* SPDX-License-Identifier: GPL-2.0-or-later */
/* corosync votequorum behind quorum_votequorum.h. */
#include "clusterd/quorum_votequorum.h"

#include <errno.h>
#include <stdlib.h>

#include <corosync/votequorum.h>

struct cd_quorum {
	votequorum_handle_t handle;
	void (*changed)(void *arg, const struct cd_votes *votes);
	void *arg;
	int fd;
	struct cd_votes told; /* last */
};

static bool counts_read(struct cd_quorum *quorum, struct cd_votes *votes)
{
	struct votequorum_info info;

	if (votequorum_getinfo(quorum->handle, 0, &info) != CS_OK)
		return false;
	votes->expected = info.node_expected_votes;
	votes->total = info.total_votes;
	votes->needed = info.quorum;
	return true;
}

static void report(struct cd_quorum *quorum, bool quorate)
{
	struct cd_votes votes = { .quorate = quorate };

	counts_read(quorum, &votes);
	quorum->told = votes;
	quorum->changed(quorum->arg, &votes);
}

void cd_quorum_look(struct cd_quorum *quorum)
{
	struct cd_votes votes = quorum->told; /* quorate itself comes by notification, in its order */

	if (!quorum->told.needed /* nothing was told yet */ || !counts_read(quorum, &votes) ||
	    (votes.expected == quorum->told.expected && votes.total == quorum->told.total &&
	     votes.needed == quorum->told.needed))
		return;
	quorum->told = votes;
	quorum->changed(quorum->arg, &votes);
}

static void on_quorum(votequorum_handle_t handle, uint64_t context, uint32_t quorate,
		      uint32_t n, votequorum_node_t nodes[])
{
	report((struct cd_quorum *)(uintptr_t)context, quorate != 0);
}

int cd_quorum_open(void (*changed)(void *arg, const struct cd_votes *votes), void *arg,
		   struct cd_quorum **ret_quorum)
{
	votequorum_callbacks_t callbacks = { .votequorum_quorum_notify_fn = on_quorum };
	struct cd_quorum *quorum = calloc(1, sizeof(*quorum));

	if (!quorum)
		return -ENOMEM;
	quorum->changed = changed;
	quorum->arg = arg;
	if (votequorum_initialize(&quorum->handle, &callbacks) != CS_OK) {
		free(quorum);
		return -EAGAIN;
	}
	if (votequorum_context_set(quorum->handle, quorum) != CS_OK ||
	    votequorum_fd_get(quorum->handle, &quorum->fd) != CS_OK ||
	    votequorum_trackstart(quorum->handle, (uint64_t)(uintptr_t)quorum,
				  CS_TRACK_CURRENT | CS_TRACK_CHANGES) != CS_OK) {
		cd_quorum_close(quorum);
		return -EAGAIN;
	}
	*ret_quorum = quorum;
	return 0;
}

void cd_quorum_close(struct cd_quorum *quorum)
{
	if (!quorum)
		return;
	votequorum_finalize(quorum->handle);
	free(quorum);
}

int cd_quorum_fd(const struct cd_quorum *quorum)
{
	return quorum->fd;
}

int cd_quorum_dispatch(struct cd_quorum *quorum)
{
	cs_error_t err = votequorum_dispatch(quorum->handle, CS_DISPATCH_ALL);

	return err == CS_OK || err == CS_ERR_TRY_AGAIN ? 0 : -EPIPE;
}

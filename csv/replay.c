/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decides whether an operation is new, repeated or too old.  Never does the operation.
 */
#include "csv/replay.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void csv_replay_init(struct csv_replay_cache *c)
{
	memset(c, 0, sizeof(*c));
}

void csv_replay_client(struct csv_replay_cache *c, uint32_t node, uint64_t instance)
{
	assert(node >= 1 && node <= CL_NODES_MAX);
	if (c->instance[node - 1] == instance)
		return;
	c->instance[node - 1] = instance;
	memset(c->slots[node - 1], 0, sizeof(c->slots[node - 1]));
}

enum csv_replay csv_replay_begin(struct csv_replay_cache *c, uint32_t node, uint64_t instance,
				 uint32_t slot, uint64_t seq, const void **ret_reply,
				 size_t *ret_len)
{
	struct csv_replay_slot *s;

	assert(node >= 1 && node <= CL_NODES_MAX && slot < CSV_RPC_SLOTS);
	if (c->instance[node - 1] != instance || !seq)
		return CSV_REPLAY_STALE;
	s = &c->slots[node - 1][slot];
	if (seq < s->seq)
		return CSV_REPLAY_STALE;
	if (seq == s->seq) {
		if (!s->len_bytes)
			return CSV_REPLAY_BUSY;
		*ret_reply = s->reply;
		*ret_len = s->len_bytes;
		return CSV_REPLAY_REPEAT;
	}
	s->seq = seq;
	s->len_bytes = 0;
	return CSV_REPLAY_NEW;
}

void csv_replay_finish(struct csv_replay_cache *c, uint32_t node, uint64_t instance, uint32_t slot,
		       uint64_t seq, const void *reply, size_t len_bytes)
{
	struct csv_replay_slot *s = &c->slots[node - 1][slot];

	if (c->instance[node - 1] != instance || s->seq != seq)
		return;
	if (!reply) {
		s->seq = seq - 1;
		s->len_bytes = 0;
		return;
	}
	assert(len_bytes && len_bytes <= sizeof(s->reply));
	memcpy(s->reply, reply, len_bytes);
	s->len_bytes = (uint32_t)len_bytes;
}

bool csv_replay_means_done(enum csv_rpc_op op, int rc)
{
	switch (op) {
	case CSV_OP_MKNOD:
	case CSV_OP_MKDIR:
	case CSV_OP_SYMLINK:
	case CSV_OP_LINK:
	case CSV_OP_CREATE:
		return rc == -EEXIST;
	case CSV_OP_UNLINK:
	case CSV_OP_RMDIR:
	case CSV_OP_RENAME:
		return rc == -ENOENT;
	default:
		return false;
	}
}

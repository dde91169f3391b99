/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner's memory of replies, so that an operation whose reply was lost is done once.  A client
 * has CSV_RPC_SLOTS slots; in each it has one operation at a time, numbered upwards.  The last reply of
 * each slot is kept until the next operation in it.
 *
 * A client is (node, instance): a csvd that started anew has a new instance and forgets what the former one
 * had asked.  Pure; the caller serialises.
 */
#ifndef CSV_REPLAY_H
#define CSV_REPLAY_H

#include "csv/proto.h"

#define CSV_REPLAY_BYTES 256u /* a kept reply, header included; replies of such operations fit */

enum csv_replay {
	CSV_REPLAY_NEW = 0, /* do it, then csv_replay_finish() */
	CSV_REPLAY_REPEAT,  /* answer with the kept reply */
	CSV_REPLAY_BUSY,    /* being done now, on another connection: wait and ask again */
	CSV_REPLAY_STALE,   /* older than what is kept: refuse */
};

struct csv_replay_slot {
	uint64_t seq;
	uint32_t len_bytes; /* 0 while it is being done */
	uint8_t reply[CSV_REPLAY_BYTES];
};

struct csv_replay_cache {
	uint64_t instance[CL_NODES_MAX];
	struct csv_replay_slot slots[CL_NODES_MAX][CSV_RPC_SLOTS];
};

void csv_replay_init(struct csv_replay_cache *c);
/* Forgets the client's slots if the instance is another one. */
void csv_replay_client(struct csv_replay_cache *c, uint32_t node, uint64_t instance);
/* The reply (borrowed until the next call) is given with REPEAT. */
enum csv_replay csv_replay_begin(struct csv_replay_cache *c, uint32_t node, uint64_t instance,
				 uint32_t slot, uint64_t seq, const void **ret_reply,
				 size_t *ret_len);
/* reply NULL: it was not done after all and may be asked again. */
void csv_replay_finish(struct csv_replay_cache *c, uint32_t node, uint64_t instance, uint32_t slot,
		       uint64_t seq, const void *reply, size_t len_bytes);

/*
 * What a repeated operation's error means to a new owner, that has no memory of it: true if rc is how
 * success looks when the operation is done a second time (made already, gone already).
 */
bool csv_replay_means_done(enum csv_rpc_op op, int rc);

#endif

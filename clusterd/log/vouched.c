/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is known to have what: for each node the last *committed* entry that it has acknowledged.
 *
 * A committed entry is never cut off again, so a node whose log ends before that entry has lost its disk's
 * memory: an old disk was put back, or a store broke its promise.  Its vote counts for nothing until it
 * has caught up (sync.c): otherwise it and another laggard could make a majority that has never heard of an
 * acknowledged change.
 *
 * The node itself cannot know.  So every member keeps the table of all nodes, durably with each of its promises, and
 * tells it with each STATUS: one that took part since is enough.
 *
 * Assumes: acknowledgements come from members that are in step.  Never: forgets.
 */
#include "clusterd/log/internal.h"

#include <errno.h>
#include <string.h>

void log_vouch(struct log *log, uint8_t node, uint64_t epoch, uint64_t seq)
{
	struct log_peer *peer = &log->peers[node];

	if (epoch < peer->vouched_epoch ||
	    (epoch == peer->vouched_epoch && seq <= peer->vouched_seq))
		return;
	peer->vouched_epoch = epoch;
	peer->vouched_seq = seq;
}

bool log_vouch_broken(const struct log *log, uint8_t node, const struct log_mark *last)
{
	const struct log_peer *peer = &log->peers[node];

	return last->epoch != peer->vouched_epoch ? last->epoch < peer->vouched_epoch :
						    last->seq < peer->vouched_seq;
}

size_t log_vouched_encode(const struct log *log, uint8_t data[LOG_VOUCHED_MAX])
{
	struct cl_writer w;
	uint8_t id;

	cl_writer_init(&w, data, LOG_VOUCHED_MAX);
	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (!log->peers[id].vouched_epoch)
			continue;
		cl_write_u8(&w, id);
		cl_write_u64(&w, log->peers[id].vouched_epoch);
		cl_write_u64(&w, log->peers[id].vouched_seq);
	}
	return w.pos;
}

static int table_read(struct log *log, const void *data, size_t len_bytes)
{
	struct cl_reader r;
	uint8_t last = 0;

	if (len_bytes > LOG_VOUCHED_MAX || len_bytes % 17u)
		return -EBADMSG;
	cl_reader_init(&r, data, len_bytes);
	for (; len_bytes; len_bytes -= 17u) {
		uint8_t id = cl_read_u8(&r);
		uint64_t epoch = cl_read_u64(&r), seq = cl_read_u64(&r);

		if (id <= last || id > CL_NODES_MAX || !epoch || !seq ||
		    epoch >= UINT64_MAX / 2 || seq >= UINT64_MAX / 2)
			return -EBADMSG;
		last = id;
		if (log)
			log_vouch(log, id, epoch, seq);
	}
	return cl_reader_done(&r);
}

int log_vouched_check(const void *data, size_t len_bytes)
{
	return table_read(NULL, data, len_bytes);
}

int log_vouched_decode(struct log *log, const void *data, size_t len_bytes)
{
	int err = table_read(NULL, data, len_bytes);

	return err ? err : table_read(log, data, len_bytes);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coding of the log's messages and entries, and the hash chain.  Decides nothing. */
#include "clusterd/log/message.h"

#include "clusterd/log/internal.h"

#include <errno.h>
#include <string.h>

#define LOG_MAGIC 0x4c48u /* "HL" */

static void mark_write(struct cl_writer *w, const struct log_mark *mark)
{
	cl_write_u64(w, mark->epoch);
	cl_write_u64(w, mark->seq);
	cl_write_u64(w, mark->hash);
}

static void mark_read(struct cl_reader *r, struct log_mark *mark)
{
	mark->epoch = cl_read_u64(r);
	mark->seq = cl_read_u64(r);
	mark->hash = cl_read_u64(r);
}

void log_entry_write(struct cl_writer *w, const struct log_entry *entry)
{
	mark_write(w, &entry->mark);
	cl_write_u8(w, entry->kind);
	cl_write_u8(w, entry->origin);
	cl_write_u8(w, entry->voter_add);
	cl_write_u64(w, entry->cookie);
	cl_write_u32(w, entry->len_bytes);
	cl_write_bytes(w, entry->bytes, entry->len_bytes);
}

void log_entry_read(struct cl_reader *r, struct log_entry *ret_entry)
{
	const void *bytes;

	mark_read(r, &ret_entry->mark);
	ret_entry->kind = cl_read_u8(r);
	ret_entry->origin = cl_read_u8(r);
	ret_entry->voter_add = cl_read_u8(r);
	ret_entry->cookie = cl_read_u64(r);
	ret_entry->len_bytes = cl_read_u32(r);
	if (ret_entry->len_bytes > LOG_ENTRY_MAX || ret_entry->mark.seq == 0 ||
	    (ret_entry->kind != LOG_ENTRY_EPOCH && ret_entry->kind != LOG_ENTRY_DATA) ||
	    ret_entry->origin == 0 || ret_entry->origin > CL_NODES_MAX ||
	    ret_entry->voter_add > CL_NODES_MAX)
		r->bad = true;
	bytes = r->bad ? NULL : cl_read_ref(r, ret_entry->len_bytes);
	if (bytes)
		memcpy(ret_entry->bytes, bytes, ret_entry->len_bytes);
	else
		ret_entry->len_bytes = 0;
}

uint64_t log_entry_hash(uint64_t prev_hash, const struct log_entry *entry)
{
	uint64_t head[4] = { entry->mark.epoch, entry->mark.seq, entry->cookie,
			     (uint64_t)entry->kind << 56 | (uint64_t)entry->origin << 48 |
				     (uint64_t)entry->voter_add << 40 | entry->len_bytes };
	uint64_t hash = prev_hash ^ 0x9e3779b97f4a7c15u;
	unsigned i;

	/* The head word by word (multiply and fold), the bytes by the common hash. */
	for (i = 0; i < CL_ARRAY_LEN(head); i++) {
		hash = (hash ^ head[i]) * 0xff51afd7ed558ccdu;
		hash ^= hash >> 32;
	}
	hash = cl_hash64(hash, entry->bytes, entry->len_bytes);
	return hash ? hash : 1;
}

long log_message_encode(const struct log_message *msg, void *data, size_t cap_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, data, cap_bytes);
	cl_write_u16(&w, LOG_MAGIC);
	cl_write_u8(&w, LOG_VERSION);
	cl_write_u8(&w, msg->type);
	cl_write_u8(&w, msg->sender);
	cl_write_u64(&w, msg->epoch);
	switch (msg->type) {
	case LOG_MSG_SYNC:
		cl_write_u64(&w, msg->instance);
		cl_write_u64(&w, msg->counter);
		break;
	case LOG_MSG_STATUS:
		cl_write_u64(&w, msg->instance);
		cl_write_u64(&w, msg->counter);
		cl_write_u8(&w, msg->refused);
		cl_write_u64(&w, msg->promised);
		mark_write(&w, &msg->mark);
		cl_write_u16(&w, msg->voters);
		cl_write_u32(&w, (uint32_t)msg->len_bytes);
		cl_write_bytes(&w, msg->data, msg->len_bytes);
		break;
	case LOG_MSG_EPOCH:
		cl_write_u64(&w, msg->instance);
		cl_write_u64(&w, msg->counter);
		mark_write(&w, &msg->mark);
		cl_write_u16(&w, msg->voters);
		break;
	case LOG_MSG_PROPOSE:
		cl_write_u64(&w, msg->cookie);
		cl_write_u8(&w, msg->voter_add);
		cl_write_u32(&w, (uint32_t)msg->len_bytes);
		cl_write_bytes(&w, msg->data, msg->len_bytes);
		break;
	case LOG_MSG_ACK:
		mark_write(&w, &msg->mark);
		break;
	case LOG_MSG_WANT:
		cl_write_u8(&w, msg->donor);
		mark_write(&w, &msg->mark);
		mark_write(&w, &msg->commit);
		break;
	case LOG_MSG_TAIL:
		cl_write_u16(&w, msg->to);
		mark_write(&w, &msg->mark);
		cl_write_u16(&w, msg->count);
		cl_write_u32(&w, (uint32_t)msg->len_bytes);
		cl_write_bytes(&w, msg->data, msg->len_bytes);
		break;
	case LOG_MSG_SNAPSHOT:
		cl_write_u16(&w, msg->to);
		mark_write(&w, &msg->mark);
		cl_write_u16(&w, msg->voters);
		cl_write_u32(&w, msg->total);
		cl_write_u32(&w, msg->offset);
		cl_write_u32(&w, (uint32_t)msg->len_bytes);
		cl_write_bytes(&w, msg->data, msg->len_bytes);
		break;
	default:
		return -EINVAL;
	}
	return cl_writer_done(&w);
}

static void data_read(struct cl_reader *r, struct log_message *msg, size_t max_bytes)
{
	uint32_t len = cl_read_u32(r);

	if (len > max_bytes) {
		r->bad = true;
		return;
	}
	msg->data = cl_read_ref(r, len);
	msg->len_bytes = msg->data ? len : 0;
}

int log_message_decode(struct log_message *ret_msg, const void *data, size_t len_bytes)
{
	struct log_message *msg = ret_msg;
	struct cl_reader r;

	memset(msg, 0, sizeof(*msg));
	if (len_bytes > LOG_MESSAGE_MAX)
		return -EBADMSG;
	cl_reader_init(&r, data, len_bytes);
	if (cl_read_u16(&r) != LOG_MAGIC || cl_read_u8(&r) != LOG_VERSION)
		return -EBADMSG;
	msg->type = cl_read_u8(&r);
	msg->sender = cl_read_u8(&r);
	msg->epoch = cl_read_u64(&r);
	switch (msg->type) {
	case LOG_MSG_SYNC:
		msg->instance = cl_read_u64(&r);
		msg->counter = cl_read_u64(&r);
		break;
	case LOG_MSG_STATUS:
		msg->instance = cl_read_u64(&r);
		msg->counter = cl_read_u64(&r);
		msg->refused = cl_read_u8(&r);
		msg->promised = cl_read_u64(&r);
		mark_read(&r, &msg->mark);
		msg->voters = cl_read_u16(&r);
		data_read(&r, msg, LOG_VOUCHED_MAX);
		if (!r.bad && log_vouched_check(msg->data, msg->len_bytes))
			return -EBADMSG;
		break;
	case LOG_MSG_EPOCH:
		msg->instance = cl_read_u64(&r);
		msg->counter = cl_read_u64(&r);
		mark_read(&r, &msg->mark);
		msg->voters = cl_read_u16(&r);
		break;
	case LOG_MSG_PROPOSE:
		msg->cookie = cl_read_u64(&r);
		msg->voter_add = cl_read_u8(&r);
		data_read(&r, msg, LOG_ENTRY_MAX);
		if (msg->voter_add > CL_NODES_MAX)
			return -EBADMSG;
		break;
	case LOG_MSG_ACK:
		mark_read(&r, &msg->mark);
		break;
	case LOG_MSG_WANT:
		msg->donor = cl_read_u8(&r);
		mark_read(&r, &msg->mark);
		mark_read(&r, &msg->commit);
		if (msg->donor > CL_NODES_MAX)
			return -EBADMSG;
		break;
	case LOG_MSG_TAIL:
		msg->to = cl_read_u16(&r);
		mark_read(&r, &msg->mark);
		msg->count = cl_read_u16(&r);
		data_read(&r, msg, LOG_CHUNK_MAX);
		break;
	case LOG_MSG_SNAPSHOT:
		msg->to = cl_read_u16(&r);
		mark_read(&r, &msg->mark);
		msg->voters = cl_read_u16(&r);
		msg->total = cl_read_u32(&r);
		msg->offset = cl_read_u32(&r);
		data_read(&r, msg, LOG_CHUNK_MAX);
		if (msg->total > LOG_SNAPSHOT_MAX || msg->offset > msg->total ||
		    msg->len_bytes > msg->total - msg->offset)
			return -EBADMSG;
		break;
	default:
		return -EBADMSG;
	}
	/* Epochs and sequence numbers so high that adding one wraps are nobody's. */
	if (msg->epoch >= UINT64_MAX / 2 || msg->mark.seq >= UINT64_MAX / 2 ||
	    msg->promised >= UINT64_MAX / 2 || msg->sender == 0 || msg->sender > CL_NODES_MAX)
		return -EBADMSG;
	return cl_reader_done(&r) ? -EBADMSG : 0;
}

int log_message_check(const void *data, size_t len_bytes)
{
	struct log_message msg;

	return log_message_decode(&msg, data, len_bytes);
}

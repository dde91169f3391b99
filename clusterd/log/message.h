/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log's messages (docs/formats/log.md).  Decoding refuses a message whole:
 * wrong version, unknown type, short, long or out of range.  Pure.
 */
#ifndef CLUSTERD_LOG_MESSAGE_H
#define CLUSTERD_LOG_MESSAGE_H

#include "clusterd/log/log.h"
#include "common/cl_wire.h"

enum log_message_type {
	LOG_MSG_SYNC = 1, /* names itself; promise epoch and tell */
	LOG_MSG_STATUS,	  /* answer: promised (or refused) and how far the log reaches */
	LOG_MSG_EPOCH,	  /* the epoch builds on base */
	LOG_MSG_PROPOSE,  /* an entry */
	LOG_MSG_ACK,	  /* durable up to mark */
	LOG_MSG_WANT,	  /* feed me from last (or from commit) on, node donor */
	LOG_MSG_TAIL,	  /* entries that follow mark, for nodes to */
	LOG_MSG_SNAPSHOT, /* a piece of a core state, for nodes to */
	LOG_MSG_LAST = LOG_MSG_SNAPSHOT,
};

/* Fields that a type does not have are zero.  data is borrowed from the message. */
struct log_message {
	uint8_t type;
	uint8_t sender;
	uint64_t instance, counter; /* of the SYNC: SYNC, STATUS, EPOCH */
	uint64_t epoch;
	bool refused;
	uint64_t promised;
	struct log_mark mark;	/* STATUS last, EPOCH base, ACK, WANT last, TAIL prefix, SNAPSHOT */
	struct log_mark commit; /* WANT */
	log_nodes voters;
	log_nodes to;
	uint8_t donor;
	uint8_t voter_add;
	uint64_t cookie;
	uint32_t total, offset;
	uint16_t count; /* TAIL: entries in data */
	const uint8_t *data;
	size_t len_bytes;
};

long log_message_encode(const struct log_message *msg, void *data, size_t cap_bytes);
int log_message_decode(struct log_message *ret_msg, const void *data, size_t len_bytes);

void log_entry_write(struct cl_writer *w, const struct log_entry *entry);
/* Reader goes bad if the entry is not well formed.  The hash is not checked. */
void log_entry_read(struct cl_reader *r, struct log_entry *ret_entry);
/* The chain: hash of an entry that follows prev. */
uint64_t log_entry_hash(uint64_t prev_hash, const struct log_entry *entry);

#endif

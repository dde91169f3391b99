/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the log; nobody else includes it. */
#ifndef CLUSTERD_LOG_INTERNAL_H
#define CLUSTERD_LOG_INTERNAL_H

#include "clusterd/log/log.h"
#include "clusterd/log/message.h"

/* log.c */
void log_send(struct log *log, const struct log_message *msg);
uint64_t log_store(struct log *log, enum log_store_kind kind, struct log_out *out);
struct log_entry *log_entry_at(struct log *log, uint64_t seq);
/* The mark of seq, if the log still knows it: 0 or -ENOENT. */
int log_mark_at(struct log *log, uint64_t seq, struct log_mark *ret_mark);
bool log_mark_equal(const struct log_mark *a, const struct log_mark *b);
bool log_mark_less(const struct log_mark *a, const struct log_mark *b);
/* Cuts the log back to the mark, which is in it and not below the commit position. */
void log_truncate(struct log *log, const struct log_mark *mark);
/* The entry, complete with its mark in its window slot, becomes the log's end: stores it. */
void log_append(struct log *log, struct log_entry *entry);
/* Recomputes what is agreed and hands over what is committed. */
void log_advance(struct log *log);
void log_acknowledge(struct log *log);
void log_pending_send(struct log *log);
unsigned log_nodes_count(log_nodes nodes);
log_nodes log_nodes_majority(log_nodes voters, log_nodes yes); /* yes & voters if a majority, else 0 */

/* vouched.c */
void log_vouch(struct log *log, uint8_t node, uint64_t epoch, uint64_t seq);
/* What node's log reaches is less than what it acknowledged. */
bool log_vouch_broken(const struct log *log, uint8_t node, const struct log_mark *last);
size_t log_vouched_encode(const struct log *log, uint8_t data[LOG_VOUCHED_MAX]);
/* 0, or -EBADMSG and nothing is taken. */
int log_vouched_decode(struct log *log, const void *data, size_t len_bytes);
/* The same without taking it. */
int log_vouched_check(const void *data, size_t len_bytes);

/* sync.c */
void log_sync_start(struct log *log);
void log_sync_timer(struct log *log);
void log_sync_durable(struct log *log);
void log_on_sync(struct log *log, const struct log_message *msg);
void log_on_status(struct log *log, const struct log_message *msg);
void log_on_epoch(struct log *log, const struct log_message *msg);

/* transfer.c */
void log_want(struct log *log);
void log_transfer_timer(struct log *log);
void log_on_want(struct log *log, const struct log_message *msg);
void log_on_tail(struct log *log, const struct log_message *msg);
void log_on_snapshot(struct log *log, const struct log_message *msg);
/* Encodes the core by way of the sink; false if that failed. */
bool log_snapshot_take(struct log *log);
/* Own snapshot at the commit position: the window begins there. */
void log_snapshot_own(struct log *log);

#endif

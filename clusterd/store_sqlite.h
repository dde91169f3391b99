/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log's durable copy and the history of events: one SQLite file, WAL,
 * synchronous=FULL (docs/formats/state-db.md).  Writes go to a thread of their own, as many
 * as wait in one transaction; done(op) says on the loop's thread that all up to op are on disk.
 *
 * A file that is not ours, of another cluster or node, or damaged is refused
 * with one line and left as it is.
 */
#ifndef CD_STORE_SQLITE_H
#define CD_STORE_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "clusterd/core/replica.h"
#include "clusterd/post_linux.h"

struct cd_store;

struct cd_store_ops {
	void (*durable)(void *arg, uint64_t op);
	/* There is no room on the disk (text borrowed); tried again for ever.  NULL: well again. */
	void (*trouble)(void *arg, const char *text);
	/* An I/O error: what is on disk is not known, nothing more is written or reported. */
	void (*over)(void *arg, const char *text);
};

/* One thing that happened, for `clusterctl events`. */
struct cd_event {
	uint64_t id;	/* given by the store, rising on this node */
	uint64_t seq;	/* log entry whose application made it, 0: local to this node */
	uint32_t index; /* position among the events of that entry */
	int64_t ts_ms;	/* wall clock of this node */
	const char *json; /* object, old, new, reason, ... */
};

/*
 * Opens, or creates if create.  uuid and node name whose file it must be.
 * -EBADMSG with *ret_error (malloc'ed).  Blocking.
 */
int cd_store_open(const char *path, const uint8_t uuid[CL_UUID_BYTES], uint32_t node, bool create,
		  struct cd_store **ret_store, char **ret_error);
void cd_store_close(struct cd_store *store);
/* Moves what is in the write-ahead log into the file itself. 0 or -EIO. */
int cd_store_checkpoint(struct cd_store *store);
/*
 * Feeds replica_restore_*(); then replica_start() with *ret_commit is the caller's.
 * *ret_empty: nothing was ever written.  Before cd_store_start().
 */
int cd_store_restore(struct cd_store *store, struct replica *replica, uint64_t *ret_commit,
		     bool *ret_empty, char **ret_error);
/* Starts the thread.  ops is borrowed. */
int cd_store_start(struct cd_store *store, struct cd_post *post, const struct cd_store_ops *ops,
		   void *arg);
/* LOG_OUT_STORE; copies what it needs. */
void cd_store_write(struct cd_store *store, const struct log_out *out);

/* Transactions that were committed, each with one fsync, and the entries in them; loop's thread. */
struct cd_store_counts {
	uint64_t commits, entries;
};
struct cd_store_counts cd_store_counts_get(struct cd_store *store);

/* Writes an event beside the log; an event of a (seq, index) that is there already is dropped. */
void cd_store_event(struct cd_store *store, const struct cd_event *event);
/* The last `max` events in order; before cd_store_start().  Called for each. */
int cd_store_events_load(struct cd_store *store, unsigned max,
			 void (*each)(void *arg, const struct cd_event *event), void *arg);

#endif

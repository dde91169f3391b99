/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicated log: one totally ordered sequence of entries on every node.
 *
 * CPG gives order, this file adds durability.  An entry is delivered by CPG,
 * durable when nodes holding a majority of the votes have fsynced it and said so,
 * and committed, in order, at the point of the total order where the
 * acknowledgement that made the majority is delivered.  docs/decisions/log.md has
 * the protocol and the argument for it.
 *
 * Decides: epochs, sequence numbers, what is committed, what is dropped, who
 * sends whom a snapshot or a tail.  Assumes: CPG delivers in agreed order within a
 * configuration; the store executes LOG_OUT_STORE operations in order and
 * reports an operation durable only after fsync.  Never: I/O, clock, allocation.
 *
 *         config change            all (or enough) promised
 *   DOWN ---------------> SYNC -----------------------> OPENING --- epoch entry committed --> OPEN
 *     ^  quorate           ^  lowest member sends SYNC     |  epoch entry delivered             |
 *     |                    +------- config change ---------+------------------------------------+
 *     +--- not quorate ---------------------------------------------------------------------- any
 *
 *   DOWN     nothing is accepted, acknowledged or committed
 *   SYNC     members promise a new epoch (durably) and tell how far their logs reach
 *   OPENING  the epoch is chosen, laggards are being fed, its first entry awaits a majority
 *   OPEN     proposals are accepted
 */
#ifndef CLUSTERD_LOG_LOG_H
#define CLUSTERD_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_types.h"

#define LOG_ENTRY_MAX	 6144u		/* bytes of one entry */
#define LOG_WINDOW	 256u		/* entries kept in memory: not committed, or sent as a tail */
#define LOG_PENDING_MAX	 64u		/* own proposals not yet committed */
#define LOG_SNAPSHOT_MAX (4u << 20)	/* bytes of an encoded core state */
#define LOG_CHUNK_MAX	 32768u		/* bytes of snapshot in one message */
#define LOG_MESSAGE_MAX	 (LOG_CHUNK_MAX + 256u)
#define LOG_UNCOMMITTED	 96u		/* entries accepted and not committed */
#define LOG_SNAPSHOT_EVERY 96u
#define LOG_VERSION	 2u
#define LOG_VOUCHED_MAX	 (CL_NODES_MAX * 17u) /* bytes of the table of what the nodes acknowledged */

/* A set of node ids: bit (id - 1). */
typedef uint16_t log_nodes;
#define LOG_NODE_BIT(id) ((log_nodes)(1u << ((id) - 1u)))

enum log_state {
	LOG_STATE_DOWN,
	LOG_STATE_SYNC,
	LOG_STATE_OPENING,
	LOG_STATE_OPEN,
};

/* Where a log ends.  hash chains all entries up to seq, so equal hash means equal history. */
struct log_mark {
	uint64_t epoch;
	uint64_t seq;
	uint64_t hash;
};

struct log_entry {
	struct log_mark mark;	/* of this entry, hash included */
	uint8_t kind;		/* enum log_entry_kind */
	uint8_t origin;		/* node that proposed it */
	uint8_t voter_add;	/* node id that becomes a voter with this entry, or 0 */
	uint64_t cookie;	/* proposer's, unique per proposer's instance */
	uint32_t len_bytes;
	uint8_t bytes[LOG_ENTRY_MAX];
};

enum log_entry_kind {
	LOG_ENTRY_EPOCH = 1,	/* opens an epoch; carries no bytes; the core never sees it */
	LOG_ENTRY_DATA = 2,
};

/* ---- out ------------------------------------------------------------------------------------ */

enum log_out_kind {
	LOG_OUT_MULTICAST = 1,	/* data: send by CPG, agreed order */
	LOG_OUT_STORE,		/* one store operation, see log_store_kind; report with log_durable() */
	LOG_OUT_COMMIT,		/* entry: apply to the core */
	LOG_OUT_SNAPSHOT_TAKE,	/* encode the core now and call log_snapshot_give() before returning */
	LOG_OUT_INSTALL,	/* data, mark, voters: replace the core's state by this snapshot */
	LOG_OUT_LOST,		/* cookie: fate of an own proposal is unknown (a snapshot passed it) */
};

/*
 * Store operations are to be executed in the order of op, any number of them in
 * one transaction; after the fsync of that transaction call log_durable(op).
 */
enum log_store_kind {
	LOG_STORE_APPEND = 1,	/* entry */
	LOG_STORE_TRUNCATE,	/* remove all entries with seq > mark.seq */
	LOG_STORE_PROMISE,	/* promised epoch = epoch, with data: what the nodes have acknowledged */
	LOG_STORE_SNAPSHOT,	/* replace snapshot by (mark, voters, data), remove entries <= mark.seq,
				   and, if reset, all entries */
};

struct log_out {
	enum log_out_kind kind;
	enum log_store_kind store;
	uint64_t op;			/* STORE */
	uint64_t commit;		/* STORE: commit position known now; a hint to keep with it */
	uint64_t epoch;			/* PROMISE */
	struct log_mark mark;		/* TRUNCATE, SNAPSHOT, INSTALL */
	log_nodes voters;		/* SNAPSHOT, INSTALL */
	bool reset;			/* SNAPSHOT */
	uint64_t cookie;		/* LOST */
	const struct log_entry *entry;	/* APPEND, COMMIT: valid for the call */
	const void *data;		/* MULTICAST, SNAPSHOT, INSTALL, PROMISE: as entry */
	size_t len_bytes;
};

/*
 * Takes one output.  Must not call back into the log, but for SNAPSHOT_TAKE, which is
 * answered with log_snapshot_give() at once.  Pointers live for the call only.
 */
typedef void (*log_sink)(void *arg, const struct log_out *out);

/* ---- state ---------------------------------------------------------------------------------- */

struct log_peer {
	bool status;  /* answered the SYNC in force */
	bool refused; /* has promised the epoch `promised` or a higher one already */
	uint64_t promised;
	struct log_mark last; /* durable end of its log */
	log_nodes voters;     /* after it */
	uint64_t acked;	      /* durable up to this seq, in this epoch; 0: nothing yet */
	uint64_t vouched_epoch; /* last committed entry that it is known to have acknowledged: ... */
	uint64_t vouched_seq;	/* ... a disk that has less has been rolled back */
};

/* An own proposal, oldest first in the array. */
struct log_pending {
	bool sent;     /* multicast, not delivered yet; it may have been accepted where we were not */
	bool accepted; /* delivered and appended at seq */
	uint64_t cookie;
	uint64_t seq;
	uint8_t voter_add;
	uint32_t len_bytes;
	uint8_t bytes[LOG_ENTRY_MAX];
};

struct log_counters {
	uint64_t messages;   /* delivered */
	uint64_t malformed;  /* refused whole */
	uint64_t diverged;   /* acknowledgements or histories whose hash is not ours */
	uint64_t refused;    /* own proposals not accepted, sent again */
	uint64_t committed;
	uint64_t epochs;
	uint64_t snapshots_sent, snapshots_received, tails_sent;
	uint64_t forgetful; /* times that a member's disk had less than it had acknowledged */
};

/* One node's log.  Caller owns the memory; sink_arg and, within a call, snap_data are borrowed. */
struct log {
	uint8_t self;
	uint64_t instance; /* random, one per process life */
	log_sink sink;
	void *sink_arg;
	uint64_t now_ms;

	enum log_state state;
	bool halted;	   /* our committed history is not the cluster's: take no further part */
	log_nodes members; /* of the CPG configuration */
	bool quorate;	   /* votequorum's word; our own majority is asked as well */

	/* what this node holds */
	uint64_t promised;	 /* highest epoch promised */
	struct log_mark base;	 /* everything up to here is only in the snapshot */
	struct log_mark last;	 /* end, as appended */
	struct log_mark commit;	 /* end of what was handed to the core */
	struct log_mark durable; /* end of what this node has fsynced */
	log_nodes voters;	 /* after last */
	log_nodes base_voters;
	log_nodes forgetful; /* members whose disks have less than they acknowledged: they do not count
				until they have caught up */

	uint64_t op; /* last store operation issued */
	uint64_t op_durable;
	uint64_t op_base;	    /* operation that stored base */
	uint64_t op_of[LOG_WINDOW]; /* operation of each entry in the window */

	/* the SYNC in force: the one delivered last */
	uint64_t sync_instance, sync_counter;
	uint8_t sync_leader;
	uint64_t sync_epoch;
	uint64_t sync_since_ms;
	uint64_t sync_op;	/* our promise for it */
	bool sync_answered;	/* our STATUS was sent */
	bool sync_decided;	/* leader: EPOCH was sent */
	uint64_t counter;	/* of own SYNCs */
	uint64_t progress_ms;	/* last sign of progress towards OPEN */
	uint32_t patience_ms;	/* without progress for so long we send a SYNC ourselves */
	struct log_peer peers[CL_NODES_MAX + 1];

	/* the epoch, as everybody in the configuration sees it, in step or not */
	uint64_t epoch;
	struct log_mark epoch_base; /* what it builds on */
	struct log_mark seen;	    /* end of what was delivered and accepted */
	log_nodes seen_voters;	    /* after seen */
	uint64_t seen_voters_seq;   /* entry that changed them last */
	uint64_t agreed;	    /* committed by a majority's acknowledgements */
	uint64_t acked_seq;	    /* what this node has acknowledged */

	/* catching up: last is behind seen */
	bool hole;
	bool wanted;	      /* our WANT was delivered: ahead is being kept */
	uint64_t ahead_first; /* entries ahead_first .. seen are in the window, behind the hole */
	uint64_t want_ms;
	uint8_t want_donor;
	size_t recv_have;
	struct log_mark recv_mark;

	const uint8_t *snap_data;
	size_t snap_len;
	uint64_t commits_since_snapshot;
	uint64_t snapshot_every; /* commits between own snapshots */

	struct log_counters counters;
	struct log_pending pending[LOG_PENDING_MAX];
	uint32_t pending_count;
	struct log_entry window[LOG_WINDOW];
	struct log_entry spare;
	uint8_t recv_data[LOG_SNAPSHOT_MAX];
	uint8_t out[LOG_MESSAGE_MAX];
};

/* ---- life ----------------------------------------------------------------------------------- */

/*
 * An empty log of node self.  Then, from the store and in this order: the
 * promise, the snapshot if there is one, each entry; then log_restore_done().
 * Restoring emits LOG_OUT_INSTALL (snapshot) and, at done, LOG_OUT_COMMIT up to the
 * commit hint.  Each returns 0 or -EBADMSG for a record that does not
 * continue the log: the store is damaged and the node must not start on it.
 */
void log_init(struct log *log, uint8_t self, uint64_t instance, log_sink sink, void *sink_arg);
int log_restore_promise(struct log *log, uint64_t epoch, const void *data, size_t len_bytes);
int log_restore_snapshot(struct log *log, struct log_mark mark, log_nodes voters, const void *data,
			 size_t len_bytes);
int log_restore_entry(struct log *log, const struct log_entry *entry);
int log_restore_done(struct log *log, uint64_t commit_hint);

/*
 * First node of a new cluster, on an empty log: entry 1 with these bytes, this node the
 * only voter.  Durable when the store says so.
 */
int log_bootstrap(struct log *log, const void *bytes, size_t len_bytes);

/* ---- events --------------------------------------------------------------------------------- */

/* A configuration of our CPG group was delivered (self is in members), or quorate changed. */
void log_config(struct log *log, uint64_t now_ms, log_nodes members, bool quorate);
/* CPG delivered a message from node (own ones too).  0, or -EBADMSG when refused whole. */
int log_message(struct log *log, uint64_t now_ms, uint8_t node, const void *data, size_t len_bytes);
/* The store has made every operation up to op durable. */
void log_durable(struct log *log, uint64_t now_ms, uint64_t op);
/* Call at least every 100 ms. */
void log_timer(struct log *log, uint64_t now_ms);
/*
 * Answers LOG_OUT_SNAPSHOT_TAKE from within the sink: data is the core's state with every
 * LOG_OUT_COMMIT so far applied; it is borrowed until the outer call returns.
 */
void log_snapshot_give(struct log *log, const void *data, size_t len_bytes);

/*
 * Proposes an entry.  It is kept and sent again until it is committed or its
 * fate is unknown (LOG_OUT_LOST).  0, -EAGAIN when LOG_PENDING_MAX wait, -EMSGSIZE.
 */
int log_propose(struct log *log, uint64_t now_ms, uint64_t cookie, uint8_t voter_add,
		const void *bytes, size_t len_bytes);
/* An own proposal that was not accepted yet is not sent again (it may be on its way, though). */
void log_withdraw(struct log *log, uint64_t cookie);

/* ---- questions ------------------------------------------------------------------------------ */

bool log_is_open(const struct log *log);
/* True if the members of the configuration hold a majority of the votes. */
bool log_has_majority(const struct log *log, log_nodes members);
const char *log_state_name(enum log_state state);

/* Checks one message without a log, for the fuzzer: 0 or -EBADMSG. */
int log_message_check(const void *data, size_t len_bytes);

#endif

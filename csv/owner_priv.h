/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by owner_linux.c (life, sessions, recalls), ownerops_linux.c and ownerlayout_linux.c
 * (operations) only.
 */
#ifndef CSV_OWNER_PRIV_H
#define CSV_OWNER_PRIV_H

#include "csv/fs.h"
#include "csv/grants.h"
#include "csv/layout.h"
#include "csv/owner.h"
#include "csv/replay.h"

#include <pthread.h>
#include <time.h>

#define OWNER_FILES_MAX	   8192u
#define OWNER_RECALL_MS	   60000 /* a client that does not return by then: the operation fails */
#define OWNER_BUCKETS	   1024u

/* An open file of the owner; lives while it is used or open at some node. */
struct csv_ofile {
	struct csv_ofile *next;
	struct csv_fh fh;
	struct csv_fs_file *file;
	unsigned refs;	     /* under owner->lock */
	pthread_rwlock_t io; /* write: size, map, or part of a block changes */
};

struct csv_osession {
	uint64_t instance;
	uint64_t key; /* the client's; 0 before its first session */
	bool gone;    /* fenced while it had that key */
	struct csv_recall_sink sink; /* send NULL: not connected; under send_lock */
	pthread_mutex_t send_lock;
	bool up;	/* under owner->lock: session begun */
	unsigned inside; /* ... its operations that are being served */
	bool reclaimed; /* said RECLAIM_DONE since */
};

enum csv_owner_mode {
	OWNER_GRACE,
	OWNER_ACTIVE,
	OWNER_CLOSING,	/* released or abandoned: everything is answered MOVED */
};

struct csv_owner {
	struct csv_owner_config config;
	struct csv_fs *fs;
	struct csv_lun *lun;
	pthread_mutex_t lun_lock; /* lun, record */
	struct csv_term record;

	pthread_mutex_t ns_lock; /* name space changes; taken before lock */
	pthread_mutex_t lock;	 /* all below */
	pthread_cond_t cond;
	enum csv_owner_mode mode;
	bool abandoned;
	bool unmounting;	/* nothing may enter */
	unsigned inside;	/* operations being served */
	uint32_t awaited;	/* grace: nodes that have not reclaimed */
	struct csv_layouts layouts;
	struct csv_lfile *files;
	struct csv_replay_cache replay;
	struct csv_osession sessions[CL_NODES_MAX];
	struct csv_ofile *buckets[OWNER_BUCKETS];
	struct csv_grants *grants; /* ours; NULL: no table was brought */
	uint64_t grants_said_ms;
};

/* One operation being served. */
struct csv_op_ctx {
	struct csv_owner *o;
	const struct csv_peer *peer;
	const struct csv_rpc_msg *m;
	struct csv_rpc_msg *r;
	void *buf;
	bool retry;
};

uint64_t csv_owner_now_ms(void);
/* Keeps the file system mounted until csv_owner_leave(). False: it is being let go. */
bool csv_owner_enter(struct csv_owner *o);
void csv_owner_leave(struct csv_owner *o);
/*
 * Recalls the layouts and waits for the returns, recall_ms at most; it is over when this returns.
 * 0, -ETIMEDOUT or -ESHUTDOWN.
 */
int csv_owner_recall(struct csv_owner *o, struct csv_fh fh, enum csv_recall_scope scope,
		     uint32_t except, uint32_t flags);
/*
 * Before data, size or map of a file change: nobody else holds a layout, no VM has it, and none is admitted
 * until csv_owner_change_end(), which only a 0 is followed by.  own_node as csv_layout_change_begin().
 * -ETXTBSY: a VM has it; -ETIMEDOUT, -ESHUTDOWN, -ENFILE: nothing was begun.
 */
int csv_owner_change_begin(struct csv_op_ctx *c, struct csv_fh fh, uint32_t own_node);
void csv_owner_change_end(struct csv_owner *o, struct csv_fh fh, bool quiet);
/* When a wait of ms from now ends, for csv_owner_wait(). */
struct timespec csv_owner_deadline(uint32_t ms);
/* Under owner->lock: until something changed. 0, -ETIMEDOUT or -ESHUTDOWN. */
int csv_owner_wait(struct csv_owner *o, const struct timespec *until);
int csv_owner_file_get(struct csv_owner *o, struct csv_fh fh, struct csv_ofile **ret_file);
void csv_owner_file_put(struct csv_owner *o, struct csv_ofile *f);
/* The last user of fh is gone: forget the open file, delete an orphan. Takes ns_lock. */
void csv_owner_file_gone(struct csv_owner *o, struct csv_fh fh, bool orphan);
/* A client has reclaimed everything. */
void csv_owner_reclaim_done(struct csv_owner *o, uint32_t node);

/* ---- ownergrants_linux.c ---- */
/* 0 if the log lets the peer do this; waits for clusterd's next table where it may not know yet. */
int32_t csv_owner_granted(struct csv_op_ctx *c, enum csv_rpc_op op);

/* ---- ownerops_linux.c ---- */
int csv_owner_op_open(struct csv_op_ctx *c);

/* ---- ownerlayout_linux.c ---- */
int csv_owner_op_layoutget(struct csv_op_ctx *c);
int csv_owner_op_layoutreturn(struct csv_op_ctx *c);
int csv_owner_op_prepare(struct csv_op_ctx *c);
int csv_owner_op_xopen(struct csv_op_ctx *c);
int csv_owner_op_xclose(struct csv_op_ctx *c);
int csv_owner_op_xwhose(struct csv_op_ctx *c);
int csv_owner_op_xdisown(struct csv_op_ctx *c);
int csv_owner_op_reclaim(struct csv_op_ctx *c);

#endif

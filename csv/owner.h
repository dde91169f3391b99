/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner role of one volume: mounts it, serves every node's operations (this node's too) by
 * one entry, csv_owner_serve(), grants and recalls layouts.
 *
 *   start: compare and write of the term record (GRACE), mount, [grace] -> ACTIVE
 *   grace: only reclaims are served, until every client of the former owner that is still a member
 *          has said what it has open; nothing that is mapped changes meanwhile
 *   release: no new operation, those inside end, ordinary layouts are recalled (disks keep theirs:
 *          no block can be freed while nobody owns), sync, umount, record RELEASED
 *
 * Threads: any may call serve, hello, returned and member_gone at once; start and release are
 * serialised by the caller.
 */
#ifndef CSV_OWNER_H
#define CSV_OWNER_H

#include "csv/grants.h"
#include "csv/lun.h"
#include "csv/proto.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CSV_OWNER_TEXT 256u

struct csv_owner;

struct csv_owner_config {
	char volume[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	char device[128];      /* the LUN */
	char data_device[128]; /* the data partition, mapped */
	uint32_t node;
	uint64_t prkey;
	uint64_t term;
	uint32_t members; /* bit n-1: node n may reclaim; other clients were fenced with proof */
	bool fresh;	  /* the record must say RELEASED */
	/* Any thread. Grace ended; or the volume can no longer be served: text. */
	void (*changed)(void *arg, const char *trouble);
	/* Any thread: bit n-1: node n did not return a layout in time, and an operation failed for it. */
	void (*unanswered)(void *arg, uint32_t nodes, struct csv_fh fh);
	uint32_t grants_ms; /* how long a table that names a node is waited for; 0: GRANTS_WAIT_MS */
	uint32_t recall_ms; /* how long a return is waited for; 0: OWNER_RECALL_MS */
	void *arg;
};

/*
 * 0 when it serves (grace may still run). -ESTALE: the record has this term or a higher one;
 * -EBUSY: fresh, but the record says that somebody owns it; -EBADE: fenced; what mount says.
 */
int csv_owner_start(const struct csv_owner_config *config, struct csv_owner **ret_owner,
		    char *error);
/*
 * Afterwards it serves nothing and is not mounted, in any case; 0 if RELEASED was written.  After
 * csv_owner_abandon() nothing is written.
 */
int csv_owner_release(struct csv_owner *owner, char *error);
/* After csv_owner_release(), when no call is inside. */
void csv_owner_free(struct csv_owner *owner);
/*
 * This node may not write any more (its maps are already error tables): everything inside fails, nothing is
 * written, the record stays.  Does not free.
 */
void csv_owner_abandon(struct csv_owner *owner);

/* How a recall reaches a client. Called with no lock of the caller's business held; quick. */
struct csv_recall_sink {
	int (*send)(void *arg, struct csv_fh fh, uint64_t seq, uint32_t flags);
	void *arg;
};

/*
 * A client (re)connects.  With sink it is its recall connection, which starts the session; without it must
 * match the session.  CSV_STATUS_MOVED if this is not the term's owner; -EACCES: key is one that
 * csv_owner_member_gone() gave up. *ret_active as CSV_OP_PING.
 */
int32_t csv_owner_hello(struct csv_owner *owner, uint32_t node, uint64_t instance, uint64_t key,
			uint64_t term, const struct csv_recall_sink *sink, bool *ret_active);
/* The recall connection went; sink_arg names it. */
void csv_owner_goodbye(struct csv_owner *owner, uint32_t node, const void *sink_arg);
/* Reply of a recall. */
void csv_owner_returned(struct csv_owner *owner, uint32_t node, struct csv_fh fh, uint64_t seq,
			uint32_t flags);
/*
 * Fenced with proof.  A csvd that outlived it is not let in again, also not to write through the owner: the
 * node comes back with the key of its next incarnation.  0 when no operation of it is under way any more;
 * -EBUSY: one still is after recall_ms (the owner's own command, which no fence ends): ask again, nothing may start
 * that counts on its end.
 */
int csv_owner_member_gone(struct csv_owner *owner, uint32_t node);

/*
 * The newest table of clusterd (a copy is made; an older one than the owner has changes nothing).  Before
 * the first one an owner serves everybody.  0 or -ENOMEM.
 */
int csv_owner_grants_set(struct csv_owner *owner, const struct csv_grants *grants);

struct csv_peer {
	uint32_t node;
	uint64_t instance;
};

/* data_buf: CSV_OWNER_BUF bytes, aligned to 4096; the reply's data points into it. */
#define CSV_OWNER_BUF (CSV_RPC_DATA_MAX + 4u * 4096u)
/* The status of the reply. Blocks while layouts are recalled. */
int32_t csv_owner_serve(struct csv_owner *owner, const struct csv_peer *peer,
			const struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *msg,
			struct csv_rpc_msg *ret_reply, void *data_buf);

/* {state, term, grace:[nodes awaited], files:[{ino, opens, layout, exclusive...}]} */
json_t *csv_owner_status(struct csv_owner *owner);
uint32_t csv_owner_opens(struct csv_owner *owner, uint32_t *ret_layouts);

#endif

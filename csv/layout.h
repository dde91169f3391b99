/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner's table of open files: who has them open, who holds a layout (the right to do file
 * I/O straight on the LUN), who is the exclusive opener, which recalls are out.
 *
 *   free ──grant──> held by a node ──recall_begin──> recalled ──returned──> free
 *                        └───────────returned (the node's own wish)──────────┘
 *
 * Rules (reference: RFC 5663 2.3.2, 2.3.6, 2.6):
 *   - one node may hold a read-write layout of a file, or several nodes read-only ones;
 *   - between recall_begin and recall_end nothing is granted for the file (RECALLCONFLICT), no
 *     exclusive opener is admitted either: what changes the file runs between the two;
 *   - while an exclusive open is under way no change begins, so that it does not wait for ever;
 *   - every grant and recall has a number of the file's one sequence, so that a grant that crosses
 * a recall on the wire is known to be stale;
 *   - a file with an exclusive opener has no layout but that opener's, of the highest generation;
 *   - generations of one VM are compared, never those of two: a file that is the disk of one VM is
 *     refused to every other by name.
 *
 * Pure: the caller brings the memory, the lock and the time. Node ids are 1..CL_NODES_MAX.
 */
#ifndef CSV_LAYOUT_H
#define CSV_LAYOUT_H

#include "common/cl_types.h"
#include "csv/proto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_LAYOUT_QUIET_MS 1000u /* no new grant to others after a recall that a conflict caused  \
				   */

struct csv_lfile {
	bool used;
	bool orphan; /* unlinked while open: lives in the hidden folder */
	struct csv_fh fh;
	uint32_t opens;	    /* bit n-1: node n has it open */
	uint32_t confirmed; /* ... and said so since it reconnected */
	uint32_t readers;   /* nodes that hold a read-only layout */
	uint32_t writer;    /* node id that holds the read-write layout, or 0 */
	uint32_t recalled;  /* nodes whose return is awaited */
	uint32_t recalls;   /* recall_begin and change_begin calls without recall_end */
	bool entering;	    /* an exclusive open is under way */
	uint64_t seq;	    /* last number given */
	uint64_t hold_seq[CL_NODES_MAX];
	uint64_t quiet_until_ms;
	uint64_t version; /* one up at each change of the map */
	uint32_t x_node;  /* exclusive opener or 0 */
	uint64_t x_generation;
	uint64_t x_highest; /* the highest generation ever admitted */
	char x_vm[CL_NAME_MAX];
};

struct csv_layouts {
	struct csv_lfile *files; /* capacity entries, the caller's memory */
	size_t capacity;
	size_t count;
};

static inline uint32_t csv_node_bit(uint32_t node)
{
	return 1u << (node - 1u);
}

void csv_layouts_init(struct csv_layouts *t, struct csv_lfile *files, size_t capacity);
/* NULL if it is not open anywhere. Valid until the next open or close. */
struct csv_lfile *csv_layout_find(const struct csv_layouts *t, struct csv_fh fh);

/* 0 or -ENFILE. Opening twice is opening once. */
int csv_layout_open(struct csv_layouts *t, struct csv_fh fh, uint32_t node);
/*
 * The node has it open no more and holds nothing.  True if that was the last user; the entry is
 * gone, *ret_orphan says whether the file is to be deleted now.
 */
bool csv_layout_close(struct csv_layouts *t, struct csv_fh fh, uint32_t node, bool *ret_orphan);

enum csv_grant {
	CSV_GRANT_OK = 0,
	CSV_GRANT_RECALLING, /* a recall is in progress */
	CSV_GRANT_CONFLICT,  /* others hold it: recall them first, or go through the owner */
	CSV_GRANT_QUIET,     /* it has just been taken from someone: go through the owner */
	CSV_GRANT_EXCLUSIVE, /* a VM has it */
	CSV_GRANT_NOT_OPEN,
};

/* Gives node the layout if the rules allow it; *ret_seq is the grant's number. */
enum csv_grant csv_layout_grant(struct csv_layouts *t, struct csv_fh fh, uint32_t node, bool write,
				uint64_t now_ms, uint64_t *ret_seq);

/* What the file itself remembers, over every owner: whose disk it is, and the highest generation.
 */
struct csv_xrecord {
	uint64_t generation;  /* 0: never was a disk */
	char vm[CL_NAME_MAX]; /* "": written by a release that kept the number only */
};

enum csv_xopen {
	CSV_XOPEN_OK = 0,
	CSV_XOPEN_DISPLACE,  /* a lower generation holds it: recall, then ask again */
	CSV_XOPEN_RECALL,    /* ordinary layouts are out: recall, then ask again */
	CSV_XOPEN_RECALLING, /* a recall or a change is in progress: wait for its end */
	CSV_XOPEN_STALE, /* refused for ever: a higher generation was seen, or the same elsewhere */
	CSV_XOPEN_OTHER, /* refused: it is the disk of another VM */
	CSV_XOPEN_FULL,
};

/*
 * An exclusive open begins: from here to its end no change and no second exclusive open does.  OK,
 * RECALLING (another one is under way: ask again) or FULL.  The file is open at the asking node.
 */
enum csv_xopen csv_layout_xopen_begin(struct csv_layouts *t, struct csv_fh fh);
/* Returns as csv_layout_recall_end(). */
bool csv_layout_xopen_end(struct csv_layouts *t, struct csv_fh fh);
/*
 * Admits (node, vm, generation) as the exclusive opener and grants it the layout, when no change of
 * the file is under way.  Asking again with what it has is fine.
 */
enum csv_xopen csv_layout_xopen(struct csv_layouts *t, struct csv_fh fh, uint32_t node,
				const char *vm, uint64_t generation,
				const struct csv_xrecord *record, uint64_t *ret_seq);
/* Gives it back if (node, generation) still has it. Returns as csv_layout_close(). */
bool csv_layout_xclose(struct csv_layouts *t, struct csv_fh fh, uint32_t node, uint64_t generation,
		       bool *ret_orphan);
/*
 * The new owner takes the word of a client for what it had.  -ESTALE if another has claimed more,
 * the record knows of a higher generation or of another VM, or something else goes on with the
 * file.
 */
int csv_layout_xreclaim(struct csv_layouts *t, struct csv_fh fh, uint32_t node, const char *vm,
			uint64_t generation, const struct csv_xrecord *record, bool held,
			uint64_t *ret_seq);

enum csv_recall_scope {
	CSV_RECALL_ALL,	   /* the map is about to change */
	CSV_RECALL_WRITERS /* someone is about to read */
};

/*
 * Starts a recall of the layouts that nodes other than `except` (0 = nobody) hold.  Returns the bit
 * mask of nodes to tell, *ret_seq the recall's number; those already recalled are waited for, not
 * told again. Ends by csv_layout_recall_end(), but when *ret_seq is 0: nobody has it open, nothing
 * was begun.
 */
uint32_t csv_layout_recall_begin(struct csv_layouts *t, struct csv_fh fh, enum csv_recall_scope s,
				 uint32_t except, uint64_t *ret_seq);
enum csv_change {
	CSV_CHANGE_OK = 0,
	CSV_CHANGE_EXCLUSIVE, /* a VM has it */
	CSV_CHANGE_WAIT,      /* an exclusive open is under way: ask again after its end */
	CSV_CHANGE_FULL,
};

/*
 * What changes data, size or map of a file asks here first, and runs when the recall that this
 * begins is complete.  Look and recall are one step.  own_node, or 0: the node whose layout may
 * stay, and that may write though its VM has the disk, since that disk is redirected.  OK must be
 * followed by csv_layout_recall_end().
 */
enum csv_change csv_layout_change_begin(struct csv_layouts *t, struct csv_fh fh, uint32_t own_node,
					uint32_t *ret_tell, uint64_t *ret_seq);
/* Bit mask of the nodes other than except whose return is awaited; 0: the recall is complete. */
uint32_t csv_layout_awaited(const struct csv_layouts *t, struct csv_fh fh, uint32_t except);
/* True if the last user went meanwhile and the file, an orphan, is to be deleted now. */
bool csv_layout_recall_end(struct csv_layouts *t, struct csv_fh fh, uint64_t now_ms, bool quiet);
/*
 * The node says that it holds nothing granted up to seq.  An older number than what it holds
 * changes nothing (it crossed a newer grant) and is -ESTALE.
 */
int csv_layout_returned(struct csv_layouts *t, struct csv_fh fh, uint32_t node, uint64_t seq);

/* One up: what was mapped before is not to be trusted. */
void csv_layout_map_changed(struct csv_layouts *t, struct csv_fh fh);

/* A client reconnects: what it does not confirm with reclaims until session_end is dropped. */
void csv_layout_session_begin(struct csv_layouts *t, uint32_t node);
/*
 * Calls fn for each orphan that nobody has open any more, with its entry already gone.
 * Ordinary layouts of the node are gone as well: a client drops them when it loses its owner.
 */
void csv_layout_session_end(struct csv_layouts *t, uint32_t node,
			    void (*fn)(void *arg, struct csv_fh fh), void *arg);
/* The node is fenced with proof: as session_end with nothing confirmed. */
void csv_layout_node_gone(struct csv_layouts *t, uint32_t node,
			  void (*fn)(void *arg, struct csv_fh fh), void *arg);
/* Bit mask of nodes that have any file open. */
uint32_t csv_layout_users(const struct csv_layouts *t);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RPC between csvd of a node and csvd of a volume's owner (docs/formats/csv-rpc.md): framed
 * messages, one header and one body.  A table says which fields the request and the reply of each
 * operation carry, in the order of the bits; encoder and decoder both follow that table.
 *
 * Pure. The decoder refuses a message whole with -EBADMSG: unknown operation, a length that lies,
 * bytes left over, a name with a slash.  Pointers in a decoded message borrow the caller's buffer.
 */
#ifndef CSV_PROTO_H
#define CSV_PROTO_H

#include "common/cl_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_RPC_PORT	     7401u
#define CSV_RPC_MAGIC	     0x43535646u /* "FVSC" on the wire */
#define CSV_RPC_VERSION	     1u
#define CSV_RPC_HEADER_BYTES 48u
#define CSV_RPC_DATA_MAX     (1u << 20)
#define CSV_RPC_BODY_MAX     (CSV_RPC_DATA_MAX + 16384u)
#define CSV_RPC_NAME_MAX     256u  /* with NUL */
#define CSV_RPC_TEXT_MAX     4096u /* path or link target, with NUL */
#define CSV_RPC_SLOTS	     16u   /* outstanding operations of one client */
#define CSV_RPC_EXTENT_BYTES 24u
#define CSV_RPC_EXTENTS_MAX  16384u

/* A file for ever: an inode and its generation, which changes when the inode is used again. */
struct csv_fh {
	uint64_t ino;
	uint32_t gen;
};

static inline bool csv_fh_equal(struct csv_fh a, struct csv_fh b)
{
	return a.ino == b.ino && a.gen == b.gen;
}

enum csv_rpc_op {
	CSV_OP_HELLO = 1,
	CSV_OP_PING,
	CSV_OP_LOOKUP,
	CSV_OP_GETATTR,
	CSV_OP_SETATTR,
	CSV_OP_READLINK,
	CSV_OP_READDIR,
	CSV_OP_STATFS,
	CSV_OP_MKNOD,
	CSV_OP_MKDIR,
	CSV_OP_SYMLINK,
	CSV_OP_LINK,
	CSV_OP_UNLINK,
	CSV_OP_RMDIR,
	CSV_OP_RENAME,
	CSV_OP_CREATE,
	CSV_OP_OPEN,
	CSV_OP_CLOSE,
	CSV_OP_READ,
	CSV_OP_WRITE,
	CSV_OP_FSYNC,
	CSV_OP_FALLOCATE,
	CSV_OP_ZEROFILL,
	CSV_OP_LAYOUTGET,
	CSV_OP_LAYOUTRETURN,
	CSV_OP_RESOLVE,
	CSV_OP_PREPARE,
	CSV_OP_XOPEN,
	CSV_OP_XCLOSE,
	CSV_OP_RECLAIM,
	CSV_OP_RECLAIM_DONE,
	CSV_OP_RECALL, /* owner to client, on the recall connection */
	CSV_OP_XWHOSE,	/* why an XOPEN was refused: whose disk it is, and its generation */
	CSV_OP_XDISOWN, /* it is that VM's disk no more */
	CSV_OP_COUNT,
};

enum csv_rpc_kind {
	CSV_RPC_REQUEST = 1,
	CSV_RPC_REPLY = 2,
};

/* Status of a reply: 0, -errno of the file operation, or one of these: nothing was done. */
#define CSV_STATUS_MOVED  1 /* not the owner, another term, draining: ask who owns and repeat */
#define CSV_STATUS_GRACE  2 /* the owner still collects what the last one granted: repeat */
#define CSV_STATUS_RECALL 3 /* a recall is in progress (RECALLCONFLICT): no layout now */

#define CSV_HDR_RETRY (1u << 0) /* sent before; the reply was lost */

struct csv_rpc_hdr {
	enum csv_rpc_kind kind;
	enum csv_rpc_op op;
	uint32_t body_bytes;
	int32_t status;
	uint64_t key; /* HELLO: the reservation key that the client registered */
	uint64_t term;
	uint32_t slot;
	uint32_t flags;
	uint64_t seq;
};

struct csv_attr {
	struct csv_fh fh;
	uint32_t mode;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t rdev;
	uint64_t size;
	uint64_t blocks; /* of 512 bytes */
	int64_t atime_ns;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

/* Which members of attr a SETATTR sets, in msg.flags. */
#define CSV_SET_MODE	  (1u << 0)
#define CSV_SET_UID	  (1u << 1)
#define CSV_SET_GID	  (1u << 2)
#define CSV_SET_SIZE	  (1u << 3)
#define CSV_SET_ATIME	  (1u << 4)
#define CSV_SET_MTIME	  (1u << 5)
#define CSV_SET_ATIME_NOW (1u << 6)
#define CSV_SET_MTIME_NOW (1u << 7)

/* msg.flags of the other operations */
#define CSV_HELLO_RECALL  (1u << 0) /* this connection is for recalls; it starts the session */
#define CSV_WRITE_APPEND  (1u << 0)
#define CSV_IO_WROTE	  (1u << 0) /* CLOSE, LAYOUTRETURN, RECALL reply: wrote directly */
#define CSV_READDIR_EOF	  (1u << 0)
#define CSV_LAYOUT_RW	  (1u << 0) /* LAYOUTGET: to write */
#define CSV_LAYOUT_WHOLE  (1u << 1) /* PREPARE, XOPEN reply: the extents cover the whole file */
#define CSV_LAYOUT_SAME	  (1u << 2) /* XOPEN reply: as prepared */
#define CSV_RECLAIM_OPEN  (1u << 0)
#define CSV_RECLAIM_X	  (1u << 1) /* exclusive open, with generation and vm */
#define CSV_RECLAIM_HELD  (1u << 2) /* and its layout is in use */
#define CSV_RECALL_DISPLACED (1u << 0) /* a higher generation has the file now */

struct csv_statfs {
	uint64_t bsize, blocks, bfree, bavail, files, ffree;
};

/* Every field that any operation has; which are valid says the table. */
struct csv_rpc_msg {
	struct csv_fh fh, fh2;
	char name[CSV_RPC_NAME_MAX];
	char name2[CSV_RPC_NAME_MAX];
	char text[CSV_RPC_TEXT_MAX];
	char vm[CL_NAME_MAX];
	struct csv_attr attr;
	struct csv_statfs statfs;
	uint32_t mode, uid, gid;
	uint64_t rdev;
	uint32_t node;
	uint32_t flags;
	uint64_t off;
	uint64_t len;
	uint64_t generation;
	uint64_t seq;	  /* of the layout or the recall */
	uint64_t version; /* of the file's map */
	const void *data; /* borrowed */
	uint32_t data_bytes;
};

/* On the wire: the extents of a layout, in msg.data.  Bytes. */
struct csv_wire_extent {
	uint64_t file_off;
	uint64_t dev_off;
	uint64_t len;
};

/* Names for logs and status; "?" if unknown. */
const char *csv_op_name(enum csv_rpc_op op);
/* True if doing it twice is the same as doing it once: such replies are not remembered. */
bool csv_op_idempotent(enum csv_rpc_op op);
/* True if a client may send it while the owner is in grace. */
bool csv_op_in_grace(enum csv_rpc_op op);

/* Header and body into buf; hdr->body_bytes is filled in. Bytes, or -EMSGSIZE / -EINVAL. */
long csv_rpc_encode(struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *msg, void *buf,
		    size_t cap_bytes);
int csv_rpc_header_decode(const void *buf, struct csv_rpc_hdr *ret_hdr);
/* Fields not in this message are zero. */
int csv_rpc_body_decode(const struct csv_rpc_hdr *hdr, const void *body, struct csv_rpc_msg *ret_msg);

/* len of n extents or -EMSGSIZE. */
long csv_extents_encode(const struct csv_wire_extent *extents, size_t n, void *buf,
			size_t cap_bytes);
/*
 * Refuses what is not whole extents, not sorted, overlapping in the file, empty, unaligned to
 * block_bytes or wrapping. Number of extents or -EBADMSG, -E2BIG.
 */
long csv_extents_decode(const void *data, size_t len_bytes, uint32_t block_bytes,
			struct csv_wire_extent *ret_extents, size_t cap);
/* True if name is one path component that may be passed to the file system. */
bool csv_component_valid(const char *name);

#endif

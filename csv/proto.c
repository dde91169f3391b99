/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec of the RPC.  Decides only what is well formed; never what is allowed.  See proto.h.
 */
#include "csv/proto.h"

#include "common/cl_wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
	F_FH = 1u << 0,
	F_FH2 = 1u << 1,
	F_NAME = 1u << 2,
	F_NAME2 = 1u << 3,
	F_TEXT = 1u << 4,
	F_VM = 1u << 5,
	F_ATTR = 1u << 6,
	F_STATFS = 1u << 7,
	F_WHO = 1u << 8, /* mode, uid, gid, rdev */
	F_NODE = 1u << 9,
	F_FLAGS = 1u << 10,
	F_OFF = 1u << 11,
	F_LEN = 1u << 12,
	F_GEN = 1u << 13,
	F_SEQ = 1u << 14,
	F_VER = 1u << 15,
	F_DATA = 1u << 16,
};

enum {
	P_ONCE = 1u << 0,  /* must happen once: the reply is remembered */
	P_GRACE = 1u << 1, /* allowed in grace */
};

struct op_desc {
	const char *name;
	uint32_t request;
	uint32_t reply;
	uint32_t props;
};

static const struct op_desc ops[CSV_OP_COUNT] = {
	[CSV_OP_HELLO] = {"hello", F_TEXT | F_NODE | F_FLAGS | F_GEN, F_FLAGS, P_GRACE},
	[CSV_OP_PING] = {"ping", 0, F_FLAGS, P_GRACE},
	[CSV_OP_LOOKUP] = {"lookup", F_FH | F_NAME, F_ATTR, 0},
	[CSV_OP_GETATTR] = {"getattr", F_FH, F_ATTR, 0},
	[CSV_OP_SETATTR] = {"setattr", F_FH | F_ATTR | F_FLAGS, F_ATTR, 0},
	[CSV_OP_READLINK] = {"readlink", F_FH, F_TEXT, 0},
	[CSV_OP_READDIR] = {"readdir", F_FH | F_OFF | F_LEN, F_FLAGS | F_DATA, 0},
	[CSV_OP_STATFS] = {"statfs", 0, F_STATFS, 0},
	[CSV_OP_MKNOD] = {"mknod", F_FH | F_NAME | F_WHO, F_ATTR, P_ONCE},
	[CSV_OP_MKDIR] = {"mkdir", F_FH | F_NAME | F_WHO, F_ATTR, P_ONCE},
	[CSV_OP_SYMLINK] = {"symlink", F_FH | F_NAME | F_TEXT | F_WHO, F_ATTR, P_ONCE},
	[CSV_OP_LINK] = {"link", F_FH | F_FH2 | F_NAME2, F_ATTR, P_ONCE},
	[CSV_OP_UNLINK] = {"unlink", F_FH | F_NAME, 0, P_ONCE},
	[CSV_OP_RMDIR] = {"rmdir", F_FH | F_NAME, 0, P_ONCE},
	[CSV_OP_RENAME] = {"rename", F_FH | F_FH2 | F_NAME | F_NAME2 | F_FLAGS, 0, P_ONCE},
	[CSV_OP_CREATE] = {"create", F_FH | F_NAME | F_WHO | F_FLAGS, F_ATTR, P_ONCE},
	[CSV_OP_OPEN] = {"open", F_FH | F_FLAGS, F_ATTR, 0},
	[CSV_OP_CLOSE] = {"close", F_FH | F_FLAGS, 0, 0},
	[CSV_OP_READ] = {"read", F_FH | F_OFF | F_LEN, F_DATA, 0},
	[CSV_OP_WRITE] = {"write", F_FH | F_FLAGS | F_OFF | F_DATA, F_OFF | F_LEN, P_ONCE},
	[CSV_OP_FSYNC] = {"fsync", F_FH, 0, 0},
	[CSV_OP_FALLOCATE] = {"fallocate", F_FH | F_FLAGS | F_OFF | F_LEN, 0, P_ONCE},
	[CSV_OP_ZEROFILL] = {"zerofill", F_FH | F_OFF | F_LEN, 0, 0},
	[CSV_OP_LAYOUTGET] = {"layoutget", F_FH | F_FLAGS, F_LEN | F_SEQ | F_VER | F_DATA, 0},
	[CSV_OP_LAYOUTRETURN] = {"layoutreturn", F_FH | F_FLAGS | F_SEQ, 0, P_GRACE},
	[CSV_OP_RESOLVE] = {"resolve", F_TEXT, F_ATTR, 0},
	[CSV_OP_PREPARE] = {"prepare", F_FH, F_ATTR | F_FLAGS | F_VER | F_DATA, 0},
	[CSV_OP_XOPEN] = {"xopen", F_FH | F_VM | F_GEN | F_VER,
			  F_ATTR | F_FLAGS | F_SEQ | F_VER | F_DATA, 0},
	[CSV_OP_XCLOSE] = {"xclose", F_FH | F_GEN | F_FLAGS, 0, 0},
	[CSV_OP_RECLAIM] = {"reclaim", F_FH | F_VM | F_FLAGS | F_GEN | F_SEQ, F_SEQ | F_VER,
			    P_GRACE},
	[CSV_OP_RECLAIM_DONE] = {"reclaim-done", 0, F_FLAGS, P_GRACE},
	[CSV_OP_XWHOSE] = {"xwhose", F_FH, F_VM | F_GEN, 0},
	[CSV_OP_XDISOWN] = {"xdisown", F_FH | F_VM, 0, 0},
	[CSV_OP_RECALL] = {"recall", F_FH | F_FLAGS | F_SEQ, F_FH | F_FLAGS | F_SEQ, P_GRACE},
};

static const struct op_desc *op_find(unsigned op)
{
	return op < CSV_OP_COUNT && ops[op].name ? &ops[op] : NULL;
}

const char *csv_op_name(enum csv_rpc_op op)
{
	const struct op_desc *d = op_find(op);

	return d ? d->name : "?";
}

bool csv_op_idempotent(enum csv_rpc_op op)
{
	const struct op_desc *d = op_find(op);

	return d && !(d->props & P_ONCE);
}

bool csv_op_in_grace(enum csv_rpc_op op)
{
	const struct op_desc *d = op_find(op);

	return d && (d->props & P_GRACE);
}

bool csv_component_valid(const char *name)
{
	if (!name[0] || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	return strlen(name) < CSV_RPC_NAME_MAX && !strchr(name, '/');
}

static uint32_t fields_of(const struct csv_rpc_hdr *hdr)
{
	const struct op_desc *d = op_find(hdr->op);

	if (!d)
		return 0;
	if (hdr->kind == CSV_RPC_REQUEST)
		return d->request;
	return hdr->status ? 0 : d->reply;
}

static void fh_write(struct cl_writer *w, struct csv_fh fh)
{
	cl_write_u64(w, fh.ino);
	cl_write_u32(w, fh.gen);
}

static struct csv_fh fh_read(struct cl_reader *r)
{
	struct csv_fh fh;

	fh.ino = cl_read_u64(r);
	fh.gen = cl_read_u32(r);
	return fh;
}

static void attr_write(struct cl_writer *w, const struct csv_attr *a)
{
	fh_write(w, a->fh);
	cl_write_u32(w, a->mode);
	cl_write_u32(w, a->nlink);
	cl_write_u32(w, a->uid);
	cl_write_u32(w, a->gid);
	cl_write_u64(w, a->rdev);
	cl_write_u64(w, a->size);
	cl_write_u64(w, a->blocks);
	cl_write_u64(w, (uint64_t)a->atime_ns);
	cl_write_u64(w, (uint64_t)a->mtime_ns);
	cl_write_u64(w, (uint64_t)a->ctime_ns);
}

static void attr_read(struct cl_reader *r, struct csv_attr *a)
{
	a->fh = fh_read(r);
	a->mode = cl_read_u32(r);
	a->nlink = cl_read_u32(r);
	a->uid = cl_read_u32(r);
	a->gid = cl_read_u32(r);
	a->rdev = cl_read_u64(r);
	a->size = cl_read_u64(r);
	a->blocks = cl_read_u64(r);
	a->atime_ns = (int64_t)cl_read_u64(r);
	a->mtime_ns = (int64_t)cl_read_u64(r);
	a->ctime_ns = (int64_t)cl_read_u64(r);
}

static void body_write(struct cl_writer *w, uint32_t f, const struct csv_rpc_msg *m)
{
	if (f & F_FH)
		fh_write(w, m->fh);
	if (f & F_FH2)
		fh_write(w, m->fh2);
	if (f & F_NAME)
		cl_write_str(w, m->name);
	if (f & F_NAME2)
		cl_write_str(w, m->name2);
	if (f & F_TEXT)
		cl_write_str(w, m->text);
	if (f & F_VM)
		cl_write_str(w, m->vm);
	if (f & F_ATTR)
		attr_write(w, &m->attr);
	if (f & F_STATFS) {
		cl_write_u64(w, m->statfs.bsize);
		cl_write_u64(w, m->statfs.blocks);
		cl_write_u64(w, m->statfs.bfree);
		cl_write_u64(w, m->statfs.bavail);
		cl_write_u64(w, m->statfs.files);
		cl_write_u64(w, m->statfs.ffree);
	}
	if (f & F_WHO) {
		cl_write_u32(w, m->mode);
		cl_write_u32(w, m->uid);
		cl_write_u32(w, m->gid);
		cl_write_u64(w, m->rdev);
	}
	if (f & F_NODE)
		cl_write_u32(w, m->node);
	if (f & F_FLAGS)
		cl_write_u32(w, m->flags);
	if (f & F_OFF)
		cl_write_u64(w, m->off);
	if (f & F_LEN)
		cl_write_u64(w, m->len);
	if (f & F_GEN)
		cl_write_u64(w, m->generation);
	if (f & F_SEQ)
		cl_write_u64(w, m->seq);
	if (f & F_VER)
		cl_write_u64(w, m->version);
	if (f & F_DATA) {
		cl_write_u32(w, m->data_bytes);
		if (m->data_bytes)
			cl_write_bytes(w, m->data, m->data_bytes);
	}
}

static void body_read(struct cl_reader *r, uint32_t f, struct csv_rpc_msg *m)
{
	if (f & F_FH)
		m->fh = fh_read(r);
	if (f & F_FH2)
		m->fh2 = fh_read(r);
	if (f & F_NAME)
		cl_read_str(r, m->name, sizeof(m->name));
	if (f & F_NAME2)
		cl_read_str(r, m->name2, sizeof(m->name2));
	if (f & F_TEXT)
		cl_read_str(r, m->text, sizeof(m->text));
	if (f & F_VM)
		cl_read_str(r, m->vm, sizeof(m->vm));
	if (f & F_ATTR)
		attr_read(r, &m->attr);
	if (f & F_STATFS) {
		m->statfs.bsize = cl_read_u64(r);
		m->statfs.blocks = cl_read_u64(r);
		m->statfs.bfree = cl_read_u64(r);
		m->statfs.bavail = cl_read_u64(r);
		m->statfs.files = cl_read_u64(r);
		m->statfs.ffree = cl_read_u64(r);
	}
	if (f & F_WHO) {
		m->mode = cl_read_u32(r);
		m->uid = cl_read_u32(r);
		m->gid = cl_read_u32(r);
		m->rdev = cl_read_u64(r);
	}
	if (f & F_NODE)
		m->node = cl_read_u32(r);
	if (f & F_FLAGS)
		m->flags = cl_read_u32(r);
	if (f & F_OFF)
		m->off = cl_read_u64(r);
	if (f & F_LEN)
		m->len = cl_read_u64(r);
	if (f & F_GEN)
		m->generation = cl_read_u64(r);
	if (f & F_SEQ)
		m->seq = cl_read_u64(r);
	if (f & F_VER)
		m->version = cl_read_u64(r);
	if (f & F_DATA) {
		m->data_bytes = cl_read_u32(r);
		if (m->data_bytes)
			m->data = cl_read_ref(r, m->data_bytes);
	}
}

long csv_rpc_encode(struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *msg, void *buf,
		    size_t cap_bytes)
{
	struct cl_writer w;
	long body;

	if (!op_find(hdr->op))
		return -EINVAL;
	if (cap_bytes < CSV_RPC_HEADER_BYTES)
		return -EMSGSIZE;
	cl_writer_init(&w, (uint8_t *)buf + CSV_RPC_HEADER_BYTES, cap_bytes - CSV_RPC_HEADER_BYTES);
	if (fields_of(hdr) && msg)
		body_write(&w, fields_of(hdr), msg);
	else if (fields_of(hdr))
		return -EINVAL;
	body = cl_writer_done(&w);
	if (body < 0)
		return body;
	if ((unsigned long)body > CSV_RPC_BODY_MAX)
		return -EMSGSIZE;
	hdr->body_bytes = (uint32_t)body;
	cl_writer_init(&w, buf, CSV_RPC_HEADER_BYTES);
	cl_write_u32(&w, CSV_RPC_MAGIC);
	cl_write_u8(&w, CSV_RPC_VERSION);
	cl_write_u8(&w, (uint8_t)hdr->kind);
	cl_write_u16(&w, (uint16_t)hdr->op);
	cl_write_u32(&w, hdr->body_bytes);
	cl_write_u32(&w, (uint32_t)hdr->status);
	cl_write_u64(&w, hdr->key);
	cl_write_u64(&w, hdr->term);
	cl_write_u32(&w, hdr->slot);
	cl_write_u32(&w, hdr->flags);
	cl_write_u64(&w, hdr->seq);
	assert(cl_writer_done(&w) == (long)CSV_RPC_HEADER_BYTES);
	return (long)CSV_RPC_HEADER_BYTES + body;
}

int csv_rpc_header_decode(const void *buf, struct csv_rpc_hdr *ret_hdr)
{
	struct cl_reader r;
	uint32_t magic;
	uint8_t version;
	struct csv_rpc_hdr h = {0};

	cl_reader_init(&r, buf, CSV_RPC_HEADER_BYTES);
	magic = cl_read_u32(&r);
	version = cl_read_u8(&r);
	h.kind = cl_read_u8(&r);
	h.op = cl_read_u16(&r);
	h.body_bytes = cl_read_u32(&r);
	h.status = (int32_t)cl_read_u32(&r);
	h.key = cl_read_u64(&r);
	h.term = cl_read_u64(&r);
	h.slot = cl_read_u32(&r);
	h.flags = cl_read_u32(&r);
	h.seq = cl_read_u64(&r);
	if (cl_reader_done(&r) || magic != CSV_RPC_MAGIC || version != CSV_RPC_VERSION)
		return -EBADMSG;
	if (h.kind != CSV_RPC_REQUEST && h.kind != CSV_RPC_REPLY)
		return -EBADMSG;
	if (!op_find(h.op) || h.body_bytes > CSV_RPC_BODY_MAX || h.slot >= CSV_RPC_SLOTS)
		return -EBADMSG;
	if (h.status > CSV_STATUS_RECALL || h.status < -4095)
		return -EBADMSG;
	if (h.kind == CSV_RPC_REQUEST && h.status)
		return -EBADMSG;
	*ret_hdr = h;
	return 0;
}

int csv_rpc_body_decode(const struct csv_rpc_hdr *hdr, const void *body, struct csv_rpc_msg *ret_msg)
{
	uint32_t f = fields_of(hdr);
	struct cl_reader r;

	memset(ret_msg, 0, sizeof(*ret_msg));
	cl_reader_init(&r, body, hdr->body_bytes);
	body_read(&r, f, ret_msg);
	if (cl_reader_done(&r) || ret_msg->data_bytes > CSV_RPC_DATA_MAX)
		return -EBADMSG;
	if ((f & F_NAME) && !csv_component_valid(ret_msg->name))
		return -EBADMSG;
	if ((f & F_NAME2) && !csv_component_valid(ret_msg->name2))
		return -EBADMSG;
	return 0;
}

long csv_extents_encode(const struct csv_wire_extent *extents, size_t n, void *buf,
			size_t cap_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, buf, cap_bytes);
	for (size_t i = 0; i < n; i++) {
		cl_write_u64(&w, extents[i].file_off);
		cl_write_u64(&w, extents[i].dev_off);
		cl_write_u64(&w, extents[i].len);
	}
	return cl_writer_done(&w);
}

long csv_extents_decode(const void *data, size_t len_bytes, uint32_t block_bytes,
			struct csv_wire_extent *ret_extents, size_t cap)
{
	size_t n = len_bytes / CSV_RPC_EXTENT_BYTES;
	uint64_t end = 0;
	struct cl_reader r;

	if (len_bytes % CSV_RPC_EXTENT_BYTES || !block_bytes)
		return -EBADMSG;
	if (n > cap)
		return -E2BIG;
	cl_reader_init(&r, data, len_bytes);
	for (size_t i = 0; i < n; i++) {
		struct csv_wire_extent e;

		e.file_off = cl_read_u64(&r);
		e.dev_off = cl_read_u64(&r);
		e.len = cl_read_u64(&r);
		if (!e.len || e.file_off < end || (e.file_off | e.dev_off | e.len) % block_bytes)
			return -EBADMSG;
		if (e.file_off + e.len < e.file_off || e.dev_off + e.len < e.dev_off)
			return -EBADMSG;
		end = e.file_off + e.len;
		ret_extents[i] = e;
	}
	return cl_reader_done(&r) ? -EBADMSG : (long)n;
}

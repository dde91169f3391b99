/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operations that an owner serves.  Every one is checked against the layouts first: what frees
 * or moves blocks recalls and waits; a disk that a VM has exclusively is refused to everybody else
 * (ETXTBSY).  Assumes a decoded, well-formed message.  See owner.h.
 */
#include "csv/owner_priv.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1u << 0)
#define RENAME_EXCHANGE	 (1u << 1)
#endif

#define FALLOC_MODES                                                                               \
	(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |                       \
	 FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)
#define ZEROFILL_MAX (256ull << 20)

static bool is_open(struct csv_owner *o, struct csv_fh fh, bool *ret_exclusive)
{
	const struct csv_lfile *f;

	pthread_mutex_lock(&o->lock);
	f = csv_layout_find(&o->layouts, fh);
	*ret_exclusive = f && f->x_node;
	pthread_mutex_unlock(&o->lock);
	return f != NULL;
}

static void map_changed(struct csv_owner *o, struct csv_fh fh)
{
	pthread_mutex_lock(&o->lock);
	csv_layout_map_changed(&o->layouts, fh);
	pthread_mutex_unlock(&o->lock);
}

/* An orphan's link in the hidden folder is not for users to see. */
static void orphan_adjust(struct csv_owner *o, struct csv_attr *a)
{
	const struct csv_lfile *f;

	pthread_mutex_lock(&o->lock);
	f = csv_layout_find(&o->layouts, a->fh);
	if (f && f->orphan && a->nlink)
		a->nlink--;
	pthread_mutex_unlock(&o->lock);
}

static int op_lookup(struct csv_op_ctx *c)
{
	return csv_fs_lookup(c->o->fs, c->m->fh, c->m->name, &c->r->attr);
}

static int op_getattr(struct csv_op_ctx *c)
{
	int rc;

	rc = csv_fs_getattr(c->o->fs, c->m->fh, &c->r->attr);
	if (!rc)
		orphan_adjust(c->o, &c->r->attr);
	return rc;
}

static int size_set(struct csv_op_ctx *c, uint64_t size)
{
	struct csv_ofile *f;
	int rc;

	rc = csv_owner_file_get(c->o, c->m->fh, &f);
	if (rc)
		return rc;
	rc = csv_owner_change_begin(c, c->m->fh, 0);
	if (!rc) {
		pthread_rwlock_wrlock(&f->io);
		rc = csv_fs_truncate(f->file, size);
		map_changed(c->o, c->m->fh);
		pthread_rwlock_unlock(&f->io);
		csv_owner_change_end(c->o, c->m->fh, false);
	}
	csv_owner_file_put(c->o, f);
	return rc;
}

static int op_setattr(struct csv_op_ctx *c)
{
	uint32_t valid = c->m->flags;
	int rc = 0;

	if (valid & CSV_SET_SIZE)
		rc = size_set(c, c->m->attr.size);
	if (!rc && (valid & ~CSV_SET_SIZE))
		rc = csv_fs_setattr(c->o->fs, c->m->fh, &c->m->attr, valid);
	return rc ? rc : op_getattr(c);
}

static int op_readlink(struct csv_op_ctx *c)
{
	return csv_fs_readlink(c->o->fs, c->m->fh, c->r->text, sizeof(c->r->text));
}

static int op_readdir(struct csv_op_ctx *c)
{
	size_t cap = c->m->len < 65536 ? (size_t)c->m->len : 65536, len;
	bool eof;
	int rc = csv_fs_readdir(c->o->fs, c->m->fh, c->m->off, c->buf, cap, &len, &eof);

	c->r->data = c->buf;
	c->r->data_bytes = (uint32_t)len;
	c->r->flags = eof ? CSV_READDIR_EOF : 0;
	return rc;
}

static int op_statfs(struct csv_op_ctx *c)
{
	return csv_fs_statfs(c->o->fs, &c->r->statfs);
}

static int op_make(struct csv_op_ctx *c, bool directory)
{
	const struct csv_rpc_msg *m = c->m;
	mode_t mode = directory ? (m->mode & 07777) | S_IFDIR : m->mode;
	int rc;

	if (!directory && S_ISDIR(mode))
		return -EINVAL;
	pthread_mutex_lock(&c->o->ns_lock);
	rc = csv_fs_make(c->o->fs, m->fh, m->name, mode, m->uid, m->gid, m->rdev, &c->r->attr);
	pthread_mutex_unlock(&c->o->ns_lock);
	return rc;
}

static int op_symlink(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	int rc;

	pthread_mutex_lock(&c->o->ns_lock);
	rc = csv_fs_symlink(c->o->fs, m->fh, m->name, m->text, m->uid, m->gid, &c->r->attr);
	pthread_mutex_unlock(&c->o->ns_lock);
	return rc;
}

/*
 * Under ns_lock: -ETXTBSY if a VM has the file open, -EBUSY if it is on record as the disk of one.  Such a file
 * keeps its one name: the VM's configuration says it, and by a second name a second VM could be given it.
 */
static int disk_guard(struct csv_op_ctx *c, struct csv_fh fh, const char *what, const char *name)
{
	struct csv_xrecord record = { 0 };
	const struct csv_lfile *l;
	struct csv_ofile *f;
	bool open;
	int rc;

	pthread_mutex_lock(&c->o->lock);
	l = csv_layout_find(&c->o->layouts, fh);
	open = l && l->x_node;
	if (open)
		snprintf(record.vm, sizeof(record.vm), "%s", l->x_vm);
	pthread_mutex_unlock(&c->o->lock);
	if (!open) {
		rc = csv_owner_file_get(c->o, fh, &f);
		if (rc)
			return rc;
		rc = csv_fs_record_get(f->file, &record);
		csv_owner_file_put(c->o, f);
		if (rc || !record.generation)
			return rc;
	}
	cl_notice("volume %s: %s of %s by node %u is refused: it is the disk of %s%s",
		  c->o->config.volume, what, name, c->peer->node, record.vm[0] ? "VM " : "a VM",
		  record.vm);
	return open ? -ETXTBSY : -EBUSY;
}

/* The same of what has a name; 0 for what is no regular file or is not there. */
static int name_guard(struct csv_op_ctx *c, struct csv_fh dir, const char *what, const char *name)
{
	struct csv_attr a;
	int rc = csv_fs_lookup(c->o->fs, dir, name, &a);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return S_ISREG(a.mode) ? disk_guard(c, a.fh, what, name) : 0;
}

static int op_link(struct csv_op_ctx *c)
{
	const struct csv_lfile *f;
	bool orphan;
	int rc;

	pthread_mutex_lock(&c->o->ns_lock);
	pthread_mutex_lock(&c->o->lock);
	f = csv_layout_find(&c->o->layouts, c->m->fh);
	orphan = f && f->orphan;
	pthread_mutex_unlock(&c->o->lock);
	rc = orphan ? -ENOENT : disk_guard(c, c->m->fh, "a link", c->m->name2);
	if (!rc)
		rc = csv_fs_link(c->o->fs, c->m->fh, c->m->fh2, c->m->name2, &c->r->attr);
	pthread_mutex_unlock(&c->o->ns_lock);
	return rc;
}

/* Under ns_lock: before name in dir loses its inode.  Keeps the inode of an open file (rule C3). */
static int victim_keep(struct csv_op_ctx *c, struct csv_fh dir, const char *name,
		       struct csv_fh *ret_kept)
{
	struct csv_attr a;
	bool exclusive;
	int rc;

	ret_kept->ino = 0;
	rc = csv_fs_lookup(c->o->fs, dir, name, &a);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (!S_ISREG(a.mode) || a.nlink > 1 || !is_open(c->o, a.fh, &exclusive))
		return 0;
	if (exclusive)
		return -ETXTBSY;
	rc = csv_fs_orphan_add(c->o->fs, a.fh);
	if (!rc)
		*ret_kept = a.fh;
	return rc;
}

/* Under ns_lock: after it has lost it, or has not. */
static void victim_kept(struct csv_op_ctx *c, struct csv_fh fh, bool done)
{
	struct csv_lfile *f;

	if (!fh.ino)
		return;
	pthread_mutex_lock(&c->o->lock);
	f = csv_layout_find(&c->o->layouts, fh);
	if (f && done)
		f->orphan = true;
	pthread_mutex_unlock(&c->o->lock);
	/* Closed between the look and now, or still has its name: the spare link goes. */
	if (!f || !done)
		(void)csv_fs_orphan_delete(c->o->fs, fh);
}

static bool is_ours(const struct csv_op_ctx *c, struct csv_fh dir, const char *name)
{
	struct csv_attr root;

	return !strcmp(name, ".holdfast") && !csv_fs_root(c->o->fs, &root) &&
	       (!dir.ino || csv_fh_equal(root.fh, dir));
}

static int op_unlink(struct csv_op_ctx *c, bool directory)
{
	struct csv_fh kept = { 0 };
	int rc;

	if (is_ours(c, c->m->fh, c->m->name))
		return -EPERM;
	pthread_mutex_lock(&c->o->ns_lock);
	rc = directory ? 0 : victim_keep(c, c->m->fh, c->m->name, &kept);
	if (!rc) {
		rc = csv_fs_unlink(c->o->fs, c->m->fh, c->m->name, directory);
		victim_kept(c, kept, !rc);
	}
	pthread_mutex_unlock(&c->o->ns_lock);
	return rc;
}

static bool is_same(struct csv_op_ctx *c, const struct csv_rpc_msg *m)
{
	struct csv_attr a, b;

	return !csv_fs_lookup(c->o->fs, m->fh, m->name, &a) &&
	       !csv_fs_lookup(c->o->fs, m->fh2, m->name2, &b) && csv_fh_equal(a.fh, b.fh);
}

static int op_rename(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	struct csv_fh kept = { 0 };
	int rc = 0;

	if (m->flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (is_ours(c, m->fh, m->name) || is_ours(c, m->fh2, m->name2))
		return -EPERM;
	pthread_mutex_lock(&c->o->ns_lock);
	/* Two names of one file: rename does nothing, and neither do we. */
	if (!m->flags && is_same(c, m))
		goto out;
	/* Both names, with every flag: what moves and what is replaced or exchanged. */
	rc = name_guard(c, m->fh, "a rename", m->name);
	if (!rc)
		rc = name_guard(c, m->fh2, "a replacement", m->name2);
	if (!rc && !m->flags)
		rc = victim_keep(c, m->fh2, m->name2, &kept);
	if (!rc) {
		rc = csv_fs_rename(c->o->fs, m->fh, m->name, m->fh2, m->name2, m->flags);
		victim_kept(c, kept, !rc);
	}
out:
	pthread_mutex_unlock(&c->o->ns_lock);
	return rc;
}

/* Under ns_lock, so that nothing unlinks it between the look and the table. */
static int open_locked(struct csv_op_ctx *c, struct csv_fh fh)
{
	int rc = csv_fs_getattr(c->o->fs, fh, &c->r->attr);

	if (rc)
		return rc;
	if (!S_ISREG(c->r->attr.mode))
		return S_ISDIR(c->r->attr.mode) ? -EISDIR : -EINVAL;
	pthread_mutex_lock(&c->o->lock);
	rc = csv_layout_open(&c->o->layouts, fh, c->peer->node);
	pthread_mutex_unlock(&c->o->lock);
	return rc;
}

int csv_owner_op_open(struct csv_op_ctx *c)
{
	int rc;

	pthread_mutex_lock(&c->o->ns_lock);
	rc = open_locked(c, c->m->fh);
	pthread_mutex_unlock(&c->o->ns_lock);
	if (!rc)
		orphan_adjust(c->o, &c->r->attr);
	return rc;
}

static int op_create(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	int rc;

	if (!S_ISREG(m->mode))
		return -EINVAL;
	pthread_mutex_lock(&c->o->ns_lock);
	rc = csv_fs_make(c->o->fs, m->fh, m->name, m->mode, m->uid, m->gid, 0, &c->r->attr);
	if (rc == -EEXIST && (!(m->flags & O_EXCL) || c->retry))
		rc = csv_fs_lookup(c->o->fs, m->fh, m->name, &c->r->attr);
	if (!rc)
		rc = open_locked(c, c->r->attr.fh);
	pthread_mutex_unlock(&c->o->ns_lock);
	return rc;
}

static int op_close(struct csv_op_ctx *c)
{
	bool gone, orphan;

	if (c->m->flags & CSV_IO_WROTE) {
		struct csv_ofile *f;

		if (!csv_owner_file_get(c->o, c->m->fh, &f)) {
			(void)csv_fs_touch(f->file);
			csv_owner_file_put(c->o, f);
		}
	}
	pthread_mutex_lock(&c->o->lock);
	gone = csv_layout_close(&c->o->layouts, c->m->fh, c->peer->node, &orphan);
	pthread_cond_broadcast(&c->o->cond);
	pthread_mutex_unlock(&c->o->lock);
	if (gone)
		csv_owner_file_gone(c->o, c->m->fh, orphan);
	return 0;
}

static int op_read(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	struct csv_ofile *f;
	const void *data;
	size_t len;
	int rc;

	if (m->len > CSV_RPC_DATA_MAX)
		return -EINVAL;
	rc = csv_owner_file_get(c->o, m->fh, &f);
	if (rc)
		return rc;
	pthread_rwlock_rdlock(&f->io);
	rc = csv_fs_read(f->file, m->off, (size_t)m->len, c->buf, &data, &len);
	pthread_rwlock_unlock(&f->io);
	csv_owner_file_put(c->o, f);
	if (rc)
		return rc;
	c->r->data = data;
	c->r->data_bytes = (uint32_t)len;
	return 0;
}

static int op_write(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	uint64_t off = m->off, size;
	struct csv_ofile *f;
	bool changed = false, whole;
	int rc;

	rc = csv_owner_file_get(c->o, m->fh, &f);
	if (rc)
		return rc;
	rc = csv_owner_change_begin(c, m->fh, c->peer->node);
	if (rc)
		goto out;
	whole = !(m->flags & CSV_WRITE_APPEND) && !((off | m->data_bytes) % CSV_FS_BLOCK);
	if (whole) {
		pthread_rwlock_rdlock(&f->io);
		rc = csv_fs_size(f->file, &size);
		if (rc || off + m->data_bytes > size) {
			pthread_rwlock_unlock(&f->io);
			whole = false;
		}
	}
	if (!whole) {
		pthread_rwlock_wrlock(&f->io);
		rc = csv_fs_size(f->file, &size);
		if (m->flags & CSV_WRITE_APPEND)
			off = size;
	}
	if (!rc)
		rc = csv_fs_write(f->file, off, m->data, m->data_bytes, &changed);
	if (changed)
		map_changed(c->o, m->fh);
	pthread_rwlock_unlock(&f->io);
	c->r->off = off;
	c->r->len = m->data_bytes;
	csv_owner_change_end(c->o, m->fh, true);
out:
	csv_owner_file_put(c->o, f);
	return rc;
}

static int op_fsync(struct csv_op_ctx *c)
{
	struct csv_ofile *f;
	int rc = csv_owner_file_get(c->o, c->m->fh, &f);

	if (rc == -EISDIR)
		return csv_fs_sync(c->o->fs);
	if (rc)
		return rc;
	rc = csv_fs_fsync(f->file);
	csv_owner_file_put(c->o, f);
	return rc;
}

static int op_fallocate(struct csv_op_ctx *c, bool zero)
{
	const struct csv_rpc_msg *m = c->m;
	struct csv_ofile *f;
	int rc;

	if (zero ? m->len > ZEROFILL_MAX : m->flags & ~(unsigned)FALLOC_MODES)
		return -EOPNOTSUPP;
	rc = csv_owner_file_get(c->o, m->fh, &f);
	if (rc)
		return rc;
	rc = csv_owner_change_begin(c, m->fh, 0);
	if (!rc) {
		pthread_rwlock_wrlock(&f->io);
		rc = zero ? csv_fs_zero(f->file, m->off, m->len)
			  : csv_fs_fallocate(f->file, (int)m->flags, m->off, m->len);
		map_changed(c->o, m->fh);
		pthread_rwlock_unlock(&f->io);
		csv_owner_change_end(c->o, m->fh, false);
	}
	csv_owner_file_put(c->o, f);
	return rc;
}

static int op_do(struct csv_op_ctx *c, enum csv_rpc_op op)
{
	switch (op) {
	case CSV_OP_LOOKUP:
		return op_lookup(c);
	case CSV_OP_GETATTR:
		return op_getattr(c);
	case CSV_OP_SETATTR:
		return op_setattr(c);
	case CSV_OP_READLINK:
		return op_readlink(c);
	case CSV_OP_READDIR:
		return op_readdir(c);
	case CSV_OP_STATFS:
		return op_statfs(c);
	case CSV_OP_MKNOD:
		return op_make(c, false);
	case CSV_OP_MKDIR:
		return op_make(c, true);
	case CSV_OP_SYMLINK:
		return op_symlink(c);
	case CSV_OP_LINK:
		return op_link(c);
	case CSV_OP_UNLINK:
		return op_unlink(c, false);
	case CSV_OP_RMDIR:
		return op_unlink(c, true);
	case CSV_OP_RENAME:
		return op_rename(c);
	case CSV_OP_CREATE:
		return op_create(c);
	case CSV_OP_OPEN:
		return csv_owner_op_open(c);
	case CSV_OP_CLOSE:
		return op_close(c);
	case CSV_OP_READ:
		return op_read(c);
	case CSV_OP_WRITE:
		return op_write(c);
	case CSV_OP_FSYNC:
		return op_fsync(c);
	case CSV_OP_FALLOCATE:
		return op_fallocate(c, false);
	case CSV_OP_ZEROFILL:
		return op_fallocate(c, true);
	case CSV_OP_LAYOUTGET:
		return csv_owner_op_layoutget(c);
	case CSV_OP_LAYOUTRETURN:
		return csv_owner_op_layoutreturn(c);
	case CSV_OP_RESOLVE:
		return csv_fs_resolve(c->o->fs, c->m->text, &c->r->attr);
	case CSV_OP_PREPARE:
		return csv_owner_op_prepare(c);
	case CSV_OP_XOPEN:
		return csv_owner_op_xopen(c);
	case CSV_OP_XCLOSE:
		return csv_owner_op_xclose(c);
	case CSV_OP_XWHOSE:
		return csv_owner_op_xwhose(c);
	case CSV_OP_XDISOWN:
		return csv_owner_op_xdisown(c);
	case CSV_OP_RECLAIM:
		return csv_owner_op_reclaim(c);
	case CSV_OP_RECLAIM_DONE:
		csv_owner_reclaim_done(c->o, c->peer->node);
		/* fall through */
	case CSV_OP_PING:
		c->r->flags = c->o->mode == OWNER_ACTIVE;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* A repeated operation that the last owner did: what it left is the answer. */
static int done_already(struct csv_op_ctx *c, enum csv_rpc_op op)
{
	const struct csv_rpc_msg *m = c->m;
	struct csv_attr a;

	switch (op) {
	case CSV_OP_LINK:
		return csv_fs_lookup(c->o->fs, m->fh2, m->name2, &c->r->attr);
	case CSV_OP_RENAME:
		return csv_fs_lookup(c->o->fs, m->fh2, m->name2, &a);
	case CSV_OP_UNLINK:
	case CSV_OP_RMDIR:
		return 0;
	default:
		return csv_fs_lookup(c->o->fs, m->fh, m->name, &c->r->attr);
	}
}

static enum csv_replay replay_begin(struct csv_owner *o, const struct csv_peer *peer,
				    const struct csv_rpc_hdr *hdr, struct csv_rpc_msg *r,
				    int32_t *ret_status)
{
	enum csv_replay what;
	const void *kept;
	size_t len;

	pthread_mutex_lock(&o->lock);
	while ((what = csv_replay_begin(&o->replay, peer->node, peer->instance, hdr->slot, hdr->seq,
					&kept, &len)) == CSV_REPLAY_BUSY)
		pthread_cond_wait(&o->cond, &o->lock);
	if (what == CSV_REPLAY_REPEAT) {
		struct csv_rpc_hdr h;

		if (csv_rpc_header_decode(kept, &h) ||
		    csv_rpc_body_decode(&h, (const uint8_t *)kept + CSV_RPC_HEADER_BYTES, r))
			abort(); /* our own bytes */
		*ret_status = h.status;
	}
	pthread_mutex_unlock(&o->lock);
	return what;
}

static void replay_finish(struct csv_owner *o, const struct csv_peer *peer,
			  const struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *r,
			  int32_t status)
{
	uint8_t kept[CSV_REPLAY_BYTES];
	struct csv_rpc_hdr h = *hdr;
	long len;

	h.kind = CSV_RPC_REPLY;
	h.status = status;
	len = csv_rpc_encode(&h, r, kept, sizeof(kept));
	pthread_mutex_lock(&o->lock);
	csv_replay_finish(&o->replay, peer->node, peer->instance, hdr->slot, hdr->seq,
			  len > 0 && status <= 0 ? kept : NULL, len > 0 ? (size_t)len : 0);
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
}

int32_t csv_owner_serve(struct csv_owner *o, const struct csv_peer *peer,
			const struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *msg,
			struct csv_rpc_msg *r, void *buf)
{
	struct csv_op_ctx c = { o, peer, msg, r, buf, hdr->flags & CSV_HDR_RETRY };
	struct csv_osession *s = &o->sessions[peer->node - 1];
	bool once = !csv_op_idempotent(hdr->op);
	int32_t status = 0;

	memset(r, 0, offsetof(struct csv_rpc_msg, text));
	r->text[0] = 0;
	r->flags = 0;
	r->seq = r->version = r->len = r->off = 0;
	r->data = NULL;
	r->data_bytes = 0;
	pthread_mutex_lock(&o->lock);
	if (o->mode == OWNER_CLOSING || hdr->term != o->config.term || !s->up ||
	    s->instance != peer->instance)
		status = CSV_STATUS_MOVED;
	else if (!csv_op_in_grace(hdr->op) && (o->mode == OWNER_GRACE || !s->reclaimed))
		status = CSV_STATUS_GRACE;
	else {
		o->inside++;
		s->inside++;
	}
	pthread_mutex_unlock(&o->lock);
	if (status)
		return status;
	status = csv_owner_granted(&c, hdr->op);
	if (status)
		goto out;
	if (once) {
		switch (replay_begin(o, peer, hdr, r, &status)) {
		case CSV_REPLAY_REPEAT:
			goto out;
		case CSV_REPLAY_STALE:
			status = -EBADMSG;
			goto out;
		default:
			break;
		}
	}
	status = op_do(&c, hdr->op);
	if (c.retry && csv_replay_means_done(hdr->op, status))
		status = done_already(&c, hdr->op);
	if (once)
		replay_finish(o, peer, hdr, r, status);
out:
	pthread_mutex_lock(&o->lock);
	s->inside--;
	pthread_mutex_unlock(&o->lock);
	csv_owner_leave(o);
	return status;
}

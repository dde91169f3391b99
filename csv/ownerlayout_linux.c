/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operations that give a client the right to do I/O straight on the LUN: layouts, exclusive
 * opens, reclaims.  Order of a grant (rules B4, B7): others are recalled, the grant is on record,
 * then the file is synced and mapped, then the client hears of it.
 */
#include "csv/owner_priv.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The map into the reply; *ret_version is the map's version, unchanged during the look. */
static int map_reply(struct csv_op_ctx *c, uint64_t *ret_size, bool *ret_whole)
{
	CL_CLEANUP_FREE struct csv_wire_extent *e = calloc(CSV_RPC_EXTENTS_MAX, sizeof(*e));
	struct csv_ofile *f;
	const struct csv_lfile *lf;
	size_t n = 0;
	long len;
	int rc;

	if (!e)
		return -ENOMEM;
	rc = csv_owner_file_get(c->o, c->m->fh, &f);
	if (rc)
		return rc;
	pthread_rwlock_rdlock(&f->io);
	pthread_mutex_lock(&c->o->lock);
	lf = csv_layout_find(&c->o->layouts, c->m->fh);
	c->r->version = lf ? lf->version : 0;
	pthread_mutex_unlock(&c->o->lock);
	rc = csv_fs_map(f->file, e, CSV_RPC_EXTENTS_MAX, &n, ret_size, ret_whole);
	pthread_rwlock_unlock(&f->io);
	csv_owner_file_put(c->o, f);
	if (rc)
		return rc;
	len = csv_extents_encode(e, n, c->buf, CSV_RPC_DATA_MAX);
	if (len < 0)
		return (int)len;
	c->r->data = c->buf;
	c->r->data_bytes = (uint32_t)len;
	return 0;
}

int csv_owner_op_layoutget(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	bool rw = m->flags & CSV_LAYOUT_RW, whole, conflict = false;
	enum csv_grant g;
	uint64_t seq = 0;
	int rc;

again:
	pthread_mutex_lock(&c->o->lock);
	g = csv_layout_grant(&c->o->layouts, m->fh, c->peer->node, rw, csv_owner_now_ms(), &seq);
	if (!g && conflict) {
		/* Who has just lost it goes through the owner for a while: no ping-pong. */
		struct csv_lfile *f = csv_layout_find(&c->o->layouts, m->fh);

		f->quiet_until_ms = csv_owner_now_ms() + CSV_LAYOUT_QUIET_MS;
	}
	pthread_mutex_unlock(&c->o->lock);
	if (g == CSV_GRANT_CONFLICT && !conflict) {
		rc = csv_owner_recall(c->o, m->fh, rw ? CSV_RECALL_ALL : CSV_RECALL_WRITERS,
				      c->peer->node, 0);
		if (rc)
			return rc;
		conflict = true;
		goto again;
	}
	if (g)
		return g == CSV_GRANT_EXCLUSIVE || g == CSV_GRANT_NOT_OPEN ? -EPERM
									   : CSV_STATUS_RECALL;
	rc = map_reply(c, &c->r->len, &whole);
	if (rc)
		csv_owner_returned(c->o, c->peer->node, m->fh, seq, 0);
	c->r->seq = seq;
	return rc;
}

int csv_owner_op_layoutreturn(struct csv_op_ctx *c)
{
	csv_owner_returned(c->o, c->peer->node, c->m->fh, c->m->seq, c->m->flags);
	return 0;
}

int csv_owner_op_prepare(struct csv_op_ctx *c)
{
	uint64_t size;
	bool whole = false;
	int rc;

	rc = csv_owner_op_open(c);
	if (!rc)
		rc = map_reply(c, &size, &whole);
	c->r->flags = whole ? CSV_LAYOUT_WHOLE : 0;
	return rc;
}

/* This is the only exclusive open of the file until x_leave(). */
static int x_enter(struct csv_op_ctx *c, const struct timespec *until)
{
	enum csv_xopen x;
	int rc = 0;

	pthread_mutex_lock(&c->o->lock);
	while (!rc) {
		x = csv_layout_xopen_begin(&c->o->layouts, c->m->fh);
		if (x == CSV_XOPEN_OK)
			break;
		rc = x == CSV_XOPEN_RECALLING ? csv_owner_wait(c->o, until) : -ENFILE;
	}
	pthread_mutex_unlock(&c->o->lock);
	return rc;
}

static void x_leave(struct csv_op_ctx *c)
{
	bool orphan;

	pthread_mutex_lock(&c->o->lock);
	orphan = csv_layout_xopen_end(&c->o->layouts, c->m->fh);
	pthread_cond_broadcast(&c->o->cond);
	pthread_mutex_unlock(&c->o->lock);
	if (orphan)
		csv_owner_file_gone(c->o, c->m->fh, true);
}

/*
 * Admitted when everything that is under way in the file has ended: recalls, and changes of
 * anybody, of a fenced node, too.  -ETIMEDOUT if that does not come: nothing was admitted.
 */
static int x_admit(struct csv_op_ctx *c, const struct csv_xrecord *record,
		   const struct timespec *until)
{
	const struct csv_rpc_msg *m = c->m;
	enum csv_xopen x;
	int rc = 0;

	while (!rc) {
		pthread_mutex_lock(&c->o->lock);
		x = csv_layout_xopen(&c->o->layouts, m->fh, c->peer->node, m->vm, m->generation,
				     record, &c->r->seq);
		if (x == CSV_XOPEN_RECALLING)
			rc = csv_owner_wait(c->o, until);
		pthread_mutex_unlock(&c->o->lock);
		if (x == CSV_XOPEN_OK)
			return 0;
		if (x == CSV_XOPEN_STALE)
			rc = -ESTALE;
		else if (x == CSV_XOPEN_OTHER)
			rc = -ETXTBSY;
		else if (x == CSV_XOPEN_FULL)
			rc = -ENFILE;
		else if (x != CSV_XOPEN_RECALLING)
			rc = csv_owner_recall(c->o, m->fh, CSV_RECALL_ALL, 0,
					      x == CSV_XOPEN_DISPLACE ? CSV_RECALL_DISPLACED : 0);
	}
	return rc;
}

/* The file itself remembers: a lock that outlives every table. */
static int x_record(struct csv_op_ctx *c, struct csv_ofile *file, const struct csv_xrecord *old)
{
	struct csv_xrecord record = { .generation = c->m->generation };
	bool orphan;
	int rc;

	snprintf(record.vm, sizeof(record.vm), "%s", c->m->vm);
	if (record.generation == old->generation && !strcmp(record.vm, old->vm))
		return 0;
	rc = csv_fs_record_set(file->file, &record);
	if (!rc)
		return 0;
	pthread_mutex_lock(&c->o->lock);
	(void)csv_layout_xclose(&c->o->layouts, c->m->fh, c->peer->node, c->m->generation, &orphan);
	pthread_mutex_unlock(&c->o->lock);
	return rc;
}

/* The map of before is still the file's: looked at with nothing under way in it. */
static bool map_same(struct csv_op_ctx *c, struct csv_ofile *file)
{
	const struct csv_lfile *f;
	uint64_t version;

	pthread_rwlock_rdlock(&file->io);
	pthread_mutex_lock(&c->o->lock);
	f = csv_layout_find(&c->o->layouts, c->m->fh);
	version = f ? f->version : 0;
	pthread_mutex_unlock(&c->o->lock);
	pthread_rwlock_unlock(&file->io);
	if (!c->m->version || c->m->version != version)
		return false;
	c->r->version = version;
	c->r->flags = CSV_LAYOUT_SAME;
	return true;
}

static int xopen_entered(struct csv_op_ctx *c, struct csv_ofile *file, const struct timespec *until)
{
	uint64_t size, began_ms = csv_owner_now_ms(), free_ms, kept_ms;
	const struct csv_rpc_msg *m = c->m;
	struct csv_xrecord record;
	bool whole = false;
	int rc;

	rc = csv_fs_record_get(file->file, &record);
	if (!rc)
		rc = x_admit(c, &record, until);
	free_ms = csv_owner_now_ms();
	if (!rc)
		rc = x_record(c, file, &record);
	kept_ms = csv_owner_now_ms();
	if (rc)
		return rc;
	cl_info("volume %s: inode %llx goes to node %u, generation %llu: recall %llu ms, on record "
		"in %llu ms",
		c->o->config.volume, (unsigned long long)m->fh.ino, c->peer->node,
		(unsigned long long)m->generation, (unsigned long long)(free_ms - began_ms),
		(unsigned long long)(kept_ms - free_ms));
	if (map_same(c, file))
		return 0;
	rc = map_reply(c, &size, &whole);
	c->r->flags = whole ? CSV_LAYOUT_WHOLE : 0;
	if (!whole)
		csv_owner_returned(c->o, c->peer->node, m->fh, c->r->seq, 0);
	return rc;
}

int csv_owner_op_xopen(struct csv_op_ctx *c)
{
	struct timespec until = csv_owner_deadline(c->o->config.recall_ms);
	struct csv_ofile *file;
	int rc;

	rc = csv_owner_op_open(c);
	if (!rc)
		rc = csv_owner_file_get(c->o, c->m->fh, &file);
	if (rc)
		return rc;
	rc = x_enter(c, &until);
	if (!rc) {
		rc = xopen_entered(c, file, &until);
		x_leave(c);
	}
	csv_owner_file_put(c->o, file);
	return rc;
}

int csv_owner_op_xclose(struct csv_op_ctx *c)
{
	struct csv_ofile *f;
	bool gone, orphan;

	if (c->m->flags & CSV_IO_WROTE && !csv_owner_file_get(c->o, c->m->fh, &f)) {
		(void)csv_fs_touch(f->file);
		csv_owner_file_put(c->o, f);
	}
	pthread_mutex_lock(&c->o->lock);
	gone = csv_layout_xclose(&c->o->layouts, c->m->fh, c->peer->node, c->m->generation,
				 &orphan);
	pthread_cond_broadcast(&c->o->cond);
	pthread_mutex_unlock(&c->o->lock);
	if (gone)
		csv_owner_file_gone(c->o, c->m->fh, orphan);
	return 0;
}

/* What a refused XOPEN met: whose disk it is and the highest generation, so that its VM can go above it. */
int csv_owner_op_xwhose(struct csv_op_ctx *c)
{
	struct csv_xrecord record;
	const struct csv_lfile *l;
	struct csv_ofile *file;
	int rc;

	rc = csv_owner_file_get(c->o, c->m->fh, &file);
	if (rc)
		return rc;
	rc = csv_fs_record_get(file->file, &record);
	csv_owner_file_put(c->o, file);
	if (rc)
		return rc;
	pthread_mutex_lock(&c->o->lock);
	l = csv_layout_find(&c->o->layouts, c->m->fh);
	if (l && l->x_highest > record.generation)
		record.generation = l->x_highest;
	if (l && l->x_node)
		snprintf(record.vm, sizeof(record.vm), "%s", l->x_vm);
	pthread_mutex_unlock(&c->o->lock);
	snprintf(c->r->vm, sizeof(c->r->vm), "%s", record.vm);
	c->r->generation = record.generation;
	return 0;
}

/* Its VM is no more, or was given another disk.  Only who names the VM may, and only while none has it. */
int csv_owner_op_xdisown(struct csv_op_ctx *c)
{
	struct timespec until = csv_owner_deadline(c->o->config.recall_ms);
	struct csv_xrecord record;
	struct csv_ofile *file;
	struct csv_lfile *l;
	int rc;

	rc = csv_owner_file_get(c->o, c->m->fh, &file);
	if (rc)
		return rc;
	rc = x_enter(c, &until);
	if (rc)
		goto out;
	rc = csv_fs_record_get(file->file, &record);
	pthread_mutex_lock(&c->o->lock);
	l = csv_layout_find(&c->o->layouts, c->m->fh);
	if (!rc && l->x_node)
		rc = -ETXTBSY;
	if (!rc && record.vm[0] && strcmp(record.vm, c->m->vm))
		rc = -EPERM;
	pthread_mutex_unlock(&c->o->lock);
	/* No exclusive open begins before x_leave(). */
	if (!rc)
		rc = csv_fs_record_set(file->file, NULL);
	if (!rc) {
		pthread_mutex_lock(&c->o->lock);
		csv_layout_find(&c->o->layouts, c->m->fh)->x_highest = 0;
		pthread_mutex_unlock(&c->o->lock);
	}
	x_leave(c);
out:
	csv_owner_file_put(c->o, file);
	return rc;
}

int csv_owner_op_reclaim(struct csv_op_ctx *c)
{
	const struct csv_rpc_msg *m = c->m;
	struct csv_xrecord record = { 0 };
	const struct csv_lfile *f;
	struct csv_ofile *file;
	int rc = 0;

	if (m->flags & CSV_RECLAIM_OPEN)
		rc = csv_owner_op_open(c);
	if (!rc && m->flags & CSV_RECLAIM_X) {
		rc = csv_owner_file_get(c->o, m->fh, &file);
		if (rc)
			return rc;
		rc = csv_fs_record_get(file->file, &record);
		csv_owner_file_put(c->o, file);
	}
	pthread_mutex_lock(&c->o->lock);
	if (!rc && m->flags & CSV_RECLAIM_X)
		rc = csv_layout_xreclaim(&c->o->layouts, m->fh, c->peer->node, m->vm, m->generation,
					 &record, m->flags & CSV_RECLAIM_HELD, &c->r->seq);
	f = csv_layout_find(&c->o->layouts, m->fh);
	c->r->version = f ? f->version : 0;
	pthread_mutex_unlock(&c->o->lock);
	return rc;
}

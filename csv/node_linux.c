/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files as this node's FUSE front sees them: open counts, layouts, and file data, straight on the data
 * partition where a layout allows it, through the owner otherwise.
 *
 * Direct I/O holds node->io for reading; a recall takes it for writing, so when the recall is
 * answered no direct I/O of this node is in flight (rule B6).  It is never held across an RPC.
 */
#include "csv/vol.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "csv/fairlock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK	       4096u
#define LAYOUT_SIZE_MIN (64u << 10) /* smaller files go through the owner */
#define TRY_AGAIN_MS   1000u

static struct csv_node **bucket_of(struct csv_vol *v, struct csv_fh fh)
{
	return &v->buckets[(fh.ino * 0x9e3779b97f4a7c15ull >> 40) % CSVD_BUCKETS];
}

static struct csv_node *find_locked(struct csv_vol *v, struct csv_fh fh)
{
	struct csv_node *n = *bucket_of(v, fh);

	while (n && !csv_fh_equal(n->fh, fh))
		n = n->next;
	return n;
}

struct csv_node *csv_node_get(struct csv_vol *v, struct csv_fh fh, uint64_t lookups)
{
	struct csv_node *n;

	pthread_mutex_lock(&v->lock);
	n = find_locked(v, fh);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (n) {
			n->fh = fh;
			pthread_mutex_init(&n->open_lock, NULL);
			csv_fairlock_init(&n->io);
			n->next = *bucket_of(v, fh);
			*bucket_of(v, fh) = n;
		}
	}
	if (n)
		n->lookups += lookups;
	pthread_mutex_unlock(&v->lock);
	return n;
}

static void node_free(struct csv_node *n)
{
	free(n->extents);
	pthread_mutex_destroy(&n->open_lock);
	pthread_rwlock_destroy(&n->io);
	free(n);
}

void csv_node_forget(struct csv_vol *v, struct csv_node *n, uint64_t lookups)
{
	struct csv_node **at;
	bool gone;

	pthread_mutex_lock(&v->lock);
	n->lookups -= lookups < n->lookups ? lookups : n->lookups;
	gone = !n->lookups && !n->opens && n != v->root;
	if (gone) {
		for (at = bucket_of(v, n->fh); *at != n; at = &(*at)->next)
			;
		*at = n->next;
	}
	pthread_mutex_unlock(&v->lock);
	if (gone)
		node_free(n);
}

void csv_nodes_free(struct csv_vol *v)
{
	for (unsigned i = 0; i < CSVD_BUCKETS; i++) {
		while (v->buckets[i]) {
			struct csv_node *n = v->buckets[i];

			v->buckets[i] = n->next;
			node_free(n);
		}
	}
	v->root = NULL;
}

/* ---- opens ---- */

int csv_node_open(struct csv_vol *v, struct csv_node *n, bool opened)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	CL_CLEANUP_FREE struct csv_rpc_msg *r = calloc(1, sizeof(*r));
	int rc = 0;

	if (!m || !r)
		return -ENOMEM;
	/* Counted first: a reclaim that comes between names it too, and to open twice is to open once. */
	pthread_mutex_lock(&v->lock);
	n->opens++;
	v->n_opens++;
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_lock(&n->open_lock);
	if (!opened && !n->opened) {
		m->fh = n->fh;
		rc = csv_call(v, CSV_OP_OPEN, m, r);
	}
	if (!rc)
		n->opened = true;
	pthread_mutex_unlock(&n->open_lock);
	if (rc) {
		pthread_mutex_lock(&v->lock);
		n->opens--;
		v->n_opens--;
		pthread_mutex_unlock(&v->lock);
	}
	return rc;
}

static bool layout_drop(struct csv_vol *v, struct csv_node *n)
{
	bool wrote = n->wrote;

	if (n->has_layout) {
		n->has_layout = false;
		free(n->extents);
		n->extents = NULL;
		n->n_extents = 0;
		pthread_mutex_lock(&v->lock);
		v->n_layouts--;
		pthread_mutex_unlock(&v->lock);
	}
	n->wrote = false;
	return wrote;
}

void csv_node_close(struct csv_vol *v, struct csv_node *n)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	CL_CLEANUP_FREE struct csv_rpc_msg *r = calloc(1, sizeof(*r));
	bool last, wrote;

	pthread_mutex_lock(&n->open_lock);
	pthread_mutex_lock(&v->lock);
	last = n->opens == 1;
	pthread_mutex_unlock(&v->lock);
	if (last && n->opened && m && r) {
		pthread_rwlock_wrlock(&n->io);
		wrote = layout_drop(v, n);
		pthread_rwlock_unlock(&n->io);
		m->fh = n->fh;
		m->flags = wrote ? CSV_IO_WROTE : 0;
		(void)csv_call(v, CSV_OP_CLOSE, m, r);
		n->opened = false;
	}
	/* Uncounted last: until the owner has heard it, a reclaim must name it. */
	pthread_mutex_lock(&v->lock);
	n->opens--;
	v->n_opens--;
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_unlock(&n->open_lock);
	csv_node_forget(v, n, 0);
}

struct reclaim_list {
	struct csv_fh *fh;
	size_t n;
};

static struct reclaim_list open_list(struct csv_vol *v)
{
	struct reclaim_list l = {0};

	pthread_mutex_lock(&v->lock);
	l.fh = calloc(v->n_opens + 1, sizeof(*l.fh));
	for (unsigned i = 0; l.fh && i < CSVD_BUCKETS; i++)
		for (const struct csv_node *n = v->buckets[i]; n; n = n->next)
			if (n->opens && l.n < v->n_opens)
				l.fh[l.n++] = n->fh;
	pthread_mutex_unlock(&v->lock);
	return l;
}

int csv_nodes_reclaim(struct csv_vol *v, csv_caller call)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	CL_CLEANUP_FREE struct csv_rpc_msg *r = calloc(1, sizeof(*r));
	struct reclaim_list l = open_list(v);
	int rc = m && r && l.fh ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < l.n; i++) {
		m->fh = l.fh[i];
		m->flags = CSV_RECLAIM_OPEN;
		rc = call(v, CSV_OP_RECLAIM, m, r);
		if (rc == -ENOTCONN)
			break;
		if (rc)
			cl_error("volume %s: open inode %llx is lost: %s", v->name,
				 (unsigned long long)l.fh[i].ino, strerror(-rc));
		rc = 0;
	}
	free(l.fh);
	return rc;
}

/* ---- layouts ---- */

bool csv_node_recall(struct csv_vol *v, struct csv_fh fh, uint64_t seq)
{
	struct csv_node *n;
	bool wrote;

	pthread_mutex_lock(&v->lock);
	n = find_locked(v, fh);
	if (n)
		n->lookups++; /* keeps it here */
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return false;
	pthread_rwlock_wrlock(&n->io);
	wrote = layout_drop(v, n);
	if (seq > n->recall_seq)
		n->recall_seq = seq;
	n->next_try_ms = csvd_now_ms() + TRY_AGAIN_MS;
	pthread_rwlock_unlock(&n->io);
	csv_node_forget(v, n, 1);
	return wrote;
}

void csv_nodes_layouts_drop(struct csv_vol *v, bool renumber)
{
	struct reclaim_list l = open_list(v);

	for (size_t i = 0; i < l.n; i++) {
		struct csv_node *n;

		pthread_mutex_lock(&v->lock);
		n = find_locked(v, l.fh[i]);
		if (n)
			n->lookups++;
		pthread_mutex_unlock(&v->lock);
		if (!n)
			continue;
		pthread_rwlock_wrlock(&n->io);
		(void)layout_drop(v, n);
		if (renumber)
			n->recall_seq = 0;
		n->next_try_ms = 0;
		pthread_rwlock_unlock(&n->io);
		csv_node_forget(v, n, 1);
	}
	free(l.fh);
}

static void layout_try(struct csv_vol *v, struct csv_node *n, bool rw)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	CL_CLEANUP_FREE struct csv_rpc_msg *r = calloc(1, sizeof(*r));
	struct csv_wire_extent *e = NULL;
	uint64_t link;
	long count;

	if (!m || !r)
		return;
	pthread_mutex_lock(&v->lock);
	link = v->link;
	pthread_mutex_unlock(&v->lock);
	m->fh = n->fh;
	m->flags = rw ? CSV_LAYOUT_RW : 0;
	if (csv_call(v, CSV_OP_LAYOUTGET, m, r) || r->len < LAYOUT_SIZE_MIN)
		goto refused;
	e = calloc(r->data_bytes / CSV_RPC_EXTENT_BYTES + 1, sizeof(*e));
	count = e ? csv_extents_decode(r->data, r->data_bytes, BLOCK, e,
				       r->data_bytes / CSV_RPC_EXTENT_BYTES + 1)
		  : -ENOMEM;
	if (count < 0)
		goto refused;
	for (long i = 0; i < count; i++)
		if (e[i].dev_off + e[i].len > v->backing.size_bytes)
			goto refused;
	pthread_rwlock_wrlock(&n->io);
	pthread_mutex_lock(&v->lock);
	/* A reply that a recall or a change of owner has overtaken is thrown away (B5). */
	if (r->seq > n->recall_seq && link == v->link && csv_state_direct(&v->state)) {
		if (!n->has_layout)
			v->n_layouts++;
		free(n->extents);
		n->extents = e;
		n->n_extents = (size_t)count;
		n->has_layout = true;
		n->rw = rw;
		n->seq = r->seq;
		e = NULL;
	}
	pthread_mutex_unlock(&v->lock);
	n->next_try_ms = csvd_now_ms() + TRY_AGAIN_MS;
	pthread_rwlock_unlock(&n->io);
	free(e);
	return;
refused:
	free(e);
	pthread_rwlock_wrlock(&n->io);
	n->next_try_ms = csvd_now_ms() + TRY_AGAIN_MS;
	pthread_rwlock_unlock(&n->io);
}

/* Bytes from off that lie in one extent, and where on the data partition. 0: not laid out. */
static size_t extent_at(const struct csv_node *n, uint64_t off, size_t len, uint64_t *ret_dev)
{
	size_t lo = 0, hi = n->n_extents;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct csv_wire_extent *e = &n->extents[mid];

		if (off < e->file_off) {
			hi = mid;
		} else if (off >= e->file_off + e->len) {
			lo = mid + 1;
		} else {
			uint64_t left = e->file_off + e->len - off;

			*ret_dev = e->dev_off + (off - e->file_off);
			return left < len ? (size_t)left : len;
		}
	}
	return 0;
}

/* Whole range by direct I/O: 0 done, 1 not laid out (nothing done), or -errno. */
static int direct_io(struct csv_vol *v, struct csv_node *n, bool write, uint64_t off, void *buf,
		     size_t len)
{
	uint64_t dev, at = off;
	size_t left = len, part;
	int rc = 1;

	pthread_rwlock_rdlock(&n->io);
	if (!n->has_layout || (write && !n->rw))
		goto out;
	while (left && (part = extent_at(n, at, left, &dev))) {
		at += part;
		left -= part;
	}
	if (left)
		goto out;
	if (write)
		n->wrote = true;
	for (rc = 0; len && !rc;) {
		ssize_t done;

		part = extent_at(n, off, len, &dev);
		done = write ? pwrite(v->data_fd, buf, part, (off_t)dev)
			     : pread(v->data_fd, buf, part, (off_t)dev);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			rc = done < 0 ? -errno : -EIO;
			break;
		}
		off += (uint64_t)done;
		buf = (char *)buf + done;
		len -= (size_t)done;
	}
out:
	pthread_rwlock_unlock(&n->io);
	return rc;
}

static bool direct_wanted(struct csv_vol *v, struct csv_node *n, bool rw)
{
	bool try;

	pthread_mutex_lock(&v->lock);
	try = csv_state_direct(&v->state) && n->opens;
	pthread_mutex_unlock(&v->lock);
	if (!try)
		return false;
	pthread_rwlock_rdlock(&n->io);
	try = csvd_now_ms() >= n->next_try_ms;
	pthread_rwlock_unlock(&n->io);
	if (try)
		layout_try(v, n, rw);
	return try;
}

/*
 * A device error of this node: block redirection until told otherwise, or down when fenced.  No layout is
 * used any more, or every write until the path is back would meet the same error.
 */
static void direct_failed(struct csv_vol *v, int rc)
{
	if (rc == -EBADE) {
		csv_vol_input(v, CSV_IN_DOWN, 0, 0, "reservation conflict: this node was fenced");
		csvd_down_start(v, "reservation conflict: this node was fenced");
	} else {
		csv_vol_input(v, CSV_IN_PATH, 0, 0, "I/O error on the LUN from this node");
	}
	csv_nodes_layouts_drop(v, false);
}

/* ---- data ---- */

ssize_t csv_node_read(struct csv_vol *v, struct csv_node *n, uint64_t off, size_t len,
		      const void **ret_data)
{
	uint64_t start = off / BLOCK * BLOCK;
	size_t span = (size_t)((off + len + BLOCK - 1) / BLOCK * BLOCK - start);
	CL_CLEANUP_FREE struct csv_rpc_msg *m = NULL;
	struct csv_rpc_msg *r;
	int rc;

	if (len > CSV_RPC_DATA_MAX || off + len < off)
		return -EINVAL;
	rc = direct_io(v, n, false, start, csv_thread_buf(2), span);
	if (rc == 1 && direct_wanted(v, n, false))
		rc = direct_io(v, n, false, start, csv_thread_buf(2), span);
	if (!rc) {
		*ret_data = (char *)csv_thread_buf(2) + (off - start);
		return (ssize_t)len;
	}
	if (rc < 0) {
		direct_failed(v, rc);
		if (rc == -EBADE)
			return -EIO;
	}
	m = calloc(2, sizeof(*m));
	if (!m)
		return -ENOMEM;
	r = m + 1;
	m->fh = n->fh;
	m->off = off;
	m->len = len;
	rc = csv_call(v, CSV_OP_READ, m, r);
	if (rc)
		return rc;
	*ret_data = r->data;
	return r->data_bytes;
}

static ssize_t owner_write(struct csv_vol *v, struct csv_node *n, uint64_t off, const void *data,
			   size_t len, bool append)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_rpc_msg *r = m + 1;
	int rc;

	if (!m)
		return -ENOMEM;
	m->fh = n->fh;
	m->off = off;
	m->flags = append ? CSV_WRITE_APPEND : 0;
	m->data = data;
	m->data_bytes = (uint32_t)len;
	rc = csv_call(v, CSV_OP_WRITE, m, r);
	return rc ? rc : (ssize_t)r->len;
}

ssize_t csv_node_write(struct csv_vol *v, struct csv_node *n, uint64_t off, const void *data,
		       size_t len, bool append, bool sync)
{
	void *buf = csv_thread_buf(2);
	int rc = 1;

	if (len > CSV_RPC_DATA_MAX || off + len < off)
		return -EINVAL;
	if (!append && len && !((off | len) % BLOCK)) {
		memcpy(buf, data, len);
		rc = direct_io(v, n, true, off, buf, len);
		if (rc == 1 && direct_wanted(v, n, true)) {
			memcpy(buf, data, len);
			rc = direct_io(v, n, true, off, buf, len);
		}
	}
	if (!rc && sync && fdatasync(v->data_fd))
		rc = -errno;
	if (!rc)
		return (ssize_t)len;
	if (rc < 0) {
		direct_failed(v, rc);
		/*
		 * Not redirected: the target may still carry out the write that failed here, after
		 * a redirected one (reference P).  The caller is told; later writes are redirected.
		 */
		return -EIO;
	}
	return owner_write(v, n, off, data, len, append);
}

int csv_node_fsync(struct csv_vol *v, struct csv_node *n)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = NULL;
	bool direct;

	pthread_rwlock_rdlock(&n->io);
	direct = n->has_layout && n->wrote;
	pthread_rwlock_unlock(&n->io);
	/* What went through the owner was durable when it was answered; metadata too (wsync). */
	if (direct)
		return fdatasync(v->data_fd) ? -errno : 0;
	m = calloc(2, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->fh = n->fh;
	return csv_call(v, CSV_OP_FSYNC, m, m + 1);
}

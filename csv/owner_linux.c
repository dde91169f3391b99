/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of the owner role: term record, mount, grace, sessions, recalls, release.  Assumes that
 * clusterd names one owner a term and has fenced whom it left out of `members`; checks the first
 * against the record on the LUN by compare and write.  Never mounts before that.  See owner.h.
 */
#include "csv/owner_priv.h"

#include "common/cl_log.h"
#include "csv/fairlock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UMOUNT_MS 30000
#define DRAIN_MS  20000u /* below clusterd's patience with member-gone */

uint64_t csv_owner_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* ---- the term record ---- */

static int record_write(struct csv_owner *o, enum csv_term_state state, uint32_t clients)
{
	struct csv_term next, seen;
	bool atomic;
	int rc;

	next = o->record;
	next.state = state;
	next.clients = clients;
	rc = csv_lun_term_swap(o->lun, &o->record, &next, &seen, &atomic);
	if (!rc)
		o->record = next;
	return rc;
}

static int record_take(struct csv_owner *o, char *error)
{
	const struct csv_owner_config *c = &o->config;
	struct csv_term next, seen;
	bool atomic, mine;
	int rc;

	rc = csv_lun_term_read(o->lun, &o->record);
	if (rc) {
		snprintf(error, CSV_OWNER_TEXT, "term record of %s: %s", c->volume, strerror(-rc));
		return rc;
	}
	if (memcmp(o->record.volume_uuid, c->uuid, CL_UUID_BYTES)) {
		snprintf(error, CSV_OWNER_TEXT, "%s is the LUN of another volume", c->device);
		return -EBADMSG;
	}
	/* A csvd that was killed and started again owns what it owned: the same term and key. */
	mine = o->record.term == c->term && o->record.owner == c->node &&
	       o->record.owner_key == c->prkey;
	if (!mine && o->record.term >= c->term) {
		snprintf(error, CSV_OWNER_TEXT,
			 "record of %s has term %llu of node %u, %llu asked for", c->volume,
			 (unsigned long long)o->record.term, o->record.owner,
			 (unsigned long long)c->term);
		return -ESTALE;
	}
	if (!mine && c->fresh && o->record.state != CSV_TERM_RELEASED) {
		snprintf(error, CSV_OWNER_TEXT, "record of %s says %s by node %u, not released",
			 c->volume, csv_term_state_name(o->record.state), o->record.owner);
		return -EBUSY;
	}
	next = o->record;
	next.term = c->term;
	next.owner = c->node;
	next.owner_key = c->prkey;
	next.state = CSV_TERM_GRACE;
	rc = csv_lun_term_swap(o->lun, &o->record, &next, &seen, &atomic);
	if (rc) {
		snprintf(error, CSV_OWNER_TEXT, "term record of %s not taken: %s", c->volume,
			 rc == -ESTALE ? "another node changed it" : strerror(-rc));
		return rc;
	}
	o->record = next;
	return 0;
}

/* Rule J4: on the LUN before the client may hold anything. */
static int client_note(struct csv_owner *o, uint32_t node)
{
	int rc = 0;

	pthread_mutex_lock(&o->lun_lock);
	if (!(o->record.clients & csv_node_bit(node)))
		rc = record_write(o, o->record.state, o->record.clients | csv_node_bit(node));
	pthread_mutex_unlock(&o->lun_lock);
	return rc;
}

/* ---- start and end ---- */

bool csv_owner_enter(struct csv_owner *o)
{
	bool ok;

	pthread_mutex_lock(&o->lock);
	ok = !o->unmounting;
	o->inside += ok;
	pthread_mutex_unlock(&o->lock);
	return ok;
}

void csv_owner_leave(struct csv_owner *o)
{
	pthread_mutex_lock(&o->lock);
	o->inside--;
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
}

void csv_owner_free(struct csv_owner *o)
{
	for (unsigned i = 0; i < CL_NODES_MAX; i++)
		pthread_mutex_destroy(&o->sessions[i].send_lock);
	pthread_mutex_destroy(&o->lun_lock);
	pthread_mutex_destroy(&o->ns_lock);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->cond);
	csv_lun_close(o->lun);
	free(o->grants);
	free(o->files);
	free(o);
}

static void orphan_check(void *arg, struct csv_fh fh)
{
	struct csv_owner *o = arg;
	struct csv_lfile *f;

	pthread_mutex_lock(&o->lock);
	f = csv_layout_find(&o->layouts, fh);
	if (f)
		f->orphan = true;
	pthread_mutex_unlock(&o->lock);
	if (!f)
		(void)csv_fs_orphan_delete(o->fs, fh);
}

/* Everybody has reclaimed (S9). Called without locks. */
static void grace_end(struct csv_owner *o)
{
	int rc;

	pthread_mutex_lock(&o->ns_lock);
	rc = csv_fs_orphan_each(o->fs, orphan_check, o);
	if (rc)
		cl_warning("volume %s: hidden files of %s: %s", o->config.volume,
			   ".holdfast/orphan", strerror(-rc));
	pthread_mutex_unlock(&o->ns_lock);
	pthread_mutex_lock(&o->lun_lock);
	rc = record_write(o, CSV_TERM_ACTIVE, o->record.clients);
	pthread_mutex_unlock(&o->lun_lock);
	if (rc) {
		o->config.changed(o->config.arg, strerror(-rc));
		return;
	}
	pthread_mutex_lock(&o->lock);
	if (o->mode == OWNER_GRACE)
		o->mode = OWNER_ACTIVE;
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
	o->config.changed(o->config.arg, NULL);
}

int csv_owner_start(const struct csv_owner_config *config, struct csv_owner **ret_owner,
		    char *error)
{
	uint64_t start_ms = csv_owner_now_ms(), taken_ms;
	struct csv_owner *o = calloc(1, sizeof(*o));
	pthread_condattr_t attr;
	bool at_once;
	int rc;

	if (!o)
		return -ENOMEM;
	o->config = *config;
	if (!o->config.recall_ms)
		o->config.recall_ms = OWNER_RECALL_MS;
	o->files = calloc(OWNER_FILES_MAX, sizeof(*o->files));
	pthread_mutex_init(&o->lun_lock, NULL);
	pthread_mutex_init(&o->ns_lock, NULL);
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->cond, &attr);
	for (unsigned i = 0; i < CL_NODES_MAX; i++)
		pthread_mutex_init(&o->sessions[i].send_lock, NULL);
	rc = o->files ? csv_lun_open(config->device, &o->lun, error) : -ENOMEM;
	if (rc)
		goto fail;
	csv_layouts_init(&o->layouts, o->files, OWNER_FILES_MAX);
	csv_replay_init(&o->replay);
	rc = record_take(o, error);
	if (rc)
		goto fail;
	taken_ms = csv_owner_now_ms();
	rc = csv_fs_mount(config->data_device, &o->fs, error);
	if (rc)
		goto fail;
	cl_notice("volume %s: mounted in term %llu: record %llu ms, mount %llu ms", config->volume,
		  (unsigned long long)config->term, (unsigned long long)(taken_ms - start_ms),
		  (unsigned long long)(csv_owner_now_ms() - taken_ms));
	/* Who was a client and is not a member was fenced: its layouts died with its key. */
	o->awaited = o->record.clients & config->members;
	o->mode = OWNER_GRACE;
	pthread_mutex_lock(&o->lun_lock);
	if (o->record.clients != o->awaited)
		rc = record_write(o, CSV_TERM_GRACE, o->awaited);
	pthread_mutex_unlock(&o->lun_lock);
	if (rc) {
		snprintf(error, CSV_OWNER_TEXT, "term record of %s: %s", config->volume,
			 strerror(-rc));
		(void)csv_fs_umount(o->fs, UMOUNT_MS);
		goto fail;
	}
	at_once = !o->awaited;
	*ret_owner = o;
	if (at_once)
		grace_end(o);
	return 0;
fail:
	csv_owner_free(o);
	return rc;
}

static void files_forget(struct csv_owner *o)
{
	for (unsigned i = 0; i < OWNER_BUCKETS; i++) {
		while (o->buckets[i]) {
			struct csv_ofile *f = o->buckets[i];

			o->buckets[i] = f->next;
			csv_fs_file_close(f->file);
			pthread_rwlock_destroy(&f->io);
			free(f);
		}
	}
}

/* M3: what is not a disk's is recalled; a disk keeps its layout, marked for reclaim. */
static void layouts_recall(struct csv_owner *o)
{
	for (size_t i = 0; i < o->layouts.capacity; i++) {
		struct csv_fh fh;
		bool ordinary;

		pthread_mutex_lock(&o->lock);
		fh = o->files[i].fh;
		ordinary = o->files[i].used && !o->files[i].x_node &&
			   (o->files[i].readers || o->files[i].writer);
		pthread_mutex_unlock(&o->lock);
		if (!ordinary)
			continue;
		(void)csv_owner_recall(o, fh, CSV_RECALL_ALL, 0, 0);
	}
}

void csv_owner_abandon(struct csv_owner *o)
{
	pthread_mutex_lock(&o->lock);
	o->mode = OWNER_CLOSING;
	o->abandoned = true;
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
}

int csv_owner_release(struct csv_owner *o, char *error)
{
	uint64_t start_ms = csv_owner_now_ms(), drained_ms, unmounted_ms;
	uint32_t users;
	bool abandoned;
	int rc, rc2;

	pthread_mutex_lock(&o->lock);
	o->mode = OWNER_CLOSING;
	abandoned = o->abandoned;
	pthread_cond_broadcast(&o->cond);
	while (o->inside)
		pthread_cond_wait(&o->cond, &o->lock);
	pthread_mutex_unlock(&o->lock);
	if (!abandoned)
		layouts_recall(o);
	pthread_mutex_lock(&o->lock);
	o->unmounting = true;
	while (o->inside)
		pthread_cond_wait(&o->cond, &o->lock);
	users = csv_layout_users(&o->layouts);
	pthread_mutex_unlock(&o->lock);
	drained_ms = csv_owner_now_ms();
	files_forget(o);
	rc = csv_fs_sync(o->fs);
	rc2 = csv_fs_umount(o->fs, UMOUNT_MS);
	unmounted_ms = csv_owner_now_ms();
	if (rc || rc2)
		snprintf(error, CSV_OWNER_TEXT, "umount of %s: %s", o->config.volume,
			 strerror(rc ? -rc : -rc2));
	if (!rc)
		rc = rc2;
	if (!rc && !abandoned) {
		/* Who has nothing open has nothing to reclaim: the next grace need not wait for it.
		 */
		pthread_mutex_lock(&o->lun_lock);
		rc = record_write(o, CSV_TERM_RELEASED, users);
		pthread_mutex_unlock(&o->lun_lock);
		if (rc)
			snprintf(error, CSV_OWNER_TEXT, "term record of %s: %s", o->config.volume,
				 strerror(-rc));
	}
	cl_notice("volume %s: given up in %llu ms: drain and recall %llu, sync and unmount %llu",
		  o->config.volume, (unsigned long long)(csv_owner_now_ms() - start_ms),
		  (unsigned long long)(drained_ms - start_ms),
		  (unsigned long long)(unmounted_ms - drained_ms));
	return rc;
}

/* ---- open files ---- */

static struct csv_ofile **bucket_of(struct csv_owner *o, struct csv_fh fh)
{
	return &o->buckets[(fh.ino * 0x9e3779b97f4a7c15ull >> 40) % OWNER_BUCKETS];
}

int csv_owner_file_get(struct csv_owner *o, struct csv_fh fh, struct csv_ofile **ret_file)
{
	struct csv_ofile *f, *made = NULL;
	int rc;

	for (;;) {
		pthread_mutex_lock(&o->lock);
		for (f = *bucket_of(o, fh); f && !csv_fh_equal(f->fh, fh); f = f->next)
			;
		if (!f && made) {
			f = made;
			made = NULL;
			f->next = *bucket_of(o, fh);
			*bucket_of(o, fh) = f;
		}
		if (f)
			f->refs++;
		pthread_mutex_unlock(&o->lock);
		if (f)
			break;
		made = calloc(1, sizeof(*made));
		if (!made)
			return -ENOMEM;
		made->fh = fh;
		rc = csv_fs_file_open(o->fs, fh, &made->file);
		if (rc) {
			free(made);
			return rc;
		}
		csv_fairlock_init(&made->io);
	}
	if (made) {
		csv_fs_file_close(made->file);
		pthread_rwlock_destroy(&made->io);
		free(made);
	}
	*ret_file = f;
	return 0;
}

/* Under lock. Unlinks it if nobody uses it and it is open nowhere. */
static struct csv_ofile *file_reap(struct csv_owner *o, struct csv_fh fh)
{
	struct csv_ofile **at = bucket_of(o, fh);
	struct csv_ofile *f;

	while (*at && !csv_fh_equal((*at)->fh, fh))
		at = &(*at)->next;
	f = *at;
	if (!f || f->refs || csv_layout_find(&o->layouts, fh))
		return NULL;
	*at = f->next;
	return f;
}

static void file_free(struct csv_ofile *f)
{
	if (!f)
		return;
	csv_fs_file_close(f->file);
	pthread_rwlock_destroy(&f->io);
	free(f);
}

void csv_owner_file_put(struct csv_owner *o, struct csv_ofile *f)
{
	struct csv_fh fh = f->fh;

	pthread_mutex_lock(&o->lock);
	f->refs--;
	f = file_reap(o, fh);
	pthread_mutex_unlock(&o->lock);
	file_free(f);
}

void csv_owner_file_gone(struct csv_owner *o, struct csv_fh fh, bool orphan)
{
	struct csv_ofile *f;

	pthread_mutex_lock(&o->ns_lock);
	pthread_mutex_lock(&o->lock);
	f = file_reap(o, fh);
	if (csv_layout_find(&o->layouts, fh))
		orphan = false; /* opened again meanwhile: cannot be, but never delete then */
	pthread_mutex_unlock(&o->lock);
	file_free(f);
	if (orphan && csv_fs_orphan_delete(o->fs, fh))
		cl_warning("volume %s: hidden file %llx is still there", o->config.volume,
			   (unsigned long long)fh.ino);
	pthread_mutex_unlock(&o->ns_lock);
}

/* ---- sessions ---- */

struct gone_list {
	struct csv_owner *o;
	struct csv_fh fh[64];
	unsigned n;
};

static void gone_add(void *arg, struct csv_fh fh)
{
	struct gone_list *g = arg;

	/* More than fit wait in the hidden folder for the next grace: nothing is lost. */
	if (g->n < CL_ARRAY_LEN(g->fh))
		g->fh[g->n++] = fh;
}

/* Under lock: this is the owner that is asked for, and it serves. */
static bool serves(const struct csv_owner *o, uint64_t term)
{
	return o->mode != OWNER_CLOSING && term == o->config.term;
}

/* Under lock, for a time: what the session's operations still do would come after what is said now.
 */
static int session_drain(struct csv_owner *o, const struct csv_osession *s)
{
	struct timespec until =
		csv_owner_deadline(o->config.recall_ms < DRAIN_MS ? o->config.recall_ms : DRAIN_MS);

	while (s->inside)
		if (csv_owner_wait(o, &until))
			return -EBUSY;
	return 0;
}

/* Under lock. */
static int32_t session_begin(struct csv_owner *o, uint32_t node, uint64_t instance, uint64_t key,
			     uint64_t term)
{
	struct csv_osession *s = &o->sessions[node - 1];

	/* The csvd before it left an operation behind: it could land on what the new one writes. */
	if (s->up && s->instance != instance) {
		s->up = false;
		if (session_drain(o, s))
			return CSV_STATUS_MOVED;
	}
	if (!serves(o, term))
		return CSV_STATUS_MOVED;
	if (s->gone && key == s->key)
		return -EACCES;
	s->instance = instance;
	s->key = key;
	s->gone = false;
	s->up = true;
	s->reclaimed = false;
	csv_replay_client(&o->replay, node, instance);
	csv_layout_session_begin(&o->layouts, node);
	return 0;
}

int32_t csv_owner_hello(struct csv_owner *o, uint32_t node, uint64_t instance, uint64_t key,
			uint64_t term, const struct csv_recall_sink *sink, bool *ret_active)
{
	struct csv_osession *s;
	int32_t status = 0;

	if (node < 1 || node > CL_NODES_MAX)
		return -EINVAL;
	s = &o->sessions[node - 1];
	pthread_mutex_lock(&o->lock);
	if (s->gone && key == s->key)
		status = -EACCES;
	else if (!serves(o, term) || (!sink && (!s->up || s->instance != instance)))
		status = CSV_STATUS_MOVED;
	/* Keeps a release from writing the record beside the note. */
	if (!status)
		o->inside++;
	*ret_active = o->mode == OWNER_ACTIVE;
	pthread_mutex_unlock(&o->lock);
	if (status)
		return status;
	if (sink && client_note(o, node))
		status = CSV_STATUS_MOVED;
	pthread_mutex_lock(&o->lock);
	if (!status && sink)
		status = session_begin(o, node, instance, key, term);
	*ret_active = o->mode == OWNER_ACTIVE;
	pthread_mutex_unlock(&o->lock);
	if (!status && sink) {
		pthread_mutex_lock(&s->send_lock);
		s->sink = *sink;
		pthread_mutex_unlock(&s->send_lock);
	}
	csv_owner_leave(o);
	return status;
}

void csv_owner_goodbye(struct csv_owner *o, uint32_t node, const void *sink_arg)
{
	struct csv_osession *s = &o->sessions[node - 1];

	pthread_mutex_lock(&s->send_lock);
	if (s->sink.send && s->sink.arg == sink_arg)
		s->sink = (struct csv_recall_sink){ 0 };
	pthread_mutex_unlock(&s->send_lock);
}

static void recall_send(struct csv_owner *o, uint32_t nodes, struct csv_fh fh, uint64_t seq,
			uint32_t flags)
{
	for (uint32_t node = 1; node <= CL_NODES_MAX; node++) {
		struct csv_osession *s = &o->sessions[node - 1];

		if (!(nodes & csv_node_bit(node)))
			continue;
		pthread_mutex_lock(&s->send_lock);
		if (s->sink.send)
			(void)s->sink.send(s->sink.arg, fh, seq, flags);
		pthread_mutex_unlock(&s->send_lock);
	}
}

void csv_owner_reclaim_done(struct csv_owner *o, uint32_t node)
{
	struct gone_list gone = { .o = o };
	bool end;

	/* The caller is inside. */
	pthread_mutex_lock(&o->lock);
	csv_layout_session_end(&o->layouts, node, gone_add, &gone);
	o->sessions[node - 1].reclaimed = true;
	end = o->mode == OWNER_GRACE && o->awaited && !(o->awaited &= ~csv_node_bit(node));
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
	for (unsigned i = 0; i < gone.n; i++)
		csv_owner_file_gone(o, gone.fh[i], true);
	if (end)
		grace_end(o);
	/* Recalls that it missed while it was away: only disks can still hold something. */
	for (size_t i = 0; i < o->layouts.capacity; i++) {
		struct csv_fh fh;
		uint64_t seq;
		bool again;

		pthread_mutex_lock(&o->lock);
		fh = o->files[i].fh;
		seq = o->files[i].seq;
		again = o->files[i].used && (o->files[i].recalled & csv_node_bit(node));
		pthread_mutex_unlock(&o->lock);
		if (again)
			recall_send(o, csv_node_bit(node), fh, seq, CSV_RECALL_DISPLACED);
	}
}

/* What a fenced node had is free; who held a name only until now is deleted. */
static void node_sweep(struct csv_owner *o, uint32_t node, bool *ret_end)
{
	struct gone_list gone = { .o = o };

	csv_layout_node_gone(&o->layouts, node, gone_add, &gone);
	*ret_end = o->mode == OWNER_GRACE && o->awaited && !(o->awaited &= ~csv_node_bit(node));
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
	for (unsigned i = 0; i < gone.n; i++)
		csv_owner_file_gone(o, gone.fh[i], true);
	pthread_mutex_lock(&o->lock);
}

int csv_owner_member_gone(struct csv_owner *o, uint32_t node)
{
	struct csv_osession *s = &o->sessions[node - 1];
	bool end, late_end = false;
	int rc;

	if (!csv_owner_enter(o))
		return 0; /* it drains as a whole */
	pthread_mutex_lock(&o->lock);
	s->up = false;
	s->gone = true;
	/* At once, since others wait for its returns; and again for what was admitted to it
	 * meanwhile. */
	node_sweep(o, node, &end);
	rc = session_drain(o, s);
	if (!rc)
		node_sweep(o, node, &late_end);
	pthread_mutex_unlock(&o->lock);
	pthread_mutex_lock(&o->lun_lock);
	if (!rc && o->record.clients & csv_node_bit(node))
		(void)record_write(o, o->record.state, o->record.clients & ~csv_node_bit(node));
	pthread_mutex_unlock(&o->lun_lock);
	if (end || late_end)
		grace_end(o);
	if (rc)
		cl_warning(
			"volume %s: an operation of node %u, which was fenced, is still under way",
			o->config.volume, node);
	csv_owner_leave(o);
	return rc;
}

/* ---- recalls ---- */

struct timespec csv_owner_deadline(uint32_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	return until;
}

int csv_owner_wait(struct csv_owner *o, const struct timespec *until)
{
	if (o->abandoned)
		return -ESHUTDOWN;
	return -pthread_cond_timedwait(&o->cond, &o->lock, until);
}

/* A recall that has begun: tells whom it concerns and waits. Called without locks. */
static int recall_wait(struct csv_owner *o, struct csv_fh fh, uint32_t tell, uint64_t seq,
		       uint32_t except, uint32_t flags)
{
	struct timespec until = csv_owner_deadline(o->config.recall_ms);
	uint32_t missing = 0;
	int rc = 0;

	recall_send(o, tell, fh, seq, flags);
	pthread_mutex_lock(&o->lock);
	while (!rc && csv_layout_awaited(&o->layouts, fh, except))
		rc = csv_owner_wait(o, &until);
	if (rc == -ETIMEDOUT)
		missing = csv_layout_awaited(&o->layouts, fh, except);
	pthread_mutex_unlock(&o->lock);
	if (missing)
		o->config.unanswered(o->config.arg, missing, fh);
	return rc;
}

int csv_owner_recall(struct csv_owner *o, struct csv_fh fh, enum csv_recall_scope scope,
		     uint32_t except, uint32_t flags)
{
	uint32_t tell;
	uint64_t seq;
	int rc;

	pthread_mutex_lock(&o->lock);
	tell = csv_layout_recall_begin(&o->layouts, fh, scope, except, &seq);
	pthread_mutex_unlock(&o->lock);
	if (!seq)
		return 0;
	rc = recall_wait(o, fh, tell, seq, except, flags);
	csv_owner_change_end(o, fh, false);
	return rc;
}

int csv_owner_change_begin(struct csv_op_ctx *c, struct csv_fh fh, uint32_t own_node)
{
	struct csv_owner *o = c->o;
	/* An exclusive open ends after two recalls' time at most. */
	struct timespec until = csv_owner_deadline(3 * o->config.recall_ms);
	enum csv_change what;
	uint32_t tell;
	uint64_t seq;
	int rc = 0;

	pthread_mutex_lock(&o->lock);
	while (!rc) {
		/* Fenced while it waited: it has come too late. */
		if (!o->sessions[c->peer->node - 1].up) {
			rc = -ESHUTDOWN;
			break;
		}
		what = csv_layout_change_begin(&o->layouts, fh, own_node, &tell, &seq);
		if (what == CSV_CHANGE_OK)
			break;
		if (what == CSV_CHANGE_WAIT)
			rc = csv_owner_wait(o, &until);
		else
			rc = what == CSV_CHANGE_FULL ? -ENFILE : -ETXTBSY;
	}
	pthread_mutex_unlock(&o->lock);
	if (rc)
		return rc;
	rc = recall_wait(o, fh, tell, seq, own_node, 0);
	if (rc)
		csv_owner_change_end(o, fh, false);
	return rc;
}

void csv_owner_change_end(struct csv_owner *o, struct csv_fh fh, bool quiet)
{
	bool orphan;

	pthread_mutex_lock(&o->lock);
	orphan = csv_layout_recall_end(&o->layouts, fh, csv_owner_now_ms(), quiet);
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
	if (orphan)
		csv_owner_file_gone(o, fh, true);
}

void csv_owner_returned(struct csv_owner *o, uint32_t node, struct csv_fh fh, uint64_t seq,
			uint32_t flags)
{
	bool touch = flags & CSV_IO_WROTE && csv_owner_enter(o);
	struct csv_ofile *f;

	pthread_mutex_lock(&o->lock);
	(void)csv_layout_returned(&o->layouts, fh, node, seq);
	pthread_cond_broadcast(&o->cond);
	pthread_mutex_unlock(&o->lock);
	/* Afterwards: it costs a write to the journal, and a VM may be waiting between two nodes.
	 */
	if (touch && !csv_owner_file_get(o, fh, &f)) {
		(void)csv_fs_touch(f->file);
		csv_owner_file_put(o, f);
	}
	if (touch)
		csv_owner_leave(o);
}

/* ---- status ---- */

uint32_t csv_owner_opens(struct csv_owner *o, uint32_t *ret_layouts)
{
	uint32_t opens = 0, layouts = 0;

	pthread_mutex_lock(&o->lock);
	for (size_t i = 0; i < o->layouts.capacity; i++) {
		const struct csv_lfile *f = &o->files[i];

		if (!f->used)
			continue;
		opens++;
		layouts += f->writer || f->readers;
	}
	pthread_mutex_unlock(&o->lock);
	*ret_layouts = layouts;
	return opens;
}

json_t *csv_owner_status(struct csv_owner *o)
{
	static const char *const modes[] = { "grace", "active", "closing" };
	json_t *files = json_array(), *wait = json_array();
	json_t *st;

	pthread_mutex_lock(&o->lock);
	for (uint32_t n = 1; n <= CL_NODES_MAX; n++)
		if (o->awaited & csv_node_bit(n))
			json_array_append_new(wait, json_integer(n));
	for (size_t i = 0; i < o->layouts.capacity; i++) {
		const struct csv_lfile *f = &o->files[i];

		if (!f->used)
			continue;
		json_array_append_new(
			files, json_pack("{s:I,s:i,s:i,s:i,s:i,s:b,s:i,s:I,s:s}", "ino",
					 (json_int_t)f->fh.ino, "opens", (int)f->opens, "readers",
					 (int)f->readers, "writer", (int)f->writer, "recalled",
					 (int)f->recalled, "orphan", f->orphan, "exclusive",
					 (int)f->x_node, "generation",
					 (json_int_t)(f->x_node ? f->x_generation : 0), "vm",
					 f->x_node ? f->x_vm : ""));
	}
	st = json_pack("{s:s,s:I,s:o,s:o}", "state", modes[o->mode], "term",
		       (json_int_t)o->config.term, "awaited", wait, "files", files);
	pthread_mutex_unlock(&o->lock);
	return st;
}

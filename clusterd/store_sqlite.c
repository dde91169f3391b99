/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SQLite store; see store_sqlite.h.  The connection is used by the opener until
 * cd_store_start(), then only by the thread.
 *
 * A transaction that fails for want of room is rolled back and tried again whole, so that an
 * operation is never half done or reported before its time.  An I/O error ends the store: Linux
 * tells of a failed write-back once and then calls the page clean, so a second fsync() that
 * succeeds proves nothing.  The next start writes what it reads from the write-ahead log into the
 * file itself before it believes any of it.
 */
#include "clusterd/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"

#define STORE_APPLICATION_ID 0x48464c44 /* "HFLD" */
#define STORE_VERSION	     1
#define STORE_EVENTS_KEPT    20000
#define STORE_RETRY_MS	     1000
#define STORE_EVENTS_WAIT_MS 200 /* for a transaction that has to be anyway */

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE entry(seq INTEGER PRIMARY KEY, epoch INTEGER, hash INTEGER, kind INTEGER,"
	" origin INTEGER, voter_add INTEGER, cookie INTEGER, bytes BLOB);"
	"CREATE TABLE snapshot(one INTEGER PRIMARY KEY CHECK(one=1), epoch INTEGER, seq INTEGER,"
	" hash INTEGER, voters INTEGER, crc INTEGER, data BLOB);"
	"CREATE TABLE event(id INTEGER PRIMARY KEY, seq INTEGER, idx INTEGER, ts_ms INTEGER,"
	" json TEXT);"
	"CREATE UNIQUE INDEX event_once ON event(seq, idx) WHERE seq > 0;";

struct store_op {
	struct store_op *next;
	bool is_event;
	struct log_out out; /* pointers into this allocation */
	struct cd_event event;
	struct log_entry *entry;
	char *data;
};

/* lock guards head, tail, urgent and counts. */
struct cd_store {
	sqlite3 *db;
	char *path;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct store_op *head, **tail;
	bool urgent; /* more than events is queued */
	struct cd_store_counts counts;
	struct cd_post *post;
	const struct cd_store_ops *ops;
	void *arg;
	bool in_trouble;
};

static int fail(char **ret_error, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* One line, whatever SQLite says of the file. */
static int fail(char **ret_error, int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (ret_error && vasprintf(ret_error, format, ap) < 0)
		*ret_error = NULL;
	for (char *p = ret_error ? *ret_error : NULL; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	va_end(ap);
	return rc;
}

/* One statement; values by letter: I u64, T text, B blob and length.  Rows to each(), if given. */
static int run(sqlite3 *db, const char *sql, void (*each)(void *arg, sqlite3_stmt *row), void *arg,
	       const char *kinds, ...)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), i = 1;
	va_list ap;

	if (rc != SQLITE_OK)
		return rc;
	va_start(ap, kinds);
	for (const char *k = kinds; *k && rc == SQLITE_OK; k++, i++) {
		if (*k == 'I') {
			rc = sqlite3_bind_int64(stmt, i, (sqlite3_int64)va_arg(ap, uint64_t));
		} else if (*k == 'T') {
			rc = sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
		} else {
			const void *blob = va_arg(ap, const void *);
			size_t len = va_arg(ap, size_t);

			rc = sqlite3_bind_blob64(stmt, i, blob ? blob : "", len, SQLITE_STATIC);
		}
	}
	va_end(ap);
	while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (each)
			each(arg, stmt);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void take_u64(void *arg, sqlite3_stmt *row)
{
	*(uint64_t *)arg = (uint64_t)sqlite3_column_int64(row, 0);
}

static void take_text(void *arg, sqlite3_stmt *row)
{
	const unsigned char *text = sqlite3_column_text(row, 0);

	snprintf(arg, 64, "%s", text ? (const char *)text : "");
}

static uint64_t meta_u64(sqlite3 *db, const char *key)
{
	uint64_t value = 0;

	run(db, "SELECT value FROM meta WHERE key=?", take_u64, &value, "T", key);
	return value;
}

static int meta_set(sqlite3 *db, const char *key, uint64_t value)
{
	return run(db, "INSERT OR REPLACE INTO meta VALUES(?,?)", NULL, NULL, "TI", key, value);
}

static void uuid_hex(const uint8_t uuid[CL_UUID_BYTES], char out[2 * CL_UUID_BYTES + 1])
{
	for (unsigned i = 0; i < CL_UUID_BYTES; i++)
		sprintf(out + 2 * i, "%02x", uuid[i]);
}

/* Everything in one transaction of a file that nobody knows yet; it gets its name when it is whole. */
static int store_fill(sqlite3 *db, const char *uuid, uint32_t node)
{
	char sql[160];
	int rc;

	snprintf(sql, sizeof(sql),
		 "PRAGMA synchronous=EXTRA; BEGIN IMMEDIATE; PRAGMA application_id=%d;"
		 " PRAGMA user_version=%d;",
		 STORE_APPLICATION_ID, STORE_VERSION);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = run(db, "INSERT INTO meta VALUES('cluster',?)", NULL, NULL, "T", uuid);
	if (rc == SQLITE_OK)
		rc = meta_set(db, "node", node);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "COMMIT; PRAGMA journal_mode=WAL;", NULL, NULL, NULL);
	return rc;
}

static int dir_sync(const char *path)
{
	char folder[CD_PATH_MAX];
	CL_CLEANUP_CLOSE int fd = -1;

	snprintf(folder, sizeof(folder), "%s", path);
	fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int store_create(const char *path, const char *uuid, uint32_t node, char **ret_error)
{
	static const char *const parts[] = { "", "-journal", "-wal", "-shm" };
	char new[CD_PATH_MAX + 8], part[CD_PATH_MAX + 24];
	sqlite3 *db = NULL;
	mode_t old;
	int rc;

	if (strlen(path) >= CD_PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(new, sizeof(new), "%s.new", path);
	/* What a creation that was cut off left. */
	for (unsigned i = 0; i < CL_ARRAY_LEN(parts); i++) {
		snprintf(part, sizeof(part), "%s%s", new, parts[i]);
		if (unlink(part) < 0 && errno != ENOENT)
			return fail(ret_error, -errno, "%s: %s", part, strerror(errno));
	}
	old = umask(0077);
	rc = sqlite3_open_v2(new, &db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	umask(old);
	if (rc == SQLITE_OK)
		rc = store_fill(db, uuid, node);
	if (rc != SQLITE_OK)
		rc = fail(ret_error, -EIO, "%s: cannot create: %s", path,
			  db ? sqlite3_errmsg(db) : "out of memory");
	sqlite3_close(db);
	if (rc == 0 && rename(new, path) < 0)
		rc = -errno;
	if (rc == 0)
		rc = dir_sync(path);
	if (rc < 0 && !*ret_error)
		fail(ret_error, rc, "%s: cannot create: %s", path, strerror(-rc));
	return rc;
}

static int store_check(struct cd_store *store, const char *uuid, uint32_t node, char **ret_error)
{
	uint64_t app = 0, version = 0, its_node;
	char its_uuid[64] = "", result[64] = "";
	int rc = run(store->db, "PRAGMA application_id", take_u64, &app, "");

	if (rc == SQLITE_NOTADB)
		return fail(ret_error, -EBADMSG, "%s: not a state file of Holdfast: no SQLite file",
			    store->path);
	if (rc != SQLITE_OK)
		return fail(ret_error, -EBADMSG, "%s: damaged state file: %s", store->path,
			    sqlite3_errmsg(store->db));
	if (app != STORE_APPLICATION_ID)
		return fail(ret_error, -EBADMSG,
			    "%s: not a state file of Holdfast: application id 0x%llx, expected 0x%x",
			    store->path, (unsigned long long)app, STORE_APPLICATION_ID);
	run(store->db, "PRAGMA user_version", take_u64, &version, "");
	if (version != STORE_VERSION)
		return fail(ret_error, -EBADMSG, "%s: format version %llu, this clusterd reads %d",
			    store->path, (unsigned long long)version, STORE_VERSION);
	rc = run(store->db, "PRAGMA quick_check(1)", take_text, result, "");
	if (rc != SQLITE_OK || strcmp(result, "ok") != 0)
		return fail(ret_error, -EBADMSG, "%s: damaged state file: %s", store->path,
			    rc != SQLITE_OK ? sqlite3_errmsg(store->db) : result);
	run(store->db, "SELECT value FROM meta WHERE key='cluster'", take_text, its_uuid, "");
	its_node = meta_u64(store->db, "node");
	if (strcmp(its_uuid, uuid) != 0 || its_node != node)
		return fail(ret_error, -EBADMSG,
			    "%s: belongs to node %llu of cluster %s, this is node %u of cluster %s",
			    store->path, (unsigned long long)its_node, its_uuid, node, uuid);
	return 0;
}

int cd_store_open(const char *path, const uint8_t uuid[CL_UUID_BYTES], uint32_t node, bool create,
		  struct cd_store **ret_store, char **ret_error)
{
	struct cd_store *store = calloc(1, sizeof(*store));
	char hex[2 * CL_UUID_BYTES + 1];
	pthread_condattr_t attr;
	struct stat st;
	bool fresh;
	int rc;

	*ret_error = NULL;
	if (!store || !(store->path = strdup(path))) {
		free(store);
		return -ENOMEM;
	}
	pthread_mutex_init(&store->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&store->wake, &attr);
	pthread_condattr_destroy(&attr);
	store->tail = &store->head;
	uuid_hex(uuid, hex);
	fresh = stat(path, &st) < 0;
	/* An empty file is a database to SQLite; to us it is a state file that was cut off. */
	if (!fresh && st.st_size == 0) {
		rc = fail(ret_error, -EBADMSG, "%s: damaged state file: it is empty", path);
		goto out;
	}
	if (fresh && create && (rc = store_create(path, hex, node, ret_error)) < 0)
		goto out;
	rc = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK) {
		rc = fail(ret_error, fresh ? -ENOENT : -EIO, "%s: cannot open: %s", path,
			  store->db ? sqlite3_errmsg(store->db) : "out of memory");
		goto out;
	}
	sqlite3_busy_timeout(store->db, 5000);
	rc = store_check(store, hex, node, ret_error);
	if (rc < 0)
		goto out;
	if (sqlite3_exec(store->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", NULL, NULL,
			 NULL) != SQLITE_OK ||
	    cd_store_checkpoint(store) < 0)
		rc = fail(ret_error, -EIO, "%s: %s", path, sqlite3_errmsg(store->db));
out:
	if (rc < 0)
		cd_store_close(store);
	else
		*ret_store = store;
	return rc;
}

void cd_store_close(struct cd_store *store)
{
	if (!store)
		return;
	sqlite3_close(store->db);
	free(store->path);
	free(store);
}

int cd_store_checkpoint(struct cd_store *store)
{
	return sqlite3_exec(store->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) ==
			       SQLITE_OK ?
		       0 :
		       -EIO;
}

struct restore {
	struct replica *replica;
	unsigned records;
	int rc;
	uint64_t seq, promise;
};

static void restore_vouched(void *arg, sqlite3_stmt *row)
{
	struct restore *r = arg;

	r->rc = replica_restore_promise(r->replica, r->promise, sqlite3_column_blob(row, 0),
					(size_t)sqlite3_column_bytes(row, 0));
}

static void restore_snapshot(void *arg, sqlite3_stmt *row)
{
	struct restore *r = arg;
	struct log_mark mark = {
		.epoch = (uint64_t)sqlite3_column_int64(row, 0),
		.seq = (uint64_t)sqlite3_column_int64(row, 1),
		.hash = (uint64_t)sqlite3_column_int64(row, 2),
	};
	const void *data = sqlite3_column_blob(row, 5);
	size_t len = (size_t)sqlite3_column_bytes(row, 5);

	r->seq = mark.seq;
	r->records++;
	if ((uint32_t)sqlite3_column_int64(row, 4) != cl_crc32c(0, data, len))
		r->rc = -EBADMSG;
	else
		r->rc = replica_restore_snapshot(r->replica, mark, (log_nodes)sqlite3_column_int(row, 3),
					     data, len);
}

static void restore_entry(void *arg, sqlite3_stmt *row)
{
	struct restore *r = arg;
	struct log_entry *entry;
	const void *bytes = sqlite3_column_blob(row, 6);
	size_t len = (size_t)sqlite3_column_bytes(row, 6);

	if (r->rc < 0)
		return;
	r->records++;
	entry = calloc(1, sizeof(*entry));
	r->seq = (uint64_t)sqlite3_column_int64(row, 0);
	if (!entry || len > sizeof(entry->bytes)) {
		r->rc = entry ? -EBADMSG : -ENOMEM;
		free(entry);
		return;
	}
	entry->mark.seq = r->seq;
	entry->mark.epoch = (uint64_t)sqlite3_column_int64(row, 1);
	entry->mark.hash = (uint64_t)sqlite3_column_int64(row, 2);
	entry->kind = (uint8_t)sqlite3_column_int(row, 3);
	entry->origin = (uint8_t)sqlite3_column_int(row, 4);
	entry->voter_add = (uint8_t)sqlite3_column_int(row, 5);
	entry->cookie = (uint64_t)sqlite3_column_int64(row, 7);
	entry->len_bytes = (uint32_t)len;
	if (len)
		memcpy(entry->bytes, bytes, len);
	r->rc = replica_restore_entry(r->replica, entry);
	free(entry);
}

int cd_store_restore(struct cd_store *store, struct replica *replica, uint64_t *ret_commit,
		     bool *ret_empty, char **ret_error)
{
	uint64_t promise = meta_u64(store->db, "promise");
	struct restore r = { .replica = replica, .promise = promise };
	int rc;

	/* A store of before has no table: nothing is known of the others then. */
	r.rc = replica_restore_promise(replica, promise, "", 0);
	rc = run(store->db, "SELECT value FROM meta WHERE key='vouched'", restore_vouched, &r, "");
	if (rc != SQLITE_OK || r.rc < 0)
		return fail(ret_error, -EBADMSG, "%s: damaged state file: promise", store->path);
	rc = run(store->db, "SELECT epoch,seq,hash,voters,crc,data FROM snapshot", restore_snapshot,
		 &r, "");
	if (rc == SQLITE_OK && r.rc == 0)
		rc = run(store->db,
			 "SELECT seq,epoch,hash,kind,origin,voter_add,bytes,cookie FROM entry"
			 " ORDER BY seq",
			 restore_entry, &r, "");
	if (rc != SQLITE_OK)
		return fail(ret_error, -EBADMSG, "%s: damaged state file: %s", store->path,
			    sqlite3_errmsg(store->db));
	if (r.rc < 0)
		return fail(ret_error, -EBADMSG,
			    "%s: damaged state file: record %llu does not continue the log",
			    store->path, (unsigned long long)r.seq);
	*ret_commit = meta_u64(store->db, "commit");
	*ret_empty = !r.records && !promise;
	return 0;
}

static int op_run(sqlite3 *db, const struct store_op *op)
{
	const struct log_out *out = &op->out;
	int rc;

	if (op->is_event)
		return run(db, "INSERT OR IGNORE INTO event VALUES(?,?,?,?,?)", NULL, NULL, "IIIIT",
			   op->event.id, op->event.seq, (uint64_t)op->event.index,
			   (uint64_t)op->event.ts_ms, op->event.json);
	switch (out->store) {
	case LOG_STORE_APPEND:
		return run(db, "INSERT INTO entry VALUES(?,?,?,?,?,?,?,?)", NULL, NULL, "IIIIIIIB",
			   op->entry->mark.seq, op->entry->mark.epoch, op->entry->mark.hash,
			   (uint64_t)op->entry->kind, (uint64_t)op->entry->origin,
			   (uint64_t)op->entry->voter_add, op->entry->cookie, op->entry->bytes,
			   (size_t)op->entry->len_bytes);
	case LOG_STORE_TRUNCATE:
		return run(db, "DELETE FROM entry WHERE seq>?", NULL, NULL, "I", out->mark.seq);
	case LOG_STORE_PROMISE:
		rc = meta_set(db, "promise", out->epoch);
		if (rc != SQLITE_OK)
			return rc;
		return run(db, "INSERT OR REPLACE INTO meta VALUES('vouched',?)", NULL, NULL, "B",
			   op->data, out->len_bytes);
	case LOG_STORE_SNAPSHOT:
		rc = run(db, "INSERT OR REPLACE INTO snapshot VALUES(1,?,?,?,?,?,?)", NULL, NULL,
			 "IIIIIB", out->mark.epoch, out->mark.seq, out->mark.hash,
			 (uint64_t)out->voters, (uint64_t)cl_crc32c(0, op->data, out->len_bytes),
			 op->data, out->len_bytes);
		if (rc != SQLITE_OK)
			return rc;
		return out->reset ? run(db, "DELETE FROM entry", NULL, NULL, "") :
				    run(db, "DELETE FROM entry WHERE seq<=?", NULL, NULL, "I",
					out->mark.seq);
	}
	return SQLITE_MISUSE;
}

/* One transaction, one fsync, however many operations wait. */
static int batch_run(struct cd_store *store, struct store_op *list)
{
	int rc = sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	const struct store_op *last = NULL;

	for (struct store_op *op = list; op && rc == SQLITE_OK; op = op->next) {
		rc = op_run(store->db, op);
		if (!op->is_event)
			last = op;
		else if (rc == SQLITE_OK && op->event.id % 1000 == 0)
			rc = run(store->db, "DELETE FROM event WHERE id<=?", NULL, NULL, "I",
				 op->event.id > STORE_EVENTS_KEPT ?
					 op->event.id - STORE_EVENTS_KEPT :
					 (uint64_t)0);
	}
	if (rc == SQLITE_OK && last)
		rc = meta_set(store->db, "commit", last->out.commit);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
	return rc;
}

/* What another try can mend; anything else leaves unknown what is on disk. */
static bool passing(int rc)
{
	return (rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_NOMEM;
}

enum notice { DURABLE, TROUBLE, WELL, OVER };

struct store_notice {
	struct cd_store *store;
	uint64_t op;
	enum notice kind;
	char text[256];
};

static void notice_run(void *arg)
{
	struct store_notice *notice = arg;
	struct cd_store *store = notice->store;

	switch (notice->kind) {
	case DURABLE:
		store->ops->durable(store->arg, notice->op);
		break;
	case TROUBLE:
		store->ops->trouble(store->arg, notice->text);
		break;
	case WELL:
		store->ops->trouble(store->arg, NULL);
		break;
	case OVER:
		store->ops->over(store->arg, notice->text);
		break;
	}
	free(notice);
}

static void notice_post(struct cd_store *store, enum notice kind, uint64_t op)
{
	struct store_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		abort();
	notice->store = store;
	notice->op = op;
	notice->kind = kind;
	if (kind == TROUBLE || kind == OVER)
		snprintf(notice->text, sizeof(notice->text), "%s: %s", store->path,
			 sqlite3_errmsg(store->db));
	cd_post_call(store->post, notice_run, notice);
}

/*
 * Everything that is queued.  Nobody waits for an event to be durable: alone they wait a
 * little for a transaction, so that theirs is not in the way of an entry that a guest's pause waits for.
 */
static struct store_op *batch_take(struct cd_store *store)
{
	struct store_op *list;
	struct timespec end;
	int rc = 0;

	pthread_mutex_lock(&store->lock);
	while (!store->head)
		pthread_cond_wait(&store->wake, &store->lock);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += STORE_EVENTS_WAIT_MS * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000L;
	end.tv_nsec %= 1000000000L;
	while (!store->urgent && rc == 0)
		rc = pthread_cond_timedwait(&store->wake, &store->lock, &end);
	list = store->head;
	store->head = NULL;
	store->tail = &store->head;
	store->urgent = false;
	pthread_mutex_unlock(&store->lock);
	return list;
}

struct cd_store_counts cd_store_counts_get(struct cd_store *store)
{
	struct cd_store_counts counts;

	pthread_mutex_lock(&store->lock);
	counts = store->counts;
	pthread_mutex_unlock(&store->lock);
	return counts;
}

static void batch_count(struct cd_store *store, const struct store_op *list)
{
	pthread_mutex_lock(&store->lock);
	store->counts.commits++;
	for (; list; list = list->next)
		store->counts.entries += list->entry != NULL;
	pthread_mutex_unlock(&store->lock);
}

static void batch_free(struct store_op *list, uint64_t *ret_last)
{
	struct store_op *op;

	*ret_last = 0;
	while ((op = list)) {
		list = op->next;
		if (!op->is_event)
			*ret_last = op->out.op;
		free(op->entry);
		free(op->data);
		free(op);
	}
}

static void *store_thread(void *arg)
{
	struct cd_store *store = arg;

	for (;;) {
		struct store_op *list = batch_take(store);
		uint64_t last;
		int rc;

		while ((rc = batch_run(store, list)) != SQLITE_OK) {
			if (!store->in_trouble || !passing(rc))
				notice_post(store, passing(rc) ? TROUBLE : OVER, 0);
			sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
			store->in_trouble = true;
			if (!passing(rc)) {
				batch_free(list, &last);
				return NULL;
			}
			poll(NULL, 0, STORE_RETRY_MS);
		}
		if (store->in_trouble)
			notice_post(store, WELL, 0);
		store->in_trouble = false;
		batch_count(store, list);
		batch_free(list, &last);
		if (last)
			notice_post(store, DURABLE, last);
	}
}

int cd_store_start(struct cd_store *store, struct cd_post *post, const struct cd_store_ops *ops,
		   void *arg)
{
	sigset_t all, old;
	pthread_t thread;
	int err;

	store->post = post;
	store->ops = ops;
	store->arg = arg;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&thread, NULL, store_thread, store);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		pthread_detach(thread);
	return -err;
}

static void op_queue(struct cd_store *store, struct store_op *op)
{
	pthread_mutex_lock(&store->lock);
	*store->tail = op;
	store->tail = &op->next;
	store->urgent |= !op->is_event;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

void cd_store_write(struct cd_store *store, const struct log_out *out)
{
	struct store_op *op = must(calloc(1, sizeof(*op)));

	op->out = *out;
	if (out->store == LOG_STORE_APPEND) {
		op->entry = must(malloc(sizeof(*op->entry)));
		*op->entry = *out->entry;
	} else if (out->store == LOG_STORE_SNAPSHOT || out->store == LOG_STORE_PROMISE) {
		op->data = must(malloc(out->len_bytes + 1));
		memcpy(op->data, out->data, out->len_bytes);
	}
	op_queue(store, op);
}

void cd_store_event(struct cd_store *store, const struct cd_event *event)
{
	struct store_op *op = must(calloc(1, sizeof(*op)));

	op->is_event = true;
	op->event = *event;
	op->data = must(strdup(event->json));
	op->event.json = op->data;
	op_queue(store, op);
}

struct events_load {
	void (*each)(void *arg, const struct cd_event *event);
	void *arg;
};

static void event_row(void *arg, sqlite3_stmt *row)
{
	struct events_load *load = arg;
	struct cd_event event = {
		.id = (uint64_t)sqlite3_column_int64(row, 0),
		.seq = (uint64_t)sqlite3_column_int64(row, 1),
		.index = (uint32_t)sqlite3_column_int64(row, 2),
		.ts_ms = sqlite3_column_int64(row, 3),
		.json = (const char *)sqlite3_column_text(row, 4),
	};

	load->each(load->arg, &event);
}

int cd_store_events_load(struct cd_store *store, unsigned max,
			 void (*each)(void *arg, const struct cd_event *event), void *arg)
{
	struct events_load load = { each, arg };

	return run(store->db,
		   "SELECT * FROM (SELECT id,seq,idx,ts_ms,json FROM event ORDER BY id DESC LIMIT ?)"
		   " ORDER BY id",
		   event_row, &load, "I", (uint64_t)max) == SQLITE_OK ?
		       0 :
		       -EIO;
}

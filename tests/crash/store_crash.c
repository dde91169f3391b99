/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real store under a fixed sequence of operations, for crash.py which kills it on the way.
 *
 *   store_crash run DIR     makes DIR/state.db; prints "issued N" before operation N is queued,
 *                           "durable N" once it is, "over: TEXT" when the store gave up
 *   store_crash verify DIR  opens and restores as clusterd does at its start; prints "state N" for
 *                           every N so that N operations make what is there, "none": no file;
 *                           else what is wrong
 *
 * The expected states are computed here, without the store.  Batches cover first creation,
 * promises, appends alone and together, truncation, own snapshots and installed ones.
 */
#include "clusterd/store_sqlite.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/log/message.h"

#define OPS_MAX	 64u
#define WAIT_MS	 120000
#define SNAP_VMS 60u

/* What the log is after an operation. */
struct world {
	uint64_t promise;
	struct log_mark base;
	struct log_mark marks[64]; /* of seq base + 1 .. */
	unsigned n;
};

struct step {
	struct log_out out;
	bool last_of_batch;
	struct world after;
};

static const uint8_t uuid[CL_UUID_BYTES] = { 1, 2, 3 };
static struct step steps[OPS_MAX + 1];
static struct log_entry entries[OPS_MAX + 1];
static unsigned n_steps;
static struct world world;
static uint8_t snapshot[2][LOG_SNAPSHOT_MAX];
static size_t snapshot_len[2];
static uint64_t durable;
static bool over;
static char path[512];

static void say(const char *what, uint64_t n)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%s %llu\n", what, (unsigned long long)n);

	if (write(1, line, (size_t)len) != len)
		exit(99);
}

/* ---- the sequence --------------------------------------------------------------------------- */

static struct log_mark end_of(const struct world *w)
{
	return w->n ? w->marks[w->n - 1] : w->base;
}

static struct step *step_new(enum log_store_kind kind)
{
	struct step *s = &steps[++n_steps];

	s->out.kind = LOG_OUT_STORE;
	s->out.store = kind;
	s->out.op = n_steps;
	s->out.commit = world.base.seq;
	return s;
}

static void step_done(struct step *s)
{
	s->after = world;
}

static void promise(uint64_t epoch)
{
	struct step *s = step_new(LOG_STORE_PROMISE);

	s->out.epoch = world.promise = epoch;
	step_done(s);
}

static void append(uint64_t epoch, uint32_t len_bytes)
{
	struct step *s = step_new(LOG_STORE_APPEND);
	struct log_entry *e = &entries[n_steps];
	struct log_mark last = end_of(&world);

	e->mark.epoch = epoch;
	e->mark.seq = last.seq + 1;
	e->kind = LOG_ENTRY_DATA;
	e->origin = 1;
	e->voter_add = last.seq ? 0 : 1;
	e->cookie = 1000 + n_steps;
	e->len_bytes = len_bytes;
	memset(e->bytes, (int)n_steps, len_bytes);
	e->mark.hash = log_entry_hash(last.hash, e);
	s->out.entry = e;
	world.marks[world.n++] = e->mark;
	step_done(s);
}

static void truncate_to(uint64_t seq)
{
	struct step *s = step_new(LOG_STORE_TRUNCATE);

	while (world.n && world.marks[world.n - 1].seq > seq)
		world.n--;
	s->out.mark = end_of(&world);
	step_done(s);
}

static void take_snapshot(struct log_mark mark, bool reset, unsigned which)
{
	struct step *s = step_new(LOG_STORE_SNAPSHOT);
	unsigned drop = reset ? world.n : (unsigned)(mark.seq - world.base.seq);

	memmove(world.marks, world.marks + drop, (world.n - drop) * sizeof(world.marks[0]));
	world.n -= drop;
	world.base = mark;
	s->out.mark = mark;
	s->out.voters = 7;
	s->out.reset = reset;
	s->out.data = snapshot[which];
	s->out.len_bytes = snapshot_len[which];
	step_done(s);
}

static void batch_end(void)
{
	steps[n_steps].last_of_batch = true;
}

static void apply(struct core_state *st, struct core_command *cmd)
{
	static struct core_command scratch;
	static uint8_t bytes[LOG_ENTRY_MAX];
	struct core_answer answer;
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	core_apply(st, st->applied_seq + 1, bytes, len > 0 ? (size_t)len : 0, &scratch, &answer);
	if (answer.err)
		exit(99);
}

static void snapshots_make(void)
{
	static struct core_state st;
	static struct core_command cmd;

	core_state_init(&st);
	cmd.kind = CORE_CMD_INIT;
	cmd.node = 1;
	strcpy(cmd.name, "crash");
	strcpy(cmd.target, "n1");
	apply(&st, &cmd);
	for (unsigned i = 0; i < 2 * SNAP_VMS; i++) {
		memset(&cmd, 0, sizeof(cmd));
		cmd.kind = CORE_CMD_VM_CREATE;
		snprintf(cmd.vm.name, sizeof(cmd.vm.name), "vm%u", i);
		strcpy(cmd.vm.kernel, "/boot/vmlinuz");
		memset(cmd.vm.append, 'a', 900);
		cmd.vm.memory_mib = 64;
		cmd.vm.cpus = 1;
		apply(&st, &cmd);
		if (i == SNAP_VMS - 1 || i == 2 * SNAP_VMS - 1) {
			unsigned which = i >= SNAP_VMS;
			long len = core_snapshot_encode(&st, snapshot[which], LOG_SNAPSHOT_MAX);

			if (len < 0)
				exit(99);
			snapshot_len[which] = (size_t)len;
		}
	}
}

static void sequence_make(void)
{
	snapshots_make();
	promise(1);
	append(1, 200);
	batch_end();
	promise(2);
	batch_end();
	for (unsigned i = 0; i < 5; i++)
		append(2, 3000);
	batch_end();
	append(2, 10);
	batch_end();
	truncate_to(3);
	batch_end();
	promise(3);
	for (unsigned i = 0; i < 3; i++)
		append(3, LOG_ENTRY_MAX);
	batch_end();
	take_snapshot(world.marks[4], false, 0);
	batch_end();
	append(3, 700);
	truncate_to(6);
	append(4, 700);
	batch_end();
	take_snapshot((struct log_mark){ .epoch = 5, .seq = 40, .hash = 0x1234567890abcdefull }, true, 1);
	batch_end();
	append(5, 100);
	append(5, 100);
	batch_end();
}

/* ---- run ------------------------------------------------------------------------------------ */

static void on_durable(void *arg, uint64_t op)
{
	durable = op;
	say("durable", op);
}

static void on_trouble(void *arg, const char *text)
{
	if (text)
		printf("trouble: %s\n", text);
}

static void on_over(void *arg, const char *text)
{
	printf("over: %s\n", text);
	over = true;
}

static const struct cd_store_ops ops = { on_durable, on_trouble, on_over };

static void pump(struct cd_post *post, uint64_t op)
{
	for (int waited = 0; durable < op && !over && waited < WAIT_MS; waited += 10) {
		struct pollfd pfd = { .fd = cd_post_fd(post), .events = POLLIN };

		poll(&pfd, 1, 10);
		cd_post_run(post);
	}
}

static int run(void)
{
	struct cd_store *store;
	struct cd_post *post;
	char *error = NULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (cd_post_new(&post) < 0)
		return 99;
	say("begin", 0);
	if (cd_store_open(path, uuid, 1, true, &store, &error) < 0) {
		printf("refused: %s\n", error ? error : "?");
		return 3;
	}
	say("created", 0);
	if (cd_store_start(store, post, &ops, NULL) < 0)
		return 99;
	for (unsigned i = 1; i <= n_steps && !over; i++) {
		struct cd_event event = { .id = i, .seq = i, .ts_ms = i, .json = "{\"text\":\"x\"}" };

		say("issued", i);
		cd_store_write(store, &steps[i].out);
		cd_store_event(store, &event);
		if (steps[i].last_of_batch)
			pump(post, i);
	}
	if (over)
		return 4;
	say("end", 0);
	return durable == n_steps ? 0 : 5;
}

/* ---- verify --------------------------------------------------------------------------------- */

static void sink(void *arg, const struct replica_out *out)
{
}

static bool mark_same(const struct log_mark *a, const struct log_mark *b)
{
	return a->epoch == b->epoch && a->seq == b->seq && a->hash == b->hash;
}

static bool is(const struct world *w, uint64_t promised, const struct log *log)
{
	struct log_mark last = end_of(w);

	return promised == w->promise && mark_same(&log->base, &w->base) &&
	       mark_same(&log->last, &last);
}

static int verify(void)
{
	static const struct world nothing;
	struct replica *replica = calloc(1, sizeof(*replica));
	struct cd_store *store;
	uint64_t commit, promised;
	char *error = NULL;
	struct stat st;
	bool empty, found = false;

	if (!replica)
		return 99;
	if (stat(path, &st) < 0 && errno == ENOENT) {
		printf("none\n");
		return 0;
	}
	replica_init(replica, 1, uuid, 77, sink, NULL);
	if (cd_store_open(path, uuid, 1, true, &store, &error) < 0 ||
	    cd_store_restore(store, replica, &commit, &empty, &error) < 0) {
		printf("refused: %s\n", error ? error : "?");
		return 1;
	}
	promised = replica->log.promised;
	if (commit > replica->log.last.seq) {
		printf("commit hint %llu behind the log's end %llu\n", (unsigned long long)commit,
		       (unsigned long long)replica->log.last.seq);
		return 1;
	}
	if (replica_start(replica, 0, commit) < 0) {
		printf("the log does not apply\n");
		return 1;
	}
	/* A truncation may lead back to what was before. */
	for (unsigned i = 0; i <= n_steps; i++)
		if (is(i ? &steps[i].after : &nothing, promised, &replica->log)) {
			printf("state %u\n", i);
			found = true;
		}
	if (found)
		return 0;
	printf("a mix: promise %llu, base %llu/%llu, last %llu/%llu\n", (unsigned long long)promised,
	       (unsigned long long)replica->log.base.epoch, (unsigned long long)replica->log.base.seq,
	       (unsigned long long)replica->log.last.epoch, (unsigned long long)replica->log.last.seq);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[1], "run") != 0 && strcmp(argv[1], "verify") != 0)) {
		fprintf(stderr, "usage: store_crash run|verify DIR\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/state.db", argv[2]);
	sequence_make();
	return argv[1][0] == 'r' ? run() : verify();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world of one volume: a LUN of few blocks that are used again at once, files, clients with
 * slow commands and late messages, an owner whose table is the shipped csv/layout.c.  The owner's
 * operations go step by step as csv/owner*_linux.c do, so that anything may come between two steps.
 *
 * What is right is decided by the blocks alone (look()): a command that lands on a block of another
 * file or of none, that lands after a higher generation was admitted, beside another node's, or
 * that reads less than was acknowledged before it began, is a violation.  See sim.h.
 */
#include "tests/sim/csv/sim.h"

#include "csv/layout.h"
#include "csv/mutant.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef HF_MUTANTS
int csv_mutant;
#endif

#define NODES	 4
#define FILES	 3
#define PARTS	 3 /* blocks of a file */
#define BLOCKS	 (FILES * PARTS + 1)
#define OPS	 12
#define COMMANDS 24
#define MESSAGES 64
#define WRITES	 4096
#define STEPS	 700
#define NONE	 (-1)

struct file {
	struct csv_fh fh;
	int map[PARTS]; /* block or NONE */
	bool nameless;
	struct csv_xrecord record;
	int vm;		 /* whose disk it is in truth */
	uint64_t active; /* the highest generation that a client was told it has */
	unsigned busy;	 /* operations that change size or map now: the io lock, for writing */
};

struct client_file {
	bool open;
	bool direct; /* holds a layout and may use it */
	bool rw;
	uint64_t seq, recall_seq;
	int map[PARTS];
	bool x;	     /* a VM runs on it here */
	bool asking; /* an exclusive open is on its way */
	int vm;
	uint64_t generation, version;
	int prepared[PARTS];
	bool owes; /* a return, when its commands have ended */
	uint64_t owes_seq;
};

struct client {
	bool fenced, told; /* told: the owner knows */
	bool up;	   /* has a session; false: reclaims, or has just come */
	bool begun;	   /* ... and has begun to reclaim */
	struct client_file f[FILES];
};

/* On its way to the LUN.  node 0: the owner's own. */
struct command {
	bool used, write;
	int node, op, file, part, block, asker; /* asker: for whom the owner does it */
	unsigned id, due;
	uint64_t generation;
	unsigned start;
};

enum op_kind { OP_PUNCH, OP_FILL, OP_WRITE, OP_GET, OP_XOPEN };
enum op_state { ST_BEGIN, ST_RECALL, ST_RUN, ST_ADMIT, ST_XRECALL, ST_RECORD };

struct op {
	bool used;
	enum op_kind kind;
	enum op_state state;
	int node, file, part, vm;
	bool rw;
	uint64_t generation, version, seq;
	struct csv_fh fh;
	unsigned due;
	uint32_t except;
	struct csv_xrecord record;
};

enum message_kind { MSG_RECALL, MSG_RETURN, MSG_GRANT, MSG_XREPLY };

struct message {
	bool used;
	enum message_kind kind;
	int node, file;
	unsigned due;
	uint64_t seq, generation, version;
	struct csv_fh fh;
	bool same, whole, rw, ok;
	bool lost; /* the connection was gone when it was sent */
	int vm, map[PARTS];
};

struct world {
	uint64_t rng;
	unsigned now;
	struct file files[FILES];
	int owner_of[BLOCKS]; /* file or NONE */
	unsigned value[BLOCKS];
	unsigned free_at; /* the block that was freed last is taken first */
	struct client clients[NODES + 1];
	struct op ops[OPS];
	struct command commands[COMMANDS];
	struct message messages[MESSAGES];
	unsigned started[WRITES], acked[WRITES], writes;
	unsigned acked_last[FILES][PARTS];
	uint64_t generation[FILES]; /* VM i has disk i */
	struct csv_layouts layouts;
	struct csv_lfile entries[FILES + 2];
	bool grace;
	bool trace;
	char why[160];
	unsigned done[CSV_SIM_KINDS];
};

static struct world w;

static unsigned rnd(unsigned n)
{
	w.rng ^= w.rng << 13;
	w.rng ^= w.rng >> 7;
	w.rng ^= w.rng << 17;
	return (unsigned)(w.rng >> 33) % n;
}

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	va_list ap;

	if (!w.trace)
		return;
	printf("%4u ", w.now);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void wrong(const char *fmt, ...)
{
	va_list ap;
	int n;

	if (w.why[0])
		return;
	n = snprintf(w.why, sizeof(w.why), "step %u: ", w.now);
	va_start(ap, fmt);
	vsnprintf(w.why + n, sizeof(w.why) - (size_t)n, fmt, ap);
	va_end(ap);
	note("VIOLATION %s", w.why);
}

static const char *vm_name(int vm)
{
	static const char *const names[FILES] = { "a", "b", "c" };

	return names[vm];
}

/* ---- blocks and files ---- */

static int block_take(int file)
{
	unsigned i, b;

	for (i = 0; i < BLOCKS; i++) {
		b = (w.free_at + i) % BLOCKS;
		if (w.owner_of[b] == NONE) {
			w.owner_of[b] = file;
			w.value[b] = 0;
			return (int)b;
		}
	}
	return NONE;
}

static void block_free(int b)
{
	w.owner_of[b] = NONE;
	w.free_at = (unsigned)b;
}

static void file_make(int f)
{
	struct file *file = &w.files[f];
	uint32_t gen = file->fh.gen;
	int p;

	memset(file, 0, sizeof(*file));
	file->fh = (struct csv_fh){ 100 + (uint64_t)f, gen + 1 };
	file->vm = NONE;
	for (p = 0; p < PARTS; p++) {
		file->map[p] = block_take(f);
		w.acked_last[f][p] = 0;
	}
}

/* Its last name and its last user are gone. */
static void file_delete(int f)
{
	int p;

	note("file %d is deleted", f);
	for (p = 0; p < PARTS; p++)
		if (w.files[f].map[p] != NONE)
			block_free(w.files[f].map[p]);
	file_make(f);
}

static int file_of(struct csv_fh fh)
{
	int f = (int)(fh.ino - 100);

	return csv_fh_equal(w.files[f].fh, fh) ? f : NONE;
}

static void on_orphan(void *arg, struct csv_fh fh)
{
	int f = file_of(fh);

	(void)arg;
	if (f != NONE)
		file_delete(f);
}

/* ---- messages ---- */

static struct message *message_new(enum message_kind kind, int node, int file)
{
	int i;

	for (i = 0; i < MESSAGES; i++)
		if (!w.messages[i].used)
			break;
	assert(i < MESSAGES);
	w.messages[i] = (struct message){ .used = true,
					  .kind = kind,
					  .node = node,
					  .file = file,
					  .fh = w.files[file].fh,
					  .lost = !w.clients[node].up,
					  .due = w.now + 1 + rnd(12) };
	return &w.messages[i];
}

static void recall_send(uint32_t tell, int file, uint64_t seq)
{
	int n;

	for (n = 1; n <= NODES; n++)
		if (tell & csv_node_bit((uint32_t)n)) {
			note("recall %llu of file %d to node %d", (unsigned long long)seq, file, n);
			message_new(MSG_RECALL, n, file)->seq = seq;
		}
}

/* ---- commands ---- */

static struct command *command_new(int node, int op, int file, int part, int block, bool write,
				   uint64_t generation)
{
	struct command *c;
	int i;

	for (i = 0; i < COMMANDS && w.commands[i].used; i++)
		;
	if (i == COMMANDS || block == NONE || w.writes + 1 >= WRITES)
		return NULL;
	c = &w.commands[i];
	*c = (struct command){ .used = true,
			       .write = write,
			       .node = node,
			       .asker = node,
			       .op = op,
			       .file = file,
			       .part = part,
			       .block = block,
			       .generation = generation,
			       .start = w.now,
			       .due = w.now + 1 + rnd(rnd(4) ? 6 : 60) };
	if (write) {
		c->id = ++w.writes;
		w.started[c->id] = w.now;
		w.acked[c->id] = ~0u;
	}
	return c;
}

static unsigned commands_of(int node, int file)
{
	unsigned n = 0;
	int i;

	for (i = 0; i < COMMANDS; i++)
		n += w.commands[i].used && w.commands[i].node == node && w.commands[i].file == file;
	return n;
}

static bool vm_runs(int file)
{
	int n;

	for (n = 1; n <= NODES; n++)
		if (w.clients[n].f[file].x && !w.clients[n].fenced)
			return true;
	return false;
}

static void look_write(const struct command *c)
{
	int i;

	if (c->generation ? w.files[c->file].active > c->generation : vm_runs(c->file))
		wrong("write of generation %llu on file %d lands after generation %llu was "
		      "admitted",
		      (unsigned long long)c->generation, c->file,
		      (unsigned long long)w.files[c->file].active);
	for (i = 0; i < COMMANDS; i++) {
		const struct command *d = &w.commands[i];

		if (d->used && d != c && d->write && d->block == c->block && d->asker != c->asker &&
		    (d->node || c->node))
			wrong("nodes %d and %d write block %d at once", c->node, d->node, c->block);
	}
}

static void look_read(const struct command *c)
{
	unsigned last = w.acked_last[c->file][c->part], seen = w.value[c->block];

	if (last && w.acked[last] < c->start && seen < last &&
	    (!seen || w.acked[seen] < w.started[last]))
		wrong("node %d reads write %u of file %d, and %u was acknowledged before", c->node,
		      seen, c->file, last);
}

/* A command lands: here is the truth. */
static void land(struct command *c)
{
	if (w.owner_of[c->block] != c->file || w.files[c->file].map[c->part] != c->block)
		wrong("node %d %s block %d, which is no longer of file %d", c->node,
		      c->write ? "writes" : "reads", c->block, c->file);
	if (c->write) {
		look_write(c);
		w.value[c->block] = c->id;
		if (!w.clients[c->asker].fenced) {
			w.acked[c->id] = w.now;
			w.acked_last[c->file][c->part] = c->id;
		}
	} else {
		look_read(c);
	}
	c->used = false;
}

static void commands_run(void)
{
	int i;

	for (i = 0; i < COMMANDS && !w.why[0]; i++)
		if (w.commands[i].used && w.commands[i].due <= w.now)
			land(&w.commands[i]);
}

/* ---- the owner's operations ---- */

static struct op *op_new(enum op_kind kind, int node, int file)
{
	int i;

	for (i = 0; i < OPS && w.ops[i].used; i++)
		;
	if (i == OPS)
		return NULL;
	w.ops[i] = (struct op){ .used = true,
				.kind = kind,
				.node = node,
				.file = file,
				.fh = w.files[file].fh,
				.part = (int)rnd(PARTS),
				.due = w.now + 1 + rnd(4) };
	return &w.ops[i];
}

static void change_end(struct op *o)
{
	if (csv_layout_recall_end(&w.layouts, o->fh, w.now, false))
		on_orphan(NULL, o->fh);
	o->used = false;
}

static bool deserted(const struct op *o)
{
	return csv_layout_awaited(&w.layouts, o->fh, o->except) && !rnd(150);
}

static void change_begin(struct op *o)
{
	uint32_t tell;
	uint64_t seq;

	if (w.clients[o->node].told || file_of(o->fh) == NONE) {
		o->used = false;
		return;
	}
	o->except = o->kind == OP_WRITE ? (uint32_t)o->node : 0;
	switch (csv_layout_change_begin(&w.layouts, o->fh, o->except, &tell, &seq)) {
	case CSV_CHANGE_OK:
		recall_send(tell, o->file, seq);
		o->state = ST_RECALL;
		break;
	case CSV_CHANGE_WAIT:
		break;
	default:
		o->used = false;
	}
}

/* All returned: the command goes to the LUN and may take its time there. */
static void change_run(struct op *o)
{
	struct file *f = &w.files[o->file];
	const struct csv_lfile *l = csv_layout_find(&w.layouts, o->fh);
	struct command *c;

	if (file_of(o->fh) == NONE) {
		change_end(o);
		return;
	}
	if (o->kind == OP_WRITE) {
		c = command_new(0, (int)(o - w.ops), o->file, o->part, f->map[o->part], true,
				l && l->x_node == (uint32_t)o->node ? l->x_generation : 0);
		if (f->busy || !c) {
			if (c)
				c->used = false;
			else
				change_end(o);
			return;
		}
		c->asker = o->node;
	} else {
		if (f->busy || commands_of(0, o->file))
			return;
		f->busy++;
		o->due = w.now + 1 + rnd(30);
	}
	o->state = ST_RUN;
	note("node %d: %s of file %d part %d runs", o->node,
	     o->kind == OP_WRITE   ? "write"
	     : o->kind == OP_PUNCH ? "punch"
				   : "fill",
	     o->file, o->part);
}

static void change_finish(struct op *o)
{
	struct file *f = &w.files[o->file];
	int i;

	if (o->kind == OP_WRITE) {
		for (i = 0; i < COMMANDS; i++)
			if (w.commands[i].used && w.commands[i].node == 0 &&
			    w.commands[i].op == (int)(o - w.ops))
				return;
		w.done[CSV_SIM_WRITE]++;
		change_end(o);
		return;
	}
	if (o->kind == OP_PUNCH && f->map[o->part] != NONE) {
		block_free(f->map[o->part]);
		f->map[o->part] = NONE;
		w.acked_last[o->file][o->part] = 0;
	} else if (o->kind == OP_FILL && f->map[o->part] == NONE) {
		f->map[o->part] = block_take(o->file);
	}
	f->busy--;
	csv_layout_map_changed(&w.layouts, o->fh);
	w.done[CSV_SIM_CHANGE]++;
	change_end(o);
}

static void op_change(struct op *o)
{
	switch (o->state) {
	case ST_BEGIN:
		change_begin(o);
		break;
	case ST_RECALL:
		if (!csv_layout_awaited(&w.layouts, o->fh, o->except))
			change_run(o);
		else if (deserted(o))
			change_end(o);
		break;
	default:
		change_finish(o);
	}
}

static void op_get(struct op *o)
{
	enum csv_grant g;
	struct message *m;
	uint64_t seq;
	uint32_t tell;

	if (o->state == ST_RECALL) {
		if (csv_layout_awaited(&w.layouts, o->fh, o->except) && !deserted(o))
			return;
		if (csv_layout_recall_end(&w.layouts, o->fh, w.now, false))
			on_orphan(NULL, o->fh);
		o->rw = o->rw && rnd(4);
		o->state = ST_BEGIN;
		return;
	}
	if (w.files[o->file].busy)
		return;
	g = file_of(o->fh) == NONE
		    ? CSV_GRANT_NOT_OPEN
		    : csv_layout_grant(&w.layouts, o->fh, (uint32_t)o->node, o->rw, w.now, &seq);
	if (g == CSV_GRANT_CONFLICT) {
		o->except = (uint32_t)o->node;
		tell = csv_layout_recall_begin(&w.layouts, o->fh,
					       o->rw ? CSV_RECALL_ALL : CSV_RECALL_WRITERS,
					       o->except, &seq);
		recall_send(tell, o->file, seq);
		o->state = ST_RECALL;
		return;
	}
	o->used = false;
	if (g)
		return;
	m = message_new(MSG_GRANT, o->node, o->file);
	m->seq = seq;
	m->rw = o->rw;
	memcpy(m->map, w.files[o->file].map, sizeof(m->map));
	w.done[CSV_SIM_GRANT]++;
	note("layout %llu of file %d to node %d%s", (unsigned long long)seq, o->file, o->node,
	     o->rw ? ", to write" : "");
}

static void xopen_end(struct op *o, bool ok, bool same)
{
	struct message *m = message_new(MSG_XREPLY, o->node, o->file);
	int p;

	m->fh = o->fh;
	m->ok = ok;
	m->same = same;
	m->seq = o->seq;
	m->vm = o->vm;
	m->generation = o->generation;
	m->whole = true;
	for (p = 0; p < PARTS; p++) {
		m->map[p] = w.files[o->file].map[p];
		m->whole = m->whole && m->map[p] != NONE;
	}
	if (ok && !same && !m->whole)
		(void)csv_layout_returned(&w.layouts, o->fh, (uint32_t)o->node, o->seq);
	if (csv_layout_xopen_end(&w.layouts, o->fh))
		on_orphan(NULL, o->fh);
	o->used = false;
}

static void xopen_admit(struct op *o)
{
	uint32_t tell;
	uint64_t seq;

	switch (csv_layout_xopen(&w.layouts, o->fh, (uint32_t)o->node, vm_name(o->vm),
				 o->generation, &o->record, &o->seq)) {
	case CSV_XOPEN_OK:
		o->state = ST_RECORD;
		o->due = w.now + 1 + rnd(20);
		break;
	case CSV_XOPEN_RECALLING:
		if (!rnd(200))
			xopen_end(o, false, false);
		break;
	case CSV_XOPEN_DISPLACE:
	case CSV_XOPEN_RECALL:
		tell = csv_layout_recall_begin(&w.layouts, o->fh, CSV_RECALL_ALL, 0, &seq);
		recall_send(tell, o->file, seq);
		o->state = ST_XRECALL;
		break;
	default:
		xopen_end(o, false, false);
	}
}

static void disk_stop(struct client_file *cf)
{
	cf->x = false;
	cf->direct = false;
}

/*
 * A limit of the model, and of the protocol: who was displaced while its disk was redirected learns
 * it from the refusal of its next write; here it learns it at once.
 */
static void displaced_stop(int node, int file)
{
	int n;

	for (n = 1; n <= NODES; n++)
		if (n != node && w.clients[n].f[file].x && !w.clients[n].f[file].direct)
			disk_stop(&w.clients[n].f[file]);
}

static void op_xopen(struct op *o)
{
	const struct csv_lfile *l;
	bool timed_out;

	switch (o->state) {
	case ST_BEGIN:
		if (file_of(o->fh) == NONE || w.clients[o->node].told) {
			o->used = false;
			return;
		}
		if (csv_layout_open(&w.layouts, o->fh, (uint32_t)o->node) ||
		    csv_layout_xopen_begin(&w.layouts, o->fh) != CSV_XOPEN_OK)
			return;
		o->record = w.files[o->file].record;
		o->state = ST_ADMIT;
		return;
	case ST_ADMIT:
		xopen_admit(o);
		return;
	case ST_XRECALL:
		timed_out = deserted(o);
		if (csv_layout_awaited(&w.layouts, o->fh, 0) && !timed_out)
			return;
		if (csv_layout_recall_end(&w.layouts, o->fh, w.now, false))
			on_orphan(NULL, o->fh);
		o->state = ST_ADMIT;
		if (timed_out)
			xopen_end(o, false, false);
		return;
	default:
		break;
	}
	displaced_stop(o->node, o->file);
	/* On record, before the client hears of it. */
	w.files[o->file].record.generation = o->generation;
	snprintf(w.files[o->file].record.vm, CL_NAME_MAX, "%s", vm_name(o->vm));
	l = csv_layout_find(&w.layouts, o->fh);
	w.done[CSV_SIM_XOPEN]++;
	note("VM %s opens file %d on node %d, generation %llu", vm_name(o->vm), o->file, o->node,
	     (unsigned long long)o->generation);
	xopen_end(o, true, l && o->version && l->version == o->version);
}

static void ops_run(void)
{
	int i;

	for (i = 0; i < OPS && !w.why[0]; i++) {
		struct op *o = &w.ops[i];

		if (!o->used || o->due > w.now || (w.grace && o->state == ST_BEGIN))
			continue;
		o->due = w.now + 1 + rnd(3);
		if (o->kind == OP_GET)
			op_get(o);
		else if (o->kind == OP_XOPEN)
			op_xopen(o);
		else
			op_change(o);
	}
}

/* ---- clients ---- */

static void on_grant(struct client *c, const struct message *m)
{
	struct client_file *cf = &c->f[m->file];

	/* A recall has overtaken it. */
	if (cf->recall_seq > m->seq || !cf->open || cf->x)
		return;
	cf->direct = true;
	cf->rw = m->rw;
	cf->seq = m->seq;
	memcpy(cf->map, m->map, sizeof(cf->map));
}

static void on_xreply(struct client *c, const struct message *m)
{
	struct client_file *cf = &c->f[m->file];
	struct file *f = &w.files[m->file];

	cf->asking = false;
	if (!m->ok || cf->recall_seq > m->seq) {
		if (m->ok)
			disk_stop(cf);
		return;
	}
	if (f->vm != NONE && f->vm != m->vm)
		wrong("VM %s opens the disk of VM %s", vm_name(m->vm), vm_name(f->vm));
	f->vm = m->vm;
	if (m->generation < f->active || m->generation < f->record.generation) {
		/* Displaced before it heard that it was admitted: without a layout the owner
		 * refuses it. */
		if (m->generation < f->active && (m->same || m->whole))
			wrong("generation %llu is admitted after %llu",
			      (unsigned long long)m->generation, (unsigned long long)f->active);
		return;
	}
	f->active = m->generation;
	cf->x = true;
	cf->vm = m->vm;
	cf->generation = m->generation;
	cf->seq = m->seq;
	cf->direct = m->same || m->whole;
	cf->rw = true;
	memcpy(cf->map, m->same ? cf->prepared : m->map, sizeof(cf->map));
}

static void message_deliver(struct message *m)
{
	struct client *c = &w.clients[m->node];
	struct client_file *cf = &c->f[m->file];

	m->used = false;
	if (file_of(m->fh) == NONE)
		return;
	if (m->kind == MSG_RETURN) {
		note("node %d returns file %d up to %llu", m->node, m->file,
		     (unsigned long long)m->seq);
		(void)csv_layout_returned(&w.layouts, m->fh, (uint32_t)m->node, m->seq);
		return;
	}
	if (m->lost && m->kind == MSG_XREPLY)
		cf->asking = false;
	if (c->fenced || m->lost)
		return;
	switch (m->kind) {
	case MSG_RECALL:
		if (cf->recall_seq < m->seq)
			cf->recall_seq = m->seq;
		cf->direct = false;
		/* A VM whose layout is recalled has been displaced. */
		cf->x = false;
		cf->owes = true;
		cf->owes_seq = m->seq;
		break;
	case MSG_GRANT:
		on_grant(c, m);
		break;
	default:
		on_xreply(c, m);
	}
}

static void messages_run(void)
{
	int i, n, f;

	for (i = 0; i < MESSAGES && !w.why[0]; i++)
		if (w.messages[i].used && w.messages[i].due <= w.now)
			message_deliver(&w.messages[i]);
	for (n = 1; n <= NODES; n++)
		for (f = 0; f < FILES; f++) {
			struct client_file *cf = &w.clients[n].f[f];

			/* It has finished, not just stopped (rule B6). */
			if (!cf->owes || w.clients[n].fenced || !w.clients[n].up ||
			    commands_of(n, f))
				continue;
			cf->owes = false;
			message_new(MSG_RETURN, n, f)->seq = cf->owes_seq;
		}
}

/* It waits for an answer: a client asks one thing about a file at a time. */
static bool asks(int n, int f)
{
	int i;

	for (i = 0; i < OPS; i++)
		if (w.ops[i].used && w.ops[i].node == n && w.ops[i].file == f)
			return true;
	for (i = 0; i < MESSAGES; i++)
		if (w.messages[i].used && w.messages[i].node == n && w.messages[i].file == f &&
		    (w.messages[i].kind == MSG_GRANT || w.messages[i].kind == MSG_XREPLY))
			return true;
	return false;
}

static void act_io(int n, int f)
{
	struct client_file *cf = &w.clients[n].f[f];
	int part = (int)rnd(PARTS);
	struct op *o;

	if (cf->direct && cf->map[part] != NONE) {
		command_new(n, 0, f, part, cf->map[part], cf->rw && rnd(3),
			    cf->x ? cf->generation : 0);
		return;
	}
	/* A redirected disk, and an ordinary file without a layout: through the owner. */
	if (cf->open && w.clients[n].up && (cf->x || rnd(2)) && (o = op_new(OP_WRITE, n, f)))
		o->part = part;
}

static void act_start(int n, int f)
{
	struct client_file *cf = &w.clients[n].f[f];
	int vm = rnd(6) ? f : (int)rnd(FILES);
	const struct csv_lfile *l;
	struct op *o;

	if (cf->asking || cf->x || commands_of(n, f) || w.grace || w.files[f].busy)
		return;
	if (csv_layout_open(&w.layouts, w.files[f].fh, (uint32_t)n))
		return;
	/* Prepared: mapped with nothing under way in the map, used later if it is the same. */
	cf->open = true;
	l = csv_layout_find(&w.layouts, w.files[f].fh);
	cf->version = l->version;
	memcpy(cf->prepared, w.files[f].map, sizeof(cf->prepared));
	for (int p = 0; p < PARTS; p++)
		if (cf->prepared[p] == NONE)
			cf->version = 0;
	o = op_new(OP_XOPEN, n, f);
	if (!o)
		return;
	cf->asking = true;
	o->vm = vm;
	o->version = cf->version;
	/* Sometimes a request of long ago. */
	o->generation =
		rnd(8) || w.generation[vm] < 2 ? ++w.generation[vm] : w.generation[vm] - rnd(2);
	o->due = w.now + 1 + rnd(25);
}

static void act_stop(int n, int f)
{
	struct client_file *cf = &w.clients[n].f[f];
	bool orphan = false;

	if (!cf->x || commands_of(n, f) || !w.clients[n].up || asks(n, f))
		return;
	if (csv_layout_xclose(&w.layouts, w.files[f].fh, (uint32_t)n, cf->generation, &orphan) &&
	    orphan)
		on_orphan(NULL, w.files[f].fh);
	disk_stop(cf);
}

/* Its path is back: the same generation asks for its layout again. */
static void act_direct(int n, int f)
{
	struct client_file *cf = &w.clients[n].f[f];
	struct op *o;

	if (!cf->x || cf->direct || commands_of(n, f) || asks(n, f))
		return;
	o = op_new(OP_XOPEN, n, f);
	if (!o)
		return;
	cf->asking = true;
	o->vm = cf->vm;
	o->generation = cf->generation;
}

/* Lost its path, or is told to: the VM goes on through the owner. */
static void act_redirect(int n, int f)
{
	struct client_file *cf = &w.clients[n].f[f];

	if (!cf->x || !cf->direct)
		return;
	cf->direct = false;
	cf->owes = true;
	cf->owes_seq = cf->seq;
	/* A path that comes and goes: the return crosses what is asked for anew. */
	if (rnd(3))
		act_direct(n, f);
}

static void act_close(int n, int f)
{
	struct client_file *cf = &w.clients[n].f[f];
	struct csv_fh fh = w.files[f].fh;
	bool orphan = false;

	if (!cf->open || cf->x || commands_of(n, f) || !w.clients[n].up || asks(n, f))
		return;
	memset(cf, 0, sizeof(*cf));
	if (csv_layout_close(&w.layouts, fh, (uint32_t)n, &orphan) && orphan)
		on_orphan(NULL, fh);
}

static void act_unlink(int f)
{
	struct csv_lfile *l = csv_layout_find(&w.layouts, w.files[f].fh);
	int i;

	if (w.files[f].nameless || (l && l->x_node))
		return;
	for (i = 0; i < OPS; i++)
		if (w.ops[i].used && w.ops[i].file == f)
			return; /* it has the file open itself */
	w.files[f].nameless = true;
	if (l)
		l->orphan = true;
	else
		file_delete(f);
}

/* ---- faults ---- */

static void messages_drop(int node)
{
	int i;

	for (i = 0; i < MESSAGES; i++)
		if (w.messages[i].used && (!node || w.messages[i].node == node)) {
			if (w.messages[i].kind == MSG_XREPLY)
				w.clients[w.messages[i].node].f[w.messages[i].file].asking = false;
			w.messages[i].used = false;
		}
}

/* Its key is preempted: what it had on its way to the LUN is no more. */
static void act_fence(int n)
{
	int i;

	if (w.clients[n].fenced)
		return;
	note("node %d is fenced", n);
	w.clients[n].fenced = true;
	for (i = 0; i < COMMANDS; i++)
		if (w.commands[i].used && w.commands[i].node == n)
			w.commands[i].used = false;
}

static bool node_inside(int n)
{
	int i;

	for (i = 0; i < OPS; i++)
		if (w.ops[i].used && w.ops[i].node == n)
			return true;
	return false;
}

/* The owner hears of it; the node comes back when nothing of it is under way. */
static void act_gone(int n)
{
	struct client *c = &w.clients[n];

	if (!c->fenced)
		return;
	csv_layout_node_gone(&w.layouts, (uint32_t)n, on_orphan, NULL);
	c->told = true;
	if (node_inside(n) || rnd(3))
		return;
	csv_layout_node_gone(&w.layouts, (uint32_t)n, on_orphan, NULL);
	messages_drop(n);
	memset(c, 0, sizeof(*c));
	c->up = !w.grace;
	w.done[CSV_SIM_FENCE]++;
	note("node %d is back", n);
}

/* A connection breaks: ordinary layouts are dropped, disks go on. */
static void client_lose(int n)
{
	struct client *c = &w.clients[n];
	int f;

	c->up = c->begun = false;
	messages_drop(n);
	for (f = 0; f < FILES; f++) {
		c->f[f].owes = false;
		if (!c->f[f].x)
			c->f[f].direct = false;
	}
}

static bool grace_over(void)
{
	int n;

	for (n = 1; n <= NODES; n++)
		if (!w.clients[n].up && !w.clients[n].told)
			return false;
	return true;
}

static void act_reclaim(int n)
{
	struct client *c = &w.clients[n];
	uint64_t seq;
	int f;

	if (c->up || c->fenced || node_inside(n))
		return;
	if (!c->begun) {
		csv_layout_session_begin(&w.layouts, (uint32_t)n);
		c->begun = true;
		return;
	}
	for (f = 0; f < FILES; f++) {
		struct client_file *cf = &c->f[f];

		/* What it has under way by an ordinary layout ends first. */
		if (!cf->x && commands_of(n, f))
			return;
	}
	for (f = 0; f < FILES; f++) {
		struct client_file *cf = &c->f[f];
		const struct csv_lfile *l;

		if (cf->open && csv_layout_open(&w.layouts, w.files[f].fh, (uint32_t)n))
			cf->open = false;
		if (!cf->x)
			continue;
		c->up = true; /* what is sent from here on arrives */
		if (csv_layout_xreclaim(&w.layouts, w.files[f].fh, (uint32_t)n, vm_name(cf->vm),
					cf->generation, &w.files[f].record, cf->direct, &seq)) {
			disk_stop(cf);
			continue;
		}
		/* The connection's recalls are lost; it hears of one that is out. */
		cf->seq = seq;
		l = csv_layout_find(&w.layouts, w.files[f].fh);
		if (l->recalled & csv_node_bit((uint32_t)n))
			recall_send(csv_node_bit((uint32_t)n), f, l->seq);
	}
	csv_layout_session_end(&w.layouts, (uint32_t)n, on_orphan, NULL);
	c->up = true;
	w.done[CSV_SIM_RECLAIM]++;
	note("node %d has reclaimed", n);
	if (w.grace && grace_over())
		w.grace = false;
}

/* The owner dies: its commands are aborted by its fence, its table is gone. */
static void act_owner(void)
{
	int i;

	if (w.grace)
		return;
	note("the owner dies, another takes over");
	for (i = 0; i < COMMANDS; i++)
		if (w.commands[i].used && w.commands[i].node == 0)
			w.commands[i].used = false;
	for (i = 0; i < OPS; i++) {
		if (w.ops[i].used && w.ops[i].kind == OP_XOPEN)
			w.clients[w.ops[i].node].f[w.ops[i].file].asking = false;
		w.ops[i].used = false;
	}
	messages_drop(0);
	csv_layouts_init(&w.layouts, w.entries, FILES + 2);
	for (i = 0; i < FILES; i++)
		w.files[i].busy = 0;
	for (i = 1; i <= NODES; i++) {
		client_lose(i);
		w.clients[i].told = w.clients[i].fenced;
	}
	w.grace = true;
	w.done[CSV_SIM_OWNER]++;
	/* Names of files that were unlinked while open are looked at when all have reclaimed. */
}

static void orphans_look(void)
{
	int f;

	for (f = 0; f < FILES; f++) {
		struct csv_lfile *l = csv_layout_find(&w.layouts, w.files[f].fh);

		if (w.files[f].nameless && !w.grace) {
			if (l)
				l->orphan = true;
			else
				file_delete(f);
		}
	}
}

static void act(void)
{
	int n = 1 + (int)rnd(NODES), f = (int)rnd(FILES);
	struct client *c = &w.clients[n];
	unsigned what = rnd(100);
	struct op *o;

	if (what < 2)
		act_fence(n);
	else if (what < 10)
		act_gone(n);
	else if (what == 10 && !rnd(2))
		act_owner();
	else if (what == 11 && c->up)
		client_lose(n);
	else if (what < 24)
		act_reclaim(n);
	else if (c->fenced)
		return;
	else if (what < 50)
		act_io(n, f);
	else if (!c->up || w.grace)
		return;
	else if (what < 60)
		act_start(n, f);
	else if (what < 66)
		act_stop(n, f);
	else if (what < 70)
		rnd(2) ? act_redirect(n, f) : act_direct(n, f);
	else if (what < 73)
		act_close(n, f);
	else if (what < 74)
		act_unlink(f);
	else if (what < 82)
		(void)op_new(OP_PUNCH, n, f);
	else if (what < 90)
		(void)op_new(OP_FILL, n, f);
	else if (!w.files[f].nameless && !csv_layout_open(&w.layouts, w.files[f].fh, (uint32_t)n)) {
		c->f[f].open = true;
		o = op_new(OP_GET, n, f);
		if (o)
			o->rw = rnd(2);
	}
}

static void table_look(void)
{
	size_t i;

	for (i = 0; i < w.layouts.capacity; i++) {
		const struct csv_lfile *l = &w.entries[i];

		if (!l->used)
			continue;
		if (l->writer && l->readers & ~csv_node_bit(l->writer))
			wrong("a writer and readers hold one file");
		if (csv_layout_find(&w.layouts, l->fh) != l)
			wrong("an entry of the table is not found");
	}
}

bool csv_sim_run(uint64_t seed, bool trace, struct csv_sim_result *ret)
{
	int f, i;

	memset(&w, 0, sizeof(w));
	w.rng = seed * 0x9e3779b97f4a7c15ull + 1;
	w.trace = trace;
	for (i = 0; i < 8; i++)
		(void)rnd(2);
	for (i = 0; i < BLOCKS; i++)
		w.owner_of[i] = NONE;
	for (f = 0; f < FILES; f++)
		file_make(f);
	csv_layouts_init(&w.layouts, w.entries, FILES + 2);
	for (i = 1; i <= NODES; i++)
		w.clients[i].up = true;
	for (w.now = 1; w.now < STEPS && !w.why[0]; w.now++) {
		commands_run();
		messages_run();
		ops_run();
		if (!w.why[0])
			act();
		orphans_look();
		table_look();
	}
	memcpy(ret->done, w.done, sizeof(ret->done));
	memcpy(ret->why, w.why, sizeof(ret->why));
	return !w.why[0];
}

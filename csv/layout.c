/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decides who may hold which layout.  Assumes that the caller serialises; never does I/O: it says
 * whom to recall and is told of the returns.  See layout.h.
 */
#include "csv/layout.h"

#include "csv/mutant.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static size_t slot_of(const struct csv_layouts *t, struct csv_fh fh)
{
	return (size_t)((fh.ino * 0x9e3779b97f4a7c15ull ^ fh.gen) >> 16) % t->capacity;
}

void csv_layouts_init(struct csv_layouts *t, struct csv_lfile *files, size_t capacity)
{
	memset(files, 0, capacity * sizeof(*files));
	t->files = files;
	t->capacity = capacity;
	t->count = 0;
}

struct csv_lfile *csv_layout_find(const struct csv_layouts *t, struct csv_fh fh)
{
	size_t i = slot_of(t, fh);

	for (size_t n = 0; n < t->capacity; n++, i = (i + 1) % t->capacity) {
		if (!t->files[i].used)
			return NULL;
		if (csv_fh_equal(t->files[i].fh, fh))
			return &t->files[i];
	}
	return NULL;
}

static struct csv_lfile *file_get(struct csv_layouts *t, struct csv_fh fh)
{
	struct csv_lfile *f = csv_layout_find(t, fh);
	size_t i = slot_of(t, fh);

	if (f)
		return f;
	if (t->count + 1 >= t->capacity)
		return NULL;
	while (t->files[i].used)
		i = (i + 1) % t->capacity;
	f = &t->files[i];
	memset(f, 0, sizeof(*f));
	f->used = true;
	f->fh = fh;
	f->version = 1;
	t->count++;
	return f;
}

/* Linear probing: what follows the hole moves up so that searches still meet no gap. */
static void file_remove(struct csv_layouts *t, struct csv_lfile *f)
{
	size_t hole = (size_t)(f - t->files);
	size_t i = hole;

	t->files[hole].used = false;
	t->count--;
	for (;;) {
		size_t home;

		i = (i + 1) % t->capacity;
		if (!t->files[i].used)
			return;
		home = slot_of(t, t->files[i].fh);
		if ((i > hole && (home <= hole || home > i)) ||
		    (i < hole && home <= hole && home > i)) {
			t->files[hole] = t->files[i];
			t->files[i].used = false;
			hole = i;
		}
	}
}

static uint32_t holders(const struct csv_lfile *f)
{
	return f->readers | (f->writer ? csv_node_bit(f->writer) : 0);
}

static void hold_drop(struct csv_lfile *f, uint32_t node)
{
	f->readers &= ~csv_node_bit(node);
	if (f->writer == node)
		f->writer = 0;
	f->recalled &= ~csv_node_bit(node);
}

static bool file_put(struct csv_layouts *t, struct csv_lfile *f, bool *ret_orphan)
{
	/* A recall in progress keeps the entry: its number must not be given again. */
	if (f->opens || f->x_node || (f->recalls && !CSV_MUTANT(18)) || f->entering || holders(f))
		return false;
	*ret_orphan = f->orphan;
	file_remove(t, f);
	return true;
}

int csv_layout_open(struct csv_layouts *t, struct csv_fh fh, uint32_t node)
{
	struct csv_lfile *f = file_get(t, fh);

	assert(node >= 1 && node <= CL_NODES_MAX);
	if (!f)
		return -ENFILE;
	f->opens |= csv_node_bit(node);
	f->confirmed |= csv_node_bit(node);
	return 0;
}

bool csv_layout_close(struct csv_layouts *t, struct csv_fh fh, uint32_t node, bool *ret_orphan)
{
	struct csv_lfile *f = csv_layout_find(t, fh);

	*ret_orphan = false;
	if (!f)
		return false;
	f->opens &= ~csv_node_bit(node);
	if (f->x_node != node)
		hold_drop(f, node);
	return file_put(t, f, ret_orphan);
}

enum csv_grant csv_layout_grant(struct csv_layouts *t, struct csv_fh fh, uint32_t node, bool write,
				uint64_t now_ms, uint64_t *ret_seq)
{
	struct csv_lfile *f = csv_layout_find(t, fh);
	uint32_t others;

	if (!f || !(f->opens & csv_node_bit(node)))
		return CSV_GRANT_NOT_OPEN;
	if (f->x_node)
		return CSV_GRANT_EXCLUSIVE;
	if (!CSV_MUTANT(13) && (f->recalls || f->recalled || f->entering))
		return CSV_GRANT_RECALLING;
	others = holders(f) & ~csv_node_bit(node);
	if (CSV_MUTANT(15) && write)
		others = 0;
	if (CSV_MUTANT(19) && !write)
		others = 0;
	if (write ? others != 0 : others & (f->writer ? csv_node_bit(f->writer) : 0))
		return now_ms < f->quiet_until_ms ? CSV_GRANT_QUIET : CSV_GRANT_CONFLICT;
	if (now_ms < f->quiet_until_ms && !(holders(f) & csv_node_bit(node)))
		return CSV_GRANT_QUIET;
	if (write) {
		f->readers &= ~csv_node_bit(node);
		f->writer = node;
	} else if (f->writer != node) {
		f->readers |= csv_node_bit(node);
	}
	f->hold_seq[node - 1] = ++f->seq;
	*ret_seq = f->seq;
	return CSV_GRANT_OK;
}

static bool is_other_vm(const struct csv_lfile *f, const struct csv_xrecord *record, const char *vm)
{
	if (f->x_node)
		return strcmp(f->x_vm, vm) != 0;
	return record->vm[0] && strcmp(record->vm, vm);
}

static void x_set(struct csv_lfile *f, uint32_t node, const char *vm, uint64_t generation)
{
	f->x_node = node;
	f->x_generation = generation;
	f->x_highest = generation;
	strncpy(f->x_vm, vm, sizeof(f->x_vm) - 1);
	f->x_vm[sizeof(f->x_vm) - 1] = 0;
	f->confirmed |= csv_node_bit(node);
}

enum csv_xopen csv_layout_xopen_begin(struct csv_layouts *t, struct csv_fh fh)
{
	struct csv_lfile *f = file_get(t, fh);

	if (!f)
		return CSV_XOPEN_FULL;
	if (f->entering)
		return CSV_XOPEN_RECALLING;
	f->entering = true;
	return CSV_XOPEN_OK;
}

bool csv_layout_xopen_end(struct csv_layouts *t, struct csv_fh fh)
{
	struct csv_lfile *f = csv_layout_find(t, fh);
	bool orphan = false;

	assert(f && f->entering);
	f->entering = false;
	(void)file_put(t, f, &orphan);
	return orphan;
}

enum csv_xopen csv_layout_xopen(struct csv_layouts *t, struct csv_fh fh, uint32_t node,
				const char *vm, uint64_t generation,
				const struct csv_xrecord *record, uint64_t *ret_seq)
{
	struct csv_lfile *f = file_get(t, fh);
	enum csv_xopen refused = CSV_XOPEN_STALE;
	bool orphan;

	assert(node >= 1 && node <= CL_NODES_MAX);
	if (!f)
		return CSV_XOPEN_FULL;
	if (!CSV_MUTANT(1) && f->x_highest < record->generation)
		f->x_highest = record->generation;
	if (!CSV_MUTANT(2) && is_other_vm(f, record, vm)) {
		refused = CSV_XOPEN_OTHER;
		goto refuse;
	}
	if (!CSV_MUTANT(3) && generation < f->x_highest)
		goto refuse;
	if (!CSV_MUTANT(4) && f->x_node && generation == f->x_generation && f->x_node != node)
		goto refuse;
	/* A change of the file that has begun: its blocks may be another file's at its end. */
	if (!CSV_MUTANT(5) && f->recalls)
		return CSV_XOPEN_RECALLING;
	if (f->recalled & ~csv_node_bit(node))
		return CSV_XOPEN_RECALLING;
	/* Who holds nothing any more has been cut off: the owner refuses what it still sends. */
	if (!CSV_MUTANT(6) && f->x_node && (f->x_node != node || generation != f->x_generation) &&
	    holders(f))
		return CSV_XOPEN_DISPLACE;
	if (!CSV_MUTANT(7) && !f->x_node && holders(f))
		return CSV_XOPEN_RECALL;
	x_set(f, node, vm, generation);
	f->readers = 0;
	f->writer = node;
	f->hold_seq[node - 1] = ++f->seq;
	*ret_seq = f->seq;
	return CSV_XOPEN_OK;
refuse:
	(void)file_put(t, f, &orphan);
	return refused;
}

bool csv_layout_xclose(struct csv_layouts *t, struct csv_fh fh, uint32_t node, uint64_t generation,
		       bool *ret_orphan)
{
	struct csv_lfile *f = csv_layout_find(t, fh);

	*ret_orphan = false;
	if (!f || (!CSV_MUTANT(16) && (f->x_node != node || f->x_generation != generation)))
		return false;
	f->x_node = 0;
	f->x_vm[0] = 0;
	hold_drop(f, node);
	return file_put(t, f, ret_orphan);
}

int csv_layout_xreclaim(struct csv_layouts *t, struct csv_fh fh, uint32_t node, const char *vm,
			uint64_t generation, const struct csv_xrecord *record, bool held,
			uint64_t *ret_seq)
{
	struct csv_lfile *f = file_get(t, fh);
	bool orphan;

	if (!f)
		return -ENFILE;
	if (f->x_node && f->x_node != node)
		return -ESTALE;
	if (generation < f->x_highest || is_other_vm(f, record, vm) ||
	    generation < record->generation)
		goto refuse;
	/* After its grace another may have begun something: too late to have had it all the time.
	 */
	if (!f->x_node && (f->recalls || holders(f) & ~csv_node_bit(node)))
		goto refuse;
	x_set(f, node, vm, generation);
	if (held)
		f->writer = node;
	f->hold_seq[node - 1] = ++f->seq;
	*ret_seq = f->seq;
	return 0;
refuse:
	(void)file_put(t, f, &orphan);
	return -ESTALE;
}

enum csv_change csv_layout_change_begin(struct csv_layouts *t, struct csv_fh fh, uint32_t own_node,
					uint32_t *ret_tell, uint64_t *ret_seq)
{
	struct csv_lfile *f = file_get(t, fh);
	bool own;

	*ret_tell = 0;
	*ret_seq = 0;
	if (!f)
		return CSV_CHANGE_FULL;
	own = own_node && f->x_node == own_node && !f->writer;
	if (!CSV_MUTANT(11) && f->x_node && !own)
		return CSV_CHANGE_EXCLUSIVE;
	if (f->entering)
		return CSV_CHANGE_WAIT;
	*ret_tell = csv_layout_recall_begin(t, fh, CSV_RECALL_ALL, own_node, ret_seq);
	return CSV_CHANGE_OK;
}

uint32_t csv_layout_recall_begin(struct csv_layouts *t, struct csv_fh fh, enum csv_recall_scope s,
				 uint32_t except, uint64_t *ret_seq)
{
	struct csv_lfile *f = csv_layout_find(t, fh);
	uint32_t who, tell;

	*ret_seq = 0;
	if (!f)
		return 0;
	f->recalls++;
	who = s == CSV_RECALL_ALL && !CSV_MUTANT(20) ? holders(f)
	      : f->writer			     ? csv_node_bit(f->writer)
						     : 0;
	if (except)
		who &= ~csv_node_bit(except);
	tell = who & ~f->recalled;
	if (!CSV_MUTANT(21))
		f->recalled |= who;
	else
		f->recalled = tell;
	*ret_seq = ++f->seq;
	return tell;
}

uint32_t csv_layout_awaited(const struct csv_layouts *t, struct csv_fh fh, uint32_t except)
{
	const struct csv_lfile *f = csv_layout_find(t, fh);

	return f ? f->recalled & ~(except ? csv_node_bit(except) : 0u) : 0;
}

bool csv_layout_recall_end(struct csv_layouts *t, struct csv_fh fh, uint64_t now_ms, bool quiet)
{
	struct csv_lfile *f = csv_layout_find(t, fh);
	bool orphan = false;

	if (!f)
		return false;
	assert(f->recalls);
	f->recalls--;
	if (quiet)
		f->quiet_until_ms = now_ms + CSV_LAYOUT_QUIET_MS;
	(void)file_put(t, f, &orphan);
	return orphan;
}

int csv_layout_returned(struct csv_layouts *t, struct csv_fh fh, uint32_t node, uint64_t seq)
{
	struct csv_lfile *f = csv_layout_find(t, fh);

	if (!f || !(holders(f) & csv_node_bit(node)))
		return 0;
	if (!CSV_MUTANT(14) && seq < f->hold_seq[node - 1])
		return -ESTALE;
	hold_drop(f, node);
	return 0;
}

void csv_layout_map_changed(struct csv_layouts *t, struct csv_fh fh)
{
	struct csv_lfile *f = csv_layout_find(t, fh);

	if (f && !CSV_MUTANT(17))
		f->version++;
}

void csv_layout_session_begin(struct csv_layouts *t, uint32_t node)
{
	for (size_t i = 0; i < t->capacity; i++)
		if (t->files[i].used)
			t->files[i].confirmed &= ~csv_node_bit(node);
}

static void node_sweep(struct csv_layouts *t, uint32_t node, bool all,
		       void (*fn)(void *arg, struct csv_fh fh), void *arg)
{
	uint32_t bit = csv_node_bit(node);
	bool again = true;

	/* A removal may move an entry to before i: go round until nothing goes. */
	while (again) {
		again = false;
		for (size_t i = 0; i < t->capacity; i++) {
			struct csv_lfile *f = &t->files[i];
			struct csv_fh fh = f->fh;
			bool orphan;

			if (!f->used)
				continue;
			if (all || !(f->confirmed & bit)) {
				f->opens &= ~bit;
				if (f->x_node == node)
					f->x_node = 0;
			}
			if (f->x_node != node)
				hold_drop(f, node);
			if (!file_put(t, f, &orphan))
				continue;
			again = true;
			if (orphan && fn)
				fn(arg, fh);
		}
	}
}

void csv_layout_session_end(struct csv_layouts *t, uint32_t node,
			    void (*fn)(void *arg, struct csv_fh fh), void *arg)
{
	node_sweep(t, node, false, fn, arg);
}

void csv_layout_node_gone(struct csv_layouts *t, uint32_t node,
			  void (*fn)(void *arg, struct csv_fh fh), void *arg)
{
	node_sweep(t, node, true, fn, arg);
}

uint32_t csv_layout_users(const struct csv_layouts *t)
{
	uint32_t users = 0;

	for (size_t i = 0; i < t->capacity; i++) {
		const struct csv_lfile *f = &t->files[i];

		if (f->used)
			users |= f->opens | (f->x_node ? csv_node_bit(f->x_node) : 0);
	}
	return users;
}

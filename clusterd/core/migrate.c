/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving a running VM, live or by save and restore.
 *
 *   live    INCOMING -> COPY ----------> COMMIT -> (runs on the target)
 *               |        |  both sides: switched, ready
 *               +--------+--> ABORT -> (runs on the source)
 *
 *   quick   SAVE -> SAVED -> RESTORE -> (runs on the target)
 *             |        the saved image is the VM; it may be used once
 *             +-> UNSAVE -> (runs on the source)
 *
 * The commit is the one entry that completes (switched, ready), or that says "saved".
 * Before it only the source may run: the target's copy waits for VM_RESUME, which is
 * issued only after it.  After it only the target may: the source's copy does nothing until it is told
 * to end.  Nobody is ever told by a time-out: a lost answer leads to ABORT before the commit, where
 * both copies are paused or the source runs, and to asking again after it.
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

#include <errno.h>
#include <string.h>

static void mig_phase(struct core_state *st, struct core_vm *vm, uint8_t phase,
		      enum core_reason why, uint8_t node, uint64_t n1)
{
	vm->migration.phase = phase;
	vm->migration.since_ms = st->now_ms;
	vm->changed_seq = st->applied_seq;
	vm->retry_ms = 0;
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, why, node, n1, 0);
	core_vm_why(vm, why, node, n1);
	core_cause_tell(st, &vm->cause);
}

static struct core_effect *mig_effect(struct core_state *st, struct core_vm *vm,
				      enum core_effect_kind kind, uint8_t node, uint64_t generation)
{
	uint16_t index = core_vm_index(st, vm);
	struct core_effect *fx = core_effect_find(st, kind, node, CORE_NONE, index);

	if (!fx)
		fx = core_effect_new(st, kind, node, CORE_NONE, index);
	if (fx)
		fx->generation = generation;
	return fx;
}

static void mig_drop(struct core_state *st, struct core_vm *vm, enum core_effect_kind kind)
{
	core_effect_drop(st, core_effect_find(st, kind, 0, CORE_NONE, core_vm_index(st, vm)));
}

/* The copy's effect, from the state alone: it may have to be issued again. */
static void copy_effect(struct core_state *st, struct core_vm *vm)
{
	const struct core_migration *m = &vm->migration;
	struct core_effect *fx = mig_effect(st, vm, CORE_FX_VM_MIGRATE, m->source, vm->generation);

	if (!fx)
		return;
	fx->peer = m->target;
	fx->port = m->port;
	fx->flags = m->rung == CORE_RUNG_LIVE ? 0 : CORE_FLAG_THROTTLE;
	fx->pause_ms = CORE_PAUSE_MS;
	if (m->rung == CORE_RUNG_PAUSE && vm->policy.max_pause_ms > CORE_PAUSE_MS)
		fx->pause_ms = vm->policy.max_pause_ms;
}

/* A new copy may exist at node from now on; the end of one from before, which is still on its way, says nothing of it. */
static void copy_begins(struct core_state *st, struct core_vm *vm, uint8_t node)
{
	core_effect_drop(st, core_effect_find(st, CORE_FX_VM_FINISH, node, CORE_NONE,
					      core_vm_index(st, vm)));
	vm->copies |= CORE_NODE_BIT(node);
}

int core_migrate_start(struct core_state *st, struct core_vm *vm, uint8_t target, enum core_rung rung,
		       bool drain)
{
	static const uint8_t whys[] = { CORE_WHY_MIG_ASKED, CORE_WHY_MIG_THROTTLED_ASKED,
					CORE_WHY_MIG_PAUSE_ASKED };
	struct core_migration *m = &vm->migration;
	uint8_t tries = m->tries;

	memset(m, 0, offsetof(struct core_migration, job));
	m->source = vm->node;
	m->target = target;
	m->quick = rung == CORE_RUNG_QUICK;
	m->drain = drain;
	m->rung = (uint8_t)rung;
	m->tries = drain ? tries : 0;
	if (m->quick) {
		if (!mig_effect(st, vm, CORE_FX_VM_SAVE, m->source, vm->generation))
			return -EAGAIN;
		core_vm_set(st, vm, CORE_VM_QUICK, CORE_WHY_MIG_QUICK_ASKED, target, 0, 0);
		m->phase = CORE_MIG_SAVE;
		return 0;
	}
	m->generation = vm->generation_last + 1;
	if (!mig_effect(st, vm, CORE_FX_VM_INCOMING, target, m->generation))
		return -EAGAIN;
	vm->generation_last++;
	copy_begins(st, vm, target);
	core_vm_set(st, vm, CORE_VM_LIVE, drain ? whys[rung] : CORE_WHY_MIG_ASKED, target, m->generation,
		    rung == CORE_RUNG_PAUSE ? vm->policy.max_pause_ms : 0);
	m->phase = CORE_MIG_INCOMING;
	return 0;
}

/* What an operator waits for: where it is, and before that why it is not where it should be. */
static void job_end(struct core_state *st, struct core_vm *vm, bool moved, enum core_reason why,
		    uint64_t n1)
{
	struct core_migration *m = &vm->migration;
	struct core_cause last = core_cause(why, vm->node, n1, 0);
	char first_text[CORE_TEXT_MAX], last_text[CORE_TEXT_MAX], text[CORE_TEXT_MAX];

	if (moved || !m->first.reason || m->first.reason == why) {
		core_job_end_reason(st, &m->job, moved, why, vm->node, n1, 0);
		return;
	}
	core_cause_render(st, &m->first, first_text, sizeof(first_text));
	core_cause_render(st, &last, last_text, sizeof(last_text));
	core_text_join(text, sizeof(text), first_text, "; ", last_text, NULL);
	core_job_end(st, &m->job, false, text);
}

/* The first failure of a migration is the one that explains; what follows undoes it. */
static void first_keep(struct core_state *st, struct core_vm *vm, enum core_reason why,
		       uint8_t node, uint64_t n1)
{
	if (vm->migration.first.reason || st->level < CORE_LEVEL_CAUSES)
		return;
	vm->migration.first = core_cause(why, node, n1, 0);
	core_cause_tell(st, &vm->migration.first);
}

/* The migration is over, for good or not; the VM runs at vm->node. */
static void mig_end(struct core_state *st, struct core_vm *vm, bool moved, enum core_reason why,
		    uint64_t n1)
{
	struct core_migration *m = &vm->migration;
	uint8_t tries = m->tries, rung = m->rung;
	bool drain = m->drain, spent = m->spent;
	struct core_cause first = m->first;

	job_end(st, vm, moved, why, n1);
	memset(m, 0, sizeof(*m));
	if (!moved && drain) {
		/* The rung had its chance; or it had several, and something else was in the way. */
		m->tries = (uint8_t)(tries + 1);
		m->rung = rung;
		if (spent || m->tries >= CORE_RUNG_TRIES) {
			m->rung++;
			m->tries = 0;
		}
		vm->retry_ms = st->now_ms + st->timing.retry_ms;
	}
	if (moved)
		vm->restart = false;
	core_vm_set(st, vm, CORE_VM_RUNNING, why, vm->node, n1, 0);
	if (!moved && first.reason)
		vm->cause = first; /* that it runs where it ran explains nothing */
}

/* Not committed.  The source goes on if it can; the target's copy ends. */
void core_migrate_abort(struct core_state *st, struct core_vm *vm, enum core_reason why,
			uint8_t node, uint64_t n1)
{
	struct core_migration *m = &vm->migration;
	struct core_effect *fx;

	first_keep(st, vm, why, node, n1);
	mig_drop(st, vm, CORE_FX_VM_INCOMING);
	mig_drop(st, vm, CORE_FX_VM_MIGRATE);
	mig_drop(st, vm, CORE_FX_VM_AWAIT);
	if (m->phase == CORE_MIG_INCOMING) {
		/* The source never knew. */
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, why, node,
			       n1, 0);
		if (!st->nodes[m->source].doomed) {
			mig_end(st, vm, false, why, n1);
			return;
		}
	}
	mig_phase(st, vm, CORE_MIG_ABORT, why, node, n1);
	if (!st->nodes[m->source].doomed) {
		fx = mig_effect(st, vm, CORE_FX_VM_FINISH, m->source, vm->generation);
		if (fx)
			fx->flags = 0;
		if (CORE_MUTANT(10)) /* planted: resume both sides */
			mig_effect(st, vm, CORE_FX_VM_RESUME, m->target, m->generation);
		return;
	}
	/* The source is lost as well: it awaits proof like any VM of its node. */
	core_job_end_reason(st, &m->job, false, why, node, n1, 0);
	memset(m, 0, sizeof(*m));
	core_vm_set(st, vm, CORE_VM_UNKNOWN, CORE_WHY_VM_HOST_LOST, vm->node, 0, 0);
}

static void mig_commit(struct core_state *st, struct core_vm *vm)
{
	struct core_migration *m = &vm->migration;
	uint64_t before = vm->generation;
	struct core_effect *fx;

	vm->node = m->target;
	vm->generation = m->generation;
	if (m->drain && !vm->home)
		vm->home = m->source;
	mig_phase(st, vm, CORE_MIG_COMMIT, CORE_WHY_MIG_COMMITTED, vm->node, vm->generation);
	mig_effect(st, vm, CORE_FX_VM_RESUME, m->target, m->generation);
	fx = mig_effect(st, vm, CORE_FX_VM_FINISH, m->source, before);
	if (fx)
		fx->flags = CORE_FLAG_COMMITTED;
	if (CORE_MUTANT(11) && fx)
		fx->flags = 0; /* planted: the source is told "aborted" after the commit */
}

/* ---- quick ---------------------------------------------------------------------------------- */

static void quick_saved(struct core_state *st, struct core_vm *vm, uint64_t bytes)
{
	struct core_migration *m = &vm->migration;

	vm->saved = true;
	m->tries = 0; /* of the restore, from here on */
	if (m->drain && !vm->home)
		vm->home = m->source;
	mig_phase(st, vm, CORE_MIG_SAVED, CORE_WHY_SAVED, m->source, bytes);
	core_vm_kill(st, vm, m->source, vm->generation);
}

/* Where it was meant to go, else the best, else back on the draining node rather than nowhere. */
static uint8_t quick_place(const struct core_state *st, const struct core_vm *vm)
{
	const struct core_migration *m = &vm->migration;
	uint16_t index = core_vm_index(st, vm);
	struct core_verdict verdict;
	struct core_room room;
	uint8_t node;

	core_room_fill(st, &room);
	if (m->target && core_room_judge(st, &room, index, m->target, &verdict))
		return m->target;
	node = core_room_place(st, &room, index, 0);
	if (node || !core_node_ok(st, m->source))
		return node;
	room.up |= CORE_NODE_BIT(m->source);
	return core_room_judge(st, &room, index, m->source, &verdict) ? m->source : 0;
}

/* SAVED and nobody has a copy: restore it somewhere. */
static void quick_restore(struct core_state *st, struct core_vm *vm)
{
	struct core_migration *m = &vm->migration;
	enum core_reason why;
	struct core_effect *fx;
	uint8_t node;

	if (!vm->run) {
		/* Asked to stop meanwhile: the image was the running VM, and is dropped with it. */
		vm->saved = false;
		core_vm_copy_ended(st, vm, vm->node, CORE_WHY_SAVE_DROPPED, false, 0);
		return;
	}
	if (st->now_ms < vm->hold_until_ms) {
		core_vm_why(vm, CORE_WHY_VM_WAIT_HOLD, vm->node, vm->hold_until_ms - st->now_ms);
		return;
	}
	why = core_place_volumes(st, vm, &node);
	if (why) {
		core_vm_why(vm, why, node, 0);
		return;
	}
	node = quick_place(st, vm);
	if (!node) {
		core_vm_why(vm, CORE_WHY_VM_NO_ROOM, 0, vm->config.memory_mib);
		return;
	}
	/* What was asked before the restore says nothing of what the restore makes. */
	mig_drop(st, vm, CORE_FX_VM_QUERY);
	fx = mig_effect(st, vm, CORE_FX_VM_RESTORE, node, vm->generation_last + 1);
	if (!fx)
		return;
	vm->generation = ++vm->generation_last;
	vm->node = node;
	m->target = node;
	m->generation = vm->generation;
	copy_begins(st, vm, node);
	mig_phase(st, vm, CORE_MIG_RESTORE, CORE_WHY_MIG_COMMITTED, node, vm->generation);
}

/* The image may have been used, or cannot be: a fresh boot. */
static void quick_drop(struct core_state *st, struct core_vm *vm, uint8_t node)
{
	vm->saved = false;
	core_vm_copy_ended(st, vm, node, CORE_WHY_SAVE_DROPPED, false, 0);
}

static void quick_unsave(struct core_state *st, struct core_vm *vm, uint64_t code)
{
	first_keep(st, vm, CORE_WHY_SAVE_FAILED, vm->node, code);
	mig_phase(st, vm, CORE_MIG_UNSAVE, CORE_WHY_SAVE_FAILED, vm->node, code);
	mig_effect(st, vm, CORE_FX_VM_RESUME, vm->node, vm->generation);
}

/* ---- results -------------------------------------------------------------------------------- */

static void live_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			const struct core_result *result)
{
	struct core_migration *m = &vm->migration;

	switch (fx->kind) {
	case CORE_FX_VM_INCOMING:
		if (m->phase != CORE_MIG_INCOMING || fx->generation != m->generation)
			return;
		if (result->outcome == CL_DONE) {
			m->port = (uint16_t)result->values[0];
			mig_phase(st, vm, CORE_MIG_COPY, CORE_WHY_MIG_COPYING, m->target, m->port);
			copy_effect(st, vm);
			mig_effect(st, vm, CORE_FX_VM_AWAIT, m->target, m->generation);
			return;
		}
		if (result->outcome == CL_FAILED)
			vm->copies &= (core_nodes)~CORE_NODE_BIT(m->target);
		core_migrate_abort(st, vm, CORE_WHY_MIG_ABORTED, m->source, result->code);
		return;
	case CORE_FX_VM_MIGRATE:
	case CORE_FX_VM_AWAIT:
		if (m->phase != CORE_MIG_COPY)
			return;
		if (result->outcome != CL_DONE) {
			if (CORE_MUTANT(12) && result->outcome == CL_UNKNOWN) {
				mig_commit(st, vm); /* planted: a time-out taken for an answer */
				return;
			}
			m->spent = fx->kind == CORE_FX_VM_MIGRATE && result->outcome == CL_FAILED;
			core_migrate_abort(st, vm, CORE_WHY_MIG_ABORTED, m->source, result->code);
			return;
		}
		if (fx->kind == CORE_FX_VM_MIGRATE)
			m->switched = true;
		else
			m->ready = true;
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
			       fx->kind == CORE_FX_VM_MIGRATE ? CORE_WHY_MIG_SWITCHED :
								CORE_WHY_MIG_READY,
			       fx->node, result->values[0], result->values[1]);
		if (m->switched && m->ready)
			mig_commit(st, vm);
		return;
	case CORE_FX_VM_FINISH:
		if (m->phase == CORE_MIG_ABORT && !(fx->flags & CORE_FLAG_COMMITTED)) {
			if (result->outcome == CL_DONE)
				mig_end(st, vm, false, CORE_WHY_MIG_RESUMED_SOURCE, vm->generation);
			else
				core_vm_query(st, vm, m->source);
			return;
		}
		if (!(fx->flags & CORE_FLAG_COMMITTED))
			return;
		if (result->outcome == CL_DONE)
			vm->copies &= (core_nodes)~CORE_NODE_BIT(fx->node);
		else
			core_vm_kill(st, vm, fx->node, fx->generation);
		return;
	case CORE_FX_VM_RESUME:
		if (m->phase != CORE_MIG_COMMIT || fx->node != vm->node)
			return;
		if (result->outcome == CL_DONE)
			mig_end(st, vm, true, CORE_WHY_MIG_MOVED, vm->generation);
		else
			core_vm_query(st, vm, vm->node);
		return;
	}
}

static void quick_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			 const struct core_result *result)
{
	struct core_migration *m = &vm->migration;

	switch (fx->kind) {
	case CORE_FX_VM_SAVE:
		if (m->phase != CORE_MIG_SAVE || fx->generation != vm->generation)
			return;
		if (result->outcome == CL_DONE)
			quick_saved(st, vm, result->values[0]);
		else if (result->outcome == CL_FAILED) {
			m->spent = true;
			quick_unsave(st, vm, result->code);
		} else
			core_vm_query(st, vm, fx->node);
		return;
	case CORE_FX_VM_RESUME:
		if (m->phase != CORE_MIG_UNSAVE)
			return;
		if (result->outcome == CL_DONE)
			mig_end(st, vm, false, CORE_WHY_MIG_RESUMED_SOURCE, vm->generation);
		else
			core_vm_query(st, vm, vm->node);
		return;
	case CORE_FX_VM_RESTORE:
		if (m->phase != CORE_MIG_RESTORE || fx->generation != vm->generation)
			return;
		switch (result->outcome) {
		case CL_DONE:
			vm->saved = false;
			mig_end(st, vm, true, CORE_WHY_RESTORED, vm->generation);
			return;
		case CL_FAILED:
			vm->copies &= (core_nodes)~CORE_NODE_BIT(fx->node);
			if (++m->tries >= CORE_RESTORE_TRIES) {
				quick_drop(st, vm, fx->node);
				return;
			}
			mig_phase(st, vm, CORE_MIG_SAVED, CORE_WHY_RESTORE_FAILED, fx->node,
				  result->code);
			vm->retry_ms = st->now_ms + st->timing.retry_ms;
			if (m->target == fx->node)
				m->target = 0;
			return;
		default:
			if (CORE_MUTANT(13)) { /* planted: the image is used again */
				vm->copies &= (core_nodes)~CORE_NODE_BIT(fx->node);
				mig_phase(st, vm, CORE_MIG_SAVED, CORE_WHY_RESTORE_FAILED, fx->node, 0);
				return;
			}
			core_vm_query(st, vm, fx->node);
			return;
		}
	}
}

void core_migrate_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			 const struct core_result *result)
{
	if (vm->state == CORE_VM_LIVE) {
		live_result(st, vm, fx, result);
	} else if (vm->state == CORE_VM_QUICK) {
		quick_result(st, vm, fx, result);
	} else if (fx->kind == CORE_FX_VM_FINISH && (fx->flags & CORE_FLAG_COMMITTED)) {
		/* The target runs already; the source's end arrives later. */
		if (result->outcome == CL_DONE && vm->node != fx->node)
			vm->copies &= (core_nodes)~CORE_NODE_BIT(fx->node);
	}
}

/* VM_QUERY answered during a migration: node says what it has. */
void core_migrate_seen(struct core_state *st, struct core_vm *vm, uint8_t node, uint8_t seen)
{
	struct core_migration *m = &vm->migration;
	bool none = seen == CORE_SEEN_NONE;

	switch (m->phase) {
	case CORE_MIG_INCOMING:
	case CORE_MIG_COPY:
		if (none && node == m->source) {
			vm->copies &= (core_nodes)~CORE_NODE_BIT(node);
			mig_drop(st, vm, CORE_FX_VM_INCOMING);
			mig_drop(st, vm, CORE_FX_VM_MIGRATE);
			mig_drop(st, vm, CORE_FX_VM_AWAIT);
			core_vm_copy_ended(st, vm, node, CORE_WHY_VM_DIED, true, 0);
		} else if (none && node == m->target) {
			core_migrate_abort(st, vm, CORE_WHY_MIG_ABORTED, m->source, 0);
		}
		break;
	case CORE_MIG_ABORT:
		if (node != m->source)
			break;
		if (none)
			core_vm_copy_ended(st, vm, node, CORE_WHY_VM_DIED, true, 0);
		else if (seen == CORE_SEEN_RUNNING)
			mig_end(st, vm, false, CORE_WHY_MIG_RESUMED_SOURCE, vm->generation);
		else /* MIGRATING, too: a migration that goes on would pause it some day, for ever
		      */
			vm->retry_ms = st->now_ms + st->timing.retry_ms;
		break;
	case CORE_MIG_COMMIT:
	case CORE_MIG_RESTORE:
		if (node != vm->node) {
			if (none)
				vm->copies &= (core_nodes)~CORE_NODE_BIT(node);
			break;
		}
		if (seen == CORE_SEEN_RUNNING) {
			vm->saved = false;
			mig_end(st, vm, true,
				m->phase == CORE_MIG_COMMIT ? CORE_WHY_MIG_MOVED
							    : CORE_WHY_RESTORED,
				vm->generation);
		} else if (none && m->phase == CORE_MIG_RESTORE) {
			quick_drop(st, vm, node);
		} else if (none) {
			mig_drop(st, vm, CORE_FX_VM_RESUME);
			core_vm_copy_ended(st, vm, node, CORE_WHY_VM_DIED, true, 0);
		} else {
			vm->retry_ms = st->now_ms + st->timing.retry_ms;
		}
		break;
	case CORE_MIG_SAVE:
	case CORE_MIG_UNSAVE:
		if (none) {
			mig_drop(st, vm, CORE_FX_VM_SAVE);
			mig_drop(st, vm, CORE_FX_VM_RESUME);
			core_vm_copy_ended(st, vm, node, CORE_WHY_VM_DIED, true, 0);
		} else if (seen == CORE_SEEN_SAVED && m->phase == CORE_MIG_SAVE) {
			mig_drop(st, vm, CORE_FX_VM_SAVE);
			quick_saved(st, vm, 0);
		} else if (seen == CORE_SEEN_RUNNING && m->phase == CORE_MIG_SAVE &&
			   core_effect_find(st, CORE_FX_VM_SAVE, node, CORE_NONE, core_vm_index(st, vm))) {
			break; /* it has not begun yet, and will say itself what came of it */
		} else if (seen == CORE_SEEN_RUNNING) {
			mig_end(st, vm, false, CORE_WHY_MIG_RESUMED_SOURCE, vm->generation);
		} else if (!core_effect_find(st, CORE_FX_VM_SAVE, node, CORE_NONE,
					     core_vm_index(st, vm))) {
			quick_unsave(st, vm, 0);
		}
		break;
	case CORE_MIG_SAVED:
		if (none)
			vm->copies &= (core_nodes)~CORE_NODE_BIT(node);
		break;
	}
}

/* copies is without the node already. */
void core_migrate_node_over(struct core_state *st, struct core_vm *vm, const struct core_node *n)
{
	struct core_migration *m = &vm->migration;

	switch (m->phase) {
	case CORE_MIG_INCOMING:
	case CORE_MIG_COPY:
	case CORE_MIG_ABORT:
		if (n->id == m->source) {
			mig_drop(st, vm, CORE_FX_VM_INCOMING);
			mig_drop(st, vm, CORE_FX_VM_AWAIT);
			core_vm_copy_ended(st, vm, n->id, CORE_WHY_VM_HOST_PROVEN, false, 0);
		} else if (m->phase != CORE_MIG_ABORT) {
			core_migrate_abort(st, vm, CORE_WHY_MIG_TARGET_LOST, n->id, 0);
		}
		break;
	case CORE_MIG_COMMIT:
		if (n->id == vm->node)
			core_vm_copy_ended(st, vm, n->id, CORE_WHY_VM_HOST_PROVEN, false, 0);
		break;
	case CORE_MIG_SAVE:
	case CORE_MIG_UNSAVE:
		core_vm_copy_ended(st, vm, n->id, CORE_WHY_VM_HOST_PROVEN, false, 0);
		break;
	case CORE_MIG_RESTORE:
		if (n->id == vm->node)
			quick_drop(st, vm, n->id);
		break;
	}
}

void core_migrate_reconcile(struct core_state *st, struct core_vm *vm)
{
	struct core_migration *m = &vm->migration;
	uint16_t index = core_vm_index(st, vm);

	if (st->now_ms < vm->retry_ms)
		return;
	switch (m->phase) {
	case CORE_MIG_ABORT:
		if (core_node_ok(st, m->source) &&
		    !core_effect_find(st, 0, m->source, CORE_NONE, index))
			mig_effect(st, vm, CORE_FX_VM_FINISH, m->source, vm->generation);
		break;
	case CORE_MIG_COMMIT:
		if (core_node_ok(st, vm->node) &&
		    !core_effect_find(st, CORE_FX_VM_RESUME, vm->node, CORE_NONE, index) &&
		    !core_effect_find(st, CORE_FX_VM_QUERY, vm->node, CORE_NONE, index))
			mig_effect(st, vm, CORE_FX_VM_RESUME, vm->node, vm->generation);
		break;
	case CORE_MIG_SAVE:
		if (core_node_ok(st, vm->node) && !core_effect_find(st, 0, vm->node, CORE_NONE, index))
			core_vm_query(st, vm, vm->node);
		break;
	case CORE_MIG_UNSAVE:
		if (core_node_ok(st, vm->node) && !core_effect_find(st, 0, vm->node, CORE_NONE, index))
			mig_effect(st, vm, CORE_FX_VM_RESUME, vm->node, vm->generation);
		break;
	case CORE_MIG_SAVED:
		if (!vm->copies) {
			quick_restore(st, vm);
			break;
		}
		if (core_node_ok(st, (uint8_t)(__builtin_ctz(vm->copies) + 1)))
			core_vm_kill(st, vm, (uint8_t)(__builtin_ctz(vm->copies) + 1),
				     vm->generation_last);
		break;
	case CORE_MIG_RESTORE:
		if (core_node_ok(st, vm->node) && !core_effect_find(st, 0, vm->node, CORE_NONE, index))
			core_vm_query(st, vm, vm->node);
		break;
	case CORE_MIG_COPY:
		/* An effect that did not fit into the table, or whose node's table was cleared. */
		if (!m->switched &&
		    !core_effect_find(st, CORE_FX_VM_MIGRATE, m->source, CORE_NONE, index))
			copy_effect(st, vm);
		if (!m->ready && !core_effect_find(st, CORE_FX_VM_AWAIT, m->target, CORE_NONE, index))
			mig_effect(st, vm, CORE_FX_VM_AWAIT, m->target, m->generation);
		break;
	}
}

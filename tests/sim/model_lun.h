/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A model of one LUN as a target has it: registrations of I_T nexuses, one persistent reservation,
 * unit attentions, and who may read and write.  Pure and small: the simulator holds many.
 *
 * It tells the truth of SPC-4 5.13 as real targets show it: the contract suite of tests/contract
 * runs on this model, on LIO and on tgt.  A nexus is a small number that the user of the model
 * hands out: one a node where a node has one path.
 *
 * The model holds no data and no commands in flight: model_lun_preempt() says whose commands
 * PREEMPT AND ABORT has aborted, and the simulator drops those.
 */
#ifndef TESTS_SIM_MODEL_LUN_H
#define TESTS_SIM_MODEL_LUN_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_LUN_NEXUSES 32u

enum model_lun_status {
	MODEL_LUN_GOOD = 0,
	MODEL_LUN_CONFLICT = 1,	   /* RESERVATION CONFLICT */
	MODEL_LUN_REFUSED = 2,	   /* ILLEGAL REQUEST */
	MODEL_LUN_ATTENTION = 3,   /* a unit attention was pending: not carried out */
	MODEL_LUN_UNREACHABLE = 4, /* for the simulator: never returned by the model itself */
};

/* Unit attentions pending, a bit each; reported lowest first. */
#define MODEL_LUN_UA_RESET	   (1u << 0) /* 29/00 */
#define MODEL_LUN_UA_RESERVATIONS  (1u << 1) /* 2A/03 reservations preempted */
#define MODEL_LUN_UA_RELEASED	   (1u << 2) /* 2A/04 */
#define MODEL_LUN_UA_REGISTRATIONS (1u << 3) /* 2A/05 registrations preempted */

struct model_lun {
	uint32_t generation; /* PRgeneration */
	bool registered[MODEL_LUN_NEXUSES];
	uint64_t key[MODEL_LUN_NEXUSES];
	uint8_t attention[MODEL_LUN_NEXUSES];
	bool held;
	uint8_t type;	/* 1 3 5 6 7 8 */
	uint8_t holder; /* nexus; meaningless for types 7 and 8 */
	bool aptpl;	/* of the last REGISTER */
	/* What this target refuses, as tgt does. */
	bool no_abort, no_aptpl;
	/*
	 * LIO's flaw: PREEMPT AND ABORT answers GOOD but aborts only when the victim is the nexus
	 * that made the reservation (model_lun_preempt then says 0 in ret_aborted).
	 */
	bool lazy_abort;
};

void model_lun_init(struct model_lun *lun);
/* Takes the next unit attention of nexus (a MODEL_LUN_UA_ bit), 0 if none is pending. */
unsigned model_lun_attention_take(struct model_lun *lun, unsigned nexus);

/* REGISTER, or REGISTER AND IGNORE EXISTING KEY; new_key 0 unregisters. */
enum model_lun_status model_lun_register(struct model_lun *lun, unsigned nexus, uint64_t key,
					 uint64_t new_key, bool ignore, bool aptpl);
enum model_lun_status model_lun_reserve(struct model_lun *lun, unsigned nexus, uint64_t key,
					unsigned type);
enum model_lun_status model_lun_release(struct model_lun *lun, unsigned nexus, uint64_t key,
					unsigned type);
/*
 * ret_preempted (may be NULL): bit n = nexus n lost its registration; with abort_tasks its commands
 * in flight are aborted now: the simulator must drop them.
 */
enum model_lun_status model_lun_preempt(struct model_lun *lun, unsigned nexus, uint64_t key,
					uint64_t victim_key, unsigned type, bool abort_tasks,
					uint32_t *ret_aborted);
enum model_lun_status model_lun_clear(struct model_lun *lun, unsigned nexus, uint64_t key);

bool model_lun_may_read(const struct model_lun *lun, unsigned nexus);
bool model_lun_may_write(const struct model_lun *lun, unsigned nexus);
bool model_lun_have_key(const struct model_lun *lun, uint64_t key);

/* The target loses power and comes back: registrations survive only with APTPL. */
void model_lun_power_cycle(struct model_lun *lun);
/*
 * LOGICAL UNIT RESET by nexus: reservations stay; every command in flight of every nexus is aborted
 * (the simulator drops or repeats them), the others get a unit attention.
 */
void model_lun_reset(struct model_lun *lun, unsigned nexus);
/* The session of nexus is new (same nexus name): pending attentions go, 29 comes. */
void model_lun_nexus_reset(struct model_lun *lun, unsigned nexus);

#endif

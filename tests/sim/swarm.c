/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan of a seed.  Swarm: each seed has its own subset of the faults and its own rates, so that
 * combinations come up that a mix of everything would drown.  A third of the faults wait for
 * an edge of a protocol: right after a token, between done and told, between sent and delivered.
 */
#include "tests/sim/plan.h"

#include <string.h>

#include "clusterd/log/message.h"
#include "tests/sim/sim.h"

static uint64_t state;

static unsigned below(unsigned n)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return n ? (unsigned)(z % n) : 0;
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

/* What a trigger waits for: mostly steps of VMs' lives and of the log. */
static void trigger_make(struct plan_step *step)
{
	static const uint8_t effects[] = {
		CORE_FX_VM_INCOMING, CORE_FX_VM_MIGRATE, CORE_FX_VM_MIGRATE, CORE_FX_VM_AWAIT,
		CORE_FX_VM_AWAIT,    CORE_FX_VM_FINISH,	 CORE_FX_VM_RESUME,  CORE_FX_VM_SAVE,
		CORE_FX_VM_RESTORE,  CORE_FX_VM_START,	 CORE_FX_VM_KILL,    CORE_FX_FENCE,
		CORE_FX_FENCE,	     CORE_FX_VOL_OWN,	 CORE_FX_VOL_JOIN,   CORE_FX_VOL_RELEASE,
		CORE_FX_NODE_RESET,  CORE_FX_VOL_GONE,	 CORE_FX_VM_QUERY,
	};

	static const uint8_t messages[] = { LOG_MSG_PROPOSE, LOG_MSG_ACK, LOG_MSG_ACK };

	step->when = (uint8_t)(PLAN_BEGIN + below(PLAN_WHENS - PLAN_BEGIN));
	step->nth = (uint8_t)(1 + (chance(30) ? below(4) : 0));
	if (step->when <= PLAN_ANSWER)
		step->arg = effects[below(sizeof(effects))];
	else if (step->when == PLAN_DURABLE)
		step->arg = (uint8_t)(LOG_STORE_APPEND + below(4));
	else
		step->arg = chance(60) ? messages[below(sizeof(messages))] : (uint8_t)(1 + below(8));
	step->node = chance(60) ? PLAN_WHERE : PLAN_OTHER;
}

static void fault_make(struct plan *plan, struct plan_step *step, uint8_t act, uint32_t at_ms)
{
	memset(step, 0, sizeof(*step));
	step->at_ms = at_ms;
	step->act = act;
	step->node = (uint8_t)(1 + below(plan->nodes));
	step->peer = (uint8_t)(1 + below(plan->nodes));
	step->vm = (uint8_t)below(plan->vms);
	step->volume = (uint8_t)below(plan->volumes);
	switch (act) {
	case PLAN_POWER:
	case PLAN_OLD_DISK:
	case PLAN_BAD_DISK:
		step->for_ms = chance(25) ? 200 : 3000 + below(30000);
		step->value = act == PLAN_BAD_DISK ? (int32_t)below(2) : 0;
		break;
	case PLAN_POWER_ALL:
		step->for_ms = 2000 + below(15000);
		break;
	case PLAN_DAEMON:
		step->for_ms = 300 + below(chance(20) ? 90000 : 3000);
		break;
	case PLAN_STALL:
		step->for_ms = 500 + below(20000);
		step->value = chance(50);
		if (step->value && chance(30))
			step->for_ms += 40000;
		break;
	case PLAN_STOP:
		step->for_ms = 200 + below(chance(30) ? 100000 : 8000);
		break;
	case PLAN_ISOLATE:
		step->for_ms = chance(50) ? 0 : 500 + below(20000);
		break;
	case PLAN_SPLIT:
		step->value = (int32_t)below(1u << plan->nodes);
		break;
	case PLAN_WALL:
		/* Days, and up to a minute: the hour stays, by which VMs go home. */
		step->value = ((int32_t)below(21) - 10) * 86400 + (int32_t)below(60);
		break;
	case PLAN_FSYNC:
		step->for_ms = 200 + below(15000);
		break;
	case PLAN_PATHS:
		step->value = chance(40);
		/* fall through */
	case PLAN_WRITES:
		step->for_ms = 5000 + below(30000);
		break;
	case PLAN_GUEST:
		step->value = (int32_t)(CORE_EXIT_SHUTDOWN + below(2) + 2 * chance(50));
		break;
	case PLAN_HANG:
		step->for_ms = 500 + below(15000);
		break;
	case PLAN_REPLY:
		step->value = (int32_t)(SIM_FATE_FAIL + below(4));
		break;
	}
	if (act != PLAN_POWER_ALL && act != PLAN_SPLIT && chance(35))
		trigger_make(step);
	if (act == PLAN_REPLY && step->when != PLAN_BEGIN) {
		trigger_make(step);
		step->when = PLAN_BEGIN;
		if (chance(50))
			step->arg = (uint8_t)(1 + below(CORE_FX_KINDS - 1));
		else if (chance(40))
			step->arg = CORE_FX_VM_QUERY; /* rarely asked, and nobody else would */
		step->node = PLAN_WHERE;
	}
}

static void operator_make(struct plan *plan, struct plan_step *step, uint32_t at_ms)
{
	static const uint8_t wanted[] = {
		PLAN_VM_MIGRATE, PLAN_VM_MIGRATE, PLAN_VM_MIGRATE,  PLAN_VM_MIGRATE,  PLAN_VM_START,
		PLAN_VM_START,	 PLAN_VM_STOP,	  PLAN_NODE_PAUSE,  PLAN_NODE_RESUME, PLAN_NODE_RESUME,
		PLAN_VOLUME_MOVE, PLAN_VM_CANCEL, PLAN_VM_DELETE,   PLAN_CONFIRM,     PLAN_VM_CREATE,
		PLAN_VM_SET,	 PLAN_VM_SET,	  PLAN_CAPS,	    PLAN_CLUSTER,     PLAN_CLUSTER,
	};

	memset(step, 0, sizeof(*step));
	step->at_ms = at_ms;
	step->act = wanted[below(sizeof(wanted))];
	if ((step->act == PLAN_VM_DELETE || step->act == PLAN_CONFIRM) && !chance(30))
		step->act = PLAN_VM_MIGRATE;
	step->node = (uint8_t)(1 + below(plan->nodes));
	step->vm = (uint8_t)below(plan->vms);
	step->volume = (uint8_t)below(plan->volumes);
	step->peer = (uint8_t)(1 + below(plan->nodes));
	switch (step->act) {
	case PLAN_VM_MIGRATE:
		if (chance(50))
			step->peer = 0;
		step->value = CORE_METHOD_LIVE + chance(35);
		break;
	case PLAN_VM_STOP:
		step->value = chance(50);
		break;
	case PLAN_NODE_PAUSE:
		step->value = chance(80);
		break;
	case PLAN_NODE_RESUME:
		step->value = chance(60);
		break;
	}
}

static void world_make(struct plan *plan)
{
	uint8_t id;

	plan->volumes = (uint8_t)(1 + chance(40));
	plan->vms = (uint8_t)(1 + below(4));
	plan->p_lost = (uint8_t)(chance(50) ? 0 : below(12));
	plan->p_fail = (uint8_t)(chance(50) ? 0 : below(10));
	plan->p_slow = (uint8_t)(chance(60) ? 0 : below(30));
	plan->store = chance(50);
	plan->lazy_abort = chance(50);
	plan->stop_ms = below(CORE_LEASE_STOP_MS);
	if (chance(50))
		for (id = 1; id <= plan->nodes; id++)
			plan->drift_ppm[id] = (int32_t)below(2 * SIM_DRIFT_PPM + 1) - (int32_t)SIM_DRIFT_PPM;
}

void plan_make(struct plan *plan, uint64_t seed, uint32_t nodes, uint32_t fault_ms)
{
	uint8_t p_fault[PLAN_FAULTS_LAST + 1];
	uint32_t at, limit = 12000 + fault_ms;
	uint8_t act;

	memset(plan, 0, offsetof(struct plan, steps));
	plan->title[0] = plan->caught[0] = '\0';
	plan->mutant = 0;
	plan->expect_count = 0;
	state = seed * 0x2545f4914f6cdd1du;
	plan->world_seed = seed;
	plan->nodes = (uint8_t)(nodes ? nodes : chance(60) ? 3 : 2 + below(4));
	plan->heal_ms = limit;
	world_make(plan);
	for (act = 1; act <= PLAN_FAULTS_LAST; act++)
		p_fault[act] = (uint8_t)(chance(40) ? 20 + below(80) : 0);
	p_fault[PLAN_POWER_ALL] /= 3;
	p_fault[PLAN_FORGET] /= 3;
	p_fault[PLAN_MEND] = 100;
	/* Once a seed, a disk that has lost its memory: more is more than a majority can bear. */
	if (chance(25)) {
		fault_make(plan, &plan->steps[plan->count++], PLAN_COPY, 9000 + below(15000));
		plan->steps[0].when = PLAN_NOW;
		plan->steps[0].node = (uint8_t)(1 + below(plan->nodes));
		fault_make(plan, &plan->steps[plan->count++],
			   chance(70) ? PLAN_OLD_DISK : PLAN_BAD_DISK, plan->steps[0].at_ms + below(20000));
		plan->steps[1].when = PLAN_NOW;
		plan->steps[1].node = plan->steps[0].node;
	}
	/* A split just when something is done and not yet known: its result comes to light with what changed since. */
	if (chance(20)) {
		struct plan_step *step = &plan->steps[plan->count++];

		fault_make(plan, step, PLAN_SPLIT, 13000 + below(10000));
		trigger_make(step);
		step->when = PLAN_DONE;
		step->arg = CORE_FX_VM_START;
	}
	p_fault[PLAN_COPY] = p_fault[PLAN_OLD_DISK] = p_fault[PLAN_BAD_DISK] = 0;
	for (at = 8000 + below(8000); at < limit && plan->count < PLAN_STEPS / 2;
	     at += 300 + below(chance(20) ? 500 : 7000)) {
		unsigned draws = 3;

		do
			act = (uint8_t)(1 + below(PLAN_FAULTS_LAST));
		while (!p_fault[act] && --draws);
		if (chance(p_fault[act]))
			fault_make(plan, &plan->steps[plan->count++], act, at);
	}
	for (at = 12000 + below(2000); at < limit && plan->count < PLAN_STEPS - 1;
	     at += 300 + below(3000)) {
		struct plan_step *step = &plan->steps[plan->count++];

		operator_make(plan, step, at);
		/* The same again, by somebody else, at the same moment. */
		if (chance(15) && plan->count < PLAN_STEPS - 1) {
			plan->steps[plan->count] = *step;
			plan->steps[plan->count].node = (uint8_t)(1 + below(plan->nodes));
			plan->steps[plan->count++].at_ms += below(6);
		}
	}
}

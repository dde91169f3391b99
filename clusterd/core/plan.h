/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command, or a node's power failure, would lead to: the core itself runs on a copy of the
 * state, with executors who always succeed and take as long as they took before (pace.h).
 * Nothing is proposed, nothing is changed.
 */
#ifndef CLUSTERD_CORE_PLAN_H
#define CLUSTERD_CORE_PLAN_H

#include "clusterd/core/core.h"
#include "clusterd/core/pace.h"

#define CORE_PLAN_TEXT_MAX 512u

enum core_plan_method {
	CORE_PLAN_STAYS = 0, /* nothing happens to it, or it cannot: text says why */
	CORE_PLAN_LIVE,
	CORE_PLAN_QUICK,
	CORE_PLAN_RESTART, /* it ends there, or has ended, and boots elsewhere */
	CORE_PLAN_STOP,
	CORE_PLAN_DELETE,
	CORE_PLAN_WAITS, /* it should run and runs nowhere: text says why */
	CORE_PLAN_OWNER, /* a volume: another node becomes owner */
};

struct core_plan_item {
	uint8_t object; /* CORE_OBJECT_VM or CORE_OBJECT_VOLUME */
	uint8_t method; /* enum core_plan_method */
	uint8_t from, to; /* nodes, or 0 */
	uint8_t before, after; /* states */
	bool touched;
	bool measured; /* its times come from what was measured, not from assumptions */
	uint16_t index;
	uint64_t begin_ms, end_ms; /* since the command, or the power failure */
	char text[CORE_PLAN_TEXT_MAX]; /* what keeps it, or "" */
};

struct core_plan_ask {
	const struct core_command *cmd; /* NULL: fail */
	uint8_t fail;			/* node that loses power */
	uint32_t detect_ms;		/* until corosync tells of it */
};

/* Made by core_plan_run(); big (about 400 KiB), the caller's. */
struct core_plan {
	int err; /* the command would be refused: text says why */
	char text[CORE_TEXT_MAX];
	bool finished; /* what was asked would be done in the end */
	uint64_t end_ms;
	struct core_pace pace;
	uint16_t count;
	struct core_plan_item items[CORE_VMS_MAX + CORE_VOLUMES_MAX]; /* those that are concerned */
	/* work space */
	uint64_t due_ms[CORE_EFFECTS_MAX];
	uint64_t due_id[CORE_EFFECTS_MAX];
};

/* copy: a copy of the state, which is used up.  scratch: two of them. */
void core_plan_run(struct core_state *copy, struct core_command scratch[2],
		   const struct core_plan_ask *ask, struct core_plan *ret_plan);

const char *core_plan_method_name(uint8_t method);

#endif

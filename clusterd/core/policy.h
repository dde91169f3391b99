/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator wishes for a VM and for the cluster as a whole.  Shapes only; place.c, drain.c and
 * policy.c act on them.  None of it is needed for safety: a wish that was lost or misread
 * makes a VM wait or run elsewhere, never twice.
 */
#ifndef CLUSTERD_CORE_POLICY_H
#define CLUSTERD_CORE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cl_types.h"

enum core_priority {
	CORE_PRIORITY_NONE = 0, /* never restarted by itself */
	CORE_PRIORITY_LOW,
	CORE_PRIORITY_MEDIUM,
	CORE_PRIORITY_HIGH,
};

/* When a VM goes home after its node, or its first preferred owner, is back. */
enum core_failback {
	CORE_FAILBACK_NEVER = 0,
	CORE_FAILBACK_IMMEDIATE,
	CORE_FAILBACK_WINDOW, /* at certain hours of the day, UTC */
};

/*
 * A drain's ladder: each rung is tried when the one before did not move the VM.  A policy names the last one
 * allowed; LIVE there stands for all three live ones.
 */
enum core_rung {
	CORE_RUNG_LIVE = 0,  /* CORE_PAUSE_MS of pause, the guest is not held back */
	CORE_RUNG_THROTTLED, /* the guest is held back as far as it takes */
	CORE_RUNG_PAUSE,     /* ... and a pause of up to max_pause_ms */
	CORE_RUNG_QUICK,     /* save and restore */
	CORE_RUNG_SHUTDOWN,  /* the guest shuts down and boots elsewhere */
	CORE_RUNG_OVER,
};

#define CORE_LIMIT_AUTO	      0xffu   /* failover_limit: nodes - 1, at least 2 */
#define CORE_LIMIT_MAX	      100u
#define CORE_PERIOD_S	      21600u  /* 6 hours */
#define CORE_PERIOD_MAX_S     2592000u
#define CORE_RESTART_WAIT_S   30u
#define CORE_RESTART_WAIT_MAX_S 3600u
#define CORE_MAX_PAUSE_MS     10000u
#define CORE_MAX_PAUSE_MAX_MS 600000u
#define CORE_MIGRATIONS_OUT   1u
#define CORE_MIGRATIONS_IN    1u
#define CORE_MIGRATIONS_MAX   16u
#define CORE_OVERCOMMIT	      8u /* vCPUs of VMs for each CPU of a node */
#define CORE_OVERCOMMIT_MAX   64u
#define CORE_SPARE_MAX	      3u

struct core_vm_policy {
	uint8_t priority;	/* enum core_priority */
	uint8_t failback;	/* enum core_failback */
	uint8_t failback_from;	/* WINDOW: hours 0 to 23, [from, to) */
	uint8_t failback_to;
	uint8_t drain;		/* enum core_rung: LIVE, QUICK or SHUTDOWN */
	uint8_t failover_limit; /* failures within the period, or CORE_LIMIT_AUTO */
	bool apart_hard;	/* the group's VMs never share a node, rather than if it can be helped */
	uint16_t possible;	/* set of nodes; 0: all */
	uint16_t restart_wait_s; /* how long lower classes wait for this VM */
	uint32_t failover_period_s;
	uint32_t max_pause_ms;
	uint8_t preferred[CL_NODES_MAX]; /* node ids, best first, then 0 */
	char apart[CL_NAME_MAX];	 /* anti-affinity group, or "" */
};

/* Which fields a command carries; the others keep their values, or their defaults. */
enum core_policy_field {
	CORE_SET_PRIORITY = 1 << 0,
	CORE_SET_FAILBACK = 1 << 1,
	CORE_SET_DRAIN = 1 << 2,
	CORE_SET_LIMIT = 1 << 3, /* and its period */
	CORE_SET_APART = 1 << 4, /* and hard */
	CORE_SET_POSSIBLE = 1 << 5,
	CORE_SET_PREFERRED = 1 << 6,
	CORE_SET_RESTART_WAIT = 1 << 7,
	CORE_SET_MAX_PAUSE = 1 << 8,
	CORE_SET_VM_ALL = (1 << 9) - 1,
};

/* Of the cluster; rows of settings.h. */
struct core_settings {
	uint32_t migrations_out; /* at a time from one node, for drains and failback */
	uint32_t migrations_in;
	uint32_t spare;	     /* node losses that must stay affordable; 0: not asked */
	uint32_t overcommit; /* vCPUs for each CPU; 0: CPUs are not counted */
	uint32_t storage_ms; /* a LUN that does not answer a node so long is lost to it */
};

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plan: all that is chosen about a run before it begins.  The size of the world, its rates, and the
 * steps: faults and operators' commands, each at a time, or the first time (from then on) that
 * something happens.  What is left to chance during the run (delays, lost replies, order) comes from
 * world_seed.  So a run is a plan, a plan is a text (a scenario file), and a shorter plan is
 * a plan too: that is what the shrinker makes.
 *
 *   at 14000 vm-migrate vm=0 node=1 peer=2
 *   at 14000 when done VM_MIGRATE power node=other for=8000
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PLAN_STEPS  160u
#define PLAN_EXPECT 24u
#define PLAN_WHERE  0u	 /* node: where the trigger was */
#define PLAN_OTHER  255u /* node: the other side of it */

enum plan_when {
	PLAN_NOW = 0,
	PLAN_BEGIN,   /* an effect's execution begins */
	PLAN_DONE,    /* it has happened; nobody knows yet */
	PLAN_ANSWER,  /* clusterd has been told */
	PLAN_SEND,    /* a message of this type of the log is ordered; arg: enum log_message_type */
	PLAN_DELIVER, /* ... is delivered to the first node */
	PLAN_DURABLE, /* a store operation is flushed, and clusterd not told; arg: enum log_store_kind */
	PLAN_WHENS,
};

enum plan_act {
	PLAN_ACT_NONE = 0,
	/* faults of nodes */
	PLAN_POWER,	/* node; for: back after, 0: when healed */
	PLAN_POWER_ALL, /* for: back after up to */
	PLAN_DAEMON,	/* node, for: clusterd killed */
	PLAN_STALL,	/* node, for: the whole node stands still; value 1: its clock, too (a paused
			   virtual machine) */
	PLAN_STOP,	/* node, for: clusterd stopped (SIGSTOP) */
	PLAN_CSVD,	/* node: csvd dies */
	PLAN_WALL,	/* node, value: its wall clock is set off by so many seconds */
	/* of the network */
	PLAN_ISOLATE, /* node; for: back after, 0: by mend or healing */
	PLAN_SPLIT,   /* value: set of the nodes on one side */
	PLAN_CUT,     /* node, peer: what node sends does not arrive at peer */
	PLAN_SEVER,   /* node, peer: both ways */
	PLAN_MEND,    /* all of the network */
	/* of disks and stores */
	PLAN_FSYNC,    /* node, for: its disk is stuck */
	PLAN_COPY,     /* node: somebody keeps a copy of its store */
	PLAN_OLD_DISK, /* node: power cut, and the copy is put back; for */
	PLAN_BAD_DISK, /* node: power cut, and its store is damaged: value 0 a record missing, 1 a byte; for */
	/* of the SAN */
	PLAN_KEY,    /* node, volume: somebody removes its key */
	PLAN_FORGET, /* volume: the target restarts and knows no key and no reservation */
	PLAN_NEXUS,  /* node, volume: new session; the key stands at the old nexus */
	PLAN_WRITES, /* volume, for: what is written arrives late */
	PLAN_PATHS,  /* node, volume, for: no command of the node reaches the LUN; value 1: also
			after healing */
	/* of VMs */
	PLAN_GUEST, /* node, vm: the guest ends; value: enum core_exit */
	PLAN_VMM,   /* node, vm: its process dies, whatever it was doing */
	PLAN_HANG,  /* node, vm, for: its process answers nothing */
	PLAN_REPLY, /* node, vm (or any): fate of what is under way there: value = enum sim_fate */
	PLAN_FAULTS_LAST = PLAN_REPLY,
	/* operators; node: whose clusterd is asked */
	PLAN_VM_CREATE,	  /* vm */
	PLAN_VM_START,	  /* vm */
	PLAN_VM_STOP,	  /* vm, value: force */
	PLAN_VM_DELETE,	  /* vm */
	PLAN_VM_MIGRATE,  /* vm, peer: target or 0, value: enum core_method */
	PLAN_VM_CANCEL,	  /* vm */
	PLAN_NODE_PAUSE,  /* peer, value: drain */
	PLAN_NODE_RESUME, /* peer, value: failback */
	PLAN_CONFIRM,	  /* peer: if it is off, somebody says so */
	PLAN_VOLUME_MOVE, /* volume, peer */
	PLAN_VM_SET,	  /* vm: something of its policy */
	PLAN_CAPS,	  /* how many migrations at a time */
	PLAN_CLUSTER,	  /* disarm, arm, or a setting */
	PLAN_ACTS,
};

struct plan_step {
	uint32_t at_ms;
	uint8_t when; /* enum plan_when */
	uint8_t arg;
	uint8_t on;  /* trigger: only there, 0: anywhere */
	uint8_t nth; /* trigger: not before it has happened so often */
	uint8_t act;
	uint8_t node, peer;
	uint8_t vm, volume;
	uint32_t for_ms;
	int32_t value;
};

struct plan {
	uint64_t world_seed;
	uint8_t nodes, vms, volumes;
	uint8_t p_lost, p_fail; /* percent of effects: reply lost, failed */
	uint8_t p_slow;		/* percent of VM effects that take seconds */
	uint8_t store;		/* a crash: 0 keeps whole transactions, 1 any prefix of the operations */
	bool lazy_abort;	/* the target answers PREEMPT AND ABORT and aborts nothing */
	uint32_t heal_ms;
	uint32_t stop_ms;     /* from a lease's end to a vmm's last instruction */
	int32_t drift_ppm[8]; /* of each node's clock */
	uint32_t count;
	struct plan_step steps[PLAN_STEPS];
	/* scenario files only */
	char title[128];
	int mutant;	   /* with this planted bug it must be caught */
	char caught[8];	   /* ... as this invariant */
	uint32_t expect_count;
	struct {
		bool never;
		char text[96];
	} expect[PLAN_EXPECT];
};

/* The plan of a seed: its own subset of faults, rates and triggers (swarm). */
void plan_make(struct plan *plan, uint64_t seed, uint32_t nodes, uint32_t fault_ms);
void plan_print(const struct plan *plan, FILE *file);
void plan_step_print(const struct plan_step *step, FILE *file);
/* 0, or -EBADMSG with one line in error: file, line, what was seen, what is allowed. */
int plan_read(struct plan *plan, const char *path, char *error, size_t cap_bytes);

#endif

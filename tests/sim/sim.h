/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated world: N nodes with the shipped replica (log and core) in one process, one
 * seed, virtual time.  Everything around the replica is a model that can fail:
 *
 *   cpg.c       rings, agreed order, partitions, merges, a node dying in the middle
 *   disk.c      the store: ordered operations, fsync, what a crash loses
 *   machine.c   a node's kernel side: vmm processes, csvd, registrations; effects' executors
 *   oracle.c    what must never be, judged from the models only, never from the core's opinion
 *   schedule.c  faults, operators, healing
 *   main.c      seeds, mutants, figures
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/replica.h"
#include "tests/sim/model_lun.h"

#define SIM_NODES   5u
#define SIM_VMS	    8u
#define SIM_VOLUMES 2u
#define SIM_RUNS    64u /* effects in progress on one node */
#define SIM_ENTRIES 16384u

enum sim_event_kind {
	SIM_EV_ORDER = 1, /* a multicast gets its place in the ring */
	SIM_EV_DELIVER,	  /* a node takes the next item of its ring */
	SIM_EV_RING,	  /* corosync has noticed: new rings form */
	SIM_EV_FSYNC,
	SIM_EV_TIMER,
	SIM_EV_RUN,	  /* an effect in progress takes its next step */
	SIM_EV_LIST,
	SIM_EV_LOCAL,	  /* freeze, thaw, kill take effect */
	SIM_EV_DAEMON,	  /* clusterd starts */
	SIM_EV_BOOT,
	SIM_EV_WAKE,	  /* a paused node or daemon goes on */
	SIM_EV_GUEST,	  /* a refused write stops a vmm */
	SIM_EV_FAULT,
	SIM_EV_OPERATOR,
	SIM_EV_HEAL,
	SIM_EV_CHECK,
};

struct sim_event {
	uint64_t at, order;
	uint8_t kind, node;
	uint32_t guard; /* of the node's process, or of the ring */
	uint32_t a, b;
};

enum sim_vm_state {
	SIM_VM_NONE = 0,
	SIM_VM_RUNNING,
	SIM_VM_INCOMING,
	SIM_VM_SENDING, /* source of a migration, still running */
	SIM_VM_SWITCHED,
	SIM_VM_READY,
	SIM_VM_SAVED,
	SIM_VM_PAUSED,
};

struct sim_vm { /* one process on one node */
	uint8_t state;
	uint64_t generation;
};

struct sim_run { /* an effect in progress */
	bool used;
	struct core_effect fx;
	char name[CL_NAME_MAX];
	uint8_t stage;
	uint8_t fate; /* enum sim_fate */
	uint64_t started;
};

enum sim_fate {
	SIM_FATE_DONE,
	SIM_FATE_FAIL,
	SIM_FATE_LOST_DONE,   /* happened, reply lost */
	SIM_FATE_LOST_NOT,    /* did not happen, reply lost */
	SIM_FATE_LOST_LATER,  /* reply lost, happens afterwards */
};

struct sim_store {
	uint64_t promise, hint;
	bool has_snapshot;
	struct log_mark snap_mark;
	log_nodes snap_voters;
	const void *vouched; /* with the promise */
	size_t vouched_len;
	const void *snap;
	size_t snap_len;
	uint64_t first, last; /* entries on disk: first..last, none if last < first */
	const struct log_entry *entry[SIM_ENTRIES];
};

struct sim_op {
	uint64_t op, epoch, commit;
	uint8_t kind;
	bool reset;
	struct log_mark mark;
	log_nodes voters;
	const void *data;
	size_t len;
};

struct sim_node {
	bool power, corosync, daemon;
	uint64_t stalled_until;	 /* whole node paused */
	uint64_t daemon_stalled; /* clusterd paused (SIGSTOP) */
	uint32_t instance;	 /* guards events of the clusterd process */
	uint32_t boots;
	uint8_t boot_id[CL_UUID_BYTES];
	uint8_t part; /* network component */
	struct replica *r;

	/* ring: what corosync on this node has */
	uint32_t ring;	 /* id */
	uint32_t cursor; /* next item */
	uint32_t cut;	 /* deliver up to here when the ring is closed */
	uint64_t deliver_at;
	bool deliver_armed;
	uint32_t next_ring; /* installed after the cut, 0: none */
	core_nodes came_with; /* into next_ring, from the same ring and with the same cut */

	struct sim_store store;
	struct sim_op ops[512];
	uint32_t op_head, op_count, op_fsync;
	bool fsync_armed;

	/* the node's machine; survives clusterd, not the power */
	struct sim_vm vms[SIM_VMS];
	uint64_t killed_up_to[SIM_VMS]; /* no process with such a generation may appear any more */
	bool attached[SIM_VOLUMES];
	bool layouts[SIM_VOLUMES]; /* it was attached while somebody owned: it may write directly */
	bool mounted[SIM_VOLUMES];
	uint64_t mount_term[SIM_VOLUMES];
	uint64_t released_term[SIM_VOLUMES];
	bool frozen, killed;
	uint64_t run_until; /* its vmms execute until then: the lease, and the time that they take to stop */
	uint64_t local_at;
	struct sim_run runs[SIM_RUNS];
};

struct sim_ring_item {
	uint8_t kind; /* 0 message, 1 configuration */
	uint8_t from;
	core_nodes members, alive;
	bool quorate;
	uint32_t len;
	const uint8_t *data;
};

struct sim_ring {
	uint32_t id;
	core_nodes nodes; /* corosync members */
	core_nodes group; /* clusterds */
	bool frozen;	  /* its token is lost */
	struct sim_ring_item *items;
	uint32_t count, cap;
	uint64_t last_order;
};

struct sim_options {
	bool trace;
	bool verbose;
	uint32_t fault_ms; /* how long faults happen */
	uint32_t nodes;	   /* 0: by seed */
};

struct sim {
	uint64_t seed, rng, now, order;
	struct sim_options opt;
	bool failed;
	char why[256];

	uint32_t lease_stop_ms; /* from a lease's end to a vmm's last instruction */
	uint32_t count; /* nodes */
	uint32_t vm_count, volume_count;
	struct sim_node nodes[SIM_NODES + 1];
	struct replica *replicas[SIM_NODES + 1];

	struct sim_ring rings[512];
	uint32_t ring_count;

	struct sim_event *heap;
	uint32_t heap_count, heap_cap;

	uint8_t *arena;
	size_t arena_used, arena_cap;

	struct model_lun luns[SIM_VOLUMES];
	uint64_t lun_term[SIM_VOLUMES];
	bool formatted[SIM_VOLUMES];

	/* probabilities in percent of this seed (swarm) */
	unsigned p_lost, p_fail, p_guest, p_fault[16];
	bool healed, converged;
	uint64_t heal_at, fault_until;
	uint32_t operators, faults, commands_acked;

	/* oracle */
	uint64_t commit_hash[SIM_ENTRIES];
	uint64_t commit_max;
	bool held[SIM_VMS][SIM_NODES + 1]; /* node had it, and its end is not proven */
	bool switched[SIM_VMS][SIM_NODES + 1]; /* what it held last was paused, everything sent */
	bool mount_held[SIM_VOLUMES][SIM_NODES + 1];
	bool image_there[SIM_VMS], image_used[SIM_VMS];
	uint64_t top_generation[SIM_VMS];
	bool vm_acked[SIM_VMS], vm_gone[SIM_VMS];
	uint64_t excused_until[SIM_NODES + 1]; /* stopped, or without clusterd: not there to kill in time */
	uint64_t entries;
};

extern struct sim sim;

/* main.c */
uint64_t sim_random(void);
static inline unsigned sim_below(unsigned n)
{
	return n ? (unsigned)(sim_random() % n) : 0;
}
static inline bool sim_chance(unsigned percent)
{
	return sim_below(100) < percent;
}
void *sim_alloc(size_t len);
void sim_push(uint64_t at, enum sim_event_kind kind, uint8_t node, uint32_t a, uint32_t b);
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SIM_SAY(...)                                                                               \
	do {                                                                                       \
		if (sim.opt.trace)                                                                 \
			sim_say(__VA_ARGS__);                                                      \
	} while (0)

/* cpg.c */
void sim_cpg_send(uint8_t node, const void *data, size_t len);
void sim_cpg_order(const struct sim_event *ev);
void sim_cpg_deliver(uint8_t node);
void sim_cpg_join(uint8_t node);  /* a clusterd joins the group */
void sim_cpg_leave(uint8_t node); /* it died; corosync lives */
void sim_cpg_disturb(void);	  /* something of the network or a node changed: token is lost */
void sim_cpg_rings(void);
void sim_cpg_arm(uint8_t node);

/* disk.c */
void sim_disk_op(uint8_t node, const struct log_out *out);
void sim_disk_fsync(uint8_t node);
void sim_disk_crash(uint8_t node);
int sim_disk_restore(uint8_t node);

/* machine.c */
void sim_sink(void *arg, const struct replica_out *out);
void sim_daemon_start(uint8_t node);
void sim_daemon_kill(uint8_t node);
void sim_power_off(uint8_t node);
void sim_boot(uint8_t node);
void sim_run_step(uint8_t node, uint32_t index);
void sim_local(uint8_t node, uint32_t kind);
void sim_list(uint8_t node);
void sim_guest_stop(uint8_t node, uint32_t vm, uint32_t why);
bool sim_node_runs(uint8_t node); /* powered and not stalled */
bool sim_lease_holds(uint8_t node); /* its vmms execute */
int sim_vm_of(const char *name);
void sim_after(uint8_t node); /* after each call into a replica */

/* oracle.c */
bool sim_executes(uint8_t node, uint32_t vm);
void sim_oracle_vms(uint32_t vm);
void sim_oracle_start(uint8_t node, uint32_t vm, uint64_t generation, bool migrated);
void sim_oracle_fenced(uint32_t volume, uint8_t node);
void sim_oracle_mount(uint8_t node, uint32_t volume, core_nodes members);
void sim_oracle_commit(uint8_t node);
void sim_oracle_proof(uint8_t node);
bool sim_oracle_converged(bool say);
void sim_oracle_end(void);

/* policy.c */
void sim_policy_start(void);
void sim_policy_create(struct core_command *cmd, unsigned vm);
void sim_policy_change(struct core_command *cmd); /* VM_SET, CLUSTER_SET: something of it */
void sim_policy_asked(const char *name);	  /* an operator starts it */
bool sim_policy_sick(unsigned vm, uint64_t generation); /* its starts fail */
void sim_policy_began(uint8_t node, unsigned vm);	/* it begins to execute */

/* maintain.c */
void sim_maintain_reset(void);
void sim_keys_watch(uint8_t node);
void sim_maintain_command(struct core_command *cmd);
void sim_maintain_commit(uint8_t node);
void sim_maintain_effect(uint8_t node, const struct core_effect *fx);
void sim_maintain_trace(uint8_t node, const struct core_trace *trace);
bool sim_maintain_plan(bool converged);

/* schedule.c */
void sim_schedule_start(void);
void sim_fault(void);
void sim_operator(void);
void sim_heal(void);
void sim_check(void);
void sim_answer(uint8_t node, uint64_t cookie, const struct core_answer *answer);

#endif

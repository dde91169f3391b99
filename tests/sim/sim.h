/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated world: N nodes with the shipped replica (log and core) in one process, one
 * seed, virtual time.  Everything around the replica is a model that can fail:
 *
 *   cpg.c       agreed order within a ring, what is delivered of it when it ends
 *   net.c       who reaches whom, clocks; which rings form, and break again
 *   disk.c      the store: ordered operations, fsync, what a crash loses, old and damaged disks
 *   lun.c       registrations of the nodes' nexuses, writes under way in the target
 *   machine.c   a node's life: power, clusterd, vmm processes
 *   effects.c   executors of effects
 *   oracle.c    what must never be, judged from the models only, never from the core's opinion
 *   history.c   commands and what became of them: order, answers, reads
 *   plan.c      a plan as text; swarm.c: from a seed; act.c: its steps, healing
 *   shrink.c    a shorter plan that fails alike;  mutants.c: planted bugs
 *   world.c     events, chance, one run;  main.c: options, figures
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/replica.h"
#include "common/cl_moment.h"
#include "tests/sim/model_lun.h"
#include "tests/sim/plan.h"

#define SIM_NODES   5u
#define SIM_VMS	    8u
#define SIM_VOLUMES 2u
#define SIM_RUNS    64u /* effects in progress on one node */
#define SIM_ENTRIES 16384u
#define SIM_WRITES  64u	   /* under way in the targets */
#define SIM_DRIFT_PPM 500u /* a node's clock runs so much fast or slow at most */
#define SIM_SKEW_MS   8000u /* between something that happens and the entry that says so */
#define SIM_QUIET_MS  5000u /* after all is well nothing may stir for so long */
#define SIM_ENTRY_MS  100u  /* from its proposal an entry takes so long where nothing is wrong */
#define SIM_HISTORY   512u

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
	SIM_EV_WRITE,	  /* a guest writes */
	SIM_EV_LAND,	  /* what was written is on the disk */
	SIM_EV_FLAP,	  /* a ring hears somebody it cannot speak with */
	SIM_EV_STEP,
	SIM_EV_BUILD,
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
	uint16_t code;
	bool late; /* its reply was lost before */
	uint64_t started;
};

enum sim_fate {
	SIM_FATE_DONE,
	SIM_FATE_FAIL, /* plans count from here */
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
	uint64_t frozen_from;	 /* ... and its clock with it, since; 0: that one goes on */
	uint64_t frozen_ms;	 /* what the clock has not counted since the boot, before that */
	uint64_t daemon_stalled; /* clusterd paused (SIGSTOP) */
	uint32_t instance;	 /* guards events of the clusterd process */
	uint32_t boots;
	uint64_t csvd; /* instance */
	uint8_t boot_id[CL_UUID_BYTES];
	bool isolated;
	core_nodes deaf; /* those whose packets do not arrive here */
	uint8_t side;	 /* of a split */
	int32_t drift_ppm;
	uint64_t booted_at;
	int64_t wall_off_ms;
	struct replica *r;

	/* ring: what corosync on this node has */
	uint32_t ring;	 /* id */
	uint32_t cursor; /* next item */
	uint32_t cut;	 /* deliver up to here when the ring is closed */
	const uint8_t *skip; /* ... but not these: lost with those who sent them */
	uint64_t deliver_at;
	bool deliver_armed;
	uint32_t next_ring; /* installed after the cut, 0: none */
	core_nodes came_with; /* into next_ring, from the same ring and with the same cut */

	struct sim_store store;
	struct sim_op ops[512];
	uint32_t op_head, op_count, op_fsync;
	bool fsync_armed;
	uint64_t durable_op; /* flushed, and not yet told */
	uint64_t fsync_stuck_until;
	const struct sim_store *copy; /* an old one that somebody kept */
	uint8_t disk_change; /* at the next boot: enum plan_act */
	bool disk_byte;
	log_nodes forgetful;	      /* as its log last said */
	bool damaged;		      /* its store must be refused */

	/* the node's machine; survives clusterd, not the power */
	struct sim_vm vms[SIM_VMS];
	uint64_t killed_up_to[SIM_VMS]; /* no process with such a generation may appear any more */
	bool attached[SIM_VOLUMES];
	bool layouts[SIM_VOLUMES]; /* it was attached while somebody owned: it may write directly */
	bool mounted[SIM_VOLUMES];
	uint64_t mount_term[SIM_VOLUMES];
	uint64_t released_term[SIM_VOLUMES];
	bool nexus_new[SIM_VOLUMES]; /* its session changed: it speaks by its second nexus */
	uint64_t mute_until[SIM_VOLUMES]; /* its LUN does not answer */
	uint64_t hang_until[SIM_VMS];
	bool frozen, killed;
	struct cl_lease lease; /* the page, as its vmms see it; they take plan.stop_ms to stop */
	struct cl_lease lease_was; /* if it was ended: what it said before, */
	uint64_t lease_ended_at;   /* and when that was; 0: it was not ended */
	struct cl_moments moments; /* of its clusterd's process */
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

struct sim_write { /* in a target's queue: its initiator can take it back no more */
	bool used;
	uint8_t node, vm;
	uint64_t generation;
};

/* One command of an operator. */
struct sim_command {
	uint64_t invoked, answered; /* 0: no answer */
	uint64_t seq;		    /* of its entry */
	uint64_t epoch;
	uint8_t node, act, subject;
	bool flag;
	int err;
};

struct sim_options {
	bool trace;
	uint32_t fault_ms; /* how long faults happen */
	uint32_t nodes;	   /* 0: by seed */
};

struct sim {
	uint64_t seed, rng, now, order;
	struct sim_options opt;
	struct plan plan;
	bool failed;
	char why[256];

	uint32_t count; /* nodes */
	uint32_t vm_count, volume_count;
	struct sim_node nodes[SIM_NODES + 1];
	struct replica *replicas[SIM_NODES + 1];

	struct sim_ring rings[2048];
	uint32_t ring_count;
	bool flap_armed;

	struct sim_event *heap;
	uint32_t heap_count, heap_cap;

	uint8_t *arena;
	size_t arena_used, arena_cap;

	struct model_lun luns[SIM_VOLUMES];
	uint64_t lun_term[SIM_VOLUMES];
	uint64_t writes_late_until[SIM_VOLUMES];
	bool formatted[SIM_VOLUMES];
	struct sim_write writes[SIM_WRITES];

	/* the plan's progress */
	bool step_over[PLAN_STEPS];
	uint8_t step_seen[PLAN_STEPS];
	uint32_t armed[PLAN_WHENS]; /* steps that wait for this */
	unsigned p_lost, p_fail, p_slow;
	bool bootstrapped, healed, well, converged;
	uint64_t heal_at, well_since;
	uint32_t steps_done, commands_acked;

	/* oracle */
	uint64_t commit_hash[SIM_ENTRIES];
	uint64_t commit_max;
	uint64_t decisions, decided_seq; /* digest of the trace of decisions, and up to where */
	uint8_t decided_by;
	uint8_t expect_met[PLAN_EXPECT];
	uint32_t expect_next;
	bool held[SIM_VMS][SIM_NODES + 1]; /* node had it, and its end is not proven */
	uint64_t held_generation[SIM_VMS][SIM_NODES + 1];
	bool switched[SIM_VMS][SIM_NODES + 1]; /* what it held last was paused, everything sent */
	bool mount_held[SIM_VOLUMES][SIM_NODES + 1];
	bool barred[SIM_VOLUMES][SIM_NODES + 1]; /* by a fence, and not reset or booted since */
	bool let_in[SIM_VOLUMES][SIM_NODES + 1]; /* ... which the target has forgotten */
	bool image_there[SIM_VMS];
	uint64_t image_taken[SIM_VMS]; /* generation that was restored from it, 0: none */
	uint64_t top_generation[SIM_VMS];
	uint8_t top_node[SIM_VMS];
	uint64_t landed_generation[SIM_VMS];
	bool vm_acked[SIM_VMS], vm_gone[SIM_VMS];
	uint64_t excused_until[SIM_NODES + 1]; /* a node that was stopped as a whole, or without clusterd */
	uint64_t learning_at[SIM_NODES + 1]; /* clusterd did not know the cluster's log then, nor what to end */
	uint64_t blamed_at[SIM_NODES + 1];   /* when something last happened that deserves fencing */
	uint64_t silent_since[SIM_NODES + 1]; /* its clusterd does not speak since, 0: it does */
	uint32_t joined[SIM_NODES + 1];	   /* the latest incarnation in the log, ... */
	uint64_t joined_at[SIM_NODES + 1]; /* ... and since when it is there */
	struct sim_command history[SIM_HISTORY];
	uint32_t history_count;
	struct {
		uint8_t vm;
		uint64_t seq;
	} freed[64]; /* names that became free */
	uint32_t freed_count;
	uint64_t cookies[SIM_ENTRIES]; /* of committed entries, to find one that is there twice */
	uint32_t cookie_count;
	uint64_t entries;
};

extern struct sim sim;

/* world.c */
int sim_init(void);
/* Runs sim.plan: false at a violation. */
bool sim_run(void);
bool sim_run_seed(uint64_t seed);
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
		if (sim.opt.trace || sim.plan.expect_count)                                        \
			sim_say(__VA_ARGS__);                                                      \
	} while (0)
uint64_t sim_awake_at(uint8_t node);
double sim_clock_s(void); /* of this machine, for figures */

/* net.c */
uint64_t sim_now(uint8_t node);			   /* on the node's own clock */
uint64_t sim_wall(uint8_t node);		   /* on its wall clock */
/* What its clocks say, or said so long ago (as they counted it). */
struct cl_moment sim_moment(uint8_t node, uint64_t ago_ms);
/* The node is about to stall, and its clock with it or not. */
void sim_clock_stall(uint8_t node, bool frozen);
bool sim_reaches(uint8_t from, uint8_t to);
bool sim_mutual(uint8_t a, uint8_t b);
void sim_net_disturb(void); /* something of the network or a node changed */
void sim_net_rings(void);   /* corosync has noticed */
void sim_net_flap(void);

/* cpg.c */
void sim_cpg_send(uint8_t node, const void *data, size_t len);
void sim_cpg_order(const struct sim_event *ev);
void sim_cpg_deliver(uint8_t node);
void sim_cpg_join(uint8_t node);  /* a clusterd joins the group */
void sim_cpg_leave(uint8_t node); /* it died; corosync lives */
void sim_cpg_arm(uint8_t node);
bool sim_cpg_ring_new(core_nodes want); /* a ring of these forms */
struct sim_ring *sim_cpg_ring(uint8_t node); /* that it is in, or is about to enter; NULL */

/* disk.c */
void sim_disk_op(uint8_t node, const struct log_out *out);
void sim_disk_fsync(uint8_t node);
void sim_disk_crash(uint8_t node);
int sim_disk_restore(uint8_t node);
void sim_disk_copy(uint8_t node);
bool sim_disk_old(uint8_t node); /* the copy is put back, if the others can notice */
bool sim_disk_damage(uint8_t node, bool byte);
void sim_disk_wipe(uint8_t node);

/* lun.c */
unsigned sim_nexus(uint8_t node, uint32_t volume);
bool sim_may_write(uint8_t node, uint32_t volume);
bool sim_registered(uint8_t node, uint32_t volume);
/* No command of the node reaches that LUN. */
bool sim_mute(uint8_t node, uint32_t volume);
uint16_t sim_lun_register(uint8_t node, uint32_t volume, uint64_t key, uint64_t key_old);
uint16_t sim_lun_fence(uint8_t node, const struct core_effect *fx);
void sim_lun_check(void); /* running VMs notice that their LUN refuses them */
void sim_lun_forget(uint32_t volume);
void sim_lun_key_gone(uint8_t node, uint32_t volume);
void sim_write(uint8_t node, uint32_t vm, uint32_t generation);
void sim_land(uint32_t index);
void sim_writes_end(uint8_t node, uint32_t vm, bool lost);

/* machine.c */
void sim_sink(void *arg, const struct replica_out *out);
void sim_daemon_start(uint8_t node);
void sim_daemon_kill(uint8_t node);
void sim_power_off(uint8_t node);
void sim_boot(uint8_t node);
void sim_local(uint8_t node, uint32_t kind);
void sim_list(uint8_t node);
void sim_guest_stop(uint8_t node, uint32_t vm, uint32_t why);
void sim_vmm_die(uint8_t node, uint32_t vm);
void sim_csvd_die(uint8_t node);
bool sim_node_runs(uint8_t node); /* powered and not stalled */
bool sim_lease_holds(uint8_t node);
int sim_vm_of(const char *name);
uint32_t sim_volume_of(uint32_t vm);
uint16_t sim_volume_named(const char *name);
void sim_process_set(uint8_t node, uint32_t vm, uint8_t state, uint64_t generation);
void sim_process_end(uint8_t node, uint32_t vm, bool seen);
void sim_after(uint8_t node); /* after each call into a replica */

/* effects.c */
void sim_effect_begin(uint8_t node, const struct core_effect *fx);
void sim_run_step(uint8_t node, uint32_t index);

/* act.c */
void sim_plan_start(void);
void sim_step(uint32_t index, uint8_t where, uint8_t other);
/* Something happened that a step may wait for: true if one did. */
bool sim_hook(enum plan_when when, uint8_t arg, uint8_t node, uint8_t other);
void sim_build(void);
void sim_heal(void);
void sim_check(void);

/* history.c */
void sim_command(uint8_t node, uint8_t act, uint8_t subject, bool flag, const struct core_command *cmd);
void sim_answer(uint8_t node, uint64_t cookie, const struct core_answer *answer);
void sim_history_entry(const struct log_entry *entry);
void sim_history_read(uint8_t node); /* somebody looks there */
void sim_history_end(void);

/* oracle.c */
bool sim_executes(uint8_t node, uint32_t vm);
void sim_oracle_vms(uint32_t vm);
void sim_oracle_start(uint8_t node, uint32_t vm, uint64_t generation, bool migrated);
void sim_oracle_fenced(uint32_t volume, uint8_t node);
void sim_oracle_fence(uint8_t executor, const struct core_effect *fx);
void sim_oracle_blame(uint8_t node);
void sim_oracle_mount(uint8_t node, uint32_t volume, core_nodes members);
void sim_oracle_commit(uint8_t node);
void sim_oracle_proof(uint8_t node);
void sim_oracle_trace(uint8_t node, const struct core_trace *trace);
/* all: nothing is under way either. */
bool sim_oracle_converged(bool say, bool all);
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

/* shrink.c, mutants.c */
int sim_shrink(uint64_t seed, const char *path);
int sim_scenario(const char *path);
int sim_mutants_run(int only, uint64_t seeds);
/* True if the planted bug is on now: in the shipped code there is none. */
bool sim_mutant_set(int number);
int sim_mutant_now(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cluster's brain: a deterministic state machine on the committed log.
 *
 * Every node holds the same struct core_state, because it changes only by
 * core_apply() of committed entries.  What the cluster wants done stands in it as
 * *effects*: each names the node that must carry it out and stays until its
 * result has been committed.  A restarted clusterd therefore finds its own
 * pending effects there and carries them out again: executors are idempotent.
 *
 * What concerns one node alone and must not wait for a quorum (freeze and kill its VMs when
 * it is cut off) is in core_step() and leaves as local effects.
 *
 * Decides: where VMs and volumes are, who fences whom, when a takeover is
 * permitted.  Assumes: entries come in the log's order.  Never: clock, I/O, allocation,
 * globals.  core/timing.h has the deadlines and their second-by-second replay.
 */
#ifndef CLUSTERD_CORE_CORE_H
#define CLUSTERD_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clusterd/core/policy.h"
#include "common/cl_types.h"

#define CORE_LEVEL	  3u /* functional level of this build: the newest that it knows */
#define CORE_LEVEL_QUARANTINE 2u /* from this level on nodes are put into quarantine */
#define CORE_LEVEL_DOUBTS     3u /* ... a question about a VM that got no answer is asked again */
#define CORE_LEVEL_IDENTITY   3u /* ... an address, a MAC, a disk is of one node or VM */
#define CORE_LEVEL_CAUSES     3u /* ... causes have texts, in snapshots too; so have VMs' ends */
#define CORE_LEVEL_ROLES      3u /* from this level on every certificate has a role */
#define CORE_LEVEL_CALM	      3u /* ... what fails again and again is tried less and less often */
#define CORE_VOLUMES_MAX  16u
#define CORE_VMS_MAX	  1024u
#define CORE_EFFECTS_MAX  1024u
#define CORE_EFFECTS_KEPT 128u /* of them never for VMs: fencing and volumes go on whatever starts */
#define CORE_JOBS_MAX	  64u
#define CORE_TRACE_MAX	  256u
#define CORE_DISKS_MAX	  4u
#define CORE_NETS_MAX	  2u
#define CORE_ADDRESS_MAX  64u
#define CORE_LUN_MAX	  64u
#define CORE_PATH_MAX	  256u
#define CORE_APPEND_MAX	  1024u
#define CORE_TEXT_MAX	  192u
#define CORE_CAUSE_MAX	  128u
#define CORE_REPORT_MAX	  256u /* VMs that one node may hold: its HELLO names them all */
#define CORE_NONE	  0xffffu /* no such volume or VM */
#define CORE_GENERATION_MAX (1ull << 62) /* what a disk says beyond it is no generation */
#define CORE_LOSSES_MAX	  8u
#define CORE_SETS_MAX	  32u
#define CORE_PART_MAX	  4096u		 /* bytes of a batch in one entry */
#define CORE_BATCH_MAX	  (256u << 10) /* bytes of a whole batch */

typedef uint16_t core_nodes; /* set of node ids: bit (id - 1) */
#define CORE_NODE_BIT(id) ((core_nodes)((1u << (id)) >> 1)) /* node 0: no bit */

/* ---- objects -------------------------------------------------------------------------------- */

enum core_object {
	CORE_OBJECT_CLUSTER = 1,
	CORE_OBJECT_NODE,
	CORE_OBJECT_VOLUME,
	CORE_OBJECT_VM,
	CORE_OBJECT_JOB,
};

/*
 *   NEW -> JOINING <-> UP <-> PAUSED (by the operator; DRAINING on the way)
 *             ^         |
 *             |         +-- clusterd silent, corosync there --> SILENT -- back: UP, hold over: LOST
 *             |         +-- corosync lost it ----------------> LOST -> FENCING -> FENCED -> DOWN
 *             +--- new boot id, or NODE_RESET done, or came back clean ---------------------+
 *
 *   DOWN -- back, but lost too often within the period --> QUARANTINED -- time over, resumed --> JOINING
 *   UP -- corosync lost it, cluster disarmed --> ISOLATED -- back: JOINING, armed again: LOST
 */
enum core_node_state {
	CORE_NODE_UNUSED = 0,
	CORE_NODE_NEW,	   /* added, never seen */
	CORE_NODE_JOINING, /* has an incarnation; keys are being registered */
	CORE_NODE_UP,
	CORE_NODE_DRAINING,
	CORE_NODE_PAUSED,
	CORE_NODE_SILENT,  /* its clusterd is gone, the node is there: nothing is disturbed */
	CORE_NODE_LOST,	   /* gone; no proof yet; nothing of it may be taken over */
	CORE_NODE_FENCING, /* proof is being sought on every LUN it may write to */
	CORE_NODE_FENCED,  /* proof is on record; takeover goes on, VMs wait for the hold */
	CORE_NODE_DOWN,	   /* taken over; holds nothing */
	CORE_NODE_ISOLATED, /* corosync lost it while the cluster is disarmed: left alone, it may run on */
	CORE_NODE_QUARANTINED, /* it is back, and holds nothing; lost too often, it stays out for a while */
};

/* What makes sure that an incarnation can neither write nor run. */
enum core_proof {
	CORE_PROOF_NONE = 0,
	CORE_PROOF_PR,	     /* PREEMPT AND ABORT of a present key, GOOD and verified, on every LUN */
	CORE_PROOF_REBOOT,   /* the node itself came back with another boot id */
	CORE_PROOF_SELF,     /* the node itself reported everything stopped and torn down */
	CORE_PROOF_OPERATOR, /* somebody's word, logged */
	CORE_PROOF_EMPTY,    /* it was never given anything that could write or run */
};

enum core_reason {
	CORE_WHY_NONE = 0,
#define CORE_WHY(name, text) CORE_WHY_##name,
#include "clusterd/core/reasons.h"
#undef CORE_WHY
	CORE_WHY_COUNT,
};

/* A reason with what its text names: %n, %1 and %2. */
struct core_cause {
	uint8_t reason; /* enum core_reason */
	uint8_t node;	/* node concerned, or 0 */
	uint64_t n1, n2;
	char text[CORE_CAUSE_MAX]; /* of a failure: what was said of it; "": nothing, or before the level */
};

struct core_node {
	uint8_t state; /* enum core_node_state */
	uint8_t id;
	bool voter;
	bool pause;	/* the operator wants it paused: survives reboots */
	bool drain;	/* ... and drained */
	bool failback;	/* resuming: bring home the VMs that the drain moved */
	bool seen;	/* its HELLO was applied since it came into the configuration */
	bool doomed;	/* given up: this incarnation is never adopted again */
	bool reset;	/* NODE_RESET must be DONE before it is admitted again */
	bool over;	/* the incarnation has ended, with proof; it holds nothing */
	bool loose;	/* it may believe that the cluster is disarmed: then its VMs end after its fencing,
			   not after its loss */
	uint8_t level;	/* newest functional level that it knows, as it reported */
	uint8_t losses; /* entries of lost_ms */
	uint8_t proof;	/* enum core_proof, of the last incarnation that ended */
	uint8_t fence_tries;
	uint8_t fence_last; /* executor tried last */
	struct core_cause cause; /* of its state */
	uint64_t job; /* pause --drain, resume --failback */
	char name[CL_NAME_MAX];
	char address[CORE_ADDRESS_MAX];	   /* cluster network */
	char vm_address[CORE_ADDRESS_MAX]; /* where migrations come in; empty: address */
	uint8_t boot_id[CL_UUID_BYTES];
	uint32_t incarnation;
	uint64_t pr_key;      /* of this incarnation */
	uint64_t pr_key_old;  /* of the one before, until every LUN is rid of it */
	uint32_t memory_mib;  /* what VMs may use, as the node reported */
	uint16_t cpus;
	uint64_t csvd;	      /* instance of the csvd that its volumes are attached by; 0: not known */
	uint64_t since_ms;    /* cluster time of the last change of state */
	uint64_t hold_until_ms;	 /* FENCED: its VMs start elsewhere not before; SILENT: end of the hold */
	uint64_t retry_ms;
	uint64_t quarantine_until_ms;
	uint32_t takeover_ms; /* the longest takeover_ms that it may go by: it is cut off, or has not heard */
	uint64_t lost_ms[CORE_LOSSES_MAX]; /* when it was lost, unpaused; oldest first */
};

enum core_volume_state {
	CORE_VOLUME_UNUSED = 0,
	CORE_VOLUME_ADDING,	/* being formatted */
	CORE_VOLUME_OFFLINE,	/* no owner; cause says why */
	CORE_VOLUME_OPENING,	/* VOL_OWN is running at owner */
	CORE_VOLUME_ACTIVE,
	CORE_VOLUME_RELEASING,	/* planned move: owner is letting go */
	CORE_VOLUME_RECOVERING, /* owner lost: waits for proof */
	CORE_VOLUME_FAILED,	/* add failed; will be forgotten */
};

struct core_volume {
	uint8_t state; /* enum core_volume_state */
	uint8_t owner; /* node id or 0: who holds or may hold the mount */
	uint8_t want;  /* planned move: node id */
	uint8_t tries;
	struct core_cause cause; /* of its state */
	bool force;  /* add: overwrite what is there */
	bool fresh;  /* the next OWN follows a clean release */
	bool undo;   /* RELEASING after a failed OWN, to be sure that it is not mounted */
	char name[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	char lun[CORE_LUN_MAX];
	uint64_t size_bytes;
	uint64_t term;
	core_nodes attached;   /* csvd there has it, the key there is registered */
	core_nodes registered; /* this incarnation's key was confirmed there */
	core_nodes maybe;      /* a registration was asked for, its result is not known */
	core_nodes stale;      /* the incarnation before the present one may still have a key */
	core_nodes gone;       /* the owner has to be told that these are dead */
	core_nodes fenced;     /* node in FENCING: this LUN is dealt with */
	core_nodes failed;     /* nodes whose attach or own failed last; tried again at retry_ms */
	core_nodes mute;       /* nodes that say that the LUN does not answer them */
	uint64_t mute_ms;      /* when the last of them said so */
	uint64_t since_ms;
	uint64_t retry_ms;
	uint64_t job;
};

enum core_vm_state {
	CORE_VM_UNUSED = 0,
	CORE_VM_CREATING,
	CORE_VM_STOPPED,
	CORE_VM_WAITING,  /* should run; cause says what it waits for */
	CORE_VM_STARTING,
	CORE_VM_RUNNING,
	CORE_VM_STOPPING,
	CORE_VM_LIVE,	  /* live migration, see migration */
	CORE_VM_QUICK,	  /* quick migration */
	CORE_VM_UNKNOWN,  /* may run at node: its node is lost or silent, or an answer was lost */
	CORE_VM_FAILED,	  /* should run, gave up; an operator's start tries again */
	CORE_VM_DELETING,
};

enum core_migration_phase {
	CORE_MIG_NONE = 0,
	CORE_MIG_INCOMING, /* target is starting a vmm that waits */
	CORE_MIG_COPY,	   /* source copies; source runs until the switch, then both are paused */
	CORE_MIG_ABORT,	   /* not committed: source resumes, target quits */
	CORE_MIG_COMMIT,   /* committed: target resumes, source quits */
	CORE_MIG_SAVE,	   /* quick: source pauses and writes itself to the volume */
	CORE_MIG_SAVED,	   /* quick, committed: the saved image is the VM; source quits */
	CORE_MIG_RESTORE,  /* quick: target restores; the image may be used once */
	CORE_MIG_UNSAVE,   /* quick, not committed: source resumes */
};

struct core_migration {
	uint8_t phase; /* enum core_migration_phase */
	bool quick;
	bool drain;	 /* asked by a drain: fall back to quick when live fails */
	bool switched;	 /* source said: paused, everything sent */
	bool ready;	 /* target said: complete, paused */
	bool spent;	 /* the rung itself failed, not its target */
	uint8_t rung;	 /* enum core_rung: of this try, or the next one */
	uint8_t source, target;
	uint8_t tries;
	uint16_t port;
	uint64_t generation; /* of the target's copy */
	struct core_cause first; /* its first failure: why it did not move */
	uint64_t job;
	uint64_t since_ms;
};

struct core_disk {
	uint16_t volume; /* index, or CORE_NONE: path is a file on every node (read-only use, tests) */
	char path[CORE_PATH_MAX];
	uint64_t size_bytes; /* create with this size; 0: it must exist */
	bool readonly;	     /* from CORE_LEVEL_CAUSES on */
	bool created;	     /* made by us: delete removes it */
};

struct core_net {
	char network[CL_NAME_MAX];
	uint8_t mac[6];
};

struct core_vm_config {
	char name[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	uint32_t memory_mib;
	uint16_t cpus;
	char kernel[CORE_PATH_MAX];
	char initrd[CORE_PATH_MAX];
	char append[CORE_APPEND_MAX];
	uint8_t disk_count;
	uint8_t net_count;
	struct core_disk disks[CORE_DISKS_MAX];
	struct core_net nets[CORE_NETS_MAX];
};

struct core_vm {
	uint8_t state; /* enum core_vm_state */
	bool run;      /* what the operator wants */
	bool saved;    /* quick migration: the saved image is the VM */
	bool remove;   /* delete once stopped */
	bool force;    /* STOPPING at once */
	bool exited;   /* the process of `generation` ended while its effect was still out */
	uint8_t exit;  /* enum core_exit, with exited */
	uint8_t node;  /* where it is, or was last; 0: nowhere */
	uint8_t home;  /* where it goes back to: a drain took it from there, or its loss; or 0 */
	uint8_t prefer; /* vm start --to, or 0 */
	uint8_t failures; /* of its own, since failures_ms; policy.c */
	bool restart;  /* its shutdown is for a drain: it boots elsewhere */
	struct core_cause cause; /* of its state, or what it waits for */
	uint8_t avoid; /* node where it failed last, or 0 */
	uint8_t doubt; /* node that may not have it, though all else says so: it is asked until it answers; or 0 */
	uint64_t doubt_ms; /* not before then */
	bool again;    /* CREATING: the outcome of the last try is not known */
	bool adopt;    /* CREATING: disks that are there already are its own */
	core_nodes copies; /* nodes where a process of this VM may exist.  No start while any is set */
	uint64_t generation; /* of the copy at node */
	uint64_t generation_last; /* highest given out */
	uint64_t changed_seq; /* entry that changed state last */
	uint64_t hold_until_ms; /* a fenced node may still be ending it: no start before */
	uint64_t since_ms;
	uint64_t retry_ms;
	uint64_t wanted_ms; /* since when it waits for a start */
	uint64_t failures_ms; /* cluster time of the first failure that counts */
	uint64_t job;
	struct core_migration migration;
	struct core_vm_policy policy;
	struct core_vm_config config;
};

/* ---- effects -------------------------------------------------------------------------------- */

/*
 * Every executor is idempotent: the same effect (same id) may be asked again
 * after clusterd's restart.  DONE: it is so.  FAILED: it is not so and will not become so.  UNKNOWN:
 * anything else, time-outs above all.
 */
enum core_effect_kind {
	CORE_FX_NODE_RESET = 1,	/* kill every vmm, csvd and device-mapper device; DONE: nothing is left */
	CORE_FX_VOL_FORMAT,	/* volume: check PR, data (flags FORCE), size; register pr_key, reserve, GPT,
				   XFS.  values[0] = size in bytes.  Its own uuid there already: DONE.
				   FAILED: pr_key is unregistered again */
	CORE_FX_VOL_JOIN,	/* volume: register pr_key on all paths (never in reaction to a loss: this
				   incarnation was admitted), preempt-abort pr_key_old if listed,
				   check the reservation, csvd attach.
				   DONE: values[0] = instance of the csvd */
	CORE_FX_VOL_OWN,	/* volume, term, members, flags FRESH: csvd own.  FAILED: not mounted */
	CORE_FX_VOL_RELEASE,	/* volume, term: csvd release.  DONE also when it is not mounted here */
	CORE_FX_VOL_GONE,	/* volume, peer: csvd member-gone */
	CORE_FX_FENCE,		/* volume, peer: PREEMPT AND ABORT of pr_key (and pr_key_old if not 0 and
				   listed).  DONE only when pr_key was present, GOOD, verified.  FAILED with
				   code ENOKEY: it was not there (pr_key_old is dealt with all the same) */
	CORE_FX_DISK_CREATE,	/* vm, disk: csvd file-create at the volume's owner; DONE if it is there
				   with this size; FAILED code EEXIST: it was there before */
	CORE_FX_DISK_DELETE,	/* vm, disk; DONE also when absent.  Flag KEEP: the file stays, and is that VM's
				   no more */
	CORE_FX_VM_START,	/* vm, generation.  DONE: running with that generation.  FAILED: no process;
				   values[1] = the generation that a disk has had, or 0: a start needs a higher one */
	CORE_FX_VM_STOP,	/* vm, generation: ACPI shutdown, bounded; flags FORCE: quit.  DONE: no process */
	CORE_FX_VM_KILL,	/* vm, generation: no process with a generation <= this remains */
	CORE_FX_VM_INCOMING,	/* vm, generation: start a waiting vmm.  values[0] = port */
	CORE_FX_VM_MIGRATE,	/* vm, peer, port, pause_ms, flag THROTTLE: copy.  DONE: paused here,
				   everything sent; values: bytes sent, ms that it took */
	CORE_FX_VM_AWAIT,	/* vm, generation: DONE: complete and paused here (migration-ready) */
	CORE_FX_VM_FINISH,	/* vm, flags COMMITTED or not: COMMITTED DONE: no process here;
				   else DONE: running here again */
	CORE_FX_VM_RESUME,	/* vm, generation: DONE: running here */
	CORE_FX_VM_SAVE,	/* vm, generation: DONE: saved on the volume, paused; values[0] = bytes */
	CORE_FX_VM_RESTORE,	/* vm, generation: DONE: running from the saved image, which is removed.
				   FAILED: it never ran.  UNKNOWN: also when the image was taken
				   for this generation and no process is left */
	CORE_FX_VM_QUERY,	/* vm: values[0] = enum core_vm_seen, values[1] = generation */
	CORE_FX_KINDS,
};

#define CORE_FLAG_FORCE	    (1u << 0)
#define CORE_FLAG_FRESH	    (1u << 1)
#define CORE_FLAG_COMMITTED (1u << 2)
#define CORE_FLAG_AGAIN	    (1u << 3) /* DISK_CREATE asked before, outcome unknown: what is there is ours */
#define CORE_FLAG_THROTTLE  (1u << 4) /* VM_MIGRATE: the guest may be held back */
#define CORE_FLAG_KEEP	    (1u << 5) /* DISK_DELETE: the file stays, and is nobody's */

enum core_vm_seen {
	CORE_SEEN_NONE = 0,
	CORE_SEEN_STARTING,
	CORE_SEEN_RUNNING,
	CORE_SEEN_PAUSED,
	CORE_SEEN_SAVED, /* paused after a save that succeeded */
	CORE_SEEN_MIGRATING, /* runs, and is being copied: it may pause by itself when all is sent */
};

struct core_effect {
	uint64_t id;   /* never reused */
	uint8_t kind;  /* enum core_effect_kind; 0: slot is free */
	uint8_t node;  /* who must do it */
	uint8_t peer;  /* other node concerned, or 0 */
	uint8_t disk;
	uint16_t volume; /* index or CORE_NONE */
	uint16_t vm;	 /* index or CORE_NONE */
	uint16_t port;
	uint16_t flags;
	core_nodes members;
	uint32_t incarnation; /* of node: void when it ends */
	uint32_t pause_ms;    /* VM_MIGRATE: how long the guest may stand still */
	uint64_t generation;
	uint64_t term;
	uint64_t pr_key;
	uint64_t pr_key_old;
	uint64_t since_ms;
};

struct core_result {
	uint64_t id;	 /* of the effect */
	uint8_t outcome; /* enum cl_outcome */
	uint16_t code;	 /* errno where FAILED, or 0 */
	uint64_t values[2];
	char text[CORE_TEXT_MAX]; /* one line for people */
};

/* ---- trace, jobs ---------------------------------------------------------------------------- */

/* One decision: object went from before to after because of cause, at entry seq. */
struct core_trace {
	uint64_t seq;
	uint64_t wall_ms; /* for people only: the proposer's clock */
	struct core_cause cause;
	uint8_t object; /* enum core_object */
	uint8_t before, after;
	char name[CL_NAME_MAX]; /* of the object */
};

enum core_job_state {
	CORE_JOB_NONE = 0,
	CORE_JOB_RUNNING,
	CORE_JOB_DONE,
	CORE_JOB_FAILED,
};

/* What a command set going: clusterctl waits for it. */
struct core_job {
	uint64_t id;	/* seq of the command's entry */
	uint8_t state;	/* enum core_job_state */
	uint8_t command; /* enum core_command_kind */
	uint8_t object;
	uint16_t index;
	char name[CL_NAME_MAX];
	char text[CORE_TEXT_MAX]; /* DONE, FAILED: one line */
};

/* ---- the state ------------------------------------------------------------------------------ */

struct core_timing {
	uint32_t freeze_kill_ms;  /* an isolated node kills its VMs this long after it froze them */
	uint32_t takeover_ms;	  /* its VMs start elsewhere not sooner after it was seen lost */
	uint32_t silent_ms;	  /* a node without clusterd is left alone this long */
	uint32_t retry_ms;	  /* pause before a failed effect is tried again */
};

struct core_quarantine {
	uint32_t losses;   /* so many within the period, 0: never */
	uint32_t period_s;
	uint32_t time_s;
};

/* Commands that are collected until all are there: applied as one. */
struct core_batch {
	uint64_t id;
	uint32_t len_bytes;
	uint8_t bytes[CORE_BATCH_MAX];
};

struct core_state {
	uint64_t applied_seq;
	uint64_t now_ms; /* cluster time: the sum of TICKs */
	uint64_t tick_seq; /* entry of the last TICK */
	uint64_t timing_seq; /* entry that changed takeover_ms last, or armed: all tell that they know */
	uint64_t fast_seq; /* entry since which TICKs come fast; one that was measured before is void */
	uint32_t tick_ms;  /* pace of TICKs: 0, CORE_TICK_MS or CORE_TICK_SLOW_MS; not in snapshots */
	uint64_t wall_ms; /* latest of all entries, for people */
	uint64_t clock_ms; /* of the last entry: may step either way; for hours of the day, never for safety */
	char name[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	uint32_t level;
	uint32_t next_incarnation;
	uint64_t next_effect;
	core_nodes members; /* clusterds in the configuration */
	core_nodes alive;   /* nodes that corosync sees */
	bool disarmed;	    /* maintenance: nobody is fenced or given up, nothing restarts by itself */
	uint64_t disarmed_wall_ms; /* since then, for people */
	char disarmed_by[CL_NAME_MAX];
	struct core_timing timing; /* this and the next: settings.h */
	struct core_quarantine quarantine;
	struct core_settings settings;
	struct core_node nodes[CL_NODES_MAX + 1]; /* by id */
	uint16_t volume_count; /* high-water marks of the arrays below */
	uint16_t vm_count;
	uint16_t effect_count;
	struct core_volume volumes[CORE_VOLUMES_MAX];
	struct core_vm vms[CORE_VMS_MAX];
	struct core_effect effects[CORE_EFFECTS_MAX];
	struct core_job jobs[CORE_JOBS_MAX]; /* ring, by id */
	uint32_t job_next;
	struct core_trace trace[CORE_TRACE_MAX]; /* ring */
	uint32_t trace_next;
	uint64_t trace_total;
	struct core_batch batch;
	const char *told; /* what came with the entry being applied, or NULL; not in snapshots */
};

/* ---- commands ------------------------------------------------------------------------------- */

enum core_command_kind {
	CORE_CMD_INIT = 1,	 /* name, uuid, timing; node: the first */
	CORE_CMD_NODE_ADD,	 /* node (id 0: lowest free), name, address */
	CORE_CMD_NODE_PAUSE,	 /* name; flag drain */
	CORE_CMD_NODE_RESUME,	 /* name; flag failback */
	CORE_CMD_NODE_CONFIRM,	 /* name: the operator's word that it is dead; text: whose word */
	CORE_CMD_VOLUME_ADD,	 /* name, lun, uuid; flag force */
	CORE_CMD_VOLUME_MOVE,	 /* name, target */
	CORE_CMD_VM_CREATE,	 /* vm (disk volumes by name in volume_names), policy as far as set */
	CORE_CMD_VM_START,	 /* name; target optional; flag force: below the spare */
	CORE_CMD_VM_STOP,	 /* name; flag force */
	CORE_CMD_VM_DELETE,	 /* name; keep */
	CORE_CMD_VM_MIGRATE,	 /* name; target optional; method */
	CORE_CMD_VM_CANCEL,	 /* name: cancel its migration */
	CORE_CMD_CLUSTER_SET,	 /* sets: settings that change */
	CORE_CMD_CLUSTER_DISARM, /* text: who */
	CORE_CMD_CLUSTER_ARM,	 /* text: who */
	CORE_CMD_CLUSTER_LEVEL,	 /* raise the functional level as far as all nodes know */
	CORE_CMD_VM_SET,	 /* name; policy as far as set */
	CORE_CMD_VM_CHANGE,	 /* vm: kernel, memory, networks ... of a VM that is stopped; disks as they are */
	CORE_CMD_BATCH_PART,	 /* batch, offset, part: more bytes of a batch (batch.c) */
	CORE_CMD_BATCH_APPLY,	 /* batch, offset (its length): all of it, or nothing */
	CORE_CMD_LAST = CORE_CMD_BATCH_APPLY,
	/* what daemons tell each other; never from an operator */
	CORE_CMD_MEMBERS = 64,	 /* members, alive */
	CORE_CMD_HELLO,		 /* node: boot id, memory, cpus, report of what runs */
	CORE_CMD_VOTE,		 /* node becomes a voter */
	CORE_CMD_TICK,		 /* delta_ms */
	CORE_CMD_RESULT,	 /* result */
	CORE_CMD_VM_EXIT,	 /* node, vm name, generation, exit */
	CORE_CMD_KEY_LOST,	 /* node, incarnation, volume name: own key or reservation is gone */
	CORE_CMD_CSVD_LOST,	 /* node, incarnation: csvd died; everything must be attached again */
	CORE_CMD_VM_TROUBLE,	 /* node, vm name, generation, trouble, text; from CORE_LEVEL_CAUSES on */
	CORE_CMD_STORAGE,	 /* node, incarnation, volume name; force: its LUN does not answer; from CORE_LEVEL_STORAGE on */
	CORE_CMD_INTERNAL_LAST = CORE_CMD_STORAGE,
};

struct core_set {
	uint8_t setting; /* number in settings.h, from 0 */
	uint32_t value;
};

enum core_method {
	CORE_METHOD_AUTO = 0,
	CORE_METHOD_LIVE,
	CORE_METHOD_QUICK,
};

/* What becomes of a VM that runs, and goes on running. */
enum core_trouble {
	CORE_TROUBLE_OVER = 0, /* it goes on: there is room again */
	CORE_TROUBLE_NO_SPACE, /* it stands still: a disk's file system is full */
	CORE_TROUBLE_IO_ERROR, /* its guest was given an I/O error; the first of a series */
};

enum core_exit {
	CORE_EXIT_SHUTDOWN = 1, /* the guest powered off */
	CORE_EXIT_RESET,	/* the guest asked for a reset */
	CORE_EXIT_FENCED,	/* its disk answered "fenced" */
	CORE_EXIT_ERROR,	/* the vmm died */
};

struct core_seen {
	char name[CL_NAME_MAX]; /* stays at home: the entry carries its hash */
	uint64_t name_hash;
	uint64_t generation;
	uint8_t seen; /* enum core_vm_seen */
};

struct core_command {
	uint8_t kind;
	uint8_t node;	/* origin where daemons speak; subject for NODE_ADD and VOTE */
	bool force, drain, failback;
	uint8_t method;
	uint8_t exit;
	uint8_t trouble; /* enum core_trouble */
	uint8_t level; /* HELLO */
	core_nodes members, alive;
	uint16_t cpus;
	uint32_t memory_mib;
	uint32_t incarnation;
	uint32_t delta_ms;
	uint64_t generation;
	uint64_t seen_seq;	/* HELLO: the state that the report was made against; TICK: the entry
				   since when delta_ms was measured; void if a TICK came after it */
	uint64_t csvd;		/* HELLO: instance of the node's csvd; 0: not known */
	uint64_t wall_ms;	/* set by core_step() */
	uint8_t uuid[CL_UUID_BYTES]; /* or boot id */
	struct core_timing timing;
	char name[CL_NAME_MAX];
	char target[CL_NAME_MAX];
	char address[CORE_ADDRESS_MAX];
	char vm_address[CORE_ADDRESS_MAX];
	char lun[CORE_LUN_MAX];
	char text[CORE_TEXT_MAX];
	struct core_result result;
	uint64_t batch;
	uint32_t offset;
	uint16_t part_len;
	uint8_t part[CORE_PART_MAX];
	bool adopt; /* VM_CREATE: disks that are there already are its own */
	bool keep;  /* VM_DELETE: its disks stay, as files of nobody; from CORE_LEVEL_CAUSES on */
	uint8_t set_count;
	struct core_set sets[CORE_SETS_MAX];
	uint32_t set; /* enum core_policy_field */
	struct core_vm_policy policy;
	struct core_vm_config vm;
	char volume_names[CORE_DISKS_MAX][CL_NAME_MAX];
	uint16_t report_count;
	struct core_seen report[CORE_REPORT_MAX];
};

/* An entry's bytes.  Length or -EMSGSIZE; 0 or -EBADMSG (refused whole). */
long core_command_encode(const struct core_command *cmd, void *data, size_t cap_bytes);
int core_command_decode(struct core_command *ret_cmd, const void *data, size_t len_bytes);

/* The answer of core_apply() to the entry's proposer. */
struct core_answer {
	int err; /* 0 or -errno: refused, nothing changed */
	uint64_t job; /* 0: nothing to wait for */
	char text[CORE_TEXT_MAX];
};

/* ---- pure state machine --------------------------------------------------------------------- */

void core_state_init(struct core_state *st);
/* Applies one committed entry.  The answer matters only to its proposer. */
void core_apply(struct core_state *st, uint64_t seq, const void *data, size_t len_bytes,
		struct core_command *scratch, struct core_answer *ret_answer);
/* How soon the next TICK is wanted: 0 (never), CORE_TICK_MS or CORE_TICK_SLOW_MS.  The same as st->tick_ms. */
uint32_t core_timer_ms(const struct core_state *st);

/* Snapshot: length or -EMSGSIZE; 0 or -EBADMSG (st is then undefined). */
long core_snapshot_encode(const struct core_state *st, void *data, size_t cap_bytes);
int core_snapshot_decode(struct core_state *st, const void *data, size_t len_bytes);

/* ---- settings (settings.c) ------------------------------------------------------------------ */

struct core_setting {
	const char *name, *unit, *text;
	uint32_t min, max, value; /* value: the default */
};

extern const struct core_setting core_settings[];
unsigned core_setting_count(void);
#define CORE_LEVEL_STORAGE 3u /* from this level on nodes say that a LUN does not answer them */
unsigned core_setting_count_at(uint32_t level); /* how many a snapshot of that level has */
void core_settings_init(struct core_state *st); /* all to their defaults */
int core_setting_find(const char *name); /* number or -ENOENT */
uint32_t core_setting_get(const struct core_state *st, unsigned setting);
/* 0, or -EINVAL with one line of what is wrong, in numbers.  all: every one is checked, not only sets. */
int core_settings_check(const struct core_state *st, const struct core_set *sets, uint8_t count,
			char *text, size_t cap_bytes);

/* ---- questions ------------------------------------------------------------------------------ */

const struct core_vm *core_vm_find(const struct core_state *st, const char *name, uint16_t *ret_index);
const struct core_volume *core_volume_find(const struct core_state *st, const char *name,
					   uint16_t *ret_index);
const struct core_node *core_node_find(const struct core_state *st, const char *name);
/* Who has it, or NULL; but: a VM that does not count. */
const struct core_node *core_address_holder(const struct core_state *st, const char *address);
const struct core_vm *core_mac_holder(const struct core_state *st, const uint8_t mac[6],
				      const char *but);
const struct core_job *core_job_find(const struct core_state *st, uint64_t id);
uint64_t core_pr_key(const struct core_state *st, uint8_t node, uint32_t incarnation);
uint64_t core_name_hash(const char *name);
/* Memory that VMs on the node use or are about to use. */
uint32_t core_node_used_mib(const struct core_state *st, uint8_t node);

const char *core_node_state_name(uint8_t state);
const char *core_volume_state_name(uint8_t state);
const char *core_vm_state_name(uint8_t state);
const char *core_migration_phase_name(uint8_t phase);
const char *core_effect_name(uint8_t kind);
const char *core_command_name(uint8_t kind);
const char *core_proof_name(uint8_t proof);
/* Words for an errno or an enum core_exit, or NULL: no words for that number. */
const char *core_errno_text(uint64_t number);
const char *core_exit_text(uint64_t exit);
const char *core_priority_name(uint8_t priority);
const char *core_rung_name(uint8_t rung);
const char *core_object_name(uint8_t object);
/* The name of a node's, volume's or VM's state; of others "there" or "none". */
const char *core_object_state_name(uint8_t object, uint8_t state);

/* A cause in words, with node names where st is given; "" for no reason. */
void core_cause_render(const struct core_state *st, const struct core_cause *cause, char *text,
		       size_t cap_bytes);
/* One line for a trace record, or the answer to "why": written to text with a NUL, cut if too long. */
void core_trace_render(const struct core_state *st, const struct core_trace *trace, char *text,
		       size_t cap_bytes);
/*
 * Why the object is as it is: a sentence, then the records that led there (newest last), one a line.
 * 0 or -ENOENT.
 */
int core_why(const struct core_state *st, enum core_object object, const char *name, char *text,
	     size_t cap_bytes);

#endif

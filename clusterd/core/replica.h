/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One node's replica: log and core put together, still pure.  clusterd feeds it
 * events and carries out what it says; the simulator does the same with models.  So what is tested
 * is what is shipped, the glue included.
 *
 * Everything leaves through one sink, called synchronously from within replica_*().  The sink
 * must not call replica_*() again: queue, and go on after the call has returned.
 */
#ifndef CLUSTERD_CORE_REPLICA_H
#define CLUSTERD_CORE_REPLICA_H

#include "clusterd/core/core.h"
#include "clusterd/log/log.h"

enum replica_out_kind {
	REPLICA_MULTICAST = 1, /* data: CPG, agreed order */
	REPLICA_STORE,	       /* log: a LOG_OUT_STORE; answer with replica_durable(op) */
	REPLICA_EFFECT,	       /* effect: carry out, answer with replica_result() */
	REPLICA_EFFECT_VOID,   /* effect.id: no longer wanted; stop if that is easy, answer or not */
	REPLICA_LOCAL,	       /* local: do it; no answer */
	REPLICA_ANSWER,	       /* cookie, answer: reply to the client of replica_command() */
	REPLICA_TRACE,	       /* trace: print; clients that follow events get it */
	REPLICA_CHANGED,       /* the committed state changed: wake what waits on it */
};

enum replica_local_kind {
	REPLICA_FREEZE = 1,   /* this node is cut off (the lease was ended just before): no new starts */
	REPLICA_THAW,	      /* a member in good standing: starts may go on */
	REPLICA_KILL,	      /* kill every vmm of this node, now: the deadline is here */
	REPLICA_CONFIGURE,    /* csvd configure: the nodes or their addresses changed */
	REPLICA_VOLUME_OWNER, /* volume, term, owner (0: nobody): csvd owner */
	REPLICA_LIST,	      /* look what runs here and call replica_hello() */
	REPLICA_LEASE,	      /* at once: every vmm of this node may run until until_ms, not longer */
};

struct replica_local {
	enum replica_local_kind kind;
	uint16_t volume;
	uint8_t owner;
	uint64_t term;
	uint64_t until_ms; /* LEASE: on the clock of all calls; 0: no longer */
	uint64_t proof_ms; /* LEASE: when this node was sure to be heard */
	const char *why; /* one line, static */
};

struct replica_out {
	enum replica_out_kind kind;
	const void *data;
	size_t len_bytes;
	const struct log_out *log;
	const struct core_effect *effect;
	const struct replica_local *local;
	const struct core_trace *trace;
	uint64_t cookie;
	const struct core_answer *answer;
};

typedef void (*replica_sink)(void *arg, const struct replica_out *out);

/* What this node knows of an effect that names it.  Not replicated: lost with the process. */
struct replica_issue {
	uint64_t id; /* 0: free */
	bool have_result;
	uint64_t cookie; /* of the proposal that carries the result; 0: none is out */
	struct core_result result;
};

/* Something to tell the others, kept until it is committed. */
struct replica_note {
	bool used;
	uint64_t cookie;
	uint32_t len_bytes;
	uint8_t bytes[320];
};

struct replica_client {
	uint64_t log_cookie; /* 0: free */
	uint64_t cookie;
};

#define REPLICA_NOTES_MAX  32u
#define REPLICA_BEATS_MAX  32u	 /* own beats whose answers still count */
#define REPLICA_AGAIN_MS   3000u /* a LIST that was not answered is asked again */

struct replica_beat {
	uint64_t number;
	uint64_t sent_ms;
};

/* Caller owns the memory (a few MiB).  One thread. */
struct replica {
	replica_sink sink;
	void *sink_arg;
	uint64_t now_ms;
	uint64_t wall_ms; /* for people only */
	uint8_t self;
	uint8_t boot_id[CL_UUID_BYTES];
	bool started;
	bool damaged;		   /* a snapshot from another node could not be read: halted */
	core_nodes members, alive; /* as corosync says now */
	bool quorate;
	uint64_t next_cookie;

	/* local rules, see core/timing.h */
	bool cut;  /* a majority may be there without this node */
	bool safe; /* part of a majority */
	bool frozen, killed;
	bool standing; /* this process was a member in good standing once */
	uint64_t cut_since_ms;
	uint64_t lease_ms; /* the VMs' lease as this process gave it; 0: none or ended */
	uint32_t lease_takeover_ms; /* takeover_ms that it was made from */
	uint64_t storage_ms[CORE_VOLUMES_MAX];	/* when it was last said whether the LUN answers */
	uint64_t key_seen_ms[CORE_VOLUMES_MAX]; /* begin of the last look that found the own key there */

	/* beat.c */
	core_nodes present; /* members whose clusterd speaks */
	uint64_t beat_ms, beat_number;
	struct replica_beat beats[REPLICA_BEATS_MAX];
	uint64_t heard[CL_NODES_MAX + 1];	/* number of each one's last beat */
	uint64_t heard_ms[CL_NODES_MAX + 1];	/* when any message of it came */
	uint64_t answered_ms[CL_NODES_MAX + 1]; /* when the own beat was sent that it had last */

	/* own proposals of each kind that are out; 0: none */
	uint64_t tick_cookie, members_cookie, vote_cookie, hello_cookie;
	uint64_t tick_base_ms, tick_base_seq;
	bool tick_armed;

	bool hello_done; /* our HELLO is committed: the cluster knows what runs here */
	bool hello_asked, hello_have;
	bool hello_stale;  /* the one that is out tells what was before a freeze or a kill */
	uint64_t hello_asked_ms, hello_seq;
	uint32_t hello_len;
	uint8_t hello[LOG_ENTRY_MAX];

	uint64_t told_term[CORE_VOLUMES_MAX];
	uint8_t told_owner[CORE_VOLUMES_MAX];
	bool told[CORE_VOLUMES_MAX];
	uint64_t told_nodes; /* digest of the node table */
	uint64_t told_nodes_seq;
	uint64_t traced, changed_seq;

	struct replica_client clients[LOG_PENDING_MAX];
	uint16_t issue_count;
	struct replica_issue issues[CORE_EFFECTS_MAX];
	struct replica_note notes[REPLICA_NOTES_MAX];

	struct core_command scratch;
	struct core_state st;
	struct log log;
	uint8_t snapshot[LOG_SNAPSHOT_MAX];
};

/*
 * instance: random, new in each process.  Then, from the store, in this order,
 * replica_restore_*(); then replica_start().  -EBADMSG: the store is damaged.
 */
void replica_init(struct replica *r, uint8_t self, const uint8_t boot_id[CL_UUID_BYTES],
		  uint64_t instance, replica_sink sink, void *sink_arg);
int replica_restore_promise(struct replica *r, uint64_t epoch, const void *data, size_t len_bytes);
int replica_restore_snapshot(struct replica *r, struct log_mark mark, log_nodes voters,
			     const void *data, size_t len_bytes);
int replica_restore_entry(struct replica *r, const struct log_entry *entry);
int replica_start(struct replica *r, uint64_t now_ms, uint64_t commit_hint);
/* Instead of restoring: first node of a new cluster.  cmd is CORE_CMD_INIT. */
int replica_bootstrap(struct replica *r, const struct core_command *cmd);

/* members: clusterds in the CPG group; alive: nodes in corosync's membership. */
void replica_config(struct replica *r, uint64_t now_ms, core_nodes members, core_nodes alive,
		    bool quorate);
int replica_message(struct replica *r, uint64_t now_ms, uint8_t node, const void *data,
		    size_t len_bytes);
void replica_durable(struct replica *r, uint64_t now_ms, uint64_t op);
/* Call at least every 100 ms; now_ms counts suspend too (CLOCK_BOOTTIME); wall_ms is the wall clock, for people only. */
void replica_timer(struct replica *r, uint64_t now_ms, uint64_t wall_ms);
/* The result of an effect. */
void replica_result(struct replica *r, uint64_t now_ms, const struct core_result *result);
/*
 * Answer to REPLICA_LIST: what runs on this node (count <= CORE_REPORT_MAX), and
 * what it has for VMs; csvd: the instance that runs, 0 if it did not say.
 */
void replica_hello(struct replica *r, uint64_t now_ms, const struct core_seen *seen, uint16_t count,
		   uint32_t memory_mib, uint16_t cpus, uint64_t csvd);
/* A vmm of this node ended by itself. */
void replica_vm_exit(struct replica *r, uint64_t now_ms, const char *name, uint64_t generation,
		     enum core_exit exit, const char *text);
/* A VM of this node has trouble, or had.  For people: it may be lost, and is not told before
 * CORE_LEVEL_CAUSES. */
void replica_vm_trouble(struct replica *r, uint64_t now_ms, const char *name, uint64_t generation,
			enum core_trouble trouble, const char *text);
/* Own key or the reservation is gone from the volume's LUN. */
/* The volume's LUN has not answered this node on any path for so long; said again while that lasts.
 */
void replica_storage_mute(struct replica *r, uint64_t now_ms, const char *volume, uint64_t for_ms);
void replica_key_lost(struct replica *r, uint64_t now_ms, const char *volume);
/* A look at the volume's LUN that began at looked_ms found the own key and the reservation. */
void replica_key_seen(struct replica *r, uint64_t now_ms, const char *volume, uint64_t looked_ms);
/* csvd died on this node and was started again, empty. */
void replica_csvd_lost(struct replica *r, uint64_t now_ms);
/*
 * An operator's command; the answer comes as REPLICA_ANSWER with this cookie (-ETIMEDOUT is the
 * caller's to decide).  0, -EAGAIN, -EMSGSIZE, -EINVAL.  Without quorum it waits.
 */
int replica_command(struct replica *r, uint64_t now_ms, uint64_t cookie,
		    const struct core_command *cmd);
void replica_withdraw(struct replica *r, uint64_t cookie);

#endif

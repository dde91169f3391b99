/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon: one struct that all files of clusterd share.  Everything here
 * belongs to the loop's thread; workers get copies.
 *
 *   corosync --link--> replica (pure) --sink--> store, link, effects (workers), IPC answers
 */
#ifndef CD_DAEMON_H
#define CD_DAEMON_H

#include <jansson.h>
#include <qb/qbloop.h>
#include <qb/qbutil.h>

#include "clusterd/core/replica.h"
#include "clusterd/ipc_qb.h"
#include "clusterd/link_corosync.h"
#include "clusterd/node_file_jansson.h"
#include "clusterd/pool_linux.h"
#include "clusterd/post_linux.h"
#include "clusterd/store_sqlite.h"
#include "common/cl_gate.h"

#define CD_TOKENS_MAX  16u
#define CD_WAITERS_MAX 64u
#define CD_PORTS       2u
#define CD_EVENTS_KEPT 2000u /* in memory, for `events` */
#define CD_EXIT_DISK   74    /* EX_IOERR */
#define CD_RESERVE_MIB 256u  /* of a node's memory that VMs never get */

struct cd;
struct cl_lease;
struct cd_clocks;
struct cd_early;
struct cd_watch;
struct cd_vm_monitor;

/* A join token given here: only its secret's hash is kept, also on disk. */
struct cd_token_record {
	bool there;
	uint8_t hash[32];
	int64_t expires_ms; /* wall clock */
	uint64_t expires_boot_ms; /* CLOCK_BOOTTIME of this boot */
	char node[CL_NAME_MAX]; /* good for this one only, or "" */
	char used_by[CL_NAME_MAX]; /* good for no other any more, or "" */
};

/* A client that waits: for events after `since`, or for a job's end. */
struct cd_waiter {
	struct cd_ipc_call *call; /* NULL: free */
	uint64_t deadline_ms;
	uint64_t job;	/* or 0 */
	uint64_t since; /* events */
	unsigned max;
};

/* Who waits for the answer to a command that was proposed. */
struct cd_pending {
	struct cd_pending *next;
	uint64_t cookie;
	uint64_t deadline_ms;
	void (*answer)(struct cd *cd, void *arg, int err, const struct core_answer *answer);
	void *arg;
};

struct cd_event_line {
	uint64_t id;
	json_t *json;
};

/* A TCP port that is listened on, or tried again; ports_linux.c. */
struct cd_port {
	struct cd *cd;
	int error; /* of the last try */
};

struct cd {
	qb_loop_t *loop;
	struct cd_post *post;
	struct cd_pool *work;  /* effects and other slow things */
	struct cd_pool *fence; /* fencing and freezing: never behind the above */
	struct cd_ipc *ipc;

	bool busy_setup; /* create or join is running */
	bool member;	 /* node.json was read or written */
	struct cd_node_file self;
	struct cd_link *link;
	struct cd_store *store;
	struct replica *replica; /* NULL until member */
	struct cl_lease *lease;	 /* of this node's VMs; outlives this process */
	struct cd_clocks *clocks; /* lease_linux.c: what they said, for leases */
	char trouble[256];	 /* of the store; "" if well */
	int exit_status;

	bool link_up;
	bool group_known, votes_known; /* since the link is up */
	struct cd_early *early;	       /* messages that came when only the group was known */
	core_nodes group_nodes, ring_nodes;
	struct cd_votes votes;

	uint64_t next_cookie;
	struct cd_pending *pending;
	struct cd_waiter waiters[CD_WAITERS_MAX];

	struct cd_event_line events[CD_EVENTS_KEPT]; /* ring by id */
	uint64_t events_next;			     /* id of the next */
	uint64_t traced;			     /* core trace records taken over */
	bool changed;				     /* REPLICA_CHANGED since the last look */

	struct cd_token_record tokens[CD_TOKENS_MAX];
	struct cd_port ports[CD_PORTS];
	unsigned joins;
	struct cl_gate join_knocks; /* connections that have not sent a request yet */
	uint64_t logs_ms; /* when logs are looked at next; UINT64_MAX: they are being */
	uint64_t corosync_try_ms; /* when to start corosync if it is not there */
	uint64_t conf_digest; /* of the nodes in corosync.conf */

	struct cd_watch *watches[CORE_VOLUMES_MAX];
	struct cd_vm_monitor *monitors;
	uint64_t saving_ms[CORE_VMS_MAX]; /* CLOCK_MONOTONIC when its save was first heard of; 0: it runs */
	bool csvd_wanted;
	json_t *csvd_volumes;		/* csvd's last word on its volumes: an array, or NULL */
	bool filling[CORE_VOLUMES_MAX]; /* it was told that the volume fills up */
	uint64_t grants_told[CORE_VOLUMES_MAX]; /* digest of what csvd was told of a volume; 0: nothing */
	uint64_t grants_again_ms;		/* one that was not heard; 0: all were */
};

/* ---- time (main.c) ---- */
uint64_t cd_now_ms(void);  /* since boot, with suspended time */
int64_t cd_wall_ms(void);

/* ---- drive.c: the replica and what surrounds it ---- */
/* Opens the store and starts the replica; genesis: CORE_CMD_INIT or NULL. 0 or -errno, *ret_error. */
int cd_drive_start(struct cd *cd, const struct core_command *genesis, char **ret_error);
void cd_drive_timer(struct cd *cd);
/*
 * Proposes; answer() is called once: with err 0 or the core's refusal in answer, or err -ETIMEDOUT, -EAGAIN.
 * timeout_ms 0: 30 s.
 */
void cd_drive_command(struct cd *cd, const struct core_command *cmd, unsigned timeout_ms,
		      void (*answer)(struct cd *cd, void *arg, int err,
				     const struct core_answer *answer),
		      void *arg);
void cd_drive_config(struct cd *cd);
/* After each call into the replica: takes note of what changed. */
void cd_drive_settle(struct cd *cd);
/* Local happening for the event list: state of `name` on this node. */
void cd_drive_note(struct cd *cd, const char *object, const char *name, const char *before,
		   const char *after, const char *text);
const struct core_state *cd_state(const struct cd *cd);

/* ---- timing_warn.c ---- */
/* Looks whether corosync's times fit the settings, and logs what does not. */
void cd_timing_warn(struct cd *cd);

/* ---- lease_linux.c: until when this node's VMs may run ---- */
int cd_lease_open(struct cd *cd);
/* Before beats are sent. */
void cd_lease_look(struct cd *cd);
void cd_lease_give(struct cd *cd, uint64_t until_ms, uint64_t proof_ms);

/* ---- effect.c and fx_*.c: what must be done here ---- */
void cd_effect_run(struct cd *cd, const struct core_effect *effect);
void cd_effect_void(struct cd *cd, uint64_t id);
void cd_local_run(struct cd *cd, const struct replica_local *local);
/* After each change: watches, monitors. */
void cd_effect_changed(struct cd *cd);

/* ---- cluster_linux.c: create, join, admit, corosync's files ---- */
void cd_cluster_create(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_cluster_join(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_cluster_token(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_cluster_changed(struct cd *cd);
/* grants_linux.c: tells csvd whom it may serve as owner, where the log changed that. */
void cd_grants_changed(struct cd *cd);
/* A connection to the join port (taken over). */
void cd_cluster_admit(struct cd *cd, int fd);
void cd_cluster_tokens_load(struct cd *cd);

/* ---- ports_linux.c ---- */
/* Begins to listen on this node's cluster address; again later if that is not there yet. */
void cd_ports_listen(struct cd *cd);

/* ---- view_jansson.c: state as JSON ---- */
json_t *cd_view_status(struct cd *cd);
json_t *cd_view_node(struct cd *cd, uint8_t id);
json_t *cd_view_volume(struct cd *cd, uint16_t index);
/* {total, free, age_ms} of a volume as csvd of this node knows them, borrowed; NULL: not known. */
const json_t *cd_view_space(const struct cd *cd, const char *name);
json_t *cd_view_vm(struct cd *cd, uint16_t index);
json_t *cd_view_job(struct cd *cd, const struct core_job *job);
json_t *cd_view_trace(const struct cd *cd, const struct core_trace *trace);

/* ---- request_jansson.c: the verbs ---- */
void cd_request(void *arg, struct cd_ipc_call *call, const json_t *request);
/* After each change and each timer: answers waiting clients. */
void cd_request_wake(struct cd *cd);

#endif

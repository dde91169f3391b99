/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by control.c (control thread) and control_jobs_linux.c (worker).
 */
#ifndef VMM_CONTROL_INT_H
#define VMM_CONTROL_INT_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cl_ctl.h"
#include "common/cl_types.h"
#include "vmm/control.h"
#include "vmm/migration/recv.h"
#include "vmm/migration/send.h"

struct vmm_migrant;

enum job_kind {
	JOB_NONE = 0,
	JOB_START,
	JOB_RESTORE,
	JOB_INCOMING,
	JOB_PAUSE,
	JOB_RESUME,
	JOB_SAVE,
	JOB_MIGRATE,
};

enum job_outcome {
	OUTCOME_NONE = 0,
	OUTCOME_COMMITTED,
	OUTCOME_ABORTED,
	OUTCOME_QUIT, /* the vmm ends */
};

/* How far the last move came; names are part of `status`. */
enum move_phase {
	MOVE_NONE = 0,
	MOVE_CONNECTING,
	MOVE_COPYING,
	MOVE_SWITCHING, /* guest paused; can no longer be cancelled */
	MOVE_SWITCHED,	/* END written: paused until told */
	MOVE_READY,	/* the destination said READY */
	MOVE_DONE,
	MOVE_FAILED,
};

struct job {
	enum job_kind kind;
	bool has_req;
	struct cl_ctl_request req;
	bool has_generation;
	uint64_t generation;
	int fd; /* SAVE: the file; MIGRATE: the stream; the worker closes it; else -1 */
	char peer[CL_NAME_MAX];
	struct vmm_send_params send;
};

struct vmm_control {
	struct vmm *vm;
	struct vmm_migrant *migrant;
	struct cl_ctl_server *server;
	int restore_fd;
	char restore_path[PATH_MAX];
	int job_fd;	 /* eventfd: the worker is done */
	int announce_fd; /* timerfd */
	int signal_fd;	 /* borrowed */
	unsigned announce_left;
	bool no_space; /* as listeners were told last */
	enum job_kind first;

	/* The job; written by the control thread while no worker runs. */
	struct job job;
	pthread_t worker;
	bool worker_made;
	bool worker_go, worker_busy, worker_end; /* lock: it has a job to begin, is at one, has to end */
	pthread_cond_t worker_turn;		 /* one of them changed */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t told;  /* outcome was set */
	enum job_kind running;
	enum move_phase phase;
	bool outgoing; /* of the last move */
	enum job_outcome outcome;
	bool has_finish_req;
	struct cl_ctl_request finish_req;
	int link_fd;	 /* of the running move, for shutdown; -1: none */
	int incoming_fd; /* the stream of the VM that comes, until the worker takes it; -1: not yet handed in */
	bool incoming_had;
	char peer[CL_NAME_MAX]; /* where it comes from */
	char *error;	    /* of the last move */
	struct vmm_send_stats sent;
	struct vmm_recv_stats received;
	uint64_t started_ns;
	/* At the destination: loaded; from there to resume, in it, and the guest's whole pause. */
	uint64_t ready_ns, waited_us, opened_us, stopped_us;
	bool must_announce;
	bool failed; /* exit with an error whatever the VM's reason */

	atomic_bool cancel;
};

const char *vmm_move_phase_name(enum move_phase phase);
uint64_t vmm_control_now_ns(void);
/* The worker: does control->job, then wakes the control thread. */
void *vmm_control_worker(void *control);

#endif

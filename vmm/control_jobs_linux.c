/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker: what may block.
 *
 * Who may run the VM, and what each side does about it:
 *   source       END not yet begun: failure or cancel -> it runs on by itself.
 *                END begun: paused until migrate-finish, whatever the link or the
 *                destination says; a time-out is never an answer.
 *   destination  END missing or wrong: ends. READY: paused until resume with a
 *                generation higher than the one that it came with.
 */
#include "vmm/control_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "vmm/migrant_kvm.h"
#include "vmm/vm_config.h"
#include "vmm/vmm.h"

#define STALL_MS 30000 /* the link takes or gives nothing for so long before END: it is lost */
#define PAUSE_MS 10000

/*
 * The job is over but for a reply or event that says so: who hears that may ask for the next at
 * once, and the control thread waits for this thread's end before it starts it.
 */
static void job_over(struct vmm_control *c)
{
	pthread_mutex_lock(&c->lock);
	c->running = JOB_NONE;
	pthread_mutex_unlock(&c->lock);
}

static void reply_ok(struct vmm_control *c, json_t *result)
{
	if (c->job.has_req)
		cl_ctl_reply(c->server, c->job.req, result);
	else
		json_decref(result);
	c->job.has_req = false;
}

static void reply_error(struct vmm_control *c, int err, const char *text)
{
	job_over(c);
	if (c->job.has_req)
		cl_ctl_reply_error(c->server, c->job.req, err, "VM %s: %s", c->vm->config->name,
				   text ? text : strerror(err));
	c->job.has_req = false;
}

static void phase_set(struct vmm_control *c, enum move_phase phase)
{
	pthread_mutex_lock(&c->lock);
	c->phase = phase;
	pthread_mutex_unlock(&c->lock);
}

/* Begins the record of a move. */
static void move_begin(struct vmm_control *c, bool outgoing)
{
	pthread_mutex_lock(&c->lock);
	c->phase = MOVE_CONNECTING;
	c->outgoing = outgoing;
	if (c->outcome != OUTCOME_QUIT)
		c->outcome = OUTCOME_NONE;
	c->has_finish_req = false;
	free(c->error);
	c->error = NULL;
	c->sent = (struct vmm_send_stats){ 0 };
	c->received = (struct vmm_recv_stats){ 0 };
	c->ready_ns = c->waited_us = c->opened_us = c->stopped_us = 0;
	c->started_ns = vmm_control_now_ns();
	if (c->outcome != OUTCOME_QUIT)
		atomic_store(&c->cancel, false);
	pthread_mutex_unlock(&c->lock);
}

/* Takes over error. */
static void move_failed(struct vmm_control *c, char *error, bool switched)
{
	const char *state = vmm_state_name(vmm_state_get(c->vm));

	if (!switched)
		job_over(c);
	cl_ctl_event(c->server, json_pack("{s:s, s:s, s:s}", "event", "migration-failed", "error",
					  error ? error : "out of memory", "state", state));
	cl_warning("VM %s: migration failed, it is %s: %s", c->vm->config->name, state,
		   error ? error : "out of memory");
	pthread_mutex_lock(&c->lock);
	if (!switched)
		c->phase = MOVE_FAILED;
	free(c->error);
	c->error = error;
	pthread_mutex_unlock(&c->lock);
}

static void end_failed(struct vmm_control *c)
{
	pthread_mutex_lock(&c->lock);
	c->failed = true;
	pthread_mutex_unlock(&c->lock);
	vmm_stop(c->vm, VMM_EXIT_ERROR);
}

static void link_set(struct vmm_control *c, int fd)
{
	pthread_mutex_lock(&c->lock);
	c->link_fd = fd;
	pthread_mutex_unlock(&c->lock);
}

static void job_do_start(struct vmm_control *c)
{
	struct vmm *vm = c->vm;
	char *error = NULL;

	if (vmm_disks_open(vm, vm->generation, &error)) {
		cl_error("VM %s: %s", vm->config->name, error ? error : "disks");
		free(error);
		end_failed(c);
		return;
	}
	if (vm->config->paused) {
		job_over(c);
		vmm_state_set(vm, VMM_PAUSED, "started paused");
		return;
	}
	vmm_migrant_resume(c->migrant);
	job_over(c);
	vmm_state_set(vm, VMM_RUNNING, "started");
}

static void job_do_restore(struct vmm_control *c)
{
	const struct vmm_recv_params params = {
		.stopped_since_ns = c->vm->config->stopped_since_ms * 1000000,
	};
	struct vmm_recv_stats stats = { 0 };
	char *error = NULL;
	struct vmm_link link;
	int r;

	move_begin(c, false);
	phase_set(c, MOVE_COPYING);
	r = vmm_link_file(&link, c->restore_fd, false);
	if (!r)
		r = vmm_recv(vmm_migrant_port(c->migrant), &link, &params, &stats, &error);
	vmm_link_file_free(&link);
	/* Whoever removes the file now gets its space back. */
	close(c->restore_fd);
	c->restore_fd = -1;
	pthread_mutex_lock(&c->lock);
	c->received = stats;
	c->ready_ns = vmm_control_now_ns();
	c->phase = r ? MOVE_FAILED : MOVE_READY;
	pthread_mutex_unlock(&c->lock);
	if (r) {
		cl_error("saved VM %s: %s", c->restore_path, error ? error : strerror(-r));
		free(error);
		end_failed(c);
		return;
	}
	job_over(c);
	vmm_state_set(c->vm, VMM_READY, "restored, waits for its generation");
}

/* The stream that is handed in, or -1 at the end. */
static int await_stream(struct vmm_control *c)
{
	int fd;

	pthread_mutex_lock(&c->lock);
	while (c->incoming_fd < 0 && c->outcome != OUTCOME_QUIT)
		pthread_cond_wait(&c->told, &c->lock);
	fd = cl_steal_fd(&c->incoming_fd);
	if (c->outcome != OUTCOME_QUIT)
		c->link_fd = fd;
	else if (fd >= 0)
		close(cl_steal_fd(&fd));
	pthread_mutex_unlock(&c->lock);
	return fd;
}

static void job_do_incoming(struct vmm_control *c)
{
	const struct vmm_recv_params live = { .live = true };
	CL_CLEANUP_CLOSE int fd = -1;
	struct vmm_link link;
	char *error = NULL;
	int r;

	move_begin(c, false);
	vmm_state_set(c->vm, VMM_INCOMING, "waits for its memory");
	/* Ahead of time what opening the disks would cost later, while the guest stands still. */
	if (vmm_disks_prepare(c->vm, &error)) {
		cl_warning("VM %s: %s", c->vm->config->name, error ? error : "disks");
		free(error);
		error = NULL;
	}
	fd = await_stream(c);
	if (fd < 0)
		return;
	cl_notice("VM %s: comes from node %s", c->vm->config->name, c->peer);
	phase_set(c, MOVE_COPYING);
	vmm_link_timeout_set(fd, 0); /* a source that is gone is seen by its stream's end */
	vmm_link_stream(&link, fd);
	r = vmm_recv(vmm_migrant_port(c->migrant), &link, &live, &c->received, &error);
	link_set(c, -1);
	if (r) {
		cl_error("VM %s: incoming migration failed: %s", c->vm->config->name,
			 error ? error : strerror(-r));
		move_failed(c, error, false);
		end_failed(c);
	} else {
		pthread_mutex_lock(&c->lock);
		c->ready_ns = vmm_control_now_ns();
		c->phase = MOVE_READY;
		pthread_mutex_unlock(&c->lock);
		job_over(c);
		vmm_state_set(c->vm, VMM_READY, "all of it came, waits for its generation");
		cl_ctl_event(c->server,
			     json_pack("{s:s, s:I, s:I, s:I}", "event", "migration-ready",
				       "received", (json_int_t)c->received.received_bytes,
				       "load_us", (json_int_t)c->received.load_us, "generation",
				       (json_int_t)c->received.generation));
	}
}

static void job_do_pause(struct vmm_control *c)
{
	char *error = NULL;
	int r = vmm_migrant_pause(c->migrant, PAUSE_MS, &error);

	if (r) {
		reply_error(c, -r, error);
		free(error);
		return;
	}
	job_over(c);
	vmm_state_set(c->vm, VMM_PAUSED, "told to pause");
	reply_ok(c, NULL);
}

/* From paused, saved, or ready: then with the disks opened for its new generation first. */
static void job_do_resume(struct vmm_control *c)
{
	bool came = vmm_state_get(c->vm) == VMM_READY;
	uint64_t start = vmm_control_now_ns(), now;
	char reason[200] = "resumed", *error = NULL;
	int r;

	if (came) {
		r = vmm_disks_open(c->vm, c->job.generation, &error);
		if (r) {
			reply_error(c, -r, error);
			free(error);
			return;
		}
		vmm_migrant_generation(c->migrant, c->job.generation);
	}
	vmm_migrant_resume(c->migrant);
	now = vmm_control_now_ns();
	if (came) {
		pthread_mutex_lock(&c->lock);
		c->waited_us = (start - c->ready_ns) / 1000;
		c->opened_us = (now - start) / 1000;
		c->stopped_us = (c->received.age_ns + now - c->received.end_ns) / 1000;
		c->phase = MOVE_DONE;
		c->must_announce = true;
		snprintf(reason, sizeof(reason),
			 "resumed here; the guest was stopped for %llu ms: until all had come "
			 "%llu, loading %llu, until told %llu, opening disks %llu",
			 (unsigned long long)(c->stopped_us / 1000),
			 (unsigned long long)(c->received.age_ns / 1000000),
			 (unsigned long long)(c->received.load_us / 1000),
			 (unsigned long long)(c->waited_us / 1000),
			 (unsigned long long)(c->opened_us / 1000));
		pthread_mutex_unlock(&c->lock);
	}
	job_over(c);
	vmm_state_set(c->vm, VMM_RUNNING, reason);
	reply_ok(c, came ? json_pack("{s:I}", "downtime_us", (json_int_t)c->stopped_us) : NULL);
}

static int save_to(struct vmm_control *c, bool runs, uint64_t *ret_paused_ns, char **ret_error)
{
	struct vmm_send_stats stats = { 0 };
	struct vmm_link link;
	bool paused;
	int r = vmm_link_file(&link, c->job.fd, true);

	if (!r)
		r = vmm_send_save(vmm_migrant_port(c->migrant), &link, runs, &c->cancel, &stats,
				  ret_error);
	*ret_paused_ns = stats.paused_ns;
	paused = !r && runs;
	r = r ? r : vmm_link_file_sync(&link);
	vmm_link_file_free(&link);
	if (r && !*ret_error && asprintf(ret_error, "cannot be saved: %s", strerror(-r)) < 0)
		*ret_error = NULL;
	if (r && paused)
		vmm_migrant_resume(c->migrant);
	pthread_mutex_lock(&c->lock);
	c->sent = stats;
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void job_do_save(struct vmm_control *c)
{
	bool ran = vmm_state_get(c->vm) == VMM_RUNNING;
	uint64_t paused_ns = 0, paused_ms;
	char *error = NULL;
	int r;

	move_begin(c, true);
	phase_set(c, MOVE_COPYING);
	if (ran)
		vmm_state_set(c->vm, VMM_SAVING, "passes over memory, then a pause");
	r = save_to(c, ran, &paused_ns, &error);
	phase_set(c, r ? MOVE_FAILED : MOVE_DONE);
	if (r) {
		job_over(c);
		if (ran)
			vmm_state_set(c->vm, VMM_RUNNING, "could not be saved");
		reply_error(c, -r, error);
		free(error);
		return;
	}
	paused_ms = (vmm_control_now_ns() - paused_ns) / 1000000;
	cl_notice("VM %s: saved %llu bytes in %llu passes, %llu ms; the last %llu ms of it paused: "
		  "stopping %llu us, rest of memory %llu us (%llu pages)",
		  c->vm->config->name, (unsigned long long)c->sent.sent_bytes,
		  (unsigned long long)c->sent.round, (unsigned long long)(c->sent.total_us / 1000),
		  (unsigned long long)paused_ms, (unsigned long long)c->sent.pause_us,
		  (unsigned long long)c->sent.final_us, (unsigned long long)c->sent.final_pages);
	job_over(c);
	vmm_state_set(c->vm, VMM_SAVED, "all of it is in the file");
	reply_ok(c, json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)c->sent.sent_bytes,
			      "total_ms", (json_int_t)(c->sent.total_us / 1000), "paused_ms",
			      (json_int_t)paused_ms));
}

static void hook_progress(void *arg, const struct vmm_send_stats *s)
{
	struct vmm_control *c = arg;

	pthread_mutex_lock(&c->lock);
	c->sent = *s;
	pthread_mutex_unlock(&c->lock);
	cl_ctl_event(c->server, json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:i}", "event",
					  "migration-progress", "round", (int)s->round, "sent",
					  (json_int_t)s->sent_bytes, "remaining",
					  (json_int_t)s->remaining_bytes, "dirty_bps",
					  (json_int_t)s->dirty_bps, "bandwidth_bps",
					  (json_int_t)s->bandwidth_bps, "est_downtime_ms",
					  (json_int_t)(s->est_downtime_us / 1000), "throttle_pct",
					  (int)s->throttle_pct));
}

/* Cancelling and switching exclude each other here, under the lock. */
static bool hook_may_switch(void *arg)
{
	struct vmm_control *c = arg;
	bool ok;

	pthread_mutex_lock(&c->lock);
	ok = !atomic_load(&c->cancel);
	if (ok)
		c->phase = MOVE_SWITCHING;
	pthread_mutex_unlock(&c->lock);
	return ok;
}

static bool hook_may_end(void *arg)
{
	struct vmm_control *c = arg;
	bool ok;

	pthread_mutex_lock(&c->lock);
	ok = c->outcome != OUTCOME_QUIT;
	if (ok) {
		c->phase = MOVE_SWITCHED;
		vmm_link_timeout_set(c->link_fd, 0);
	}
	pthread_mutex_unlock(&c->lock);
	if (ok)
		vmm_state_set(c->vm, VMM_SWITCHED, "everything is sent, waits to be told");
	return ok;
}

static void hook_switched(void *arg, const struct vmm_send_stats *s)
{
	struct vmm_control *c = arg;

	cl_notice("VM %s: paused %llu us, rest of memory %llu us (%llu pages), state %llu us; all "
		  "sent after %llu us",
		  c->vm->config->name, (unsigned long long)s->pause_us,
		  (unsigned long long)s->final_us, (unsigned long long)s->final_pages,
		  (unsigned long long)s->state_us,
		  (unsigned long long)((s->sent_ns - s->paused_ns) / 1000));
	cl_ctl_event(c->server,
		     json_pack("{s:s, s:I, s:i, s:I, s:I, s:I}", "event", "migration-switched",
			       "sent", (json_int_t)s->sent_bytes, "rounds", (int)s->round,
			       "total_ms", (json_int_t)(s->total_us / 1000), "est_downtime_ms",
			       (json_int_t)(s->est_downtime_us / 1000), "switch_us",
			       (json_int_t)((s->sent_ns - s->paused_ns) / 1000)));
}

/* Switched: stays here, the guest paused, until told. */
static void await_outcome(struct vmm_control *c)
{
	const struct vmm_mig_machine *port = vmm_migrant_port(c->migrant);
	struct cl_ctl_request req;
	enum job_outcome outcome;
	bool has_req;

	pthread_mutex_lock(&c->lock);
	while (c->outcome == OUTCOME_NONE)
		pthread_cond_wait(&c->told, &c->lock);
	outcome = c->outcome;
	has_req = c->has_finish_req;
	req = c->finish_req;
	c->phase = outcome == OUTCOME_ABORTED ? MOVE_FAILED : MOVE_DONE;
	pthread_mutex_unlock(&c->lock);
	if (outcome == OUTCOME_ABORTED) {
		port->log_stop(port->arg);
		vmm_migrant_resume(c->migrant);
		job_over(c);
		vmm_state_set(c->vm, VMM_RUNNING, "migration aborted");
	}
	if (has_req)
		cl_ctl_reply(c->server, req, NULL);
	if (outcome == OUTCOME_COMMITTED)
		vmm_stop(c->vm, VMM_EXIT_QUIT);
}

static void job_do_migrate(struct vmm_control *c)
{
	const struct vmm_send_hooks hooks = { c, hook_progress, hook_may_switch, hook_may_end,
					      hook_switched };
	struct vmm_send_stats stats = { 0 };
	enum vmm_send_result result;
	struct vmm_link link;
	char *error = NULL;

	move_begin(c, true);
	link_set(c, c->job.fd);
	vmm_state_set(c->vm, VMM_MIGRATING, "copies memory");
	reply_ok(c, NULL);
	phase_set(c, MOVE_COPYING);
	vmm_link_timeout_set(c->job.fd, STALL_MS);
	vmm_link_stream(&link, c->job.fd);
	result = vmm_send_live(vmm_migrant_port(c->migrant), &link, &c->job.send, &hooks,
			       &c->cancel, &stats, &error);
	link_set(c, -1);
	pthread_mutex_lock(&c->lock);
	c->sent = stats;
	if (result == VMM_SEND_READY)
		c->phase = MOVE_READY;
	pthread_mutex_unlock(&c->lock);
	close(cl_steal_fd(&c->job.fd));
	if (result == VMM_SEND_FAILED) {
		job_over(c);
		vmm_state_set(c->vm, VMM_RUNNING, "migration failed");
		move_failed(c, error, false);
		return;
	}
	if (result == VMM_SEND_UNKNOWN) {
		pthread_mutex_lock(&c->lock);
		/* Told meanwhile: that closed the link, and nothing failed. */
		if (c->outcome != OUTCOME_NONE) {
			free(error);
			error = NULL;
		}
		pthread_mutex_unlock(&c->lock);
		if (error)
			move_failed(c, error, true);
	}
	await_outcome(c);
}

static void job_do(struct vmm_control *c)
{
	uint64_t one = 1;

	switch (c->job.kind) {
	case JOB_START:
		job_do_start(c);
		break;
	case JOB_RESTORE:
		job_do_restore(c);
		break;
	case JOB_INCOMING:
		job_do_incoming(c);
		break;
	case JOB_PAUSE:
		job_do_pause(c);
		break;
	case JOB_RESUME:
		job_do_resume(c);
		break;
	case JOB_SAVE:
		job_do_save(c);
		break;
	case JOB_MIGRATE:
		job_do_migrate(c);
		break;
	case JOB_NONE:
		break;
	}
	if (c->job.fd >= 0)
		close(cl_steal_fd(&c->job.fd));
	job_over(c);
	if (write(c->job_fd, &one, sizeof(one)) < 0)
		cl_warning("eventfd: %s", strerror(errno));
}

void *vmm_control_worker(void *arg)
{
	struct vmm_control *c = arg;

	pthread_setname_np(pthread_self(), "vmm-worker");
	if (c->vm->confine)
		c->vm->confine(VMM_THREAD_WORKER);
	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (!c->worker_go && !c->worker_end)
			pthread_cond_wait(&c->worker_turn, &c->lock);
		if (!c->worker_go)
			break;
		c->worker_go = false;
		pthread_mutex_unlock(&c->lock);
		job_do(c);
		pthread_mutex_lock(&c->lock);
		c->worker_busy = false;
		pthread_cond_broadcast(&c->worker_turn);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

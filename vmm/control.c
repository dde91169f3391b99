/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control thread: verbs, events, and the vmm's main loop.
 *
 * It decides whether a verb is allowed in the present state and hands what may
 * block to the worker.  A verb that is not allowed changes nothing and says in which
 * state it would be.
 */
#include "vmm/control_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "vmm/guard.h"
#include "vmm/migrant_kvm.h"
#include "vmm/rundir.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"
#include "vmm/vmm.h"

#define ANNOUNCE_ROUNDS	  5u
#define ANNOUNCE_FIRST_MS 50
#define ANNOUNCE_STEP_MS  100
#define WORKER_END_WAIT_S 10

uint64_t vmm_control_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

const char *vmm_move_phase_name(enum move_phase phase)
{
	switch (phase) {
	case MOVE_NONE:
		return "none";
	case MOVE_CONNECTING:
		return "connecting";
	case MOVE_COPYING:
		return "copying";
	case MOVE_SWITCHING:
		return "switching";
	case MOVE_SWITCHED:
		return "switched";
	case MOVE_READY:
		return "ready";
	case MOVE_DONE:
		return "done";
	case MOVE_FAILED:
		return "failed";
	}
	return "?";
}

static void on_state(void *arg, enum vmm_state state, const char *reason)
{
	struct vmm_control *c = arg;

	cl_ctl_event(c->server, json_pack("{s:s, s:s, s:s}", "event", "state", "state",
					  vmm_state_name(state), "reason", reason ? reason : ""));
}

static void on_frozen(void *arg, bool frozen, const char *reason)
{
	struct vmm_control *c = arg;

	cl_ctl_event(c->server, json_pack("{s:s, s:b, s:s}", "event", "lease", "frozen", frozen,
					  "reason", reason));
}

static json_t *move_json(struct vmm_control *c)
{
	const struct vmm_send_stats *s = &c->sent;
	const struct vmm_recv_stats *r = &c->received;
	json_t *o = json_object();

	json_object_set_new(o, "phase", json_string(vmm_move_phase_name(c->phase)));
	json_object_set_new(o, "role", json_string(c->outgoing ? "source" : "destination"));
#define NUM(key, value) json_object_set_new(o, key, json_integer((json_int_t)(value)))
	if (c->outgoing) {
		NUM("round", s->round);
		NUM("sent", s->sent_bytes);
		NUM("remaining", s->remaining_bytes);
		NUM("data_pages", s->data_pages);
		NUM("zero_pages", s->zero_pages);
		NUM("dirty_bps", s->dirty_bps);
		NUM("bandwidth_bps", s->bandwidth_bps);
		NUM("est_downtime_ms", s->est_downtime_us / 1000);
		NUM("throttle_pct", s->throttle_pct);
		NUM("final_pages", s->final_pages);
		NUM("state_bytes", s->state_bytes);
		NUM("state_us", s->state_us);
		NUM("pause_us", s->pause_us);
		NUM("final_us", s->final_us);
		NUM("peer_load_us", s->peer_load_us);
		NUM("total_ms", s->total_us / 1000);
		if (s->ready_ns)
			NUM("downtime_us", (s->ready_ns - s->paused_ns) / 1000);
		if (s->sent_ns)
			NUM("switch_us", (s->sent_ns - s->paused_ns) / 1000);
	} else {
		NUM("received", r->received_bytes);
		NUM("rounds", r->rounds);
		NUM("data_pages", r->data_pages);
		NUM("zero_pages", r->zero_pages);
		if (r->end_ns)
			NUM("receive_us", (r->end_ns - r->begin_ns) / 1000);
		NUM("load_us", r->load_us);
		NUM("stopped_at_end_us", r->age_ns / 1000);
		NUM("wait_us", c->waited_us);
		NUM("disks_open_us", c->opened_us);
		NUM("downtime_us", c->stopped_us);
	}
#undef NUM
	if (c->error)
		json_object_set_new(o, "error", json_string(c->error));
	return o;
}

static void on_fault(void *arg, enum vmm_fault fault, unsigned disk, const char *text)
{
	struct vmm_control *c = arg;

	if (fault == VMM_FAULT_ERROR) {
		cl_ctl_event(c->server, json_pack("{s:s, s:i, s:s}", "event", "disk-error", "disk",
						  (int)disk, "reason", text));
		return;
	}
	if (c->no_space == (fault == VMM_FAULT_NO_SPACE))
		return;
	c->no_space = fault == VMM_FAULT_NO_SPACE;
	cl_ctl_event(c->server,
		     json_pack("{s:s, s:b, s:s}", "event", "space", "paused", c->no_space, "reason",
			       c->no_space ? text : "there is room again"));
}

/* A disk that has not answered for a while is what an operator looks for first. */
static json_t *disks_json(struct vmm *vm, uint64_t now_ms)
{
	static const char *const names[] = { "closed", "open", "blocked", "fenced" };
	static const char *const ops[] = { "read", "write", "flush" };
	char name[CL_NAME_MAX + PATH_MAX];
	json_t *a = json_array();

	pthread_mutex_lock(&vm->dev_lock);
	for (unsigned i = 0; i < vm->n_disks; i++) {
		const struct vmm_disk *d = vm->disks[i];

		json_t *o = json_pack("{s:s, s:s, s:I, s:i, s:I, s:I}", "name",
				      vmm_disk_name(vm, i, name, sizeof(name)), "state",
				      d->no_space ? "no-space" : names[d->state], "size",
				      (json_int_t)d->size_bytes, "in_flight", (int)d->in_flight,
				      "waiting_ms",
				      (json_int_t)(d->in_flight ? now_ms - d->oldest_ms : 0),
				      "errors", (json_int_t)d->errors);

		if (d->errors)
			json_object_set_new(o, "last_error",
					    json_pack("{s:s, s:s, s:I}", "error",
						      strerror(d->error), "op", ops[d->error_op],
						      "sector",
						      (json_int_t)(d->error_offset_bytes / 512)));
		if (d->readonly)
			json_object_set_new(o, "readonly", json_true());
		json_array_append_new(a, o);
	}
	pthread_mutex_unlock(&vm->dev_lock);
	return a;
}

static json_t *status_json(struct vmm_control *c)
{
	struct vmm *vm = c->vm;
	json_t *o = json_object();
	uint64_t now_ms = vmm_control_now_ns() / 1000000;
	char text[400];

	json_object_set_new(o, "name", json_string(vm->config->name));
	json_object_set_new(o, "state", json_string(vmm_state_name(vmm_state_get(vm))));
	json_object_set_new(o, "generation", json_integer((json_int_t)vm->generation));
	json_object_set_new(o, "uptime_ms", json_integer((json_int_t)(now_ms - vm->started_ms)));
	json_object_set_new(o, "pid", json_integer(vm->run_dir->pid));
	if (vm->guard) {
		json_object_set_new(o, "frozen", json_boolean(vmm_frozen(vm)));
		json_object_set_new(o, "lease_ms",
				    json_integer((json_int_t)vmm_guard_left_ms(vm->guard)));
	}
	if (vmm_no_space(vm, text, sizeof(text)))
		json_object_set_new(o, "stalled", json_string(text));
	json_object_set_new(o, "disks", disks_json(vm, now_ms));
	pthread_mutex_lock(&c->lock);
	if (c->phase != MOVE_NONE)
		json_object_set_new(o, "migration", move_json(c));
	pthread_mutex_unlock(&c->lock);
	return o;
}

static enum job_kind job_running(struct vmm_control *c)
{
	enum job_kind kind;

	pthread_mutex_lock(&c->lock);
	kind = c->running;
	pthread_mutex_unlock(&c->lock);
	return kind;
}

static const char *job_name(enum job_kind kind)
{
	static const char *const names[] = { "nothing",	    "the start",
					     "the restore", "an incoming migration",
					     "a pause",	    "a resume",
					     "a save",	    "a migration" };

	return names[kind];
}

/* Lets the worker begin c->job. */
static void job_start(struct vmm_control *c)
{
	pthread_mutex_lock(&c->lock);
	c->running = c->job.kind;
	c->worker_go = c->worker_busy = true;
	pthread_cond_broadcast(&c->worker_turn);
	pthread_mutex_unlock(&c->lock);
}

/* Waits until the worker has put the last job away: it has said that it is over. */
static void job_join(struct vmm_control *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->worker_busy)
		pthread_cond_wait(&c->worker_turn, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

int vmm_control_start(struct vmm_control *c, char **ret_error)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&c->worker, NULL, vmm_control_worker, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return vmm_error(ret_error, r, "worker thread: %s", strerror(r));
	c->worker_made = true;
	return 0;
}

/* For a verb: refuses if something runs, else starts the job; the worker replies.  Takes over
 * job->fd. */
static void job_request(struct vmm_control *c, struct cl_ctl_request req, const struct job *job)
{
	enum job_kind running = job_running(c);

	if (running != JOB_NONE) {
		if (job->fd >= 0)
			close(job->fd);
		cl_ctl_reply_error(c->server, req, EBUSY, "VM %s: %s is under way",
				   c->vm->config->name, job_name(running));
		return;
	}
	job_join(c);
	c->job = *job;
	c->job.has_req = true;
	c->job.req = req;
	job_start(c);
}

/* Its writes wait for room, so it can neither be paused nor copied to the end. */
static bool refuse_no_space(struct vmm_control *c, struct cl_ctl_request req, const char *verb)
{
	char text[400];

	if (!vmm_no_space(c->vm, text, sizeof(text)))
		return false;
	cl_ctl_reply_error(c->server, req, ENOSPC,
			   "VM %s is paused: %s; %s is allowed when there is room",
			   c->vm->config->name, text, verb);
	return true;
}

static void refuse_state(struct vmm_control *c, struct cl_ctl_request req, const char *verb,
			 const char *allowed)
{
	cl_ctl_reply_error(c->server, req, EINVAL, "VM %s is %s; %s is allowed when it is %s",
			   c->vm->config->name, vmm_state_name(vmm_state_get(c->vm)), verb,
			   allowed);
}

static void do_resume(struct vmm_control *c, struct cl_ctl_request req, const json_t *msg)
{
	const json_t *gen = json_object_get(msg, "generation");
	enum vmm_state state = vmm_state_get(c->vm);
	struct job job = { .kind = JOB_RESUME, .fd = -1 };

	if (gen && (!json_is_integer(gen) || json_integer_value(gen) <= 0)) {
		cl_ctl_reply_error(c->server, req, EINVAL, "generation must be a positive number");
		return;
	}
	job.has_generation = gen != NULL;
	job.generation = gen ? (uint64_t)json_integer_value(gen) : 0;
	if (state == VMM_RUNNING && !gen) {
		vmm_space_retry(c->vm);
		cl_ctl_reply(c->server, req, NULL);
		return;
	}
	if (state != VMM_PAUSED && state != VMM_READY && state != VMM_SAVED) {
		refuse_state(c, req, "resume", "paused, ready or saved");
		return;
	}
	/* What it ran with elsewhere, whatever the configuration here says. */
	if (state == VMM_READY && (!gen || job.generation <= c->received.generation)) {
		cl_ctl_reply_error(
			c->server, req, ESTALE,
			"VM %s came with generation %llu; resume needs a higher one, seen %llu",
			c->vm->config->name, (unsigned long long)c->received.generation,
			(unsigned long long)job.generation);
		return;
	}
	if (state == VMM_SAVED && job.generation != c->vm->generation) {
		cl_ctl_reply_error(
			c->server, req, ESTALE,
			"VM %s was saved; resume here needs its own generation %llu, seen %llu",
			c->vm->config->name, (unsigned long long)c->vm->generation,
			(unsigned long long)job.generation);
		return;
	}
	if (state == VMM_PAUSED && gen && job.generation != c->vm->generation) {
		cl_ctl_reply_error(c->server, req, ESTALE, "VM %s has generation %llu, seen %llu",
				   c->vm->config->name, (unsigned long long)c->vm->generation,
				   (unsigned long long)job.generation);
		return;
	}
	job_request(c, req, &job);
}

/* An empty regular file that may be written. */
static bool is_new_file(int fd)
{
	struct stat st;
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & (O_APPEND | O_PATH)) &&
	       fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

/* A connected Unix stream.  Not one of TCP: with that it could be left and another address be
 * connected to. */
static bool is_stream(int fd)
{
	struct sockaddr_storage to;
	socklen_t len = sizeof(int), to_len = sizeof(to);
	int domain = 0, type = 0;

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && domain == AF_UNIX &&
	       type == SOCK_STREAM && getpeername(fd, (struct sockaddr *)&to, &to_len) == 0;
}

static void do_save(struct vmm_control *c, struct cl_ctl_request req)
{
	CL_CLEANUP_CLOSE int fd = cl_ctl_fd_take(c->server, req);
	enum vmm_state state = vmm_state_get(c->vm);
	struct job job = { .kind = JOB_SAVE };

	if (!is_new_file(fd)) {
		cl_ctl_reply_error(
			c->server, req, EINVAL,
			"save needs a descriptor with it: of an empty file, open for writing");
		return;
	}
	if (state != VMM_RUNNING && state != VMM_PAUSED) {
		refuse_state(c, req, "save", "running or paused");
		return;
	}
	if (refuse_no_space(c, req, "save"))
		return;
	job.fd = cl_steal_fd(&fd);
	job_request(c, req, &job);
}

/* The stream on which an incoming VM comes. */
static void do_receive(struct vmm_control *c, struct cl_ctl_request req, const json_t *msg)
{
	CL_CLEANUP_CLOSE int fd = cl_ctl_fd_take(c->server, req);
	const char *peer = json_string_value(json_object_get(msg, "peer"));
	bool had;

	if (!is_stream(fd) || !peer || !cl_name_valid(peer)) {
		cl_ctl_reply_error(c->server, req, EINVAL,
				   "receive needs \"peer\" (node name) and a descriptor with it: "
				   "of a connected Unix stream");
		return;
	}
	if (vmm_state_get(c->vm) != VMM_INCOMING) {
		refuse_state(c, req, "receive", "incoming");
		return;
	}
	pthread_mutex_lock(&c->lock);
	had = c->incoming_had;
	if (!had) {
		snprintf(c->peer, sizeof(c->peer), "%s", peer);
		c->incoming_fd = cl_steal_fd(&fd);
		c->incoming_had = true;
		pthread_cond_broadcast(&c->told);
	}
	pthread_mutex_unlock(&c->lock);
	if (had)
		cl_ctl_reply_error(c->server, req, EBUSY, "VM %s comes from node %s already",
				   c->vm->config->name, c->peer);
	else
		cl_ctl_reply(c->server, req, NULL);
}

static bool number(const json_t *msg, const char *key, uint64_t max, uint64_t *ret)
{
	const json_t *v = json_object_get(msg, key);

	if (!v)
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static void do_migrate(struct vmm_control *c, struct cl_ctl_request req, const json_t *msg)
{
	CL_CLEANUP_CLOSE int fd = cl_ctl_fd_take(c->server, req);
	const char *peer = json_string_value(json_object_get(msg, "peer"));
	const char *stall = json_string_value(json_object_get(msg, "on_stall"));
	const json_t *throttle = json_object_get(msg, "throttle");
	uint64_t downtime_ms = c->vm->config->downtime_ms, bandwidth = 0, rounds = 0;
	struct job job = { .kind = JOB_MIGRATE };

	if (!is_stream(fd) || !peer || !cl_name_valid(peer) ||
	    !number(msg, "downtime_ms", 3600000, &downtime_ms) ||
	    !number(msg, "bandwidth_bps", UINT64_MAX / 2, &bandwidth) ||
	    !number(msg, "rounds", 1000, &rounds) ||
	    (stall && strcmp(stall, "fail") && strcmp(stall, "switch")) ||
	    (throttle && !json_is_boolean(throttle))) {
		cl_ctl_reply_error(
			c->server, req, EINVAL,
			"migrate needs \"peer\" (node name) and a descriptor with it: of a "
			"connected Unix stream; \"downtime_ms\", \"bandwidth_bps\", \"rounds\" are "
			"numbers, \"on_stall\" is fail or switch, \"throttle\" true or false");
		return;
	}
	if (vmm_state_get(c->vm) != VMM_RUNNING) {
		refuse_state(c, req, "migrate", "running");
		return;
	}
	if (refuse_no_space(c, req, "migrate"))
		return;
	snprintf(job.peer, sizeof(job.peer), "%s", peer);
	job.fd = cl_steal_fd(&fd);
	job.send = (struct vmm_send_params){
		.downtime_us = downtime_ms * 1000,
		.bandwidth_bps = bandwidth,
		.rounds_max = (uint32_t)rounds,
		.switch_anyway = stall && strcmp(stall, "switch") == 0,
		.no_throttle = json_is_false(throttle),
		.verify = json_is_true(json_object_get(msg, "verify")),
	};
	job_request(c, req, &job);
}

/* Wakes who reads or writes the link.  lock held. */
static void link_shutdown(struct vmm_control *c)
{
	if (c->link_fd >= 0)
		(void)shutdown(c->link_fd, SHUT_RDWR);
}

static void do_cancel(struct vmm_control *c, struct cl_ctl_request req)
{
	bool ok = false, any;

	pthread_mutex_lock(&c->lock);
	any = c->running == JOB_MIGRATE;
	if (any && c->phase < MOVE_SWITCHING) {
		ok = true;
		atomic_store(&c->cancel, true);
		link_shutdown(c);
	}
	pthread_mutex_unlock(&c->lock);
	if (ok)
		cl_ctl_reply(c->server, req, NULL);
	else if (any)
		cl_ctl_reply_error(
			c->server, req, EBUSY,
			"VM %s is at its switch-over, too late to cancel; migrate-finish decides",
			c->vm->config->name);
	else
		cl_ctl_reply_error(c->server, req, ENOENT, "VM %s does not migrate",
				   c->vm->config->name);
}

static void do_finish(struct vmm_control *c, struct cl_ctl_request req, const json_t *msg)
{
	const char *text = json_string_value(json_object_get(msg, "outcome"));
	enum job_outcome outcome = !text			    ? OUTCOME_NONE
				   : strcmp(text, "committed") == 0 ? OUTCOME_COMMITTED
				   : strcmp(text, "aborted") == 0   ? OUTCOME_ABORTED
								    : OUTCOME_NONE;
	enum vmm_state state = vmm_state_get(c->vm);

	if (outcome == OUTCOME_NONE) {
		cl_ctl_reply_error(c->server, req, EINVAL,
				   "migrate-finish needs \"outcome\": committed or aborted");
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (c->running == JOB_MIGRATE && (c->phase == MOVE_SWITCHED || c->phase == MOVE_READY) &&
	    c->outcome == OUTCOME_NONE) {
		c->outcome = outcome;
		c->has_finish_req = true;
		c->finish_req = req;
		link_shutdown(c);
		pthread_cond_broadcast(&c->told);
		pthread_mutex_unlock(&c->lock);
		return;
	}
	pthread_mutex_unlock(&c->lock);
	/* It never switched, or it heard this before: it runs here. */
	if (outcome == OUTCOME_ABORTED && (state == VMM_RUNNING || state == VMM_PAUSED))
		cl_ctl_reply(c->server, req, NULL);
	else
		refuse_state(c, req, "migrate-finish", "switched");
}

static void on_request(void *arg, struct cl_ctl_request req, const char *verb, const json_t *msg,
		       uid_t uid, pid_t pid)
{
	struct vmm_control *c = arg;
	enum vmm_state state = vmm_state_get(c->vm);

	if (strcmp(verb, "status") == 0) {
		cl_ctl_reply(c->server, req, status_json(c));
	} else if (strcmp(verb, "events") == 0) {
		cl_ctl_reply(c->server, req, NULL);
	} else if (strcmp(verb, "pause") == 0) {
		if (state == VMM_PAUSED)
			cl_ctl_reply(c->server, req, NULL);
		else if (state != VMM_RUNNING)
			refuse_state(c, req, "pause", "running");
		else if (!refuse_no_space(c, req, "pause"))
			job_request(c, req, &(struct job){ .kind = JOB_PAUSE, .fd = -1 });
	} else if (strcmp(verb, "resume") == 0) {
		do_resume(c, req, msg);
	} else if (strcmp(verb, "save") == 0) {
		do_save(c, req);
	} else if (strcmp(verb, "migrate") == 0) {
		do_migrate(c, req, msg);
	} else if (strcmp(verb, "receive") == 0) {
		do_receive(c, req, msg);
	} else if (strcmp(verb, "migrate-cancel") == 0) {
		do_cancel(c, req);
	} else if (strcmp(verb, "migrate-finish") == 0) {
		do_finish(c, req, msg);
	} else if (strcmp(verb, "shutdown") == 0) {
		if (state != VMM_RUNNING && state != VMM_MIGRATING && state != VMM_SAVING) {
			refuse_state(c, req, "shutdown", "running");
			return;
		}
		vmm_power_button(c->vm);
		cl_ctl_reply(c->server, req, NULL);
	} else if (strcmp(verb, "quit") == 0) {
		cl_notice("VM %s: told to quit", c->vm->config->name);
		cl_ctl_reply(c->server, req, NULL);
		vmm_stop(c->vm, VMM_EXIT_QUIT);
	} else {
		cl_ctl_reply_error(
			c->server, req, EOPNOTSUPP,
			"unknown verb \"%.40s\"; known: status pause resume save migrate receive "
			"migrate-cancel migrate-finish shutdown quit events",
			verb);
	}
}

int vmm_control_new(const struct vmm_control_params *params, struct vmm_control **ret_control,
		    char **ret_error)
{
	const struct vmm_config *config = params->vm->config;
	struct vmm_control *c = calloc(1, sizeof(*c));
	CL_CLEANUP_CLOSE int socket_fd = -1;
	struct stat st;
	int r;

	if (!c)
		return -ENOMEM;
	c->vm = params->vm;
	c->signal_fd = params->signal_fd;
	c->restore_fd = c->job_fd = c->announce_fd = c->link_fd = c->incoming_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->told, NULL);
	pthread_cond_init(&c->worker_turn, NULL);
	c->first = params->restore_path ? JOB_RESTORE : params->incoming ? JOB_INCOMING : JOB_START;
	r = vmm_migrant_new(params->vm, "", &c->migrant, ret_error);
	if (r)
		goto fail;
	if (c->first == JOB_RESTORE) {
		snprintf(c->restore_path, sizeof(c->restore_path), "%s", params->restore_path);
		c->restore_fd = open(params->restore_path,
				     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		r = c->restore_fd < 0 || fstat(c->restore_fd, &st) < 0 ? -errno
		    : !S_ISREG(st.st_mode)			       ? -EINVAL
								       : 0;
		if (r &&
		    asprintf(ret_error, "saved VM %s: %s", params->restore_path, strerror(-r)) < 0)
			*ret_error = NULL;
		if (r)
			goto fail;
	}
	c->job_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->announce_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->job_fd < 0 || c->announce_fd < 0) {
		r = -errno;
		goto fail;
	}
	socket_fd = vmm_rundir_socket(c->vm->run_dir, "control.sock");
	r = socket_fd < 0 ? socket_fd
			  : cl_ctl_server_listening(socket_fd, on_request, c, &c->server);
	if (r) {
		if (asprintf(ret_error, "control socket %s/control.sock: %s", config->run_dir,
			     strerror(-r)) < 0)
			*ret_error = NULL;
		goto fail;
	}
	(void)cl_steal_fd(&socket_fd);
	c->vm->on_state_arg = c;
	c->vm->on_state = on_state;
	c->vm->on_frozen = on_frozen;
	*ret_control = c;
	return 0;
fail:
	if (!*ret_error)
		*ret_error = strdup(strerror(-r));
	vmm_control_free(c);
	return r;
}

/* Rounds of the announcement at 50, 150, 350, 650 and 1050 ms after the start. */
static void announce_arm(struct vmm_control *c, unsigned ms)
{
	struct itimerspec t = { .it_value = { .tv_sec = ms / 1000,
					      .tv_nsec = ms % 1000 * 1000000l } };

	(void)timerfd_settime(c->announce_fd, 0, &t, NULL);
}

static void announce(struct vmm_control *c)
{
	uint64_t n;

	if (read(c->announce_fd, &n, sizeof(n)) < 0 || !c->announce_left)
		return;
	vmm_net_announce(c->vm);
	if (--c->announce_left)
		announce_arm(c, (ANNOUNCE_ROUNDS - c->announce_left) * ANNOUNCE_STEP_MS);
}

static void job_done(struct vmm_control *c)
{
	bool announce_now;
	uint64_t n;

	if (read(c->job_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&c->lock);
	announce_now = c->must_announce;
	c->must_announce = false;
	pthread_mutex_unlock(&c->lock);
	if (announce_now) {
		vmm_net_announce(c->vm);
		c->announce_left = ANNOUNCE_ROUNDS - 1;
		announce_arm(c, ANNOUNCE_FIRST_MS);
	}
}

/* Wakes a worker from whatever it waits for; if a disk holds it, the process ends all the same. */
static void worker_end(struct vmm_control *c, int code)
{
	struct pollfd p = { .fd = c->job_fd, .events = POLLIN };
	uint64_t one;

	if (!c->worker_made)
		return;
	pthread_mutex_lock(&c->lock);
	if (c->outcome == OUTCOME_NONE)
		c->outcome = OUTCOME_QUIT;
	atomic_store(&c->cancel, true);
	link_shutdown(c);
	pthread_cond_broadcast(&c->told);
	pthread_mutex_unlock(&c->lock);
	for (int s = 0; s < WORKER_END_WAIT_S && job_running(c) != JOB_NONE; s++)
		if (poll(&p, 1, 1000) > 0 && read(c->job_fd, &one, sizeof(one)) < 0)
			cl_debug("eventfd: %s", strerror(errno));
	if (job_running(c) != JOB_NONE) {
		cl_warning("VM %s: a disk or peer holds %s; ending without it", c->vm->config->name,
			   job_name(job_running(c)));
		_exit(code ? code : 1);
	}
	pthread_mutex_lock(&c->lock);
	c->worker_end = true;
	pthread_cond_broadcast(&c->worker_turn);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->worker, NULL);
	c->worker_made = false;
}

int vmm_control_run(struct vmm_control *c)
{
	struct pollfd p[6] = { { .fd = cl_ctl_server_fd(c->server), .events = POLLIN },
			       { .fd = c->vm->exit_fd, .events = POLLIN },
			       { .fd = c->job_fd, .events = POLLIN },
			       { .fd = c->announce_fd, .events = POLLIN },
			       { .fd = c->signal_fd, .events = POLLIN },
			       { .fd = vmm_faults_fd(c->vm), .events = POLLIN } };
	enum vmm_exit_reason reason;
	int code;

	c->job = (struct job){ .kind = c->first, .fd = -1 };
	job_start(c);
	for (;;) {
		if (poll(p, CL_ARRAY_LEN(p), -1) < 0 && errno != EINTR) {
			cl_error("poll: %s", strerror(errno));
			vmm_stop(c->vm, VMM_EXIT_ERROR);
		}
		if (p[0].revents)
			cl_ctl_server_service(c->server);
		if (p[2].revents)
			job_done(c);
		if (p[3].revents)
			announce(c);
		if (p[5].revents)
			vmm_faults_take(c->vm, on_fault, c);
		if (p[4].revents) {
			p[4].fd = -1;
			vmm_stop(c->vm, VMM_EXIT_QUIT);
			break;
		}
		if (p[1].revents)
			break;
	}
	pthread_mutex_lock(&c->vm->run_lock);
	reason = c->vm->exit_reason;
	pthread_mutex_unlock(&c->vm->run_lock);
	code = reason == VMM_EXIT_FENCED ? 2 : reason == VMM_EXIT_ERROR || c->failed ? 1 : 0;
	worker_end(c, code);
	vmm_state_set(c->vm, VMM_STOPPED, vmm_exit_reason_name(reason));
	cl_ctl_event(c->server, json_pack("{s:s, s:s}", "event", "exit", "reason",
					  vmm_exit_reason_name(reason)));
	cl_notice("VM %s: ends (%s)", c->vm->config->name, vmm_exit_reason_name(reason));
	return code;
}

void vmm_control_free(struct vmm_control *c)
{
	if (!c)
		return;
	vmm_guard_stop(c->vm->guard);
	c->vm->on_state = NULL;
	c->vm->on_frozen = NULL;
	cl_ctl_server_free(c->server);
	vmm_migrant_free(c->migrant);
	for (int *fd = (int[]){ c->restore_fd, c->incoming_fd, c->job_fd, c->announce_fd, -2 };
	     *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	free(c->error);
	pthread_cond_destroy(&c->told);
	pthread_cond_destroy(&c->worker_turn);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening to vmms; see monitor_vmm.h. */
#include "clusterd/monitor_vmm.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/daemon.h"
#include "clusterd/paths_linux.h"
#include "clusterd/vmproc_linux.h"
#include "common/cl_ctl.h"
#include "common/cl_log.h"

#define EVENT_MS   5000
#define CONNECT_MS 200
#define ENDING_MS  10000
#define ENDED	   "the vmm ended: " /* it said so itself */

/* On the loop's list; the thread has a copy of the name and a pointer that outlives it. */
struct cd_vm_monitor {
	struct cd_vm_monitor *next;
	struct cd *cd;
	char vm[CL_NAME_MAX];
	uint64_t generation;
	bool expected;
	bool unwatched;     /* there was no thread for it: nobody would see its end */
	char frozen[96];   /* by its lease: in words; "": it is not */
	char stalled[128]; /* for want of space, as it was told */
};

struct monitor_notice {
	struct cd_vm_monitor *monitor;
	bool ended;
	enum core_exit exit; /* 0: it said that it was told to */
	bool lease, frozen;
	bool trouble, over; /* text says what */
	bool space;	    /* ... of space, not an I/O error */
	char state[32], text[192];
	char words[CORE_CAUSE_MAX]; /* an end's cause, of the vmm's own log; may be "" */
};

/* Here at once, and in the log for everybody; once for each beginning and end. */
static void trouble_run(struct cd_vm_monitor *m, const struct monitor_notice *notice)
{
	enum core_trouble what = !notice->space ? CORE_TROUBLE_IO_ERROR
				 : notice->over ? CORE_TROUBLE_OVER
						: CORE_TROUBLE_NO_SPACE;

	if (notice->space && notice->over == !m->stalled[0])
		return;
	if (notice->space)
		snprintf(m->stalled, sizeof(m->stalled), "%.127s",
			 notice->over ? "" : notice->text);
	cl_warning("VM %s: %s%s", m->vm, what == CORE_TROUBLE_NO_SPACE ? "paused: " : "",
		   notice->text);
	replica_vm_trouble(m->cd->replica, cd_now_ms(), m->vm, m->generation, what, notice->text);
	cd_drive_settle(m->cd);
}

static void notice_run(void *arg)
{
	struct monitor_notice *notice = arg;
	struct cd_vm_monitor *m = notice->monitor;
	struct cd *cd = m->cd;

	if (notice->lease) {
		bool was = m->frozen[0] != '\0';

		snprintf(m->frozen, sizeof(m->frozen), "%.95s", notice->frozen ? notice->text : "");
		if (was != notice->frozen)
			cd_drive_note(cd, "local", m->vm, was ? "frozen" : "thawed",
				      was ? "thawed" : "frozen", notice->text);
		free(notice);
		return;
	}
	if (notice->trouble) {
		trouble_run(m, notice);
		free(notice);
		return;
	}
	if (!notice->ended) {
		cl_info("VM %s: %s %s", m->vm, notice->state, notice->text);
		free(notice);
		return;
	}
	for (struct cd_vm_monitor **p = &cd->monitors; *p; p = &(*p)->next)
		if (*p == m) {
			*p = m->next;
			break;
		}
	if (cd_vmproc_look(m->vm) != 0) {
		/* A new copy was started meanwhile; or that cannot be told now. */
		cd_monitor_add(cd, m->vm, m->generation);
	} else if (!m->expected && notice->exit) {
		cd_drive_note(cd, "local", m->vm, "running", "ended", notice->text);
		replica_vm_exit(cd->replica, cd_now_ms(), m->vm, m->generation, notice->exit,
				notice->words);
		cd_drive_settle(cd);
	}
	free(m);
	free(notice);
}

static enum core_exit exit_of(const char *reason)
{
	if (strcmp(reason, "guest-shutdown") == 0)
		return CORE_EXIT_SHUTDOWN;
	if (strcmp(reason, "guest-reset") == 0)
		return CORE_EXIT_RESET;
	if (strcmp(reason, "fenced") == 0)
		return CORE_EXIT_FENCED;
	return strcmp(reason, "quit") == 0 ? 0 : CORE_EXIT_ERROR;
}

static void lease_post(struct cd_vm_monitor *m, bool frozen, const char *text)
{
	struct monitor_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		abort();
	notice->monitor = m;
	notice->lease = true;
	notice->frozen = frozen;
	snprintf(notice->text, sizeof(notice->text), "%s", text);
	cd_post_call(m->cd->post, notice_run, notice);
}

static void trouble_post(struct cd_vm_monitor *m, bool space, bool over, const char *text)
{
	struct monitor_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		abort();
	notice->monitor = m;
	notice->trouble = true;
	notice->space = space;
	notice->over = over;
	snprintf(notice->text, sizeof(notice->text), "%s", text);
	cd_post_call(m->cd->post, notice_run, notice);
}

/* What a clusterd before us was told, and we were not. */
static void status_take(struct cd_vm_monitor *m, struct cl_ctl_client *client)
{
	json_t *status = NULL;
	char *error = NULL;

	if (cl_ctl_client_call(client, "status", NULL, EVENT_MS, &status, &error) == 0) {
		const char *stalled = json_string_value(json_object_get(status, "stalled"));

		if (json_is_true(json_object_get(status, "frozen")))
			lease_post(m, true, "frozen: the node's lease is over");
		trouble_post(m, true, !stalled, stalled ? stalled : "");
	}
	json_decref(status);
	free(error);
}

static void event_take(struct cd_vm_monitor *m, json_t *event, struct monitor_notice *end)
{
	const char *name = json_string_value(json_object_get(event, "event"));
	const char *reason = json_string_value(json_object_get(event, "reason"));
	const char *state = json_string_value(json_object_get(event, "state"));

	if (name && strcmp(name, "exit") == 0) {
		end->exit = exit_of(reason ? reason : "");
		snprintf(end->text, sizeof(end->text), ENDED "%.150s",
			 reason ? reason : "no reason given");
	} else if (name && strcmp(name, "lease") == 0) {
		lease_post(m, json_is_true(json_object_get(event, "frozen")), reason ? reason : "");
	} else if (name && strcmp(name, "space") == 0) {
		trouble_post(m, true, !json_is_true(json_object_get(event, "paused")),
			     reason ? reason : "");
	} else if (name && strcmp(name, "disk-error") == 0) {
		trouble_post(m, false, false, reason ? reason : "");
	} else if (name && strcmp(name, "state") == 0) {
		struct monitor_notice *notice = calloc(1, sizeof(*notice));

		if (!notice)
			abort();
		notice->monitor = m;
		snprintf(notice->state, sizeof(notice->state), "%s", state ? state : "");
		snprintf(notice->text, sizeof(notice->text), "%s", reason ? reason : "");
		cd_post_call(m->cd->post, notice_run, notice);
	}
}

/* Why, of an end that the guest did not ask for. */
static void end_words(struct cd_vm_monitor *m, struct monitor_notice *end)
{
	bool told = strncmp(end->text, ENDED, strlen(ENDED)) == 0;
	char was[sizeof(end->text)];

	if ((end->exit != CORE_EXIT_ERROR && end->exit != CORE_EXIT_FENCED) ||
	    !cd_vmproc_words(m->vm, told ? CD_WORDS_LAST_ERROR : CD_WORDS_LAST_LINE, end->words,
			     sizeof(end->words)))
		return;
	snprintf(was, sizeof(was), "%s", end->text);
	snprintf(end->text, sizeof(end->text), "%.40s: %s", was, end->words);
}

static void *monitor_thread(void *arg)
{
	struct cd_vm_monitor *m = arg;
	struct monitor_notice *end = calloc(1, sizeof(*end));
	char path[CD_PATH_MAX];

	if (!end)
		abort();
	end->monitor = m;
	end->ended = true;
	end->exit = CORE_EXIT_ERROR;
	snprintf(end->text, sizeof(end->text), "the vmm died");
	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/%s/control.sock", m->vm);
	/* Until the process is gone: a connection that breaks alone says nothing. */
	do {
		struct cl_ctl_client *client;
		json_t *event;

		if (cl_ctl_client_connect(path, &client) < 0) {
			poll(NULL, 0, CONNECT_MS);
			continue;
		}
		end->exit = CORE_EXIT_ERROR;
		status_take(m, client);
		while ((event = cl_ctl_client_event(client, EVENT_MS)) || errno == ETIMEDOUT) {
			if (event)
				event_take(m, event, end);
			json_decref(event);
			errno = 0;
		}
		cl_ctl_client_free(client);
		/* It closes its socket before it ends. */
		if (end->exit != CORE_EXIT_ERROR)
			cd_vmproc_wait(m->vm, ENDING_MS);
	} while (cd_vmproc_look(m->vm) != 0);
	end_words(m, end);
	cd_post_call(m->cd->post, notice_run, end);
	return NULL;
}

static struct cd_vm_monitor *monitor_find(struct cd *cd, const char *vm)
{
	struct cd_vm_monitor *m = cd->monitors;

	while (m && strcmp(m->vm, vm) != 0)
		m = m->next;
	return m;
}

static void monitor_start(struct cd_vm_monitor *m)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	bool was = m->unwatched;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	m->unwatched = pthread_create(&thread, &attr, monitor_thread, m) != 0;
	if (m->unwatched && !was)
		cl_error("VM %s cannot be watched: no thread; tried again", m->vm);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void cd_monitor_add(struct cd *cd, const char *vm, uint64_t generation)
{
	struct cd_vm_monitor *m = monitor_find(cd, vm);

	if (m) {
		m->generation = generation;
		m->expected = false;
		return;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		abort();
	m->cd = cd;
	m->generation = generation;
	snprintf(m->vm, sizeof(m->vm), "%s", vm);
	m->next = cd->monitors;
	cd->monitors = m;
	monitor_start(m);
}

void cd_monitor_retry(struct cd *cd)
{
	for (struct cd_vm_monitor *m = cd->monitors; m; m = m->next)
		if (m->unwatched)
			monitor_start(m);
}

void cd_monitor_expect_exit(struct cd *cd, const char *vm)
{
	struct cd_vm_monitor *m = monitor_find(cd, vm);

	if (m)
		m->expected = true;
}

const char *cd_monitor_frozen(struct cd *cd, const char *vm)
{
	struct cd_vm_monitor *m = monitor_find(cd, vm);

	return m && m->frozen[0] ? m->frozen : NULL;
}

const char *cd_monitor_stalled(struct cd *cd, const char *vm)
{
	struct cd_vm_monitor *m = monitor_find(cd, vm);

	return m && m->stalled[0] ? m->stalled : NULL;
}

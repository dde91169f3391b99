/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Talking with clusterd: requests, jobs, progress, errors. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clusterd/ctl/ctl.h"
#include "clusterd/ipc_qb.h"
#include "common/cl_cleanup.h"

#define JOB_SLICE_MS 1000

long ctl_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

const char *ctl_text(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

int ctl_json(json_t *json)
{
	int rc = json_dumpf(json, stdout, JSON_INDENT(2));

	json_decref(json);
	putchar('\n');
	return rc < 0 || fflush(stdout) ? CTL_FAILED : CTL_OK;
}

int ctl_error(const struct ctl *ctl, int code, const char *name, const char *format, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	ctl_progress_end(ctl);
	if (ctl->json)
		ctl_json(json_pack("{s:b s:s s:s}", "ok", 0, "code", name, "error", text));
	else
		fprintf(stderr, "clusterctl: %s\n", text);
	return code;
}

void ctl_progress(const struct ctl *ctl, const char *format, ...)
{
	va_list ap;

	if (!ctl->tty || ctl->json)
		return;
	va_start(ap, format);
	fputs("\r\033[K", stderr);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fflush(stderr);
}

void ctl_progress_end(const struct ctl *ctl)
{
	if (ctl->tty && !ctl->json)
		fputs("\r\033[K", stderr);
}

static int code_of(const char *name)
{
	if (strcmp(name, "ENOLINK") == 0)
		return CTL_NO_QUORUM;
	if (strcmp(name, "ENOTCONN") == 0)
		return CTL_NO_CLUSTER;
	if (strcmp(name, "ETIMEDOUT") == 0)
		return CTL_TIMEOUT;
	return CTL_FAILED;
}

static int connect_once(struct ctl *ctl)
{
	int rc = ctl->client ? 0 : cd_ipc_client_connect(NULL, &ctl->client);

	if (rc == -EACCES)
		return ctl_error(ctl, CTL_NO_CLUSTER, "EACCES", "clusterctl must be run as root");
	if (rc < 0)
		return ctl_error(ctl, CTL_NO_CLUSTER, "ENOENT",
				 "clusterd does not run on this node: `service clusterd start`;"
				 " if it ended by itself, its log says why");
	return CTL_OK;
}

int ctl_call(struct ctl *ctl, json_t *request, int timeout_ms, json_t **ret_reply)
{
	json_t *reply = NULL;
	int rc = connect_once(ctl);

	if (rc != CTL_OK) {
		json_decref(request);
		return rc;
	}
	rc = cd_ipc_client_call(ctl->client, request, timeout_ms, &reply);
	json_decref(request);
	if (rc == -ETIMEDOUT)
		return ctl_error(ctl, CTL_TIMEOUT, "ETIMEDOUT", "clusterd gave no answer in %d s",
				 timeout_ms / 1000);
	if (rc < 0) {
		cd_ipc_client_free(ctl->client);
		ctl->client = NULL;
		return ctl_error(ctl, CTL_NO_CLUSTER, "EPIPE",
				 "clusterd on this node stopped before it answered; whether the command"
				 " took effect is not known");
	}
	if (!json_is_true(json_object_get(reply, "ok"))) {
		rc = code_of(ctl_text(reply, "code"));
		ctl_error(ctl, rc, ctl_text(reply, "code"), "%s", ctl_text(reply, "error"));
		json_decref(reply);
		return rc;
	}
	*ret_reply = reply;
	return CTL_OK;
}

/* clusterd may be restarted while we wait: the job goes on, so we come back. */
static int job_poll(struct ctl *ctl, json_int_t job, long end_ms, json_t **ret_reply)
{
	json_t *request = json_pack("{s:s s:I s:i}", "do", "job", "id", job, "wait_ms", JOB_SLICE_MS);
	int rc = 0;

	while (ctl_now_ms() < end_ms) {
		if (!ctl->client && cd_ipc_client_connect(NULL, &ctl->client) < 0) {
			ctl_progress(ctl, "clusterd on this node is away; waiting for it");
			poll(NULL, 0, 500);
			continue;
		}
		rc = cd_ipc_client_call(ctl->client, request, 30000, ret_reply);
		if (rc == 0)
			break;
		cd_ipc_client_free(ctl->client);
		ctl->client = NULL;
		rc = -ETIMEDOUT;
		poll(NULL, 0, 500);
	}
	json_decref(request);
	return rc < 0 || !*ret_reply ? -ETIMEDOUT : 0;
}

static void job_progress(const struct ctl *ctl, const json_t *reply, long since_ms)
{
	const json_t *object = json_object_get(reply, "object"), *job = json_object_get(reply, "job");
	const json_t *migration = json_object_get(object, "migration");
	const char *node = ctl_text(object, "node");

	ctl_progress(ctl, "%s %s: %s%s%s%s%s  %s (%ld s)", ctl_text(job, "command"),
		     ctl_text(job, "name"), ctl_text(object, "state"), node[0] ? " on " : "", node,
		     json_is_object(migration) ? ", " : "", ctl_text(migration, "phase"),
		     ctl_text(object, "reason"), (ctl_now_ms() - since_ms) / 1000);
}

/* Waits for the end of job; shows the outcome. */
static int job_wait(struct ctl *ctl, json_int_t job)
{
	long start = ctl_now_ms(), end = start + ctl->timeout_s * 1000;

	for (;;) {
		json_t *reply = NULL, *j;
		char state[16], text[512];

		if (job_poll(ctl, job, end, &reply) < 0 || ctl_now_ms() >= end) {
			json_decref(reply);
			return ctl_error(ctl, CTL_TIMEOUT, "ETIMEDOUT",
					 "still going on after %ld s; `clusterctl status` shows it",
					 ctl->timeout_s);
		}
		if (!json_is_true(json_object_get(reply, "ok"))) {
			int rc = ctl_error(ctl, CTL_FAILED, ctl_text(reply, "code"), "%s",
					   ctl_text(reply, "error"));

			json_decref(reply);
			return rc;
		}
		j = json_object_get(reply, "job");
		snprintf(state, sizeof(state), "%s", ctl_text(j, "state"));
		snprintf(text, sizeof(text), "%s", ctl_text(j, "text"));
		if (strcmp(state, "running") == 0)
			job_progress(ctl, reply, start);
		json_decref(reply);
		if (strcmp(state, "running") == 0)
			continue;
		ctl_progress_end(ctl);
		if (strcmp(state, "done") != 0)
			return ctl_error(ctl, CTL_FAILED, "EIO", "%s", text);
		if (ctl->json)
			return ctl_json(json_pack("{s:b s:I s:s s:s s:I}", "ok", 1, "job", job,
						  "state", state, "text", text, "ms",
						  (json_int_t)(ctl_now_ms() - start)));
		if (text[0])
			printf("%s\n", text);
		return CTL_OK;
	}
}

int ctl_change(struct ctl *ctl, json_t *request)
{
	json_t *reply = NULL;
	json_int_t job;
	int rc;

	rc = ctl_call(ctl, request, (int)(ctl->timeout_s * 1000), &reply);
	if (rc != CTL_OK)
		return rc;
	job = json_integer_value(json_object_get(reply, "job"));
	if (job && !ctl->no_wait) {
		json_decref(reply);
		return job_wait(ctl, job);
	}
	if (ctl->json)
		return ctl_json(reply);
	if (ctl_text(reply, "text")[0])
		printf("%s\n", ctl_text(reply, "text"));
	json_decref(reply);
	return CTL_OK;
}

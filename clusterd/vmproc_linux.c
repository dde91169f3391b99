/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmm processes of this node; see vmproc_linux.h. */
#include "clusterd/vmproc_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clusterd/exec_linux.h"
#include "clusterd/paths_linux.h"
#include "clusterd/rundir_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_ctl.h"

#define POLL_MS	    20
#define WORDS_BYTES 65536

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* guards gate_closed */
static uint32_t gate_closed;

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

/* The VM's name from "--config RUN/vm/NAME/config.json" in a command line. */
static bool cmdline_name(pid_t pid, char out[CL_NAME_MAX])
{
	char path[64], prefix[CD_PATH_MAX], *text, *p;
	size_t len, n;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (cd_file_read(path, 65536, &text, &len) < 0)
		return false;
	cd_path(prefix, sizeof(prefix), CD_DIR_RUN, "vm/");
	for (p = text; p < text + len && !found; p += strlen(p) + 1) {
		char *name, *end;

		if (strncmp(p, prefix, strlen(prefix)) != 0)
			continue;
		name = p + strlen(prefix);
		end = strchr(name, '/');
		n = end ? (size_t)(end - name) : 0;
		if (!n || n >= CL_NAME_MAX || strcmp(end, "/config.json") != 0)
			continue;
		memcpy(out, name, n);
		out[n] = '\0';
		found = cl_name_valid(out);
	}
	free(text);
	return found;
}

size_t cd_vmproc_list(struct cd_vmproc *out, size_t cap)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t n = 0;

	while (dir && n < cap && (entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 1 || !cd_exec_is(pid, "vmm") || !cmdline_name(pid, out[n].name))
			continue;
		out[n++].pid = pid;
	}
	if (dir)
		closedir(dir);
	return n;
}

pid_t cd_vmproc_find(const char *name)
{
	struct cd_vmproc *list = calloc(CD_VMPROCS_MAX, sizeof(*list));
	size_t n = list ? cd_vmproc_list(list, CD_VMPROCS_MAX) : 0;
	pid_t pid = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			pid = list[i].pid;
	free(list);
	return pid;
}

int cd_vmproc_wait(const char *name, int timeout_ms)
{
	long end = now_ms() + timeout_ms;

	while (cd_vmproc_find(name)) {
		if (now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, POLL_MS);
	}
	return 0;
}

int cd_vmproc_kill(const char *name, int timeout_ms)
{
	long end = now_ms() + timeout_ms;
	pid_t pid;

	while ((pid = cd_vmproc_find(name))) {
		cd_exec_kill(pid, "vmm", SIGKILL);
		if (now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, POLL_MS);
	}
	return 0;
}

int cd_vmproc_call(const char *name, const char *verb, json_t *args, int timeout_ms,
		   json_t **ret_result, char **ret_error)
{
	struct cl_ctl_client *client;
	char path[CD_PATH_MAX];
	int rc;

	*ret_result = NULL;
	*ret_error = NULL;
	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/%s/control.sock", name);
	rc = cl_ctl_client_connect(path, &client);
	if (rc < 0) {
		json_decref(args);
		return -ENOENT;
	}
	rc = cl_ctl_client_call(client, verb, args, timeout_ms, ret_result, ret_error);
	cl_ctl_client_free(client);
	return rc;
}

int cd_vmproc_status(const char *name, int timeout_ms, struct cd_vm_status *ret_status)
{
	json_t *result;
	char *error;
	const char *state;
	int rc = cd_vmproc_call(name, "status", NULL, timeout_ms, &result, &error);

	free(error);
	if (rc < 0)
		return rc;
	state = json_string_value(json_object_get(result, "state"));
	snprintf(ret_status->state, sizeof(ret_status->state), "%s", state ? state : "");
	ret_status->generation =
		(uint64_t)json_integer_value(json_object_get(result, "generation"));
	json_decref(result);
	return state ? 0 : -EBADMSG;
}

bool cd_vmproc_words(const char *name, enum cd_words which, char *out, size_t cap_bytes)
{
	char *buf = calloc(1, WORDS_BYTES + 1);
	CL_CLEANUP_CLOSE int fd = cd_rundir_open(name, "vmm.log");
	bool found = false;
	char *line = buf;
	ssize_t n;

	if (fd >= 0 && buf) {
		/* From the middle of a line on, where only its end is wanted. */
		bool cut = which != CD_WORDS_FIRST_ERROR &&
			   lseek(fd, -(off_t)WORDS_BYTES, SEEK_END) > 0;

		n = read(fd, buf, WORDS_BYTES);
		buf[n > 0 ? n : 0] = '\0';
		if (cut && (line = strchr(buf, '\n')) == NULL)
			line = buf;
		found = cd_log_words(line, which, out, cap_bytes);
	}
	free(buf);
	if (!found && cap_bytes)
		out[0] = '\0';
	return found;
}

bool cd_vmproc_gate_enter(uint32_t incarnation)
{
	pthread_mutex_lock(&gate);
	if (incarnation > gate_closed)
		return true;
	pthread_mutex_unlock(&gate);
	return false;
}

void cd_vmproc_gate_leave(void)
{
	pthread_mutex_unlock(&gate);
}

void cd_vmproc_gate_open(uint32_t incarnation)
{
	pthread_mutex_lock(&gate);
	if (incarnation && gate_closed >= incarnation)
		gate_closed = incarnation - 1;
	pthread_mutex_unlock(&gate);
}

void cd_vmproc_gate_close(uint32_t incarnation)
{
	pthread_mutex_lock(&gate);
	if (incarnation > gate_closed)
		gate_closed = incarnation;
	pthread_mutex_unlock(&gate);
}

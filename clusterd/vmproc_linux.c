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
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "clusterd/presence_linux.h"
#include "clusterd/rundir_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_ctl.h"

#define POLL_MS	    20
#define WORDS_BYTES 65536
#define CMDLINE_MAX 65536u

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* guards gate_closed */
static uint32_t gate_closed;

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

/* ---- vmms of a clusterd that knew no locks --------------------------------------------------- */

/* The VM's name where the command line is PROGRAM --config RUN/vm/NAME/config.json ... */
static bool cmdline_name(const char *text, size_t len, char out[CL_NAME_MAX])
{
	char prefix[CD_PATH_MAX];
	const char *option, *path, *end;
	size_t n;

	option = memchr(text, '\0', len);
	path = option ? memchr(option + 1, '\0', len - (size_t)(option + 1 - text)) : NULL;
	if (!path || strcmp(option + 1, "--config") != 0)
		return false;
	path++; /* text ends with a NUL of ours */
	cd_path(prefix, sizeof(prefix), CD_DIR_RUN, "vm/");
	if (strncmp(path, prefix, strlen(prefix)) != 0)
		return false;
	path += strlen(prefix);
	end = strchr(path, '/');
	n = end ? (size_t)(end - path) : 0;
	if (!n || n >= CL_NAME_MAX || strcmp(end, "/config.json") != 0)
		return false;
	memcpy(out, path, n);
	out[n] = '\0';
	return cl_name_valid(out);
}

/* 1: it is a vmm's, 0: it is none or is gone, -errno. */
static int process_name(pid_t pid, char out[CL_NAME_MAX])
{
	CL_CLEANUP_FREE char *text = NULL;
	char path[64];
	size_t len;
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	rc = cd_file_read(path, CMDLINE_MAX, &text, &len);
	if (rc == -ENOENT || rc == -ESRCH || rc == -EFBIG)
		return 0;
	return rc < 0 ? rc : cmdline_name(text, len, out);
}

/* For each process that is a vmm's: fn, which ends it by anything but 0. */
static int processes_each(int (*fn)(void *arg, pid_t pid, const char *name), void *arg)
{
	char name[CL_NAME_MAX];
	struct dirent *entry;
	int rc = 0;
	DIR *dir = opendir("/proc");

	if (!dir)
		return -errno;
	while (rc == 0 && (errno = 0, entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 1)
			continue;
		rc = process_name(pid, name);
		if (rc > 0)
			rc = fn(arg, pid, name);
		errno = 0;
	}
	if (rc == 0 && errno)
		rc = -errno;
	closedir(dir);
	return rc;
}

static int name_is(void *arg, pid_t pid, const char *name)
{
	return strcmp(arg, name) == 0;
}

static int name_kill(void *arg, pid_t pid, const char *name)
{
	CL_CLEANUP_CLOSE int fd = -1;
	char now[CL_NAME_MAX];

	if (strcmp(arg, name) != 0)
		return 0;
	fd = (int)syscall(SYS_pidfd_open, pid, 0u);
	if (fd < 0)
		return errno == ESRCH ? 0 : -errno;
	/* Still the same: the number was not given to another meanwhile. */
	if (process_name(pid, now) == 1 && strcmp(now, name) == 0 &&
	    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0u) < 0 && errno != ESRCH)
		return -errno;
	return 0;
}

/* ---- both ways ------------------------------------------------------------------------------ */

int cd_vmproc_look(const char *name)
{
	int here = cd_presence_look(name), old;

	if (here > 0)
		return 1;
	old = processes_each(name_is, (void *)name);
	if (old > 0)
		return 1;
	return here < 0 ? here : old;
}

struct list {
	struct cd_vmproc *out;
	size_t cap, n;
};

static int list_add(void *arg, const char *name)
{
	struct list *list = arg;

	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->out[i].name, name) == 0)
			return 0;
	if (list->n == list->cap)
		return -EOVERFLOW;
	snprintf(list->out[list->n++].name, CL_NAME_MAX, "%s", name);
	return 0;
}

static int list_add_process(void *arg, pid_t pid, const char *name)
{
	return list_add(arg, name);
}

int cd_vmproc_list(struct cd_vmproc *out, size_t cap, size_t *ret_n)
{
	struct list list = { out, cap, 0 };
	int rc = cd_presence_each(list_add, &list);

	if (rc == 0)
		rc = processes_each(list_add_process, &list);
	*ret_n = list.n;
	return rc;
}

static void kill_once(const char *name)
{
	(void)cd_presence_kill(name);
	(void)processes_each(name_kill, (void *)name);
}

static int end_wait(const char *name, int timeout_ms, bool kill)
{
	long end = now_ms() + timeout_ms;
	int rc;

	while ((rc = cd_vmproc_look(name))) {
		if (kill)
			kill_once(name);
		if (now_ms() >= end)
			return rc < 0 ? rc : -ETIMEDOUT;
		poll(NULL, 0, POLL_MS);
	}
	return 0;
}

int cd_vmproc_wait(const char *name, int timeout_ms)
{
	return end_wait(name, timeout_ms, false);
}

int cd_vmproc_kill(const char *name, int timeout_ms)
{
	return end_wait(name, timeout_ms, true);
}

int cd_vmprocs_kill_all(int timeout_ms)
{
	CL_CLEANUP_FREE struct cd_vmproc *list = calloc(CD_VMPROCS_MAX, sizeof(*list));
	long end = now_ms() + timeout_ms;
	size_t n = 0;
	int rc;

	if (!list)
		return -ENOMEM;
	while ((rc = cd_vmproc_list(list, CD_VMPROCS_MAX, &n)) || n) {
		for (size_t i = 0; i < n; i++)
			kill_once(list[i].name);
		if (now_ms() >= end)
			return rc < 0 ? rc : -ETIMEDOUT;
		poll(NULL, 0, POLL_MS);
	}
	return 0;
}

/* ---- control -------------------------------------------------------------------------------- */

bool cd_vmproc_own_trouble(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -EAGAIN ||
	       rc == -EINTR;
}

int cd_vmproc_call(const char *name, const char *verb, json_t *args, int timeout_ms,
		   json_t **ret_result, char **ret_error)
{
	return cd_vmproc_call_fd(name, verb, args, -1, timeout_ms, ret_result, ret_error);
}

int cd_vmproc_call_fd(const char *name, const char *verb, json_t *args, int fd, int timeout_ms,
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
		return cd_vmproc_own_trouble(rc) ? rc : -ENOENT;
	}
	rc = cl_ctl_client_call_fd(client, verb, args, fd, timeout_ms, ret_result, ret_error);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvd; see csvd_linux.h.  A thread holds a connection to it: its end is csvd's
 * end.  A csvd that we had to start holds nothing, so that the core must be told when volumes
 * were attached before.
 */
#include "clusterd/csvd_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clusterd/daemon.h"
#include "clusterd/exec_linux.h"
#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_ctl.h"
#include "common/cl_log.h"

#define CONNECT_MS   10000
#define START_MS     20000
#define POLL_MS	     50
#define AGAIN_MS     1000
#define STATUS_MS    10000
#define FULL_PERCENT 10 /* less is free: it fills up */
#define ROOM_PERCENT 15 /* so much is free again */
#define REFRESH_MS   30000
#define OOM_SCORE    (-900) /* all VMs of the node hang on it */

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;

static void socket_path(char out[CD_PATH_MAX])
{
	cd_path(out, CD_PATH_MAX, CD_DIR_RUN, "csvd.sock");
}

int cd_csvd_call(const char *verb, json_t *args, int timeout_ms, json_t **ret_result,
		 char **ret_error)
{
	struct cl_ctl_client *client;
	char path[CD_PATH_MAX];
	int rc = -ENOENT;

	*ret_result = NULL;
	*ret_error = NULL;
	socket_path(path);
	for (int waited = 0; waited <= CONNECT_MS; waited += POLL_MS) {
		rc = cl_ctl_client_connect(path, &client);
		if (rc == 0)
			break;
		poll(NULL, 0, POLL_MS);
	}
	if (rc < 0) {
		json_decref(args);
		if (asprintf(ret_error, "csvd does not answer on %s: %s", path, strerror(-rc)) < 0)
			*ret_error = NULL;
		return -ENOTCONN;
	}
	rc = cl_ctl_client_call(client, verb, args, timeout_ms, ret_result, ret_error);
	cl_ctl_client_free(client);
	return rc;
}

/* Pid of the one that answers, 0: nobody does, -errno: not known (our own trouble, no word about csvd). */
static pid_t answers(void)
{
	struct cl_ctl_client *client;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	char path[CD_PATH_MAX];
	int rc;

	socket_path(path);
	rc = cl_ctl_client_connect(path, &client);
	if (rc < 0)
		return rc == -ENOENT || rc == -ECONNREFUSED ? 0 : rc;
	rc = getsockopt(cl_ctl_client_fd(client), SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ?
		     -errno :
		     0;
	cl_ctl_client_free(client);
	return rc < 0 ? rc : peer.pid > 0 ? peer.pid : 1; /* of a PID namespace that we do not see */
}

uint64_t cd_csvd_instance(int timeout_ms)
{
	struct cl_ctl_client *client;
	json_t *status = NULL;
	char path[CD_PATH_MAX], *error = NULL;
	uint64_t instance = 0;

	socket_path(path);
	if (cl_ctl_client_connect(path, &client) < 0)
		return 0;
	if (cl_ctl_client_call(client, "status", NULL, timeout_ms, &status, &error) == 0)
		instance = (uint64_t)json_integer_value(json_object_get(status, "instance"));
	json_decref(status);
	free(error);
	cl_ctl_client_free(client);
	return instance;
}

/* The lock that csvd holds until its last thread has ended, and the pid that it wrote there. */
static int lock_look(pid_t *ret_pid)
{
	CL_CLEANUP_CLOSE int fd = -1;
	char path[CD_PATH_MAX], text[24];
	ssize_t n;

	*ret_pid = 0;
	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.lock");
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	/* A csvd that starts tries again for 30 s: it is not hindered by a look. */
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return -errno;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	*ret_pid = (pid_t)strtol(text, NULL, 10);
	return 1;
}

int cd_csvd_look(void)
{
	pid_t pid;

	return lock_look(&pid);
}

/* 1: the process has the file open, 0: it has not or is gone, -errno. */
static int process_has(pid_t pid, const char *path)
{
	char dir_path[64], to[CD_PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int rc = 0;

	snprintf(dir_path, sizeof(dir_path), "/proc/%d/fd", pid);
	dir = opendir(dir_path);
	if (!dir)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	while (rc == 0 && (errno = 0, entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1);

		to[n > 0 ? n : 0] = '\0';
		rc = n > 0 && strcmp(to, path) == 0;
	}
	closedir(dir);
	return rc;
}

/* Who has the lock where a csvd of before wrote no pid into it: whoever has the file open, and is not us. */
static pid_t holder_find(void)
{
	char path[CD_PATH_MAX];
	struct dirent *entry;
	pid_t found = 0;
	DIR *dir = opendir("/proc");

	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.lock");
	while (dir && !found && (entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 1 && pid != getpid() && process_has(pid, path) > 0)
			found = pid;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* By pidfd, and only while it has the lock: a reused pid is never hit. */
static void holder_end(pid_t pid)
{
	CL_CLEANUP_CLOSE int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0u) : -1;
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.lock");
	if (fd >= 0 && process_has(pid, path) > 0)
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0u);
}

int cd_csvd_kill(int timeout_ms)
{
	uint64_t end = cd_now_ms() + (uint64_t)timeout_ms;
	pid_t pid = 0;
	int rc;

	pthread_mutex_lock(&start_lock);
	while ((rc = lock_look(&pid))) {
		if (rc > 0)
			holder_end(pid ? pid : holder_find());
		if (cd_now_ms() >= end)
			break;
		poll(NULL, 0, POLL_MS);
	}
	pthread_mutex_unlock(&start_lock);
	return rc > 0 ? -ETIMEDOUT : rc;
}

static int csvd_start(char *error, size_t cap_bytes)
{
	char program[CD_PATH_MAX], log[CD_PATH_MAX];
	const char *argv[] = { program, NULL };
	CL_CLEANUP_CLOSE int log_fd = -1;
	uint64_t end = cd_now_ms() + START_MS;
	pid_t pid;
	int rc;

	cd_path_program(program, sizeof(program), "csvd");
	cd_path(log, sizeof(log), CD_DIR_RUN, "csvd.log");
	log_fd = cd_exec_log(log);
	rc = log_fd < 0 ? log_fd :
			  cd_exec_spawn(&(struct cd_exec){ .argv = argv,
							   .log_fd = log_fd,
							   .cgroup = "csvd",
							   .oom_score_adj = OOM_SCORE,
							   .pass_fds = { -1, -1 } },
					&pid);
	if (rc < 0) {
		snprintf(error, cap_bytes, "%s: %s", argv[0], strerror(-rc));
		return rc;
	}
	while (cd_now_ms() < end) {
		pid_t other = answers();

		/* Of another one nothing was lost. */
		if (other > 0)
			return other == pid;
		if (cd_exec_look(pid, "csvd") == 0) {
			snprintf(error, cap_bytes, "%s ended at once; see %s", argv[0], log);
			return -EIO;
		}
		poll(NULL, 0, POLL_MS);
	}
	snprintf(error, cap_bytes, "%s does not answer after %d s; see %s", argv[0],
		 START_MS / 1000, log);
	return -ETIMEDOUT;
}

int cd_csvd_ensure(char *error, size_t cap_bytes)
{
	pid_t pid;
	int rc;

	pthread_mutex_lock(&start_lock);
	pid = answers();
	if (pid < 0)
		snprintf(error, cap_bytes, "whether csvd answers is not known: %s", strerror(-pid));
	rc = pid > 0 ? 0 : pid < 0 ? pid : csvd_start(error, cap_bytes);
	pthread_mutex_unlock(&start_lock);
	return rc;
}

static bool space_get(const char *volume, uint64_t *ret_free)
{
	json_t *status = NULL;
	char *error = NULL;
	const json_t *item;
	bool found = false;
	size_t i;

	(void)cd_csvd_call("status", NULL, STATUS_MS, &status, &error);
	json_array_foreach(json_object_get(status, "volumes"), i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		const json_t *space = json_object_get(item, "space");

		if (name && strcmp(name, volume) == 0 && json_is_object(space)) {
			*ret_free = (uint64_t)json_integer_value(json_object_get(space, "free"));
			found = true;
		}
	}
	json_decref(status);
	free(error);
	return found;
}

void cd_csvd_space_text(const char *volume, uint64_t needed_bytes, char *out, size_t cap_bytes)
{
	uint64_t free_bytes = 0;
	bool known = space_get(volume, &free_bytes);
	char needed[32] = "", room[32] = "";

	if (needed_bytes)
		snprintf(needed, sizeof(needed), "%llu MiB needed",
			 (unsigned long long)((needed_bytes + (1u << 20) - 1) >> 20));
	if (known)
		snprintf(room, sizeof(room), "%llu MiB free",
			 (unsigned long long)(free_bytes >> 20));
	snprintf(out, cap_bytes, needed[0] || room[0] ? " (%s%s%s)" : "%s%s%s", needed,
		 needed[0] && room[0] ? ", " : "", room);
}

/* ---- the watcher ---------------------------------------------------------------------------- */

struct csvd_notice {
	struct cd *cd;
	bool started;
	char text[256];
	json_t *event, *status;
};

static bool had_volumes(const struct cd *cd)
{
	const struct core_state *st = cd_state(cd);

	for (uint16_t i = 0; i < st->volume_count; i++)
		if (st->volumes[i].attached & CORE_NODE_BIT(cd->self.id))
			return true;
	return false;
}

/* A volume that fills is told of once, and once when there is room again. */
static void filling_tell(struct cd *cd)
{
	const struct core_state *st = cd_state(cd);

	for (uint16_t i = 0; i < st->volume_count; i++) {
		const struct core_volume *v = &st->volumes[i];
		const json_t *space = cd_view_space(cd, v->name);
		json_int_t total = json_integer_value(json_object_get(space, "total"));
		json_int_t room = json_integer_value(json_object_get(space, "free"));
		char text[128];

		if (v->state == CORE_VOLUME_UNUSED)
			cd->filling[i] = false;
		if (v->state == CORE_VOLUME_UNUSED || total <= 0 ||
		    (cd->filling[i] ? room * 100 < total * ROOM_PERCENT
				    : room * 100 > total * FULL_PERCENT))
			continue;
		cd->filling[i] = !cd->filling[i];
		snprintf(text, sizeof(text),
			 cd->filling[i]
				 ? "%lld%% full: %lld of %lld MiB are free"
				 : "there is room again: %lld%% full, %lld of %lld MiB are free",
			 (long long)((total - room) * 100 / total), (long long)(room >> 20),
			 (long long)(total >> 20));
		cd_drive_note(cd, "local", v->name, cd->filling[i] ? "" : "filling",
			      cd->filling[i] ? "filling" : "room", text);
	}
}

static void notice_run(void *arg)
{
	struct csvd_notice *notice = arg;
	struct cd *cd = notice->cd;

	if (notice->started) {
		cl_notice("csvd was started");
		/* It knows nothing yet: not the nodes and not its volumes. */
		cd_local_run(cd, &(struct replica_local){ .kind = REPLICA_CONFIGURE });
		if (had_volumes(cd)) {
			cd_drive_note(cd, "local", "csvd", "gone", "started",
				      "csvd of this node died; its volumes are attached again");
			replica_csvd_lost(cd->replica, cd_now_ms());
			cd_drive_settle(cd);
		}
	} else if (notice->status) {
		json_decref(cd->csvd_volumes);
		cd->csvd_volumes = json_incref(json_object_get(notice->status, "volumes"));
		filling_tell(cd);
	} else if (notice->event) {
		const char *volume = json_string_value(json_object_get(notice->event, "volume"));
		const char *name = json_string_value(json_object_get(notice->event, "event"));
		const char *state = json_string_value(json_object_get(notice->event, "state"));
		const char *reason = json_string_value(json_object_get(notice->event, "reason"));

		cd_drive_note(cd, "local", volume ? volume : "csvd", "", state ? state : name,
			      reason ? reason : "");
	} else {
		cl_warning("%s", notice->text);
	}
	json_decref(notice->event);
	json_decref(notice->status);
	free(notice);
}

static void notice_post(struct cd *cd, bool started, json_t *event, json_t *status, const char *text)
{
	struct csvd_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		abort();
	notice->cd = cd;
	notice->started = started;
	notice->event = event;
	notice->status = status;
	snprintf(notice->text, sizeof(notice->text), "%s", text ? text : "");
	cd_post_call(cd->post, notice_run, notice);
}

static void status_ask(struct cd *cd, struct cl_ctl_client *client)
{
	json_t *status = NULL;
	char *error = NULL;

	if (cl_ctl_client_call(client, "status", NULL, STATUS_MS, &status, &error) == 0 && status)
		notice_post(cd, false, NULL, status, NULL);
	free(error);
}

static void csvd_listen(struct cd *cd)
{
	struct cl_ctl_client *client;
	char path[CD_PATH_MAX];

	socket_path(path);
	if (cl_ctl_client_connect(path, &client) < 0)
		return;
	status_ask(cd, client);
	for (;;) {
		json_t *event = cl_ctl_client_event(client, REFRESH_MS);
		const char *name = json_string_value(json_object_get(event, "event"));

		if (!event && errno != ETIMEDOUT)
			break;
		if (!event) {
			status_ask(cd, client);
			continue;
		}
		if (name && (strcmp(name, "volume-state") == 0 ||
			     strcmp(name, "recall-unanswered") == 0)) {
			notice_post(cd, false, event, NULL, NULL);
			status_ask(cd, client);
		} else {
			json_decref(event);
		}
	}
	cl_ctl_client_free(client);
}

static void *csvd_thread(void *arg)
{
	struct cd *cd = arg;
	char error[256], last[256] = "";

	for (;;) {
		int rc = cd_csvd_ensure(error, sizeof(error));

		if (rc < 0) {
			if (strcmp(error, last) != 0)
				notice_post(cd, false, NULL, NULL, error);
			memcpy(last, error, sizeof(last));
			poll(NULL, 0, AGAIN_MS);
			continue;
		}
		last[0] = '\0';
		if (rc == 1)
			notice_post(cd, true, NULL, NULL, NULL);
		csvd_listen(cd);
	}
	return NULL;
}

void cd_csvd_keep(struct cd *cd)
{
	sigset_t all, old;
	pthread_t thread;

	if (cd->csvd_wanted)
		return;
	cd->csvd_wanted = true;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (pthread_create(&thread, NULL, csvd_thread, cd) == 0)
		pthread_detach(thread);
	else
		cd->csvd_wanted = false;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

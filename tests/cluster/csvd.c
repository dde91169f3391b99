/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvd for tests/cluster: speaks the control protocol of docs/architecture.md.  It mounts nothing: an
 * owner writes a record "volume/NAME TERM INSTANCE" to the LUN now and then, as a journal would be, so
 * that two owners show in the target's log.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "tests/cluster/fake.h"
#include "tests/cluster/target.h"

#define VOLUMES_MAX 4
#define WRITE_MS    100

struct volume {
	char name[64];
	bool attached, owned, down;
	uint64_t term;
	struct scsi3pr_dev *dev;
};

static struct volume volumes[VOLUMES_MAX];
static struct cl_ctl_server *server;

static struct volume *volume_get(const char *name, bool make)
{
	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		if (strcmp(volumes[i].name, name) == 0 && name[0])
			return &volumes[i];
	for (unsigned i = 0; make && i < VOLUMES_MAX; i++)
		if (!volumes[i].name[0]) {
			snprintf(volumes[i].name, sizeof(volumes[i].name), "%s", name);
			return &volumes[i];
		}
	return NULL;
}

static const char *state_of(const struct volume *v)
{
	return v->down ? "down" : v->attached ? "direct" : "paused";
}

static void event_send(const struct volume *v, const char *why)
{
	cl_ctl_event(server, json_pack("{s:s s:s s:s s:s}", "event", "volume-state", "volume", v->name,
				       "state", state_of(v), "reason", why));
}

static int owner_write(struct volume *v)
{
	char object[80], instance[96];

	/* A process may own a volume again, in a later term. */
	snprintf(object, sizeof(object), "volume/%.60s", v->name);
	snprintf(instance, sizeof(instance), "%s-%llu", fake_instance(), (unsigned long long)v->term);
	return target_record_write(&v->dev, object, v->term, instance, 2000);
}

static void do_own(struct cl_ctl_request req, struct volume *v, uint64_t term)
{
	int rc;

	if (!v->attached || v->down) {
		cl_ctl_reply_error(server, req, EIO, "volume %s is not attached here", v->name);
		return;
	}
	if (term < v->term) {
		cl_ctl_reply_error(server, req, ESTALE, "volume %s: term %llu is over", v->name,
				   (unsigned long long)term);
		return;
	}
	v->term = term;
	rc = owner_write(v);
	if (rc < 0) {
		cl_ctl_reply_error(server, req, -rc, "volume %s: %s", v->name, strerror(-rc));
		return;
	}
	v->owned = true;
	fake_say("own %s term %llu", v->name, (unsigned long long)term);
	cl_ctl_reply(server, req, NULL);
}

static void do_file(struct cl_ctl_request req, const struct volume *v, const json_t *msg, bool create)
{
	const char *name = json_string_value(json_object_get(msg, "path"));
	char path[CD_PATH_MAX], folder[CD_PATH_MAX];
	int fd = -1, rc = 0;

	cd_path(path, sizeof(path), CD_DIR_STORAGE, "%s/%s", v->name, name ? name : "x");
	snprintf(folder, sizeof(folder), "%s", path);
	*strrchr(folder, '/') = '\0';
	if (create) {
		cd_path_mkdirs(folder, 0755);
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		rc = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
	} else if (unlink(path) < 0) {
		rc = errno;
	}
	if (rc)
		cl_ctl_reply_error(server, req, rc, "%s: %s", path, strerror(rc));
	else
		cl_ctl_reply(server, req, NULL);
}

static json_int_t instance(void)
{
	static json_int_t number;

	while (!number)
		if (getrandom(&number, sizeof(number), 0) == sizeof(number))
			number = number >> 1 & INT64_MAX;
	return number;
}

static void do_status(struct cl_ctl_request req)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		if (volumes[i].name[0])
			json_array_append_new(
				list, json_pack("{s:s s:s s:s s:I s:s}", "name", volumes[i].name,
						"state", state_of(&volumes[i]), "reason", "", "since_ms",
						(json_int_t)0, "role",
						volumes[i].owned ? "owner" : "client"));
	cl_ctl_reply(server, req, json_pack("{s:I s:o}", "instance", instance(), "volumes", list));
}

static void handle(void *arg, struct cl_ctl_request req, const char *verb, const json_t *msg, uid_t uid,
		   pid_t pid)
{
	const char *name = json_string_value(json_object_get(msg, "volume"));
	uint64_t term = (uint64_t)json_integer_value(json_object_get(msg, "term"));
	struct volume *v = volume_get(name ? name : "", strcmp(verb, "attach") == 0);

	if (strcmp(verb, "status") == 0) {
		do_status(req);
		return;
	}
	if (strcmp(verb, "configure") == 0 || strcmp(verb, "member-gone") == 0) {
		cl_ctl_reply(server, req, NULL);
		return;
	}
	if (!v) {
		cl_ctl_reply_error(server, req, ENOENT, "no volume %s here", name ? name : "");
		return;
	}
	if (strcmp(verb, "attach") == 0) {
		v->attached = true;
		v->down = false;
		event_send(v, "attached");
		cl_ctl_reply(server, req, json_pack("{s:I}", "instance", instance()));
	} else if (strcmp(verb, "own") == 0) {
		do_own(req, v, term);
	} else if (strcmp(verb, "owner") == 0 || strcmp(verb, "vms") == 0) {
		cl_ctl_reply(server, req, NULL);
	} else if (strcmp(verb, "release") == 0) {
		/* An own of this term or an older one that is still on its way comes to nothing. */
		if (term >= v->term) {
			v->owned = false;
			v->term = term + 1;
		}
		cl_ctl_reply(server, req, NULL);
	} else if (strcmp(verb, "down") == 0) {
		v->down = true;
		v->owned = false;
		event_send(v, "down");
		cl_ctl_reply(server, req, NULL);
	} else if (strcmp(verb, "file-create") == 0 || strcmp(verb, "file-delete") == 0) {
		do_file(req, v, msg, verb[5] == 'c');
	} else {
		cl_ctl_reply_error(server, req, EINVAL, "no verb %s", verb);
	}
}

static void owners_write(uint64_t *last_ms)
{
	if (fake_now_ms() - *last_ms < WRITE_MS)
		return;
	*last_ms = fake_now_ms();
	for (unsigned i = 0; i < VOLUMES_MAX; i++) {
		struct volume *v = &volumes[i];

		if (!v->owned || owner_write(v) != -EBADE)
			continue;
		v->owned = false;
		v->down = true;
		event_send(v, "fenced");
		fake_say("%s: fenced", v->name);
	}
}

/* As the real one: held until the end, with the pid in it. */
static int lock_take(void)
{
	char path[CD_PATH_MAX];
	int fd;

	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.lock");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0 || ftruncate(fd, 0) < 0 ||
	    dprintf(fd, "%d\n", getpid()) < 0)
		return -1;
	return 0;
}

int main(void)
{
	char path[CD_PATH_MAX];
	uint64_t last_ms = 0;

	signal(SIGPIPE, SIG_IGN);
	if (lock_take() < 0) {
		fprintf(stderr, "csvd.lock: cannot be taken\n");
		return 1;
	}
	cd_path(path, sizeof(path), CD_DIR_RUN, "csvd.sock");
	if (cl_ctl_server_new(path, 0600, handle, NULL, &server) < 0) {
		fprintf(stderr, "%s: cannot listen\n", path);
		return 1;
	}
	for (;;) {
		struct pollfd pfd = { .fd = cl_ctl_server_fd(server), .events = POLLIN };

		poll(&pfd, 1, FAKE_TICK_MS);
		cl_ctl_server_service(server);
		owners_write(&last_ms);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmm for tests/cluster: speaks vmm-control(7) and has no machine.  Its guest writes a record
 * "vm/NAME GENERATION INSTANCE" to the LUN every few ms while it runs: the target's log shows who
 * ran when and could write.  A migration sends one number on the stream that clusterd hands in
 * after a "copy" of random length; the real vmm-tunnel carries it.
 *
 *   starting -> running <-> paused        incoming -> ready -> running
 *                 |  ^ \-> saved -> running (its own resume) / quit
 *                 v  |
 *             migrating -> switched -> (finish) exit | running
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"
#include "tests/cluster/fake.h"
#include "tests/cluster/target.h"

static char name[64], state[16] = "starting";
static uint64_t generation, seq, copy_until_ms;
static int peer_fd = -1;
static bool stopping;
static struct cl_ctl_server *server;
static struct scsi3pr_dev *dev;

static bool is(const char *what)
{
	return strcmp(state, what) == 0;
}

static void state_set(const char *to, const char *why)
{
	fake_say("%s -> %s: %s", state, to, why);
	snprintf(state, sizeof(state), "%s", to);
	cl_ctl_event(server,
		     json_pack("{s:s s:s s:s}", "event", "state", "state", to, "reason", why));
}

static void event(const char *what)
{
	cl_ctl_event(server, json_pack("{s:s s:s}", "event", what, "state", state));
}

static void end(const char *reason, int status)
{
	fake_say("exit: %s", reason);
	cl_ctl_event(server, json_pack("{s:s s:s}", "event", "exit", "reason", reason));
	cl_ctl_server_service(server);
	cl_ctl_server_free(server);
	exit(status);
}

static void migration_failed(const char *why)
{
	if (peer_fd >= 0)
		close(peer_fd);
	peer_fd = -1;
	if (is("migrating"))
		state_set("running", why);
	cl_ctl_event(server, json_pack("{s:s s:s s:s}", "event", "migration-failed", "error", why,
				       "state", state));
}

/* ---- verbs ---------------------------------------------------------------------------------- */

static void do_migrate(struct cl_ctl_request req)
{
	int fd = cl_ctl_fd_take(server, req);

	if (!is("running") || fd < 0) {
		if (fd >= 0)
			close(fd);
		cl_ctl_reply_error(server, req, EBUSY, "VM %s is %s", name, state);
		return;
	}
	if (peer_fd >= 0)
		close(peer_fd);
	peer_fd = fd;
	copy_until_ms = fake_now_ms() + 100 + (uint64_t)(rand() % 1500);
	state_set("migrating", "told to migrate");
	cl_ctl_reply(server, req, NULL);
}

static void do_resume(struct cl_ctl_request req, const json_t *msg)
{
	uint64_t wanted = (uint64_t)json_integer_value(json_object_get(msg, "generation"));

	if (!is("paused") && !is("ready") && !is("saved")) {
		cl_ctl_reply_error(server, req, EBUSY, "VM %s is %s", name, state);
		return;
	}
	if (wanted)
		generation = wanted;
	state_set("running", "told to resume");
	cl_ctl_reply(server, req, NULL);
}

static void do_save(struct cl_ctl_request req)
{
	CL_CLEANUP_CLOSE int fd = cl_ctl_fd_take(server, req);

	if ((!is("running") && !is("paused")) || fd < 0) {
		cl_ctl_reply_error(server, req, EBUSY, "VM %s is %s", name, state);
		return;
	}
	if (dprintf(fd, "%llu\n", (unsigned long long)seq) < 0 || fsync(fd) < 0) {
		cl_ctl_reply_error(server, req, EIO, "its file cannot be written");
		return;
	}
	state_set("saved", "told to save");
	cl_ctl_reply(server, req, json_pack("{s:i}", "bytes", 64));
}

static void do_finish(struct cl_ctl_request req, const json_t *msg)
{
	const char *outcome = json_string_value(json_object_get(msg, "outcome"));

	if (!is("switched") || !outcome) {
		cl_ctl_reply_error(server, req, EBUSY, "VM %s is %s", name, state);
		return;
	}
	cl_ctl_reply(server, req, NULL);
	if (strcmp(outcome, "committed") == 0) {
		stopping = true;
		return;
	}
	state_set("running", "the migration was not committed");
}

static void handle(void *arg, struct cl_ctl_request req, const char *verb, const json_t *msg,
		   uid_t uid, pid_t pid)
{
	if (strcmp(verb, "status") == 0) {
		cl_ctl_reply(server, req,
			     json_pack("{s:s s:s s:I s:i}", "name", name, "state", state,
				       "generation", (json_int_t)generation, "pid", (int)getpid()));
	} else if (strcmp(verb, "pause") == 0) {
		if (is("migrating"))
			migration_failed("paused meanwhile");
		if (is("running"))
			state_set("paused", "told to pause");
		cl_ctl_reply(server, req, NULL);
	} else if (strcmp(verb, "resume") == 0) {
		do_resume(req, msg);
	} else if (strcmp(verb, "save") == 0) {
		do_save(req);
	} else if (strcmp(verb, "migrate") == 0) {
		do_migrate(req);
	} else if (strcmp(verb, "receive") == 0) {
		peer_fd = is("incoming") && peer_fd < 0 ? cl_ctl_fd_take(server, req) : peer_fd;
		cl_ctl_reply(server, req, NULL);
	} else if (strcmp(verb, "migrate-cancel") == 0) {
		if (!is("migrating")) {
			cl_ctl_reply_error(server, req, EBUSY, "VM %s is %s", name, state);
			return;
		}
		migration_failed("cancelled");
		cl_ctl_reply(server, req, NULL);
	} else if (strcmp(verb, "migrate-finish") == 0) {
		do_finish(req, msg);
	} else if (strcmp(verb, "shutdown") == 0 || strcmp(verb, "quit") == 0) {
		cl_ctl_reply(server, req, NULL);
		stopping = true;
	} else {
		cl_ctl_reply_error(server, req, EINVAL, "no verb %s", verb);
	}
}

/* ---- life ----------------------------------------------------------------------------------- */

static void source_step(void)
{
	char text[64];
	int len;

	if (fake_now_ms() < copy_until_ms)
		return;
	len = snprintf(text, sizeof(text), "%s %llu\n", name, (unsigned long long)seq);
	/* From here on only migrate-finish moves this side. */
	state_set("switched", "everything was sent");
	if (send(peer_fd, text, (size_t)len, MSG_NOSIGNAL) != len) {
		migration_failed("the connection is lost");
		return;
	}
	shutdown(peer_fd, SHUT_WR);
	event("migration-switched");
}

static void target_step(void)
{
	char text[64], vm[64];
	unsigned long long got = 0;
	ssize_t n;

	if (peer_fd < 0)
		return;
	n = recv(peer_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	text[n > 0 ? n : 0] = '\0';
	if (n <= 0 || sscanf(text, "%63s %llu", vm, &got) != 2 || strcmp(vm, name) != 0) {
		migration_failed("the source went away");
		end("error", 1);
	}
	seq = got;
	state_set("ready", "everything came");
	event("migration-ready");
}

static void guest_step(void)
{
	char object[80];
	int rc;

	snprintf(object, sizeof(object), "vm/%s", name);
	rc = target_record_write(&dev, object, generation, fake_instance(), 2000);
	if (rc == -EBADE)
		end("fenced", 2);
	if (rc == 0)
		seq++;
}

static int config_read(const char *path, bool *ret_paused)
{
	json_t *json = json_load_file(path, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "name"));

	if (!text)
		return -EBADMSG;
	snprintf(name, sizeof(name), "%s", text);
	generation = (uint64_t)json_integer_value(json_object_get(json, "generation"));
	*ret_paused = json_is_true(json_object_get(json, "paused"));
	json_decref(json);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "incoming", no_argument, NULL, 'i' },
						 { "restore", required_argument, NULL, 'r' },
						 { 0 } };
	const char *config = NULL, *restore = NULL, *began = "paused";
	char path[CD_PATH_MAX];
	bool paused, incoming = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c')
			config = optarg;
		else if (c == 'i')
			incoming = true;
		else if (c == 'r')
			restore = optarg;
	}
	signal(SIGPIPE, SIG_IGN);
	srand((unsigned)fake_now_ms() ^ (unsigned)getpid());
	if (!config || config_read(config, &paused) < 0) {
		fprintf(stderr, "vmm: no configuration\n");
		return 1;
	}
	if (restore && access(restore, R_OK) < 0) {
		fprintf(stderr, "vmm: %s: %s\n", restore, strerror(errno));
		return 1;
	}
	if (incoming) {
		began = "incoming";
	} else if (!paused && !restore) {
		began = "running";
	}
	/* Some take their time. */
	poll(NULL, 0, rand() % 400);
	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/%s/control.sock", name);
	if (cl_ctl_server_new(path, 0600, handle, NULL, &server) < 0) {
		fprintf(stderr, "vmm: %s: cannot listen\n", path);
		return 1;
	}
	fake_say("VM %s generation %llu instance %s", name, (unsigned long long)generation,
		 fake_instance());
	state_set(began, "started");
	while (!stopping) {
		struct pollfd pfd = { .fd = cl_ctl_server_fd(server), .events = POLLIN };

		poll(&pfd, 1, FAKE_TICK_MS);
		cl_ctl_server_service(server);
		if (is("migrating"))
			source_step();
		if (is("incoming"))
			target_step();
		if (is("running") || is("migrating"))
			guest_step();
	}
	end("quit", 0);
}

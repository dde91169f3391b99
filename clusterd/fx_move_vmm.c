/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Effects of migrations, live and by save and restore.  None of them decides:
 * the commit is an entry of the log, and before and after it each side does what
 * its effect says and nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/effect.h"
#include "clusterd/fx_vm_vmm.h"
#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_ctl.h"
#include "common/cl_log.h"
#include "common/cl_tls.h"

#define CALL_MS	       15000
#define START_MS       120000
#define QUIT_MS	       30000
#define SAVE_MS	       600000
#define EVENT_SLICE_MS 1000
#define MOVE_MS	       3600000u
#define PORT_FIRST     7410u
#define PORT_LAST      7499u

/* ---- a connection that hears events --------------------------------------------------------- */

static struct cl_ctl_client *control_open(const char *vm)
{
	struct cl_ctl_client *client;
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/%s/control.sock", vm);
	return cl_ctl_client_connect(path, &client) == 0 ? client : NULL;
}

/* The vmm's state by a call on this connection; -errno. */
static int state_get(struct cl_ctl_client *client, char out[24], char *why, size_t cap_bytes)
{
	json_t *result = NULL;
	char *error = NULL;
	const char *state, *failure;
	int rc = cl_ctl_client_call(client, "status", NULL, CALL_MS, &result, &error);

	free(error);
	if (rc < 0)
		return rc;
	state = json_string_value(json_object_get(result, "state"));
	failure = json_string_value(
		json_object_get(json_object_get(result, "migration"), "error"));
	snprintf(out, 24, "%s", state ? state : "");
	snprintf(why, cap_bytes, "%s", failure ? failure : "");
	json_decref(result);
	return 0;
}

/* What the source says of the move: bytes and milliseconds go into the result, all of it into the log. */
static void figures_take(struct cd_fx *fx, const json_t *event)
{
	json_int_t sent = json_integer_value(json_object_get(event, "sent"));
	json_int_t total_ms = json_integer_value(json_object_get(event, "total_ms"));

	if (fx->effect.kind != CORE_FX_VM_MIGRATE)
		return;
	fx->result.values[0] = (uint64_t)sent;
	fx->result.values[1] = (uint64_t)total_ms;
	cl_notice("migration of VM %s to node %s: sent %lld bytes in %lld rounds, %lld ms, estimated"
		  " downtime %lld ms",
		  fx->vm.name, fx->peer, (long long)sent,
		  (long long)json_integer_value(json_object_get(event, "rounds")),
		  (long long)total_ms,
		  (long long)json_integer_value(json_object_get(event, "est_downtime_ms")));
}

/*
 * Until event `want` (or a state that says the same) or event migration-failed:
 * 0, -EIO failed (why), -EPIPE the vmm is gone, -ECANCELED, -ETIMEDOUT.
 */
static int event_wait(struct cd_fx *fx, struct cl_ctl_client *client, const char *want,
		      const char *want_state, char *why, size_t cap_bytes)
{
	uint64_t end = cd_now_ms() + MOVE_MS;
	char state[24];

	while (cd_now_ms() < end && !atomic_load(&fx->cancelled)) {
		json_t *event = cl_ctl_client_event(client, EVENT_SLICE_MS);
		const char *name = json_string_value(json_object_get(event, "event"));
		const char *error = json_string_value(json_object_get(event, "error"));
		bool timed_out = !event && errno == ETIMEDOUT;
		int rc = 1;

		if (!event && !timed_out)
			return -EPIPE;
		if (name && strcmp(name, want) == 0) {
			figures_take(fx, event);
			rc = 0;
		} else if (name && strcmp(name, "migration-failed") == 0) {
			snprintf(why, cap_bytes, "%s", error ? error : "no reason given");
			rc = -EIO;
		}
		json_decref(event);
		if (rc <= 0)
			return rc;
		/* Events may have passed before we listened. */
		if (timed_out) {
			rc = state_get(client, state, why, cap_bytes);
			if (rc < 0 && rc != -ETIMEDOUT)
				return -EPIPE;
			if (rc == 0 && strcmp(state, want_state) == 0)
				return 0;
		}
	}
	return atomic_load(&fx->cancelled) ? -ECANCELED : -ETIMEDOUT;
}

/* ---- live ----------------------------------------------------------------------------------- */

/* A port that nobody listens on now. */
static unsigned port_choose(const struct cd_fx *fx)
{
	unsigned first = PORT_FIRST + fx->effect.vm % (PORT_LAST - PORT_FIRST + 1), port = first;

	do {
		int fd = cl_tcp_listen(fx->own_vm_address, port);

		if (fd >= 0) {
			close(fd);
			return port;
		}
		port = port == PORT_LAST ? PORT_FIRST : port + 1;
	} while (port != first);
	return 0;
}

void cd_fx_vm_incoming(struct cd_fx *fx)
{
	static const char *const up[] = { "incoming", "ready", "paused", NULL };
	struct cd_vm_status status;
	unsigned port;
	char where[CORE_ADDRESS_MAX + 16];
	int rc;

	if (!cd_fx_vmm_clear(fx) || !cd_fx_vmm_check(fx))
		return;
	port = port_choose(fx);
	if (!port) {
		cd_fx_failed(fx, EADDRINUSE, "node %s: ports %u to %u of %s are all in use", fx->self,
			     PORT_FIRST, PORT_LAST, fx->own_vm_address);
		return;
	}
	snprintf(where, sizeof(where), strchr(fx->own_vm_address, ':') ? "[%s]:%u" : "%s:%u",
		 fx->own_vm_address, port);
	rc = cd_fx_vmm_spawn(fx, "--incoming", where, fx->peer[0] ? fx->peer : NULL);
	if (rc < 0) {
		cd_fx_failed(fx, -rc, "VM %s on node %s: %s: %s", fx->vm.name, fx->self,
			     cd_fx_vmm_path(), strerror(-rc));
		return;
	}
	rc = cd_fx_vmm_wait(fx, up, START_MS, &status);
	if (rc < 0) {
		cd_fx_vmm_fail(fx, -rc);
		return;
	}
	fx->result.values[0] = port;
	cd_fx_done(fx);
}

void cd_fx_vm_migrate(struct cd_fx *fx)
{
	struct cl_ctl_client *client = control_open(fx->vm.name);
	char state[24] = "", why[CORE_TEXT_MAX] = "";
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result = NULL;
	int rc = client ? state_get(client, state, why, sizeof(why)) : -EPIPE;

	/* Asked again after our restart: it may be under way or over. */
	if (rc == 0 && strcmp(state, "switched") == 0) {
		cl_ctl_client_free(client);
		cd_fx_done(fx);
		return;
	}
	if (rc == 0 && strcmp(state, "migrating") != 0) {
		rc = cl_ctl_client_call(
			client, "migrate",
			json_pack("{s:s s:i s:s s:I s:b}", "address", fx->peer_address, "port",
				  fx->effect.port, "peer", fx->peer, "downtime_ms",
				  (json_int_t)fx->effect.pause_ms, "throttle",
				  (fx->effect.flags & CORE_FLAG_THROTTLE) != 0),
			CALL_MS, &result, &error);
		json_decref(result);
	}
	if (rc == 0)
		rc = event_wait(fx, client, "migration-switched", "switched", why, sizeof(why));
	cl_ctl_client_free(client);
	if (rc == 0)
		cd_fx_done(fx);
	else if (rc == -EPIPE || rc == -ETIMEDOUT || rc == -ECANCELED)
		cd_fx_unknown(fx, "VM %s on node %s: the migration's end was not heard: %s",
			      fx->vm.name, fx->self, strerror(-rc));
	else
		cd_fx_failed(fx, -rc, "VM %s to node %s: %s", fx->vm.name, fx->peer,
			     why[0] ? why : error ? error : strerror(-rc));
}

void cd_fx_vm_await(struct cd_fx *fx)
{
	struct cl_ctl_client *client = control_open(fx->vm.name);
	char state[24] = "", why[CORE_TEXT_MAX] = "";
	int rc = client ? state_get(client, state, why, sizeof(why)) : -EPIPE;

	if (rc == 0 && strcmp(state, "ready") != 0)
		rc = event_wait(fx, client, "migration-ready", "ready", why, sizeof(why));
	cl_ctl_client_free(client);
	if (rc == 0)
		cd_fx_done(fx);
	else if (cd_vmproc_look(fx->vm.name) == 0)
		cd_fx_vmm_fail(fx, ESRCH);
	else if (rc == -EIO)
		cd_fx_failed(fx, EIO, "VM %s into node %s: %s", fx->vm.name, fx->self, why);
	else
		cd_fx_unknown(fx, "VM %s into node %s: %s", fx->vm.name, fx->self, strerror(-rc));
}

static void finish_committed(struct cd_fx *fx)
{
	int here = cd_fx_vmm_here(fx);
	json_t *result;
	char *error;

	if (here < 0)
		return;
	if (here) {
		if (cd_vmproc_call(fx->vm.name, "migrate-finish",
				   json_pack("{s:s}", "outcome", "committed"), CALL_MS, &result,
				   &error) < 0) {
			free(error);
			/* Saved, or it did not hear: it may not go on in any case. */
			cd_vmproc_call(fx->vm.name, "quit", NULL, CALL_MS, &result, &error);
		}
		json_decref(result);
		free(error);
		if (cd_vmproc_wait(fx->vm.name, QUIT_MS) < 0 && !cd_fx_vmm_clear(fx))
			return;
	}
	cd_fx_done(fx);
}

static void finish_aborted(struct cd_fx *fx)
{
	static const char *const settled[] = { "running", "switched", "paused", "saved", NULL };
	static const char *const up[] = { "running", NULL };
	struct cd_vm_status status;
	json_t *result = NULL;
	char *error = NULL;
	int rc = cd_vmproc_status(fx->vm.name, CALL_MS, &status);

	if (rc == 0 && strcmp(status.state, "migrating") == 0) {
		cd_vmproc_call(fx->vm.name, "migrate-cancel", NULL, CALL_MS, &result, &error);
		json_decref(result);
		free(error);
		rc = cd_fx_vmm_wait(fx, settled, QUIT_MS, &status);
	}
	if (rc == 0 && strcmp(status.state, "running") != 0) {
		bool moved = strcmp(status.state, "switched") == 0;

		rc = moved ? cd_vmproc_call(fx->vm.name, "migrate-finish",
					    json_pack("{s:s}", "outcome", "aborted"), CALL_MS,
					    &result, &error) :
			     cd_vmproc_call(fx->vm.name, "resume",
					    json_pack("{s:I}", "generation",
						      (json_int_t)status.generation),
					    CALL_MS, &result, &error);
		json_decref(result);
		free(error);
		if (rc == 0)
			rc = cd_fx_vmm_wait(fx, up, START_MS, &status);
	}
	if (rc == 0)
		cd_fx_done(fx);
	else if (cd_vmproc_look(fx->vm.name) == 0)
		cd_fx_vmm_fail(fx, ESRCH);
	else
		cd_fx_unknown(fx, "VM %s on node %s does not go on: %s", fx->vm.name, fx->self,
			      strerror(-rc));
}

void cd_fx_vm_finish(struct cd_fx *fx)
{
	if (fx->effect.flags & CORE_FLAG_COMMITTED)
		finish_committed(fx);
	else
		finish_aborted(fx);
}

/* ---- by save and restore -------------------------------------------------------------------- */

static int save_path(const struct cd_fx *fx, char *dir, char *path)
{
	if (!fx->save_volume[0])
		return -ENODEV;
	cd_path(dir, CD_PATH_MAX, CD_DIR_STORAGE, "%s/.holdfast/save/%s", fx->save_volume,
		fx->vm.name);
	cd_path(path, CD_PATH_MAX, CD_DIR_STORAGE, "%s/.holdfast/save/%s/image", fx->save_volume,
		fx->vm.name);
	return 0;
}

/* A folder of the VM's own user, which the vmm has become. */
static int save_dir_make(const struct cd_fx *fx, const char *dir)
{
	char parent[CD_PATH_MAX];
	int rc;

	cd_path(parent, sizeof(parent), CD_DIR_STORAGE, "%s/.holdfast/save", fx->save_volume);
	rc = cd_path_mkdirs(parent, 0711);
	if (rc < 0)
		return rc;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	return chown(dir, CD_FX_UID(fx->effect.vm), CD_FX_UID(fx->effect.vm)) < 0 ? -errno : 0;
}

/* How much a save takes is not known before; memory is the most. */
static void save_full(struct cd_fx *fx)
{
	char space[80];

	cd_csvd_space_text(fx->save_volume, (uint64_t)fx->vm.memory_mib << 20, space,
			   sizeof(space));
	cd_fx_failed(fx, ENOSPC, "node %s: %s: No space left on device%s", fx->self,
		     fx->save_volume, space);
}

void cd_fx_vm_save(struct cd_fx *fx)
{
	static const char *const settled[] = { "running", "paused", "saved", NULL };
	char dir[CD_PATH_MAX], path[CD_PATH_MAX];
	CL_CLEANUP_FREE char *error = NULL;
	struct cd_vm_status status;
	json_t *result = NULL;
	int rc = save_path(fx, dir, path);

	if (rc < 0) {
		cd_fx_failed(fx, -rc, "VM %s has no disk on a volume: it cannot be saved",
			     fx->vm.name);
		return;
	}
	/* Asked again after our restart: it may be under way or over. */
	rc = cd_vmproc_status(fx->vm.name, CALL_MS, &status);
	if (rc == 0 && strcmp(status.state, "saving") == 0)
		rc = cd_fx_vmm_wait(fx, settled, SAVE_MS, &status);
	if (rc == 0 && strcmp(status.state, "saved") == 0) {
		cd_fx_done(fx);
		return;
	}
	rc = save_dir_make(fx, dir);
	if (rc < 0) {
		cd_fx_failed(fx, -rc, "%s: %s", dir, strerror(-rc));
		return;
	}
	rc = cd_vmproc_call(fx->vm.name, "save", json_pack("{s:s}", "path", path), SAVE_MS, &result,
			    &error);
	if (rc == 0) {
		fx->result.values[0] =
			(uint64_t)json_integer_value(json_object_get(result, "bytes"));
		fx->result.values[1] =
			(uint64_t)json_integer_value(json_object_get(result, "total_ms"));
		cl_notice("VM %s: saved %llu bytes in %llu ms, the last %lld of them paused",
			  fx->vm.name, (unsigned long long)fx->result.values[0],
			  (unsigned long long)fx->result.values[1],
			  (long long)json_integer_value(json_object_get(result, "paused_ms")));
	}
	json_decref(result);
	if (rc == 0)
		cd_fx_done(fx);
	else if (rc == -ENOSPC)
		save_full(fx);
	else
		cd_fx_error(fx, -rc, error);
}

void cd_fx_vm_restore(struct cd_fx *fx)
{
	static const char *const up[] = { "paused", "ready", "running", NULL };
	char dir[CD_PATH_MAX], path[CD_PATH_MAX];
	struct cd_vm_status status;
	int rc = save_path(fx, dir, path), here;

	if (rc < 0) {
		cd_fx_failed(fx, -rc, "VM %s has no disk on a volume", fx->vm.name);
		return;
	}
	/* Asked again: it may be running already. */
	here = cd_fx_vmm_here(fx);
	if (here < 0)
		return;
	if (!here) {
		if (access(path, R_OK) < 0) {
			cd_fx_failed(fx, errno, "%s: %s", path, strerror(errno));
			return;
		}
		if (!cd_fx_vmm_check(fx))
			return;
		rc = cd_fx_vmm_spawn(fx, "--restore", path, NULL);
		if (rc < 0) {
			cd_fx_failed(fx, -rc, "%s: %s", cd_fx_vmm_path(), strerror(-rc));
			return;
		}
	}
	rc = cd_fx_vmm_wait(fx, up, SAVE_MS, &status);
	if (rc < 0) {
		cd_fx_vmm_fail(fx, -rc);
		return;
	}
	cd_fx_vmm_resume(fx);
	/* Once it runs the image is of the past: nobody may restore it again. */
	if (fx->result.outcome == CL_DONE) {
		unlink(path);
		rmdir(dir);
	}
}

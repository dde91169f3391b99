/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Effects of migrations, live and by save and restore.  None of them decides:
 * the commit is an entry of the log, and before and after it each side does what
 * its effect says and nothing else.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
#include "clusterd/tunnel_linux.h"
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
	failure = json_string_value(json_object_get(json_object_get(result, "migration"), "error"));
	snprintf(out, 24, "%s", state ? state : "");
	snprintf(why, cap_bytes, "%s", failure ? failure : "");
	json_decref(result);
	return 0;
}

/* What the source says of the move: bytes and milliseconds go into the result, all of it into the
 * log. */
static void figures_take(struct cd_fx *fx, const json_t *event)
{
	json_int_t sent = json_integer_value(json_object_get(event, "sent"));
	json_int_t total_ms = json_integer_value(json_object_get(event, "total_ms"));

	if (fx->effect.kind != CORE_FX_VM_MIGRATE)
		return;
	fx->result.values[0] = (uint64_t)sent;
	fx->result.values[1] = (uint64_t)total_ms;
	cl_notice(
		"migration of VM %s to node %s: sent %lld bytes in %lld rounds, %lld ms, estimated"
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

/* Users of tunnels: one for each VM, above those of the VMs. */
#define TUNNEL_UID(index) (CD_FX_UID(index) + 0x10000u)

static struct cd_tunnel tunnel_of(const struct cd_fx *fx)
{
	return (struct cd_tunnel){ .vm = fx->vm.name,
				   .peer = fx->peer,
				   .uid = TUNNEL_UID(fx->effect.vm) };
}

/* Listens on a port that nobody else listens on: the socket, or -EADDRINUSE. */
static int port_choose(const struct cd_fx *fx, unsigned *ret_port)
{
	unsigned first = PORT_FIRST + fx->effect.vm % (PORT_LAST - PORT_FIRST + 1), port = first;

	do {
		int fd = cl_tcp_listen(fx->own_vm_address, port);

		if (fd >= 0) {
			*ret_port = port;
			return fd;
		}
		port = port == PORT_LAST ? PORT_FIRST : port + 1;
	} while (port != first);
	return -EADDRINUSE;
}

/* The vmm waits: it gets the stream on which the VM comes. */
static int stream_hand_in(struct cd_fx *fx, int listen_fd, char *why, size_t cap_bytes)
{
	const struct cd_tunnel tunnel = tunnel_of(fx);
	CL_CLEANUP_CLOSE int stream = cd_tunnel_listen(&tunnel, listen_fd);
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result = NULL;
	int rc = stream;

	if (rc >= 0)
		rc = cd_vmproc_call_fd(fx->vm.name, "receive", json_pack("{s:s}", "peer", fx->peer),
				       stream, CALL_MS, &result, &error);
	json_decref(result);
	if (rc < 0)
		snprintf(why, cap_bytes, "%s%s", stream < 0 ? "vmm-tunnel: " : "",
			 error ? error : strerror(-rc));
	return rc < 0 ? rc : 0;
}

void cd_fx_vm_incoming(struct cd_fx *fx)
{
	static const char *const up[] = { "incoming", NULL };
	CL_CLEANUP_CLOSE int listen_fd = -1;
	char why[CORE_TEXT_MAX] = "";
	struct cd_vm_status status;
	unsigned port = 0;
	int rc;

	if (!cd_fx_vmm_clear(fx) || !cd_fx_vmm_check(fx))
		return;
	if (!fx->peer[0]) {
		cd_fx_failed(fx, EINVAL, "VM %s: it is not known from which node it comes",
			     fx->vm.name);
		return;
	}
	listen_fd = port_choose(fx, &port);
	if (listen_fd < 0) {
		cd_fx_failed(fx, EADDRINUSE, "node %s: ports %u to %u of %s are all in use",
			     fx->self, PORT_FIRST, PORT_LAST, fx->own_vm_address);
		return;
	}
	rc = cd_fx_vmm_spawn(fx, "--incoming", NULL);
	if (rc < 0) {
		cd_fx_failed(fx, -rc, "VM %s on node %s: %s: %s", fx->vm.name, fx->self,
			     cd_fx_vmm_path(), strerror(-rc));
		return;
	}
	rc = cd_fx_vmm_wait(fx, up, START_MS, &status);
	if (rc == 0)
		rc = stream_hand_in(fx, listen_fd, why, sizeof(why));
	if (rc < 0 && why[0]) {
		if (cd_fx_vmm_clear(fx))
			cd_fx_failed(fx, -rc, "VM %s into node %s: %s", fx->vm.name, fx->self, why);
		return;
	}
	if (rc < 0) {
		cd_fx_vmm_fail(fx, -rc);
		return;
	}
	fx->result.values[0] = port;
	cd_fx_done(fx);
}

/* Connects, and lets the vmm begin; -EIO with why when there is no way to the peer. */
static int migration_begin(struct cd_fx *fx, struct cl_ctl_client *client, char *why,
			   size_t cap_bytes, char **ret_error)
{
	const struct cd_tunnel tunnel = tunnel_of(fx);
	CL_CLEANUP_CLOSE int stream =
		cd_tunnel_connect(&tunnel, fx->peer_address, fx->effect.port, why, cap_bytes);
	json_t *result = NULL;
	int rc;

	/* The vmm was not asked: that is a failure whose outcome is known. */
	if (stream < 0)
		return -EIO;
	rc = cl_ctl_client_call_fd(client, "migrate",
				   json_pack("{s:s s:I s:b}", "peer", fx->peer, "downtime_ms",
					     (json_int_t)fx->effect.pause_ms, "throttle",
					     (fx->effect.flags & CORE_FLAG_THROTTLE) != 0),
				   stream, CALL_MS, &result, ret_error);
	json_decref(result);
	return rc;
}

void cd_fx_vm_migrate(struct cd_fx *fx)
{
	struct cl_ctl_client *client = control_open(fx->vm.name);
	char state[24] = "", why[CORE_TEXT_MAX] = "";
	CL_CLEANUP_FREE char *error = NULL;
	int rc = client ? state_get(client, state, why, sizeof(why)) : -EPIPE;

	/* Asked again after our restart: it may be under way or over. */
	if (rc == 0 && strcmp(state, "switched") == 0) {
		cl_ctl_client_free(client);
		cd_fx_done(fx);
		return;
	}
	if (rc == 0 && strcmp(state, "migrating") != 0) {
		why[0] = '\0';
		rc = migration_begin(fx, client, why, sizeof(why), &error);
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
			     why[0]  ? why
			     : error ? error
				     : strerror(-rc));
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
					    &result, &error)
			   : cd_vmproc_call(fx->vm.name, "resume",
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

/* .holdfast/save of the volume, root's, in which each VM has a folder: fd or -errno. */
static int save_root_open(const struct cd_fx *fx)
{
	char path[CD_PATH_MAX];
	int rc, fd;

	if (!fx->save_volume[0])
		return -ENODEV;
	cd_path(path, sizeof(path), CD_DIR_STORAGE, "%s/.holdfast/save", fx->save_volume);
	rc = cd_path_mkdirs(path, 0711);
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
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

/* The VM's folder in it, root's: one of a release in which it was the VM's user's becomes root's.
 */
static int save_dir_open(int root, const char *vm)
{
	CL_CLEANUP_CLOSE int fd = -1;

	if (mkdirat(root, vm, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(root, vm, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, 0700) < 0)
		return -errno;
	return cl_steal_fd(&fd);
}

#define SAVE_NAME "image"
#define SAVE_PART "image.tmp" /* until the VM is in it, for good */

static int name_remove(int dir, const char *name)
{
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/*
 * The vmm has written and synced it: it gets its name.  Asked again after our restart: it may have
 * it.
 */
static int save_settle(int dir)
{
	if (renameat(dir, SAVE_PART, dir, SAVE_NAME) < 0 &&
	    (errno != ENOENT || faccessat(dir, SAVE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) < 0))
		return -errno;
	return fsync(dir) < 0 ? -errno : 0;
}

/*
 * A restore takes the image away before the VM runs from it: image -> image.GENERATION.  So no other restore can
 * find it, whatever becomes of this clusterd, of its answer and of the VM.
 */
static void taken_name(const struct cd_fx *fx, char out[48])
{
	snprintf(out, 48, SAVE_NAME ".%llu", (unsigned long long)fx->effect.generation);
}

/* 1: there, 0: not there, or -errno: nobody knows. */
static int name_there(int dir, const char *name)
{
	if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

/* Asked again after our restart: it may be taken already. */
static int image_take(int dir, const char *taken)
{
	if (renameat(dir, SAVE_NAME, dir, taken) < 0 &&
	    (errno != ENOENT || name_there(dir, taken) != 1))
		return errno ? -errno : -EIO;
	return fsync(dir) < 0 ? -errno : 0;
}

/* What restores of before have taken and left. */
static void taken_remove(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!list && fd >= 0)
		close(fd);
	while (list && (entry = readdir(list)))
		if (strncmp(entry->d_name, SAVE_NAME ".", sizeof(SAVE_NAME)) == 0 &&
		    strspn(entry->d_name + sizeof(SAVE_NAME), "0123456789") ==
			    strlen(entry->d_name + sizeof(SAVE_NAME)))
			(void)name_remove(dir, entry->d_name);
	if (list)
		closedir(list);
}

/* Has the vmm write a new file.  What is there is of a save that came to nothing, or of the VM's
 * past. */
static int save_write(struct cd_fx *fx, int dir, char **ret_error)
{
	CL_CLEANUP_CLOSE int fd = -1;
	json_t *result = NULL;
	int rc = name_remove(dir, SAVE_PART);

	taken_remove(dir);
	rc = rc ? rc : name_remove(dir, SAVE_NAME);
	if (rc < 0)
		return rc;
	fd = openat(dir, SAVE_PART, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = cd_vmproc_call_fd(fx->vm.name, "save", NULL, fd, SAVE_MS, &result, ret_error);
	if (rc == 0) {
		fx->result.values[0] =
			(uint64_t)json_integer_value(json_object_get(result, "bytes"));
		fx->result.values[1] =
			(uint64_t)json_integer_value(json_object_get(result, "total_ms"));
		cl_notice("VM %s: saved %llu bytes in %llu ms, the last %lld of them paused",
			  fx->vm.name, (unsigned long long)fx->result.values[0],
			  (unsigned long long)fx->result.values[1],
			  (long long)json_integer_value(json_object_get(result, "paused_ms")));
	} else if (rc != -ETIMEDOUT && rc != -EPIPE) {
		/* It was refused, or failed and the VM runs on. */
		(void)name_remove(dir, SAVE_PART);
	}
	json_decref(result);
	return rc;
}

void cd_fx_vm_save(struct cd_fx *fx)
{
	static const char *const settled[] = { "running", "paused", "saved", NULL };
	CL_CLEANUP_CLOSE int root = save_root_open(fx), dir = -1;
	CL_CLEANUP_FREE char *error = NULL;
	CL_CLEANUP_FREE char *text = NULL;
	struct cd_vm_status status;
	int rc;

	if (root == -ENODEV) {
		cd_fx_failed(fx, ENODEV, "VM %s has no disk on a volume: it cannot be saved",
			     fx->vm.name);
		return;
	}
	dir = root < 0 ? root : save_dir_open(root, fx->vm.name);
	if (dir < 0) {
		cd_fx_failed(fx, -dir, "volume %s, .holdfast/save/%s: %s", fx->save_volume,
			     fx->vm.name, strerror(-dir));
		return;
	}
	/* Asked again after our restart: it may be under way or over. */
	rc = cd_vmproc_status(fx->vm.name, CALL_MS, &status);
	if (rc == 0 && strcmp(status.state, "saving") == 0)
		rc = cd_fx_vmm_wait(fx, settled, SAVE_MS, &status);
	/* Only of a VM that is seen to run: of one that is not, the file may be all that there is.
	 */
	if (rc == 0 &&
	    (strcmp(status.state, "running") == 0 || strcmp(status.state, "paused") == 0)) {
		rc = save_write(fx, dir, &error);
	} else if (rc == 0 && strcmp(status.state, "saved") != 0) {
		rc = -EBUSY;
		if (asprintf(&error, "the VM is %s; allowed: running or paused", status.state) < 0)
			error = NULL;
	}
	if (rc == 0) {
		rc = save_settle(dir);
		/* Nobody knows on which name it is when a volume's answer is lost: asked again, it
		 * is looked for. */
		if (rc < 0) {
			cd_fx_unknown(fx, "VM %s is saved, volume %s: %s", fx->vm.name,
				      fx->save_volume, strerror(-rc));
			return;
		}
		cd_fx_done(fx);
		return;
	}
	if (rc == -ENOSPC) {
		save_full(fx);
		return;
	}
	if (asprintf(&text, "save on volume %s: %s", fx->save_volume,
		     error ? error : strerror(-rc)) < 0)
		text = NULL;
	cd_fx_error(fx, -rc, text);
}

/* No process is here: a new one that has read the image and waits.  False: the result is set. */
static bool restore_begin(struct cd_fx *fx, int dir, const char *taken, const char *path)
{
	int rc = name_there(dir, taken);

	if (rc < 0) {
		cd_fx_unknown(fx, "VM %s: whether its saved image was used is not known: volume %s: %s",
			      fx->vm.name, fx->save_volume, strerror(-rc));
		return false;
	}
	if (rc) {
		cd_fx_unknown(fx, "VM %s: its saved image on volume %s was used, and no process is left",
			      fx->vm.name, fx->save_volume);
		return false;
	}
	if (faccessat(dir, SAVE_NAME, R_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		cd_fx_failed(fx, errno, "%s: %s", path, strerror(errno));
		return false;
	}
	if (!cd_fx_vmm_check(fx))
		return false;
	rc = cd_fx_vmm_spawn(fx, "--restore", path);
	if (rc < 0)
		cd_fx_failed(fx, -rc, "%s: %s", cd_fx_vmm_path(), strerror(-rc));
	return rc == 0;
}

void cd_fx_vm_restore(struct cd_fx *fx)
{
	static const char *const up[] = { "paused", "ready", "running", NULL };
	CL_CLEANUP_CLOSE int root = save_root_open(fx), dir = -1;
	struct cd_vm_status status;
	char path[CD_PATH_MAX], taken[48];
	int rc, here;

	if (root == -ENODEV) {
		cd_fx_failed(fx, ENODEV, "VM %s has no disk on a volume", fx->vm.name);
		return;
	}
	dir = root < 0 ? root : save_dir_open(root, fx->vm.name);
	if (dir < 0) {
		cd_fx_unknown(fx, "volume %s, .holdfast/save/%s: %s", fx->save_volume, fx->vm.name,
			      strerror(-dir));
		return;
	}
	taken_name(fx, taken);
	cd_path(path, sizeof(path), CD_DIR_STORAGE, "%s/.holdfast/save/%s/" SAVE_NAME,
		fx->save_volume, fx->vm.name);
	/* Asked again: it may be running already. */
	here = cd_fx_vmm_here(fx);
	if (here < 0 || (!here && !restore_begin(fx, dir, taken, path)))
		return;
	rc = cd_fx_vmm_wait(fx, up, SAVE_MS, &status);
	if (rc < 0) {
		cd_fx_vmm_fail(fx, -rc);
		/* One that was there before may have run. */
		if (here && fx->result.outcome == CL_FAILED)
			fx->result.outcome = CL_UNKNOWN;
		return;
	}
	rc = strcmp(status.state, "running") == 0 ? 0 : image_take(dir, taken);
	if (rc < 0) {
		if (cd_fx_vmm_clear(fx))
			cd_fx_failed(fx, -rc, "volume %s: the saved image of VM %s cannot be taken: %s",
				     fx->save_volume, fx->vm.name, strerror(-rc));
		return;
	}
	cd_fx_vmm_resume(fx);
	/* From here on it may have run: that is no failure any more. */
	if (fx->result.outcome == CL_FAILED)
		fx->result.outcome = CL_UNKNOWN;
	if (fx->result.outcome == CL_DONE) {
		taken_remove(dir);
		(void)unlinkat(root, fx->vm.name, AT_REMOVEDIR);
	}
}

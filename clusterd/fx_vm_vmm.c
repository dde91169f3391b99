/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Effects on a VM's process: start, stop, kill, resume, query.  Every one may be
 * asked twice and looks first what is there.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/check_linux.h"
#include "clusterd/effect.h"
#include "clusterd/exec_linux.h"
#include "clusterd/fx_vm_vmm.h"
#include "clusterd/paths_linux.h"
#include "clusterd/presence_linux.h"
#include "clusterd/rundir_linux.h"
#include "clusterd/vmproc_linux.h"
#include "common/cl_cleanup.h"

#define START_MS    120000
#define SHUTDOWN_MS 120000 /* for a guest to power off, then it is ended */
#define KILL_MS	    20000
#define CALL_MS	    15000
#define POLL_MS	    50

static bool cancelled(const struct cd_fx *fx)
{
	return atomic_load(&((struct cd_fx *)fx)->cancelled);
}

const char *cd_fx_vmm_path(void)
{
	static _Thread_local char path[CD_PATH_MAX];

	cd_path_program(path, sizeof(path), "vmm");
	return path;
}

static json_t *config_disks(const struct cd_fx *fx)
{
	json_t *list = json_array();

	for (uint8_t i = 0; i < fx->vm.disk_count; i++) {
		const struct core_disk *d = &fx->vm.disks[i];

		json_t *disk = fx->disk_volumes[i][0]
				       ? json_pack("{s:s s:s}", "volume", fx->disk_volumes[i],
						   "path", d->path)
				       : json_pack("{s:s}", "file", d->path);

		if (d->readonly)
			json_object_set_new(disk, "readonly", json_true());
		json_array_append_new(list, disk);
	}
	return list;
}

/* "hf" and the VM's number and the net's: at most 15 bytes, the same on every node. */
static json_t *config_nets(const struct cd_fx *fx)
{
	json_t *list = json_array();

	for (uint8_t i = 0; i < fx->vm.net_count; i++) {
		const uint8_t *m = fx->vm.nets[i].mac;
		char tap[16], mac[20];

		snprintf(tap, sizeof(tap), "hf%u.%u", fx->effect.vm, i);
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
		json_array_append_new(list, json_pack("{s:s s:s s:s}", "tap", tap, "bridge",
						      fx->vm.nets[i].network, "mac", mac));
	}
	return list;
}

static int config_write(const struct cd_fx *fx, const char *dir, const char *path, bool paused)
{
	char uuid[CD_UUID_TEXT], lease[CD_PATH_MAX], *text;
	json_t *json;
	int rc;

	cd_uuid_text(fx->vm.uuid, uuid);
	cd_path(lease, sizeof(lease), CD_DIR_RUN, "lease");
	json = json_pack("{s:s s:s s:I s:I s:i s:s s:s s:I s:o s:o s:s s:i s:b s:s}", "name",
			 fx->vm.name, "uuid", uuid, "generation",
			 (json_int_t)fx->effect.generation, "memory_mib",
			 (json_int_t)fx->vm.memory_mib, "cpus", fx->vm.cpus, "kernel",
			 fx->vm.kernel, "append", fx->vm.append, "uid",
			 (json_int_t)CD_FX_UID(fx->effect.vm), "disks", config_disks(fx), "nets",
			 config_nets(fx), "run_dir", dir, "downtime_ms", 300,
			 "paused", paused, "lease", lease);
	if (json && fx->saving_ms)
		json_object_set_new(json, "stopped_since_ms", json_integer((json_int_t)fx->saving_ms));
	if (json && fx->vm.initrd[0])
		json_object_set_new(json, "initrd", json_string(fx->vm.initrd));
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	json_decref(json);
	if (!text)
		return -ENOMEM;
	rc = cd_file_write(path, 0600, text, strlen(text));
	free(text);
	return rc;
}

/*
 * What is ended first when memory runs out: VMs before the cluster's daemons (-900) and what the node needs, those of
 * low priority before those of high.
 */
static int oom_score(const struct cd_fx *fx)
{
	static const int of[] = { [CORE_PRIORITY_NONE] = 300,
				  [CORE_PRIORITY_LOW] = 250,
				  [CORE_PRIORITY_MEDIUM] = 200,
				  [CORE_PRIORITY_HIGH] = 100 };

	return fx->priority < CL_ARRAY_LEN(of) ? of[fx->priority] : 200;
}

int cd_fx_vmm_spawn(struct cd_fx *fx, const char *option, const char *value)
{
	char dir[CD_PATH_MAX], config[CD_PATH_MAX], cgroup[CL_NAME_MAX + 8];
	const char *argv[6] = { cd_fx_vmm_path(), "--config", config };
	CL_CLEANUP_CLOSE int dir_fd = -1, log_fd = -1;
	struct cd_presence presence = CD_PRESENCE_NONE;
	int n = 3, rc;
	pid_t pid;

	cd_path(dir, sizeof(dir), CD_DIR_RUN, "vm/%s", fx->vm.name);
	cd_path(config, sizeof(config), CD_DIR_RUN, "vm/%s/config.json", fx->vm.name);
	snprintf(cgroup, sizeof(cgroup), "vm-%s", fx->vm.name);
	if (option)
		argv[n++] = option;
	if (value)
		argv[n++] = value;
	argv[n] = NULL;
	dir_fd = cd_rundir_make(fx->vm.name);
	log_fd = dir_fd < 0 ? dir_fd : cd_rundir_log(dir_fd, "vmm.log");
	rc = log_fd < 0 ? log_fd : config_write(fx, dir, config, option != NULL);
	if (rc == 0)
		rc = cd_presence_take(fx->vm.name, cgroup, &presence);
	if (rc < 0)
		return rc;
	if (!cd_vmproc_gate_enter(fx->effect.incarnation)) {
		cd_presence_release(&presence);
		return -EPERM;
	}
	rc = cancelled(fx) ? -ECANCELED :
			     cd_exec_spawn(&(struct cd_exec){ .argv = argv,
							      .log_fd = log_fd,
							      .cgroup = cgroup,
							      .oom_score_adj = oom_score(fx),
							      .own_pids = true,
							      .pass_fds = { presence.pass_fd, -1 } },
					   &pid);
	cd_vmproc_gate_leave();
	if (rc == 0)
		cd_presence_pid(&presence, pid);
	cd_presence_release(&presence);
	return rc;
}

int cd_fx_vmm_wait(struct cd_fx *fx, const char *const states[], int timeout_ms,
		   struct cd_vm_status *status)
{
	uint64_t end = cd_now_ms() + (uint64_t)timeout_ms;

	for (;;) {
		int rc = cd_vmproc_status(fx->vm.name, CALL_MS, status);

		for (unsigned i = 0; rc == 0 && states[i]; i++)
			if (strcmp(status->state, states[i]) == 0)
				return 0;
		if (rc < 0 && cd_vmproc_look(fx->vm.name) == 0)
			return -ESRCH;
		if (cancelled(fx))
			return -ECANCELED;
		if (cd_now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, POLL_MS);
	}
}

static void cannot_tell(struct cd_fx *fx, int rc)
{
	cd_fx_unknown(fx, "node %s cannot tell whether a vmm of VM %s runs there: %s", fx->self,
		      fx->vm.name, strerror(-rc));
}

int cd_fx_vmm_here(struct cd_fx *fx)
{
	int rc = cd_vmproc_look(fx->vm.name);

	if (rc < 0)
		cannot_tell(fx, rc);
	return rc;
}

/* No vmm of this VM is left here, or the result is set and false returned. */
bool cd_fx_vmm_clear(struct cd_fx *fx)
{
	int rc = cd_vmproc_kill(fx->vm.name, KILL_MS);

	if (rc == -ETIMEDOUT)
		cd_fx_unknown(fx, "a process of VM %s does not end on node %s", fx->vm.name,
			      fx->self);
	else if (rc < 0)
		cannot_tell(fx, rc);
	return rc == 0;
}

bool cd_fx_vmm_check(struct cd_fx *fx)
{
	char error[CORE_TEXT_MAX];
	int rc = cd_check_uid(CD_FX_UID(fx->effect.vm), "/etc/subuid", error, sizeof(error));

	if (rc == 0)
		rc = cd_check_uid(CD_FX_UID(fx->effect.vm), "/etc/subgid", error, sizeof(error));
	if (rc == 0)
		rc = cd_check_kernel(fx->vm.kernel, error, sizeof(error));

	if (rc == 0 && fx->vm.initrd[0])
		rc = cd_check_file(fx->vm.initrd, "initrd", error, sizeof(error));
	for (uint8_t i = 0; rc == 0 && i < fx->vm.net_count; i++)
		rc = cd_check_bridge(fx->vm.nets[i].network, error, sizeof(error));
	if (rc < 0)
		cd_fx_failed(fx, -rc, "node %s: %s", fx->self, error);
	return rc == 0;
}

/* The vmm's words of a disk that refused it (vmm/disk_libcsv.c); 0: of something else. */
static uint64_t floor_in(const char *words)
{
	const char *at = strstr(words, "generation_floor=");

	return at ? strtoull(at + strlen("generation_floor="), NULL, 10) : 0;
}

/* After a vmm that should have come up did not: end it, so that FAILED is true. */
void cd_fx_vmm_fail(struct cd_fx *fx, int err)
{
	char words[CORE_TEXT_MAX];

	if (err != ESRCH)
		snprintf(words, sizeof(words), "%s", strerror(err));
	else if (!cd_vmproc_words(fx->vm.name, CD_WORDS_FIRST_ERROR, words, sizeof(words)))
		snprintf(words, sizeof(words), "the vmm ended at once and left no word");
	if (cd_fx_vmm_clear(fx)) {
		cd_fx_failed(fx, err == ESRCH ? EIO : err, "VM %s on node %s: %s", fx->vm.name,
			     fx->self, words);
		fx->result.values[1] = floor_in(words);
	}
}

void cd_fx_vm_start(struct cd_fx *fx)
{
	static const char *const up[] = { "running", "stopped", NULL };
	struct cd_vm_status status;
	int rc = cd_fx_vmm_here(fx);

	if (rc < 0)
		return;
	if (rc && cd_fx_vmm_wait(fx, up, START_MS, &status) == 0 &&
	    strcmp(status.state, "running") == 0 && status.generation == fx->effect.generation) {
		cd_fx_done(fx);
		return;
	}
	if (!cd_fx_vmm_clear(fx) || !cd_fx_vmm_check(fx))
		return;
	rc = cd_fx_vmm_spawn(fx, NULL, NULL);
	if (rc < 0) {
		if (cd_fx_vmm_clear(fx))
			cd_fx_failed(fx, -rc, "VM %s on node %s: %s: %s", fx->vm.name, fx->self,
				     cd_fx_vmm_path(), strerror(-rc));
		return;
	}
	rc = cd_fx_vmm_wait(fx, up, START_MS, &status);
	if (rc == 0 && strcmp(status.state, "running") != 0)
		rc = -ESRCH;
	if (rc < 0)
		cd_fx_vmm_fail(fx, -rc);
	else
		cd_fx_done(fx);
}

void cd_fx_vm_stop(struct cd_fx *fx)
{
	bool force = fx->effect.flags & CORE_FLAG_FORCE;
	int here = cd_fx_vmm_here(fx);
	json_t *result;
	char *error;

	if (here < 0)
		return;
	if (here) {
		cd_vmproc_call(fx->vm.name, force ? "quit" : "shutdown", NULL, CALL_MS, &result,
			       &error);
		json_decref(result);
		free(error);
		if (cd_vmproc_wait(fx->vm.name, force ? CALL_MS : SHUTDOWN_MS) < 0 &&
		    !cd_fx_vmm_clear(fx))
			return;
	}
	cd_fx_done(fx);
}

void cd_fx_vm_kill(struct cd_fx *fx)
{
	struct cd_vm_status status;
	int rc = cd_fx_vmm_here(fx);

	if (rc < 0)
		return;
	/* A copy of a later generation is not ours to end. */
	rc = rc ? cd_vmproc_status(fx->vm.name, 2000, &status) : -ENOENT;
	if (cd_vmproc_own_trouble(rc)) {
		cannot_tell(fx, rc);
		return;
	}
	if (rc == 0 && status.generation > fx->effect.generation) {
		cd_fx_done(fx);
		return;
	}
	if (cd_fx_vmm_clear(fx))
		cd_fx_done(fx);
}

/* What stays in the status of a vmm that may go on. */
void cd_fx_vmm_resume(struct cd_fx *fx)
{
	static const char *const up[] = { "running", NULL };
	struct cd_vm_status status;
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result;
	/* At once: a guest stands still until then.  It is refused to one that runs already. */
	int rc = cd_vmproc_call(fx->vm.name, "resume",
				json_pack("{s:I}", "generation",
					  (json_int_t)fx->effect.generation),
				START_MS, &result, &error);

	json_decref(result);
	if (cd_vmproc_status(fx->vm.name, CALL_MS, &status) == 0 &&
	    strcmp(status.state, "running") == 0 && status.generation == fx->effect.generation)
		rc = 0;
	else if (rc == 0)
		rc = cd_fx_vmm_wait(fx, up, START_MS, &status);
	if (rc == 0)
		cd_fx_done(fx);
	else if (cd_vmproc_look(fx->vm.name) == 0)
		cd_fx_vmm_fail(fx, ESRCH);
	else
		cd_fx_unknown(fx, "VM %s on node %s does not resume: %s", fx->vm.name, fx->self,
			      error ? error : strerror(-rc));
}

void cd_fx_vm_resume(struct cd_fx *fx)
{
	cd_fx_vmm_resume(fx);
}

uint8_t cd_fx_vmm_seen(const char *state)
{
	static const struct {
		const char *state;
		enum core_vm_seen seen;
	} table[] = {
		{ "running", CORE_SEEN_RUNNING },   { "migrating", CORE_SEEN_MIGRATING },
		{ "paused", CORE_SEEN_PAUSED },	    { "switched", CORE_SEEN_PAUSED },
		/* What matters of a save is that it will stand still: nobody may take it for one that just runs. */
		{ "saving", CORE_SEEN_PAUSED },
		{ "ready", CORE_SEEN_PAUSED },	    { "incoming", CORE_SEEN_STARTING },
		{ "starting", CORE_SEEN_STARTING }, { "saved", CORE_SEEN_SAVED },
		{ "stopped", CORE_SEEN_NONE },
	};

	for (unsigned i = 0; i < CL_ARRAY_LEN(table); i++)
		if (strcmp(table[i].state, state) == 0)
			return (uint8_t)table[i].seen;
	return CORE_SEEN_STARTING;
}

void cd_fx_vm_query(struct cd_fx *fx)
{
	struct cd_vm_status status;
	int here = cd_fx_vmm_here(fx);

	if (here < 0)
		return;
	if (!here) {
		fx->result.values[0] = CORE_SEEN_NONE;
	} else if (cd_vmproc_status(fx->vm.name, CALL_MS, &status) < 0) {
		if (cd_vmproc_look(fx->vm.name) != 0) {
			cd_fx_unknown(fx, "VM %s on node %s does not answer", fx->vm.name, fx->self);
			return;
		}
		fx->result.values[0] = CORE_SEEN_NONE;
	} else {
		fx->result.values[0] = cd_fx_vmm_seen(status.state);
		fx->result.values[1] = status.generation;
	}
	cd_fx_done(fx);
}

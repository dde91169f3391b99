/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What concerns this node alone: the lease of its VMs, their end at the deadline, telling csvd who is who,
 * and saying what runs here.  The lease is written at once, here, into a page that every vmm reads: to freeze a VM
 * nothing of it must answer.  Kill goes to a pool of its own: it never waits behind other work.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/effect.h"
#include "clusterd/fx_vm_vmm.h"
#include "clusterd/monitor_vmm.h"
#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#define CALL_MS	    30000
#define INSTANCE_MS 3000
#define KILL_MS	    20000
#define KILL_TRIES  3

struct local_job {
	struct cd_job job;
	struct cd *cd;
	enum replica_local_kind kind;
	uint32_t incarnation;
	char vm[CL_NAME_MAX];
	uint64_t generation;
	char verb[16];
	json_t *args;
	int timeout_ms;
	struct core_seen *seen;
	uint16_t n_seen;
	size_t n_found;
	int rc; /* of looking */
	uint32_t memory_mib;
	uint16_t cpus;
	uint64_t csvd;
};

static struct local_job *local_new(struct cd *cd, const struct replica_local *local,
				   void (*run)(struct cd_job *job), void (*done)(struct cd_job *job))
{
	const struct core_state *st = cd_state(cd);
	struct local_job *job = calloc(1, sizeof(*job));

	if (!job)
		abort();
	job->job = (struct cd_job){ .run = run, .done = done };
	job->cd = cd;
	job->kind = local->kind;
	job->incarnation = st->nodes[cd->self.id].incarnation;
	return job;
}

static void local_free(struct cd_job *base)
{
	struct local_job *job = (struct local_job *)base;

	json_decref(job->args);
	free(job->seen);
	free(job);
}

/* ---- kill ------------------------------------------------------------------------------------ */

/*
 * csvd goes on: no other node takes a volume over without having fenced this one, and then the watch
 * over the LUN stops its I/O.  A node that comes back unfenced finds its volumes whole.
 */
static void kill_run(struct cd_job *base)
{
	struct local_job *job = (struct local_job *)base;

	int rc = -ETIMEDOUT;

	cd_vmproc_gate_close(job->incarnation);
	for (int tries = 0; rc < 0 && tries < KILL_TRIES; tries++) {
		rc = cd_vmprocs_kill_all(KILL_MS);
		if (rc < 0)
			cl_error("whether every vmm of this node has ended is not known: %s",
				 rc == -ETIMEDOUT ? "one does not end" : strerror(-rc));
	}
}

static void open_run(struct cd_job *base)
{
	cd_vmproc_gate_open(((struct local_job *)base)->incarnation);
}

/* ---- csvd ----------------------------------------------------------------------------------- */

static void csvd_run(struct cd_job *base)
{
	struct local_job *job = (struct local_job *)base;
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result = NULL;
	int rc = cd_csvd_call(job->verb, job->args, job->timeout_ms, &result, &error);

	job->args = NULL;
	json_decref(result);
	if (rc < 0 && rc != -ENOENT && rc != -ENOTCONN)
		cl_warning("csvd %s: %s", job->verb, error ? error : strerror(-rc));
}

static void csvd_send(struct cd *cd, const struct replica_local *local, const char *verb,
		      const char *order, json_t *args)
{
	struct local_job *job = local_new(cd, local, csvd_run, local_free);

	snprintf(job->verb, sizeof(job->verb), "%s", verb);
	job->args = args;
	job->timeout_ms = CALL_MS;
	job->job.key = cd_pool_key(verb, order);
	cd_pool_submit(cd->work, &job->job);
}

static void configure(struct cd *cd, const struct replica_local *local)
{
	const struct core_state *st = cd_state(cd);
	json_t *nodes = json_array();

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state != CORE_NODE_UNUSED)
			json_array_append_new(nodes, json_pack("{s:i s:s s:s}", "id", id, "name",
							       st->nodes[id].name, "address",
							       st->nodes[id].address));
	csvd_send(cd, local, "configure", "",
		  json_pack("{s:i s:s s:s s:I s:b s:o}", "node", (int)cd->self.id, "name",
			    cd->self.name, "address", cd->self.address, "epoch",
			    (json_int_t)cd->replica->log.epoch, "roleless",
			    st->level < CORE_LEVEL_ROLES, "nodes", nodes));
}

static void volume_owner(struct cd *cd, const struct replica_local *local)
{
	const struct core_state *st = cd_state(cd);
	const struct core_volume *volume = &st->volumes[local->volume];
	const char *address = local->owner ? st->nodes[local->owner].address : "";

	csvd_send(cd, local, "owner", volume->name,
		  json_pack("{s:s s:I s:i s:s}", "volume", volume->name, "term",
			    (json_int_t)local->term, "owner", (int)local->owner, "address",
			    address));
}

/* ---- what runs here ------------------------------------------------------------------------- */

static void list_run(struct cd_job *base)
{
	struct local_job *job = (struct local_job *)base;
	CL_CLEANUP_FREE struct cd_vmproc *list = calloc(CD_VMPROCS_MAX, sizeof(*list));
	size_t n = 0;
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	long mib = (long)((uint64_t)pages * (uint64_t)page >> 20);

	job->rc = list ? cd_vmproc_list(list, CD_VMPROCS_MAX, &n) : -ENOMEM;
	job->n_found = n;
	job->seen = calloc(CORE_REPORT_MAX, sizeof(*job->seen));
	for (size_t i = 0; job->seen && i < n && job->n_seen < CORE_REPORT_MAX; i++) {
		struct core_seen *seen = &job->seen[job->n_seen++];
		struct cd_vm_status status;

		memcpy(seen->name, list[i].name, sizeof(seen->name));
		/* One that does not answer yet exists all the same. */
		seen->seen = CORE_SEEN_STARTING;
		if (cd_vmproc_status(list[i].name, CALL_MS, &status) == 0) {
			seen->seen = cd_fx_vmm_seen(status.state);
			seen->generation = status.generation;
		}
		if (seen->seen == CORE_SEEN_NONE)
			seen->seen = CORE_SEEN_STARTING;
	}
	job->memory_mib = mib > (long)CD_RESERVE_MIB ? (uint32_t)(mib - CD_RESERVE_MIB) : 0;
	job->cpus = (uint16_t)sysconf(_SC_NPROCESSORS_ONLN);
	job->csvd = cd_csvd_instance(INSTANCE_MS);
}

static void list_done(struct cd_job *base)
{
	struct local_job *job = (struct local_job *)base;
	struct cd *cd = job->cd;

	/* A VM that is left out would count as ended.  The core asks again. */
	if (job->rc < 0) {
		cl_error("what runs here cannot be looked at: %s: nothing is told", strerror(-job->rc));
		local_free(base);
		return;
	}
	if (job->n_found > job->n_seen) {
		cl_error("%zu vmms run here, %u can be told of: nothing is told", job->n_found,
			 CORE_REPORT_MAX);
		local_free(base);
		return;
	}
	for (uint16_t i = 0; i < job->n_seen; i++)
		cd_monitor_add(cd, job->seen[i].name, job->seen[i].generation);
	cl_info("%u VMs run here; %u MiB and %u cpus for VMs", job->n_seen, job->memory_mib,
		job->cpus);
	replica_hello(cd->replica, cd_now_ms(), job->seen, job->n_seen, job->memory_mib, job->cpus,
		      job->csvd);
	cd_drive_settle(cd);
	local_free(base);
}

/* ---- dispatch ------------------------------------------------------------------------------- */

void cd_local_run(struct cd *cd, const struct replica_local *local)
{
	struct local_job *job;

	switch (local->kind) {
	case REPLICA_FREEZE:
		cd_drive_note(cd, "local", cd->self.name, "thawed", "frozen",
			      local->why ? local->why : "this node is cut off");
		break;
	case REPLICA_LEASE:
		cd_lease_give(cd, local->until_ms, local->proof_ms);
		break;
	case REPLICA_THAW:
		cd_drive_note(cd, "local", cd->self.name, "frozen", "thawed",
			      local->why ? local->why : "this node is a member again");
		/* Behind a kill that is still running. */
		job = local_new(cd, local, open_run, local_free);
		job->job.key = cd_pool_key("gate", "");
		cd_pool_submit(cd->fence, &job->job);
		break;
	case REPLICA_KILL:
		cd_drive_note(cd, "local", cd->self.name, "frozen", "killed",
			      local->why ? local->why : "the deadline of a cut-off node is here");
		job = local_new(cd, local, kill_run, local_free);
		job->job.key = cd_pool_key("gate", "");
		cd_pool_submit(cd->fence, &job->job);
		break;
	case REPLICA_CONFIGURE:
		configure(cd, local);
		break;
	case REPLICA_VOLUME_OWNER:
		volume_owner(cd, local);
		break;
	case REPLICA_LIST:
		job = local_new(cd, local, list_run, list_done);
		cd_pool_submit(cd->work, &job->job);
		break;
	}
}

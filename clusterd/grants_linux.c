/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling csvd whom it serves, whenever the log changes that for a volume that this node owns.  One
 * that was not heard is said again; csvd goes by the number of the entry, so order does not matter.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/daemon.h"
#include "clusterd/grants_jansson.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#define CALL_MS	 30000
#define AGAIN_MS 1000u

/* Of what the table would say, its number aside. */
static uint64_t digest_of(const struct core_state *st, uint16_t volume)
{
	uint64_t digest = cl_hash64(1, st->volumes[volume].name, strlen(st->volumes[volume].name));

	digest = cl_hash64(digest, &st->volumes[volume].term, sizeof(uint64_t));
	for (uint16_t i = 0; i < CORE_VMS_MAX; i++) {
		const struct core_vm *vm = &st->vms[i];
		uint64_t held[CL_NODES_MAX], any = 0;

		if (vm->state == CORE_VM_UNUSED)
			continue;
		for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
			any |= held[id - 1] = cd_grants_generation(vm, id);
		if (!any)
			continue;
		digest = cl_hash64(digest, &i, sizeof(i));
		digest = cl_hash64(digest, held, sizeof(held));
		digest = cl_hash64(digest, vm->config.name, strlen(vm->config.name));
		for (uint8_t d = 0; d < vm->config.disk_count; d++)
			digest = cl_hash64(digest, &vm->config.disks[d].volume,
					   sizeof(vm->config.disks[d].volume));
	}
	return digest ? digest : 1;
}

struct tell_job {
	struct cd_job job;
	struct cd *cd;
	uint16_t volume;
	uint64_t digest;
	json_t *args;
	int rc;
};

static void tell_run(struct cd_job *base)
{
	struct tell_job *job = (struct tell_job *)base;
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result = NULL;

	job->rc = cd_csvd_call("vms", job->args, CALL_MS, &result, &error);
	job->args = NULL;
	json_decref(result);
	if (job->rc < 0 && job->rc != -ENOENT)
		cl_warning("csvd vms: %s", error ? error : strerror(-job->rc));
}

static void tell_done(struct cd_job *base)
{
	struct tell_job *job = (struct tell_job *)base;

	/* Not heard: again in a moment.  A csvd that does not have the volume or the verb learns it
	 * by `own`. */
	if (job->rc < 0 && job->rc != -ENOENT && job->rc != -EINVAL &&
	    job->cd->grants_told[job->volume] == job->digest) {
		job->cd->grants_told[job->volume] = 0;
		job->cd->grants_again_ms = cd_now_ms() + AGAIN_MS;
	}
	free(job);
}

void cd_grants_changed(struct cd *cd)
{
	const struct core_state *st = cd_state(cd);

	cd->grants_again_ms = 0;
	for (uint16_t i = 0; i < st->volume_count; i++) {
		const struct core_volume *v = &st->volumes[i];
		struct tell_job *job;
		uint64_t digest;

		if (v->state == CORE_VOLUME_UNUSED || v->owner != cd->self.id) {
			cd->grants_told[i] = 0;
			continue;
		}
		digest = digest_of(st, i);
		if (digest == cd->grants_told[i])
			continue;
		job = calloc(1, sizeof(*job));
		if (!job)
			abort();
		job->cd = cd;
		job->volume = i;
		job->digest = digest;
		job->args = cd_grants_json(st, i);
		json_object_set_new(job->args, "volume", json_string(v->name));
		job->job = (struct cd_job){ .run = tell_run,
					    .done = tell_done,
					    .key = cd_pool_key("vms", v->name) };
		cd->grants_told[i] = digest;
		cd_pool_submit(cd->work, &job->job);
	}
}

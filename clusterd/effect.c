/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the core's effects to workers and back.  A table says who carries out
 * what; everything a worker needs is copied here, on the loop's thread.
 */
#include "clusterd/effect.h"
#include "clusterd/grants_jansson.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clusterd/monitor_vmm.h"
#include "clusterd/vmproc_linux.h"
#include "clusterd/watch_scsi3pr.h"
#include "common/cl_log.h"

enum order { FREE, BY_VOLUME };
enum pool { WORK, FENCE };

static const struct {
	void (*run)(struct cd_fx *fx);
	enum pool pool;
	enum order order;
} table[CORE_FX_KINDS] = {
	[CORE_FX_NODE_RESET] = { cd_fx_node_reset, FENCE, FREE },
	[CORE_FX_VOL_FORMAT] = { cd_fx_vol_format, WORK, BY_VOLUME },
	[CORE_FX_VOL_JOIN] = { cd_fx_vol_join, WORK, BY_VOLUME },
	[CORE_FX_VOL_OWN] = { cd_fx_vol_own, WORK, BY_VOLUME },
	[CORE_FX_VOL_RELEASE] = { cd_fx_vol_release, WORK, BY_VOLUME },
	[CORE_FX_VOL_GONE] = { cd_fx_vol_gone, WORK, FREE },
	[CORE_FX_FENCE] = { cd_fx_fence, FENCE, FREE },
	[CORE_FX_DISK_CREATE] = { cd_fx_disk_create, WORK, FREE },
	[CORE_FX_DISK_DELETE] = { cd_fx_disk_delete, WORK, FREE },
	[CORE_FX_VM_START] = { cd_fx_vm_start, WORK, FREE },
	[CORE_FX_VM_STOP] = { cd_fx_vm_stop, WORK, FREE },
	[CORE_FX_VM_KILL] = { cd_fx_vm_kill, FENCE, FREE },
	[CORE_FX_VM_INCOMING] = { cd_fx_vm_incoming, WORK, FREE },
	[CORE_FX_VM_MIGRATE] = { cd_fx_vm_migrate, WORK, FREE },
	[CORE_FX_VM_AWAIT] = { cd_fx_vm_await, WORK, FREE },
	[CORE_FX_VM_FINISH] = { cd_fx_vm_finish, WORK, FREE },
	[CORE_FX_VM_RESUME] = { cd_fx_vm_resume, WORK, FREE },
	[CORE_FX_VM_SAVE] = { cd_fx_vm_save, WORK, FREE },
	[CORE_FX_VM_RESTORE] = { cd_fx_vm_restore, WORK, FREE },
	[CORE_FX_VM_QUERY] = { cd_fx_vm_query, WORK, FREE },
};

/* ---- results -------------------------------------------------------------------------------- */

static void set(struct cd_fx *fx, enum cl_outcome outcome, int err, const char *format, va_list ap)
{
	fx->result.outcome = (uint8_t)outcome;
	fx->result.code = (uint16_t)err;
	vsnprintf(fx->result.text, sizeof(fx->result.text), format, ap);
}

void cd_fx_done(struct cd_fx *fx)
{
	fx->result.outcome = CL_DONE;
	fx->result.code = 0;
}

void cd_fx_failed(struct cd_fx *fx, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set(fx, CL_FAILED, err, format, ap);
	va_end(ap);
}

void cd_fx_unknown(struct cd_fx *fx, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set(fx, CL_UNKNOWN, ETIMEDOUT, format, ap);
	va_end(ap);
}

void cd_fx_error(struct cd_fx *fx, int err, const char *text)
{
	if (err == ETIMEDOUT || err == EPIPE || err == ECONNRESET)
		cd_fx_unknown(fx, "node %s: %.120s", fx->self, text ? text : strerror(err));
	else
		cd_fx_failed(fx, err, "node %s: %.120s", fx->self, text ? text : strerror(err));
}

/* ---- effects -------------------------------------------------------------------------------- */

static struct cd_fx *fx_list;

/* The other node; the effect that awaits a VM does not name it, but the state says from where it comes. */
static uint8_t other_node(const struct core_state *st, const struct core_effect *e)
{
	return e->kind == CORE_FX_VM_INCOMING && e->vm < CORE_VMS_MAX ?
		       st->vms[e->vm].migration.source :
		       e->peer;
}

static void fx_copy(struct cd *cd, struct cd_fx *fx)
{
	const struct core_state *st = cd_state(cd);
	const struct core_effect *e = &fx->effect;
	uint8_t other = other_node(st, e);

	memcpy(fx->self, cd->self.name, sizeof(fx->self));
	memcpy(fx->cluster_uuid, cd->self.uuid, CL_UUID_BYTES);
	memcpy(fx->own_vm_address, st->nodes[cd->self.id].vm_address, CORE_ADDRESS_MAX);
	if (!fx->own_vm_address[0])
		memcpy(fx->own_vm_address, st->nodes[cd->self.id].address, CORE_ADDRESS_MAX);
	fx->own_key = st->nodes[cd->self.id].pr_key;
	if (other >= 1 && other <= CL_NODES_MAX) {
		const struct core_node *peer = &st->nodes[other];

		memcpy(fx->peer, peer->name, sizeof(fx->peer));
		memcpy(fx->peer_address,
		       peer->vm_address[0] ? peer->vm_address : peer->address, CORE_ADDRESS_MAX);
	}
	if (e->volume < CORE_VOLUMES_MAX) {
		const struct core_volume *volume = &st->volumes[e->volume];

		memcpy(fx->volume, volume->name, sizeof(fx->volume));
		memcpy(fx->lun, volume->lun, sizeof(fx->lun));
		memcpy(fx->volume_uuid, volume->uuid, CL_UUID_BYTES);
		if (e->kind == CORE_FX_VOL_OWN)
			fx->grants = cd_grants_json(st, e->volume);
	}
	if (e->vm < CORE_VMS_MAX) {
		fx->vm = st->vms[e->vm].config;
		fx->priority = st->vms[e->vm].policy.priority;
		fx->saving_ms = cd->saving_ms[e->vm];
		for (uint8_t i = 0; i < fx->vm.disk_count; i++) {
			if (fx->vm.disks[i].volume >= CORE_VOLUMES_MAX)
				continue;
			memcpy(fx->disk_volumes[i], st->volumes[fx->vm.disks[i].volume].name,
			       CL_NAME_MAX);
			if (!fx->save_volume[0])
				memcpy(fx->save_volume, fx->disk_volumes[i], CL_NAME_MAX);
		}
	}
}

static void fx_run(struct cd_job *job)
{
	struct cd_fx *fx = (struct cd_fx *)job;

	cd_fx_unknown(fx, "no result");
	table[fx->effect.kind].run(fx);
}

/* A VM that an effect left running here is listened to. */
static void fx_follow(struct cd *cd, const struct cd_fx *fx)
{
	if (fx->result.outcome != CL_DONE)
		return;
	switch (fx->effect.kind) {
	case CORE_FX_VM_START:
	case CORE_FX_VM_INCOMING:
	case CORE_FX_VM_RESUME:
	case CORE_FX_VM_RESTORE:
		cd_monitor_add(cd, fx->vm.name, fx->effect.generation);
		break;
	default:
		break;
	}
}

static void fx_done(struct cd_job *job)
{
	struct cd_fx *fx = (struct cd_fx *)job;
	struct cd *cd = fx->cd;

	for (struct cd_fx **p = &fx_list; *p; p = &(*p)->next)
		if (*p == fx) {
			*p = fx->next;
			break;
		}
	if (fx->result.outcome == CL_DONE)
		cl_info("%s %s%s: done", core_effect_name(fx->effect.kind), fx->volume, fx->vm.name);
	else
		cl_warning("%s %s%s: %s: %s", core_effect_name(fx->effect.kind), fx->volume,
			   fx->vm.name, cl_outcome_name(fx->result.outcome), fx->result.text);
	fx_follow(cd, fx);
	replica_result(cd->replica, cd_now_ms(), &fx->result);
	cd_drive_settle(cd);
	json_decref(fx->grants);
	free(fx);
}

/* What this effect does here on purpose is not an accident to report. */
static void fx_announce(struct cd *cd, const struct cd_fx *fx)
{
	switch (fx->effect.kind) {
	case CORE_FX_VM_STOP:
	case CORE_FX_VM_KILL:
		cd_monitor_expect_exit(cd, fx->vm.name);
		break;
	case CORE_FX_VM_FINISH:
		if (fx->effect.flags & CORE_FLAG_COMMITTED)
			cd_monitor_expect_exit(cd, fx->vm.name);
		break;
	case CORE_FX_NODE_RESET:
		for (unsigned i = 0; i < CORE_VOLUMES_MAX; i++) {
			cd_watch_stop(cd->watches[i]);
			cd->watches[i] = NULL;
		}
		for (uint16_t i = 0; i < cd_state(cd)->vm_count; i++)
			cd_monitor_expect_exit(cd, cd_state(cd)->vms[i].config.name);
		break;
	default:
		break;
	}
}

void cd_effect_run(struct cd *cd, const struct core_effect *effect)
{
	struct cd_fx *fx = calloc(1, sizeof(*fx));

	if (!fx)
		abort();
	fx->cd = cd;
	fx->effect = *effect;
	fx->result.id = effect->id;
	fx_copy(cd, fx);
	fx->next = fx_list;
	fx_list = fx;
	fx->job = (struct cd_job){ .run = fx_run, .done = fx_done };
	if (effect->kind >= CORE_FX_KINDS || !table[effect->kind].run) {
		cd_fx_failed(fx, ENOSYS, "effect %u is not known to this clusterd", effect->kind);
		cd_post_call(cd->post, (void (*)(void *))fx_done, fx);
		return;
	}
	if (table[effect->kind].order == BY_VOLUME)
		fx->job.key = cd_pool_key("volume", fx->volume);
	fx_announce(cd, fx);
	cl_info("%s %s%s ...", core_effect_name(effect->kind), fx->volume, fx->vm.name);
	cd_pool_submit(table[effect->kind].pool == FENCE ? cd->fence : cd->work, &fx->job);
}

void cd_effect_void(struct cd *cd, uint64_t id)
{
	for (struct cd_fx *fx = fx_list; fx; fx = fx->next)
		if (fx->effect.id == id)
			atomic_store(&fx->cancelled, true);
}

/* ---- watches -------------------------------------------------------------------------------- */

/*
 * A LUN is watched while the state says that this incarnation's key is registered
 * there; after a restart of clusterd, too.  A fenced node's watch stays until its key is no longer ours.
 */
static void watches_keep(struct cd *cd)
{
	const struct core_state *st = cd_state(cd);
	const struct core_node *self = &st->nodes[cd->self.id];

	for (uint16_t i = 0; i < CORE_VOLUMES_MAX; i++) {
		const struct core_volume *volume = &st->volumes[i];
		bool want = i < st->volume_count && volume->state != CORE_VOLUME_UNUSED &&
			    volume->registered & CORE_NODE_BIT(cd->self.id) &&
			    volume->attached & CORE_NODE_BIT(cd->self.id) && self->pr_key;

		if (cd->watches[i] && (!want || cd_watch_key(cd->watches[i]) != self->pr_key)) {
			cd_watch_stop(cd->watches[i]);
			cd->watches[i] = NULL;
		}
		if (want && !cd->watches[i])
			cd->watches[i] =
				cd_watch_start(cd, volume->name, volume->lun, self->pr_key);
	}
}

/* ---- clocks --------------------------------------------------------------------------------- */

static uint64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/*
 * Since when each saved guest stands still at most, by this node's clock: every node hears of a save in the log before
 * it begins.  Whoever restores it moves its clocks on by no more; after a restart of clusterd that is less than it could be.
 */
static void saves_note(struct cd *cd)
{
	const struct core_state *st = cd_state(cd);

	for (uint16_t i = 0; i < CORE_VMS_MAX; i++) {
		bool saving = i < st->vm_count && st->vms[i].state == CORE_VM_QUICK;

		if (!saving)
			cd->saving_ms[i] = 0;
		else if (!cd->saving_ms[i])
			cd->saving_ms[i] = monotonic_ms();
	}
}

void cd_effect_changed(struct cd *cd)
{
	saves_note(cd);
	watches_keep(cd);
}

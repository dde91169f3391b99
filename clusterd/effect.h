/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One effect of the core on its way through a worker.  Everything the worker needs is copied from the state
 * when the effect is issued; its result goes back to the replica.
 */
#ifndef CD_EFFECT_H
#define CD_EFFECT_H

#include <stdatomic.h>

#include "clusterd/daemon.h"

struct cd_fx {
	struct cd_job job;
	struct cd *cd;
	struct cd_fx *next; /* list of those under way; loop thread */
	struct core_effect effect;
	struct core_result result;
	atomic_bool cancelled; /* no longer wanted */

	char self[CL_NAME_MAX];
	uint8_t cluster_uuid[CL_UUID_BYTES];
	/* volume */
	char volume[CL_NAME_MAX];
	char lun[CORE_LUN_MAX];
	uint8_t volume_uuid[CL_UUID_BYTES];
	json_t *grants; /* VOL_OWN: cd_grants_json(), ours; or NULL */
	/* peer */
	char peer[CL_NAME_MAX];
	char peer_address[CORE_ADDRESS_MAX]; /* its vm_address */
	char own_vm_address[CORE_ADDRESS_MAX];
	uint64_t own_key; /* this node's present PR key */
	/* VM */
	struct core_vm_config vm;
	uint8_t priority; /* enum core_priority */
	char disk_volumes[CORE_DISKS_MAX][CL_NAME_MAX];
	uint64_t saving_ms;	       /* CLOCK_MONOTONIC before which its save cannot have begun */
	char save_volume[CL_NAME_MAX]; /* volume of the first disk on one, or "" */
};

/* Result of a worker; text may be NULL. */
void cd_fx_done(struct cd_fx *fx);
void cd_fx_failed(struct cd_fx *fx, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void cd_fx_unknown(struct cd_fx *fx, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* err (positive) with UNKNOWN for time-outs and lost connections, else FAILED. */
void cd_fx_error(struct cd_fx *fx, int err, const char *text);

/* fx_volume_csvd.c */
void cd_fx_vol_own(struct cd_fx *fx);
void cd_fx_vol_release(struct cd_fx *fx);
void cd_fx_vol_gone(struct cd_fx *fx);
void cd_fx_disk_create(struct cd_fx *fx);
void cd_fx_disk_delete(struct cd_fx *fx);
/* Step of VOL_JOIN. */
int cd_csvd_attach(struct cd_fx *fx, const char *device, char *error, size_t cap_bytes);

/* fx_lun_scsi3pr.c */
void cd_fx_vol_format(struct cd_fx *fx);
void cd_fx_vol_join(struct cd_fx *fx);
void cd_fx_fence(struct cd_fx *fx);

/* fx_vm_vmm.c */
void cd_fx_vm_start(struct cd_fx *fx);
void cd_fx_vm_stop(struct cd_fx *fx);
void cd_fx_vm_kill(struct cd_fx *fx);
void cd_fx_vm_resume(struct cd_fx *fx);
void cd_fx_vm_query(struct cd_fx *fx);
/* fx_move_vmm.c */
void cd_fx_vm_incoming(struct cd_fx *fx);
void cd_fx_vm_migrate(struct cd_fx *fx);
void cd_fx_vm_await(struct cd_fx *fx);
void cd_fx_vm_finish(struct cd_fx *fx);
void cd_fx_vm_save(struct cd_fx *fx);
void cd_fx_vm_restore(struct cd_fx *fx);

/* fx_node_dm.c */
void cd_fx_node_reset(struct cd_fx *fx);

#endif

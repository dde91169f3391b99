/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's disks: made when it is created, removed with it if they were made, one at a time, at the owner of their volume.
 * An outcome that is not known is asked for again, with the word that what is there may be ours.
 */
#include "clusterd/core/internal.h"

void core_disk_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
		      const struct core_result *result)
{
	struct core_disk *disk = &vm->config.disks[fx->disk];
	char text[CORE_TEXT_MAX];

	if (fx->kind == CORE_FX_DISK_DELETE && fx->flags & CORE_FLAG_KEEP) {
		/* FAILED: it is not there, or another's.  Either way it is nothing of this VM. */
		if (result->outcome == CL_UNKNOWN)
			vm->retry_ms = st->now_ms + st->timing.retry_ms;
		else
			disk->volume = CORE_NONE;
		return;
	}
	if (fx->kind == CORE_FX_DISK_DELETE) {
		if (result->outcome == CL_DONE) {
			disk->created = false;
			core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
				       CORE_WHY_DISK_DELETED, fx->node, fx->disk, 0);
		} else {
			vm->retry_ms = st->now_ms + st->timing.retry_ms;
		}
		return;
	}
	if (vm->state != CORE_VM_CREATING) {
		/* Deleted meanwhile: whatever is there is ours. */
		disk->created |= result->outcome != CL_FAILED;
		return;
	}
	switch (result->outcome) {
	case CL_DONE:
		disk->created = true;
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
			       CORE_WHY_DISK_CREATED, fx->node, fx->disk, 0);
		break;
	case CL_FAILED:
		core_text_join(text, sizeof(text), "disk ", disk->path, ": ",
			       result->text[0] ? result->text : "could not be created", NULL);
		core_job_end(st, &vm->job, false, text);
		core_vm_set(st, vm, CORE_VM_DELETING, CORE_WHY_DISK_FAILED, fx->node, fx->disk,
			    result->code);
		break;
	default:
		vm->again = true;
		vm->retry_ms = st->now_ms + st->timing.retry_ms;
		break;
	}
}

bool core_disks_step(struct core_state *st, uint16_t index, enum core_effect_kind kind)
{
	struct core_vm *vm = &st->vms[index];
	uint8_t i;

	for (i = 0; i < vm->config.disk_count; i++) {
		struct core_disk *disk = &vm->config.disks[i];
		struct core_volume *v;
		struct core_effect *fx;
		bool keep;

		if (disk->volume == CORE_NONE)
			continue;
		keep = kind == CORE_FX_DISK_DELETE && !disk->created;
		if (kind == CORE_FX_DISK_CREATE ? (disk->created || !disk->size_bytes) :
						  keep && st->level < CORE_LEVEL_IDENTITY)
			continue;
		v = &st->volumes[disk->volume];
		if (st->now_ms < vm->retry_ms || core_effect_find(st, 0, 0, CORE_NONE, index))
			return false;
		if (v->state != CORE_VOLUME_ACTIVE || !core_node_ok(st, v->owner)) {
			core_vm_why(vm, CORE_WHY_VM_WAIT_VOLUME, 0, 0);
			return false;
		}
		fx = core_effect_new(st, kind, v->owner, disk->volume, index);
		if (fx) {
			fx->disk = i;
			fx->flags = keep		     ? CORE_FLAG_KEEP :
				    vm->again || vm->adopt ? CORE_FLAG_AGAIN :
							     0;
			vm->again = false;
		}
		return false;
	}
	return true;
}

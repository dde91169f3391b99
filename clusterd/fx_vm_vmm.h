/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the effects on vmms share.  Workers only. */
#ifndef CD_FX_VM_VMM_H
#define CD_FX_VM_VMM_H

#include <stdbool.h>
#include <stdint.h>

#include "clusterd/vmproc_linux.h"

struct cd_fx;

/*
 * The VM's user, the same number on every node.  Above what is given to containers (useradd's subordinate ids end at
 * 600100000, systemd-nspawn's at 0x6fffffff) and below systemd's foreign ids and 2^31; cd_check_uid() asks this node.
 */
#define CD_FX_UID_BASE	 0x74000000u
#define CD_FX_UID(index) (CD_FX_UID_BASE + (index))

const char *cd_fx_vmm_path(void);
/* Folder, configuration, process.  option NULL: a fresh start; value may be NULL.  0 or -errno. */
int cd_fx_vmm_spawn(struct cd_fx *fx, const char *option, const char *value);
/* Until its state is one of states (NULL at the end): 0, -ESRCH: ended, -ETIMEDOUT, -ECANCELED. */
int cd_fx_vmm_wait(struct cd_fx *fx, const char *const states[], int timeout_ms,
		   struct cd_vm_status *status);
/* 1: a vmm of the VM is here, 0: none is; else it cannot be told and the result is set to UNKNOWN. */
int cd_fx_vmm_here(struct cd_fx *fx);
bool cd_fx_vmm_clear(struct cd_fx *fx);
/* Kernel, initrd and bridges are on this node; else FAILED is set. */
bool cd_fx_vmm_check(struct cd_fx *fx);
/* Ends what is left of a start that failed and sets the result. */
void cd_fx_vmm_fail(struct cd_fx *fx, int err);
void cd_fx_vmm_resume(struct cd_fx *fx);
/* enum core_vm_seen of a vmm's state name. */
uint8_t cd_fx_vmm_seen(const char *state);

#endif

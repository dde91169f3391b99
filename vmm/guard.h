/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM's lease: runs only while its node may run VMs. See guard_linux.c. */
#ifndef VMM_GUARD_H
#define VMM_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct vmm;
struct vmm_guard;

/*
 * As root, before any vCPU runs: maps the lease page; the VM is frozen at once if the lease is over.  path
 * "": no guard.  Makes vm->guard, which vmm_guard_free() frees also when this failed.
 */
int vmm_guard_new(struct vmm *vm, const char *path, char **ret_error);
/* NULL is fine. */
int vmm_guard_start(struct vmm_guard *guard, char **ret_error);
/* Ends the thread: what was frozen stays so.  NULL is fine. */
void vmm_guard_stop(struct vmm_guard *guard);
/* Ends the thread first.  NULL is fine. */
void vmm_guard_free(struct vmm_guard *guard);
/*
 * Whether the lease holds now, by clocks that do not stand still with the machine: asked before
 * anything leaves it.  If not, the guard is woken; if the lease holds after all when it looks, it
 * has every queue run again.  dev_lock held.
 */
bool vmm_guard_holds(struct vmm_guard *guard);
/* What is left of the lease.  Any thread. */
uint64_t vmm_guard_left_ms(const struct vmm_guard *guard);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real VM behind migration's port (vmm/migration/machine.h).
 */
#ifndef VMM_MIGRANT_KVM_H
#define VMM_MIGRANT_KVM_H

#include "vmm/migration/machine.h"

struct vmm;
struct vmm_migrant;

/* vm is borrowed and must outlive it; source is this node's name for streams, may be empty.  0 or -errno with a malloc'ed ret_error. */
int vmm_migrant_new(struct vmm *vm, const char *source, struct vmm_migrant **ret_migrant,
		    char **ret_error);
void vmm_migrant_free(struct vmm_migrant *migrant);
const struct vmm_mig_machine *vmm_migrant_port(const struct vmm_migrant *migrant);
/* What streams that it sends name as its generation. */
void vmm_migrant_generation(struct vmm_migrant *migrant, uint64_t generation);

/* Stops the VM within timeout_ms and reads its clocks; 0, or -errno and it runs on. Blocking. */
int vmm_migrant_pause(struct vmm_migrant *migrant, int timeout_ms, char **ret_error);
/* Runs a paused VM; its watchdog is told. */
void vmm_migrant_resume(struct vmm_migrant *migrant);

#endif

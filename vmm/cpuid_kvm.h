/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What processors a guest sees: the host's, as KVM supports them, less what cannot migrate or is
 * not ours to give (nested virtualisation, performance counters, SGX, AMX, processor trace,
 * resource control), with a topology of one package of n single-threaded cores.
 * Pure: edits KVM's table.
 */
#ifndef VMM_CPUID_KVM_H
#define VMM_CPUID_KVM_H

#include <linux/kvm.h>
#include <stdint.h>

/* Once for the VM, on what KVM_GET_SUPPORTED_CPUID gave. */
void vmm_cpuid_filter(struct kvm_cpuid2 *cpuid, unsigned n_cpus, int tsc_deadline);
/* For vCPU index, on a copy: APIC id fields. */
void vmm_cpuid_topology(struct kvm_cpuid2 *cpuid, unsigned n_cpus, unsigned index);

#endif

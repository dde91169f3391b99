/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state that KVM keeps of a VM and its vCPUs, to and from bytes.
 *
 * Saving and loading go through structs of their own so that hostile bytes are
 * checked as a whole before the first ioctl.
 */
#ifndef VMM_VCPU_STATE_KVM_H
#define VMM_VCPU_STATE_KVM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cl_wire.h"

struct vmm_kvm_state;
struct kvm_cpuid2;

/*
 * What this KVM can save, and its list of MSRs.  -errno and a malloc'ed ret_error if it cannot do what
 * migration needs.
 */
int vmm_kvm_state_new(int kvm_fd, int vm_fd, struct vmm_kvm_state **ret_st, char **ret_error);
void vmm_kvm_state_free(struct vmm_kvm_state *st);

/* The guest's clocks, read together as soon as the vCPUs have stopped. */
int vmm_kvm_clock_read(struct vmm_kvm_state *st, char **ret_error);
/* CLOCK_MONOTONIC of that. */
uint64_t vmm_kvm_clock_read_ns(const struct vmm_kvm_state *st);

/* The VM as a whole: clocks as read last, interrupt controllers, PIT. */
int vmm_kvm_vm_save(struct vmm_kvm_state *st, struct cl_writer *w, char **ret_error);
/*
 * A vCPU that is not in KVM_RUN.  cpuid is what was set on it, for a vCPU that was not loaded
 * from a stream (else the stream's is kept).
 */
int vmm_kvm_vcpu_save(struct vmm_kvm_state *st, int vcpu_fd, unsigned index,
		      const struct kvm_cpuid2 *cpuid, struct cl_writer *w, char **ret_error);

/*
 * Loads everything into a fresh VM: vcpu_fds in order of index, none has run, CPUID set
 * (cpuids[i]: what this node set).  The guest's clocks are moved on by age_ns plus what has
 * passed since received_ns (CLOCK_MONOTONIC).
 */
struct vmm_kvm_load {
	const int *vcpu_fds;
	const struct kvm_cpuid2 *const *cpuids;
	unsigned n_vcpus;
	const void *vm;
	uint32_t vm_bytes;
	const void *const *vcpus;
	const uint32_t *vcpu_bytes;
	uint64_t age_ns;
	uint64_t received_ns;
	/* Called for what is odd but no reason to refuse; may be NULL. */
	void (*warn)(const char *text);
};

int vmm_kvm_load(struct vmm_kvm_state *st, const struct vmm_kvm_load *load, char **ret_error);

/* Tells the guest's watchdog that it was stopped; before vCPUs run on. */
void vmm_kvm_vcpu_was_paused(int vcpu_fd);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by vcpu_state_kvm.c (saving) and vcpu_load_kvm.c: the tags and what this KVM can do.
 */
#ifndef VMM_VCPU_STATE_INT_KVM_H
#define VMM_VCPU_STATE_INT_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/vcpu_state_kvm.h"

enum tag {
	TAG_MP_STATE = 1,
	TAG_REGS = 2,
	TAG_SREGS = 3,
	TAG_SREGS2 = 4,
	TAG_XSAVE = 5,
	TAG_XCRS = 6,
	TAG_DEBUGREGS = 7,
	TAG_LAPIC = 8,
	TAG_NESTED = 9,
	TAG_TSC = 10, /* u32 kHz, u32 offset known, u64 offset */
	TAG_CPUID = 11,
	TAG_MSRS = 12,
	TAG_EVENTS = 13,
	TAG_CLOCK = 32, /* u64 kvmclock, u64 host TSC, u64 kHz of the host's TSC */
	TAG_PIC_MASTER = 33,
	TAG_PIC_SLAVE = 34,
	TAG_IOAPIC = 35,
	TAG_PIT = 36,
	TAG_MAX = 40,
};

#define MSRS_A_CALL	   128u
#define MSRS_MAX	   512u
#define CPUID_ENTRIES_MAX  256u
#define XSAVE_BYTES_MAX	   (32u << 10)
#define NESTED_BYTES_MAX   (16u << 10)
#define EFER_SVME	   (1u << 12)
#define CR4_VMXE	   (1u << 13)
#define MSR_TSC		   0x10u
#define MSR_APICBASE	   0x1bu
#define MSR_TSC_ADJUST	   0x3bu
#define MSR_TSC_DEADLINE   0x6e0u

/* A struct kvm_msrs with room for its entries (which C does not let us embed). */
union vmm_kvm_msrs_call {
	struct kvm_msrs head;
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entries[MSRS_A_CALL];
	} body;
};

struct vmm_kvm_state {
	int kvm_fd;
	int vm_fd;
	bool sregs2, xsave2, nested, debugregs, xcrs;
	uint32_t xsave_bytes, nested_bytes;
	uint32_t tsc_khz;
	uint32_t n_msrs;
	uint32_t *msrs;
	struct kvm_cpuid2 **loaded; /* CPUID that came with a vCPU, by index; else what was set here */
	unsigned n_loaded;
	/* as read by vmm_kvm_clock_read() */
	bool clock_known;
	uint64_t clock_ns, host_tsc, read_ns;
};

/* Sets *ret_error to "format: strerror(err)", unless it is set; returns -err. */
int vmm_kvm_fail(char **ret_error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t vmm_kvm_monotonic_ns(void);

#endif

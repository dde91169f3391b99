/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID edits.  A bit is cleared for one of three reasons, named beside it; what is left is the
 * host's and so the same as long as VMs move between equal hosts.
 */
#include "vmm/cpuid_kvm.h"

#include <stdbool.h>
#include <string.h>

#define BIT(n) (1u << (n))

static void leaf_zero(struct kvm_cpuid_entry2 *e)
{
	e->eax = e->ebx = e->ecx = e->edx = 0;
}

static unsigned shift_for(unsigned n_cpus)
{
	unsigned shift = 0;

	while (1u << shift < n_cpus)
		shift++;
	return shift;
}

static void leaf1_filter(struct kvm_cpuid_entry2 *e, unsigned n_cpus, int tsc_deadline)
{
	e->ecx &= ~(BIT(2) |  /* DTES64 */
		    BIT(3) |  /* MONITOR: would need exits disabled */
		    BIT(4) |  /* DS-CPL */
		    BIT(5) |  /* VMX: nested state */
		    BIT(15)); /* PDCM: performance MSRs */
	e->ecx |= BIT(31);    /* a hypervisor is present */
	if (tsc_deadline)
		e->ecx |= BIT(24);
	e->edx &= ~(BIT(21) | BIT(28)); /* debug store; HTT is set below */
	if (n_cpus > 1)
		e->edx |= BIT(28);
}

static void entry_filter(struct kvm_cpuid_entry2 *e, unsigned n_cpus, int tsc_deadline)
{
	switch (e->function) {
	case 0x1:
		leaf1_filter(e, n_cpus, tsc_deadline);
		break;
	case 0x4: /* deterministic caches, Intel: cores in a package, threads that share */
		if (e->eax & 0x1f)
			e->eax = (e->eax & 0x3fffu) | (n_cpus - 1) << 26 |
				 ((e->eax >> 5 & 7) >= 3 ? (n_cpus - 1) << 14 : 0);
		break;
	case 0x5: /* MONITOR */
	case 0xa: /* performance counters */
	case 0xf: /* resource monitoring */
	case 0x10:
	case 0x12: /* SGX */
	case 0x14: /* processor trace */
	case 0x1d: /* AMX */
	case 0x1e:
		leaf_zero(e);
		break;
	case 0x7:
		if (e->index != 0)
			break;
		e->ebx &= ~(BIT(2) | BIT(12) | BIT(15) | BIT(25)); /* SGX, RDT-M, RDT-A, PT */
		e->ecx &= ~(BIT(5) | BIT(30));			   /* WAITPKG, SGX_LC */
		e->edx &= ~(BIT(22) | BIT(24) | BIT(25));	   /* AMX */
		break;
	case 0xd:
		if (e->index == 0)
			e->eax &= ~(BIT(17) | BIT(18)); /* AMX tile state */
		else if (e->index == 17 || e->index == 18)
			leaf_zero(e);
		break;
	case 0x80000001:
		e->ecx &= ~(BIT(2) |			      /* SVM: nested state */
			    BIT(10) | BIT(12) | BIT(13) |     /* IBS, SKINIT, watchdog */
			    BIT(15) | BIT(19) |		      /* LWP, node id */
			    BIT(23) | BIT(24) | BIT(28));     /* performance counters */
		break;
	case 0x80000007:
		e->edx &= ~BIT(8); /* invariant TSC: not invariant across hosts */
		break;
	case 0x80000008:
		/* Cores in the package and the width of their ids, AMD. */
		e->ecx = (n_cpus - 1) | shift_for(n_cpus) << 12;
		break;
	case 0x8000000a: /* SVM */
	case 0x8000001b: /* IBS */
	case 0x8000001f: /* memory encryption */
	case 0x80000022: /* performance counters */
		leaf_zero(e);
		break;
	case 0x8000001d: /* caches, AMD: who shares */
		if (e->eax & 0x1f)
			e->eax = (e->eax & 0x3fffu) |
				 ((e->eax >> 5 & 7) >= 3 ? (n_cpus - 1) << 14 : 0);
		break;
	case 0x40000001:
		e->eax &= ~(BIT(4) | BIT(10) | BIT(14) | /* asynchronous page faults */
			    BIT(15) | BIT(16) | BIT(17)); /* wide MSI ids, encrypted memory */
		break;
	}
}

void vmm_cpuid_filter(struct kvm_cpuid2 *cpuid, unsigned n_cpus, int tsc_deadline)
{
	for (unsigned i = 0; i < cpuid->nent; i++)
		entry_filter(&cpuid->entries[i], n_cpus, tsc_deadline);
}

/* x2APIC topology: index 0 = thread level, 1 = core level. */
static void topology_leaf(struct kvm_cpuid_entry2 *e, unsigned n_cpus, unsigned index)
{
	unsigned level = e->index;

	leaf_zero(e);
	e->edx = index;
	if (level == 0) {
		e->ebx = 1;
		e->ecx = 1u << 8;
	} else if (level == 1) {
		e->eax = shift_for(n_cpus);
		e->ebx = n_cpus;
		e->ecx = 1 | 2u << 8;
	} else {
		e->ecx = level;
	}
}

void vmm_cpuid_topology(struct kvm_cpuid2 *cpuid, unsigned n_cpus, unsigned index)
{
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		switch (e->function) {
		case 0x1:
			e->ebx = (e->ebx & 0xffffu) | n_cpus << 16 | index << 24;
			break;
		case 0xb:
		case 0x1f:
			topology_leaf(e, n_cpus, index);
			break;
		case 0x8000001e:
			e->eax = index;
			e->ebx = (e->ebx & ~0xffffu) | index; /* core id, one thread a core */
			e->ecx = 0;			      /* node 0 of one */
			break;
		}
	}
}

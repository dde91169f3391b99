/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saves KVM's state of a VM to bytes (docs/formats/migration.md, "VM, VCPU").
 *
 * The order of the ioctls is half of what this file knows: MP_STATE first (reading it runs pending INIT and
 * SIPI, which changes the others), REGS, SREGS, XSAVE, XCRS, DEBUGREGS, LAPIC, TSC, MSRs, VCPU_EVENTS last.
 * Loading is in vcpu_load_kvm.c.
 */
#include "vmm/vcpu_state_int_kvm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <x86intrin.h>

#include "common/cl_cleanup.h"
#include "common/cl_types.h"

int vmm_kvm_fail(char **ret_error, int err, const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!*ret_error && asprintf(ret_error, "%s: %s", text ? text : "KVM", strerror(err)) < 0)
		*ret_error = NULL;
	free(text);
	return -err;
}

uint64_t vmm_kvm_monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static bool has(int fd, int cap)
{
	return ioctl(fd, KVM_CHECK_EXTENSION, cap) > 0;
}

int vmm_kvm_state_new(int kvm_fd, int vm_fd, struct vmm_kvm_state **ret_st, char **ret_error)
{
	struct kvm_msr_list *list = NULL;
	struct vmm_kvm_state *st = calloc(1, sizeof(*st));
	int n;

	if (!st)
		return vmm_kvm_fail(ret_error, ENOMEM, "state");
	st->kvm_fd = kvm_fd;
	st->vm_fd = vm_fd;
	st->sregs2 = has(vm_fd, KVM_CAP_SREGS2);
	st->debugregs = has(vm_fd, KVM_CAP_DEBUGREGS);
	st->xcrs = has(vm_fd, KVM_CAP_XCRS);
	n = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	st->xsave2 = n > 0;
	st->xsave_bytes = n > (int)sizeof(struct kvm_xsave) ? (uint32_t)n : sizeof(struct kvm_xsave);
	n = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE);
	st->nested = n > 0 && n <= (int)NESTED_BYTES_MAX;
	st->nested_bytes = st->nested ? (uint32_t)n : 0;
	if (st->xsave_bytes > XSAVE_BYTES_MAX) {
		vmm_kvm_state_free(st);
		return vmm_kvm_fail(ret_error, E2BIG, "XSAVE area of %d bytes, at most %u can be saved", n,
			    XSAVE_BYTES_MAX);
	}
	list = calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
	st->msrs = calloc(MSRS_MAX, sizeof(*st->msrs));
	if (!list || !st->msrs) {
		free(list);
		vmm_kvm_state_free(st);
		return vmm_kvm_fail(ret_error, ENOMEM, "state");
	}
	list->nmsrs = MSRS_MAX;
	if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		n = errno;
		free(list);
		vmm_kvm_state_free(st);
		return vmm_kvm_fail(ret_error, n, "KVM_GET_MSR_INDEX_LIST");
	}
	/* The APIC base travels in SREGS; TSC_ADJUST would move the TSC a second time. */
	for (uint32_t i = 0; i < list->nmsrs; i++)
		if (list->indices[i] != MSR_APICBASE && list->indices[i] != MSR_TSC_ADJUST)
			st->msrs[st->n_msrs++] = list->indices[i];
	free(list);
	*ret_st = st;
	return 0;
}

void vmm_kvm_state_free(struct vmm_kvm_state *st)
{
	if (!st)
		return;
	for (unsigned i = 0; i < st->n_loaded; i++)
		free(st->loaded[i]);
	free(st->loaded);
	free(st->msrs);
	free(st);
}

/* KVM_GET_CLOCK gives the host's TSC of the same instant where it can. */
static int clock_now(int vm_fd, uint64_t *ret_ns, uint64_t *ret_tsc)
{
	struct kvm_clock_data clock = { 0 };

	if (ioctl(vm_fd, KVM_GET_CLOCK, &clock) < 0)
		return -errno;
	*ret_tsc = __rdtsc();
	if (clock.flags & KVM_CLOCK_HOST_TSC)
		*ret_tsc = clock.host_tsc;
	*ret_ns = clock.clock;
	return 0;
}

int vmm_kvm_clock_read(struct vmm_kvm_state *st, char **ret_error)
{
	int r = clock_now(st->vm_fd, &st->clock_ns, &st->host_tsc);

	if (r)
		return vmm_kvm_fail(ret_error, -r, "KVM_GET_CLOCK");
	st->read_ns = vmm_kvm_monotonic_ns();
	st->clock_known = true;
	return 0;
}

uint64_t vmm_kvm_clock_read_ns(const struct vmm_kvm_state *st)
{
	return st->read_ns;
}

static void put(struct cl_writer *w, enum tag tag, const void *data, size_t len_bytes)
{
	cl_write_u16(w, (uint16_t)tag);
	cl_write_u32(w, (uint32_t)len_bytes);
	cl_write_bytes(w, data, len_bytes);
}

int vmm_kvm_vm_save(struct vmm_kvm_state *st, struct cl_writer *w, char **ret_error)
{
	static const struct {
		enum tag tag;
		uint32_t id;
	} chips[] = { { TAG_PIC_MASTER, KVM_IRQCHIP_PIC_MASTER },
		      { TAG_PIC_SLAVE, KVM_IRQCHIP_PIC_SLAVE },
		      { TAG_IOAPIC, KVM_IRQCHIP_IOAPIC } };
	struct kvm_pit_state2 pit;
	uint64_t clock[3];

	if (!st->clock_known)
		return vmm_kvm_fail(ret_error, EINVAL, "the guest's clock was not read");
	clock[0] = st->clock_ns;
	clock[1] = st->host_tsc;
	clock[2] = st->tsc_khz;
	put(w, TAG_CLOCK, clock, sizeof(clock));
	for (size_t i = 0; i < CL_ARRAY_LEN(chips); i++) {
		struct kvm_irqchip chip = { .chip_id = chips[i].id };

		if (ioctl(st->vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
			return vmm_kvm_fail(ret_error, errno, "KVM_GET_IRQCHIP %u", chips[i].id);
		put(w, chips[i].tag, &chip, sizeof(chip));
	}
	/* A machine without a PIT has none to save. */
	if (ioctl(st->vm_fd, KVM_GET_PIT2, &pit) == 0)
		put(w, TAG_PIT, &pit, sizeof(pit));
	return 0;
}

/*
 * All MSRs that can be read.  KVM stops at the first that cannot (its list has some that need a
 * feature which the guest was not given); that one is left out.
 */
static int msrs_save(struct vmm_kvm_state *st, int fd, unsigned index, struct cl_writer *w,
		     char **ret_error)
{
	union vmm_kvm_msrs_call call;
	struct kvm_msr_entry *got = calloc(st->n_msrs ? st->n_msrs : 1, sizeof(*got));
	uint32_t n_got = 0, at = 0;

	if (!got)
		return vmm_kvm_fail(ret_error, ENOMEM, "MSRs");
	while (at < st->n_msrs) {
		uint32_t want = st->n_msrs - at;
		int n;

		memset(&call, 0, sizeof(call));
		if (want > MSRS_A_CALL)
			want = MSRS_A_CALL;
		call.body.nmsrs = want;
		for (uint32_t i = 0; i < want; i++)
			call.body.entries[i].index = st->msrs[at + i];
		n = ioctl(fd, KVM_GET_MSRS, &call);
		if (n < 0) {
			n = errno;
			free(got);
			return vmm_kvm_fail(ret_error, n, "KVM_GET_MSRS of vCPU %u", index);
		}
		memcpy(got + n_got, call.body.entries, (size_t)n * sizeof(*got));
		n_got += (uint32_t)n;
		at += (uint32_t)n;
		if ((uint32_t)n < want) {
			/* Never asked again: the next save is faster. */
			memmove(st->msrs + at, st->msrs + at + 1,
				(st->n_msrs - at - 1) * sizeof(*st->msrs));
			st->n_msrs--;
		}
	}
	put(w, TAG_MSRS, got, n_got * sizeof(*got));
	free(got);
	return 0;
}

static int tsc_save(struct vmm_kvm_state *st, int fd, struct cl_writer *w)
{
	uint64_t offset = 0;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uint64_t)(uintptr_t)&offset };
	int khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	uint32_t known = ioctl(fd, KVM_GET_DEVICE_ATTR, &attr) == 0;
	uint8_t buf[16];
	struct cl_writer tsc;

	if (khz > 0)
		st->tsc_khz = (uint32_t)khz;
	cl_writer_init(&tsc, buf, sizeof(buf));
	cl_write_u32(&tsc, khz > 0 ? (uint32_t)khz : 0);
	cl_write_u32(&tsc, known);
	cl_write_u64(&tsc, offset);
	put(w, TAG_TSC, buf, sizeof(buf));
	return 0;
}

int vmm_kvm_vcpu_save(struct vmm_kvm_state *st, int fd, unsigned index,
		      const struct kvm_cpuid2 *cpuid, struct cl_writer *w, char **ret_error)
{
	static const char *const what = "vCPU";
	union {
		struct kvm_mp_state mp;
		struct kvm_regs regs;
		struct kvm_sregs sregs;
		struct kvm_sregs2 sregs2;
		struct kvm_xcrs xcrs;
		struct kvm_debugregs debug;
		struct kvm_lapic_state lapic;
		struct kvm_vcpu_events events;
	} u;
	CL_CLEANUP_FREE uint8_t *big = calloc(1, XSAVE_BYTES_MAX);
	uint64_t efer, cr4;
	int r;

	if (!big)
		return vmm_kvm_fail(ret_error, ENOMEM, "%s %u", what, index);
#define GET(request, tag, member, size)                                                            \
	do {                                                                                       \
		memset(&u, 0, sizeof(u));                                                          \
		if (ioctl(fd, request, &u.member) < 0)                                             \
			return vmm_kvm_fail(ret_error, errno, #request " of %s %u", what, index);          \
		put(w, tag, &u.member, size);                                                      \
	} while (0)
	GET(KVM_GET_MP_STATE, TAG_MP_STATE, mp, sizeof(u.mp));
	GET(KVM_GET_REGS, TAG_REGS, regs, sizeof(u.regs));
	if (st->sregs2) {
		GET(KVM_GET_SREGS2, TAG_SREGS2, sregs2, sizeof(u.sregs2));
		efer = u.sregs2.efer;
		cr4 = u.sregs2.cr4;
	} else {
		GET(KVM_GET_SREGS, TAG_SREGS, sregs, sizeof(u.sregs));
		efer = u.sregs.efer;
		cr4 = u.sregs.cr4;
	}
	if (ioctl(fd, st->xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, big) < 0)
		return vmm_kvm_fail(ret_error, errno, "KVM_GET_XSAVE of %s %u", what, index);
	put(w, TAG_XSAVE, big, st->xsave_bytes);
	if (st->xcrs)
		GET(KVM_GET_XCRS, TAG_XCRS, xcrs, sizeof(u.xcrs));
	if (st->debugregs)
		GET(KVM_GET_DEBUGREGS, TAG_DEBUGREGS, debug, sizeof(u.debug));
	GET(KVM_GET_LAPIC, TAG_LAPIC, lapic, sizeof(u.lapic));
	/* A guest that did not turn virtualisation on has no nested state. */
	if (st->nested && ((efer & EFER_SVME) || (cr4 & CR4_VMXE))) {
		struct kvm_nested_state *ns = (struct kvm_nested_state *)big;

		memset(big, 0, NESTED_BYTES_MAX);
		ns->size = st->nested_bytes;
		if (ioctl(fd, KVM_GET_NESTED_STATE, ns) < 0)
			return vmm_kvm_fail(ret_error, errno, "KVM_GET_NESTED_STATE of %s %u", what, index);
		if (ns->size > st->nested_bytes)
			return vmm_kvm_fail(ret_error, E2BIG, "nested state of %s %u", what, index);
		put(w, TAG_NESTED, ns, ns->size);
	}
	r = tsc_save(st, fd, w);
	/* Not KVM_GET_CPUID2: KVM changes some bits at run time, and this is what the guest was promised. */
	if (index < st->n_loaded && st->loaded[index])
		cpuid = st->loaded[index];
	put(w, TAG_CPUID, cpuid->entries, cpuid->nent * sizeof(cpuid->entries[0]));
	r = r ? r : msrs_save(st, fd, index, w, ret_error);
	if (r)
		return r;
	GET(KVM_GET_VCPU_EVENTS, TAG_EVENTS, events, sizeof(u.events));
#undef GET
	return 0;
}

void vmm_kvm_vcpu_was_paused(int vcpu_fd)
{
	/* EINVAL from a guest that does not use kvmclock. */
	(void)ioctl(vcpu_fd, KVM_KVMCLOCK_CTRL, 0);
}

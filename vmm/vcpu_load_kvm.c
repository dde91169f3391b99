/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads KVM's state of a VM from bytes that vcpu_state_kvm.c wrote.  All of them are checked before the
 * first ioctl; KVM checks what they mean.
 *
 * Order: CPUID (everything after is checked against it), SREGS (EFER for nested, APIC base for LAPIC),
 * nested state, REGS (clears pending exceptions, so before VCPU_EVENTS), XSAVE, XCRS, LAPIC, MSRs but the
 * deadline (a deadline is taken only in the LAPIC's deadline mode), TSC, deadline, VCPU_EVENTS,
 * MP_STATE, DEBUGREGS; then the VM: PIT, interrupt controllers, clock.
 *
 * The guest's TSC goes by offset, computed from one reading of the host's for all vCPUs, so that they stay
 * in step; kvmclock and TSC are moved on by the same time.
 */
#include "vmm/vcpu_state_int_kvm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "common/cl_cleanup.h"
#include "common/cl_types.h"

#define TSC_TOLERANCE_PPM 250u

/* A parsed list of tags, borrowed from the bytes. */
struct pieces {
	const uint8_t *data[TAG_MAX];
	uint32_t len[TAG_MAX];
};

static int parse(struct pieces *p, const void *data, uint32_t len_bytes)
{
	struct cl_reader r;

	memset(p, 0, sizeof(*p));
	cl_reader_init(&r, data, len_bytes);
	while (cl_reader_left(&r)) {
		uint16_t tag = cl_read_u16(&r);
		uint32_t len = cl_read_u32(&r);
		const void *ref = cl_read_ref(&r, len);

		if (!ref || tag == 0 || tag >= TAG_MAX || p->data[tag])
			return -EBADMSG;
		p->data[tag] = ref;
		p->len[tag] = len;
	}
	return cl_reader_done(&r);
}

static bool fits(const struct pieces *p, enum tag tag, size_t len_bytes)
{
	return p->data[tag] && p->len[tag] == len_bytes;
}

static bool vcpu_pieces_ok(const struct pieces *p)
{
	for (int tag = TAG_EVENTS + 1; tag < TAG_MAX; tag++)
		if (p->data[tag])
			return false;
	return fits(p, TAG_MP_STATE, sizeof(struct kvm_mp_state)) &&
	       fits(p, TAG_REGS, sizeof(struct kvm_regs)) &&
	       (fits(p, TAG_SREGS, sizeof(struct kvm_sregs)) ||
		fits(p, TAG_SREGS2, sizeof(struct kvm_sregs2))) &&
	       !(p->data[TAG_SREGS] && p->data[TAG_SREGS2]) && p->data[TAG_XSAVE] &&
	       p->len[TAG_XSAVE] >= sizeof(struct kvm_xsave) &&
	       p->len[TAG_XSAVE] <= XSAVE_BYTES_MAX &&
	       (!p->data[TAG_XCRS] || fits(p, TAG_XCRS, sizeof(struct kvm_xcrs))) &&
	       (!p->data[TAG_DEBUGREGS] || fits(p, TAG_DEBUGREGS, sizeof(struct kvm_debugregs))) &&
	       fits(p, TAG_LAPIC, sizeof(struct kvm_lapic_state)) &&
	       (!p->data[TAG_NESTED] || (p->len[TAG_NESTED] >= sizeof(struct kvm_nested_state) &&
					 p->len[TAG_NESTED] <= NESTED_BYTES_MAX)) &&
	       fits(p, TAG_TSC, 16) && p->data[TAG_CPUID] &&
	       p->len[TAG_CPUID] % sizeof(struct kvm_cpuid_entry2) == 0 &&
	       p->len[TAG_CPUID] / sizeof(struct kvm_cpuid_entry2) <= CPUID_ENTRIES_MAX &&
	       p->data[TAG_MSRS] && p->len[TAG_MSRS] % sizeof(struct kvm_msr_entry) == 0 &&
	       p->len[TAG_MSRS] / sizeof(struct kvm_msr_entry) <= MSRS_MAX &&
	       fits(p, TAG_EVENTS, sizeof(struct kvm_vcpu_events));
}

static bool vm_pieces_ok(const struct pieces *p)
{
	for (int tag = 0; tag < TAG_CLOCK; tag++)
		if (p->data[tag])
			return false;
	return fits(p, TAG_CLOCK, 24) && fits(p, TAG_PIC_MASTER, sizeof(struct kvm_irqchip)) &&
	       fits(p, TAG_PIC_SLAVE, sizeof(struct kvm_irqchip)) &&
	       fits(p, TAG_IOAPIC, sizeof(struct kvm_irqchip)) &&
	       (!p->data[TAG_PIT] || fits(p, TAG_PIT, sizeof(struct kvm_pit_state2)));
}

static const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *c, uint32_t function,
						 uint32_t index)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == function && c->entries[i].index == index)
			return &c->entries[i];
	return NULL;
}

/*
 * Features that the guest was promised and that this node does not have.  Only registers that
 * are made of feature bits are compared.
 */
static int cpuid_covers(const struct kvm_cpuid2 *theirs, const struct kvm_cpuid2 *ours,
			char **ret_error)
{
	static const struct {
		uint32_t function, index;
		uint32_t eax, ebx, ecx, edx; /* which bits are features */
	} rows[] = {
		/* without OSXSAVE and OSPKE, which follow CR4 */
		{ 0x1, 0, 0, 0, ~(1u << 27), ~0u },
		{ 0x7, 0, 0, ~0u, ~(1u << 4), ~0u },
		{ 0x7, 1, ~0u, 0, 0, 0 },
		{ 0xd, 0, ~0u, 0, 0, ~0u },
		{ 0xd, 1, ~0u, 0, 0, 0 },
		{ 0x80000001, 0, 0, 0, ~0u, ~0u },
		{ 0x80000008, 0, 0, ~0u, 0, 0 },
	};

	for (size_t i = 0; i < CL_ARRAY_LEN(rows); i++) {
		const struct kvm_cpuid_entry2 none = { 0 };
		const struct kvm_cpuid_entry2 *t =
			cpuid_find(theirs, rows[i].function, rows[i].index);
		const struct kvm_cpuid_entry2 *o =
			cpuid_find(ours, rows[i].function, rows[i].index);
		uint32_t a, b, c, d;

		if (!t)
			continue;
		o = o ? o : &none;
		a = t->eax & ~o->eax & rows[i].eax;
		b = t->ebx & ~o->ebx & rows[i].ebx;
		c = t->ecx & ~o->ecx & rows[i].ecx;
		d = t->edx & ~o->edx & rows[i].edx;
		if (a | b | c | d)
			return vmm_kvm_fail(ret_error, EOPNOTSUPP,
				    "the guest uses CPU features that this node lacks (CPUID %#x.%u: eax %#x ebx %#x ecx %#x edx %#x)",
				    rows[i].function, rows[i].index, a, b, c, d);
	}
	return 0;
}

static int cpuid_load(struct vmm_kvm_state *st, int fd, unsigned index, const struct pieces *p,
		      const struct kvm_cpuid2 *ours, char **ret_error)
{
	uint32_t n = p->len[TAG_CPUID] / sizeof(struct kvm_cpuid_entry2);
	CL_CLEANUP_FREE struct kvm_cpuid2 *c =
		calloc(1, sizeof(*c) + CPUID_ENTRIES_MAX * sizeof(c->entries[0]));
	int r;

	if (!c)
		return vmm_kvm_fail(ret_error, ENOMEM, "CPUID");
	c->nent = n;
	memcpy(c->entries, p->data[TAG_CPUID], p->len[TAG_CPUID]);
	r = cpuid_covers(c, ours, ret_error);
	if (r)
		return r;
	if (ioctl(fd, KVM_SET_CPUID2, c) < 0)
		return vmm_kvm_fail(ret_error, errno, "KVM_SET_CPUID2 of vCPU %u", index);
	free(st->loaded[index]);
	st->loaded[index] = cl_steal_ptr(c);
	return 0;
}

/* MSRs without which a guest would go wrong silently; others that cannot be set are told and left. */
static bool msr_vital(uint32_t index)
{
	return index == MSR_TSC || (index >= 0x174 && index <= 0x176) || index == 0x1a0 ||
	       (index >= 0x200 && index <= 0x2ff) || index == 0x277 ||
	       (index >= 0x11 && index <= 0x12) || (index >= 0x4b564d00 && index <= 0x4b564dff) ||
	       (index >= 0xc0000080 && index <= 0xc0000103) || index == 0xda0;
}

static int msr_get(int fd, uint32_t index, uint64_t *ret_data)
{
	union vmm_kvm_msrs_call one = { .body = { .nmsrs = 1, .entries[0].index = index } };

	if (ioctl(fd, KVM_GET_MSRS, &one) != 1)
		return -EIO;
	*ret_data = one.body.entries[0].data;
	return 0;
}

static int msr_set(int fd, uint32_t index, uint64_t data)
{
	union vmm_kvm_msrs_call one = {
		.body = { .nmsrs = 1, .entries[0] = { .index = index, .data = data } }
	};

	return ioctl(fd, KVM_SET_MSRS, &one) == 1 ? 0 : -EIO;
}

static int msrs_load(int fd, unsigned index, const struct kvm_msr_entry *entries, uint32_t n,
		     const struct vmm_kvm_load *load, char **ret_error)
{
	union vmm_kvm_msrs_call call;
	uint32_t at = 0;

	while (at < n) {
		uint32_t want = n - at < MSRS_A_CALL ? n - at : MSRS_A_CALL, count = 0, done;
		uint32_t from[MSRS_A_CALL];
		uint64_t now = 0;
		char text[128];
		int r;

		memset(&call, 0, sizeof(call));
		for (uint32_t i = 0; i < want; i++) {
			/* These two have their own place in the order. */
			if (entries[at + i].index == MSR_TSC ||
			    entries[at + i].index == MSR_TSC_DEADLINE)
				continue;
			from[count] = at + i;
			call.body.entries[count].index = entries[at + i].index;
			call.body.entries[count++].data = entries[at + i].data;
		}
		call.body.nmsrs = count;
		r = count ? ioctl(fd, KVM_SET_MSRS, &call) : 0;
		if (r < 0)
			return vmm_kvm_fail(ret_error, errno, "KVM_SET_MSRS of vCPU %u", index);
		done = (uint32_t)r;
		if (done == count) {
			at += want;
			continue;
		}
		/* The one that was refused: fine if it has that value anyway. */
		if (msr_get(fd, call.body.entries[done].index, &now) < 0 ||
		    now != call.body.entries[done].data) {
			if (msr_vital(call.body.entries[done].index))
				return vmm_kvm_fail(ret_error, EINVAL, "MSR %#x of vCPU %u cannot be %#llx here",
					    call.body.entries[done].index, index,
					    (unsigned long long)call.body.entries[done].data);
			snprintf(text, sizeof(text), "MSR %#x of vCPU %u stays %#llx, was %#llx",
				 call.body.entries[done].index, index, (unsigned long long)now,
				 (unsigned long long)call.body.entries[done].data);
			if (load->warn)
				load->warn(text);
		}
		at = from[done] + 1;
	}
	return 0;
}

static bool khz_same(uint32_t a, uint32_t b)
{
	uint64_t diff = a > b ? a - b : b - a;

	return a && b && diff * 1000000 <= (uint64_t)a * TSC_TOLERANCE_PPM;
}

static const struct kvm_msr_entry *msr_find(const struct pieces *p, uint32_t index)
{
	const struct kvm_msr_entry *e = (const void *)p->data[TAG_MSRS];
	uint32_t n = p->len[TAG_MSRS] / sizeof(*e);

	for (uint32_t i = 0; i < n; i++) {
		struct kvm_msr_entry copy;

		memcpy(&copy, e + i, sizeof(copy));
		if (copy.index == index)
			return e + i;
	}
	return NULL;
}

/* One reading of the node's TSC for all vCPUs and how long the guest has been stopped at it. */
struct tsc_base {
	uint64_t src_host_tsc, dst_host_tsc, stopped_ns;
};

static int tsc_load(int fd, unsigned index, const struct pieces *p, const struct tsc_base *base,
		    const struct vmm_kvm_load *load, char **ret_error)
{
	uint64_t offset, moved;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uint64_t)(uintptr_t)&offset };
	const struct kvm_msr_entry *msr = msr_find(p, MSR_TSC);
	struct kvm_msr_entry entry;
	uint32_t khz, known;
	struct cl_reader r;
	int here;

	cl_reader_init(&r, p->data[TAG_TSC], p->len[TAG_TSC]);
	khz = cl_read_u32(&r);
	known = cl_read_u32(&r);
	offset = cl_read_u64(&r);
	here = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	if (khz && here > 0 && !khz_same(khz, (uint32_t)here) &&
	    ioctl(fd, KVM_SET_TSC_KHZ, khz) < 0 && load->warn)
		load->warn("this node's TSC has another frequency and cannot be scaled; a guest that uses kvm-clock does not mind");
	moved = (uint64_t)((unsigned __int128)base->stopped_ns * khz / 1000000);
	if (known && khz_same(khz, here > 0 ? (uint32_t)here : 0)) {
		offset += base->src_host_tsc + moved - base->dst_host_tsc;
		if (ioctl(fd, KVM_SET_DEVICE_ATTR, &attr) == 0)
			return 0;
	}
	if (!msr)
		return vmm_kvm_fail(ret_error, EINVAL, "vCPU %u has no TSC", index);
	memcpy(&entry, msr, sizeof(entry));
	if (msr_set(fd, MSR_TSC, entry.data + moved) < 0)
		return vmm_kvm_fail(ret_error, EINVAL, "TSC of vCPU %u cannot be set", index);
	return 0;
}

static int vcpu_load(struct vmm_kvm_state *st, int fd, unsigned index, const struct pieces *p,
		     const struct kvm_cpuid2 *ours, const struct tsc_base *base,
		     const struct vmm_kvm_load *load, char **ret_error)
{
	CL_CLEANUP_FREE uint8_t *big = calloc(1, XSAVE_BYTES_MAX);
	uint32_t n_msrs = p->len[TAG_MSRS] / sizeof(struct kvm_msr_entry);
	CL_CLEANUP_FREE struct kvm_msr_entry *msrs = calloc(n_msrs ? n_msrs : 1, sizeof(*msrs));
	const struct kvm_msr_entry *deadline = msr_find(p, MSR_TSC_DEADLINE);
	struct kvm_vcpu_events events;
	struct kvm_msr_entry entry;
	int r;

	if (!big || !msrs)
		return vmm_kvm_fail(ret_error, ENOMEM, "vCPU %u", index);
	/* The bytes in the stream may lie at odd addresses: ioctls take a copy. */
#define SET(request, tag)                                                                          \
	do {                                                                                       \
		memcpy(big, p->data[tag], p->len[tag]);                                            \
		if (ioctl(fd, request, big) < 0)                                                   \
			return vmm_kvm_fail(ret_error, errno, #request " of vCPU %u", index);              \
	} while (0)
	r = cpuid_load(st, fd, index, p, ours, ret_error);
	if (r)
		return r;
	if (p->data[TAG_SREGS2]) {
		if (!st->sregs2)
			return vmm_kvm_fail(ret_error, EOPNOTSUPP, "this kernel has no KVM_SET_SREGS2");
		SET(KVM_SET_SREGS2, TAG_SREGS2);
	} else {
		SET(KVM_SET_SREGS, TAG_SREGS);
	}
	if (p->data[TAG_NESTED]) {
		struct kvm_nested_state *ns = (struct kvm_nested_state *)big;

		memcpy(big, p->data[TAG_NESTED], p->len[TAG_NESTED]);
		if (!st->nested || ns->size != p->len[TAG_NESTED])
			return vmm_kvm_fail(ret_error, EOPNOTSUPP, "nested state of vCPU %u", index);
		if (ioctl(fd, KVM_SET_NESTED_STATE, ns) < 0)
			return vmm_kvm_fail(ret_error, errno, "KVM_SET_NESTED_STATE of vCPU %u", index);
	}
	SET(KVM_SET_REGS, TAG_REGS);
	memset(big, 0, XSAVE_BYTES_MAX);
	if (p->len[TAG_XSAVE] > st->xsave_bytes)
		return vmm_kvm_fail(ret_error, EOPNOTSUPP,
			    "XSAVE area of vCPU %u has %u bytes, this node takes %u", index,
			    p->len[TAG_XSAVE], st->xsave_bytes);
	SET(KVM_SET_XSAVE, TAG_XSAVE);
	if (p->data[TAG_XCRS])
		SET(KVM_SET_XCRS, TAG_XCRS);
	SET(KVM_SET_LAPIC, TAG_LAPIC);
	memcpy(msrs, p->data[TAG_MSRS], p->len[TAG_MSRS]);
	r = msrs_load(fd, index, msrs, n_msrs, load, ret_error);
	r = r ? r : tsc_load(fd, index, p, base, load, ret_error);
	if (r)
		return r;
	if (deadline) {
		memcpy(&entry, deadline, sizeof(entry));
		if (entry.data && msr_set(fd, MSR_TSC_DEADLINE, entry.data) < 0)
			return vmm_kvm_fail(ret_error, EINVAL, "timer deadline of vCPU %u cannot be set", index);
	}
	memcpy(&events, p->data[TAG_EVENTS], sizeof(events));
	/* KVM_SET wants the SIPI vector only with that state; the others as they were read. */
	events.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	memcpy(big, &events, sizeof(events));
	if (ioctl(fd, KVM_SET_VCPU_EVENTS, big) < 0)
		return vmm_kvm_fail(ret_error, errno, "KVM_SET_VCPU_EVENTS of vCPU %u", index);
	SET(KVM_SET_MP_STATE, TAG_MP_STATE);
	if (p->data[TAG_DEBUGREGS])
		SET(KVM_SET_DEBUGREGS, TAG_DEBUGREGS);
#undef SET
	return 0;
}

static uint64_t stopped_ns(const struct vmm_kvm_load *load)
{
	uint64_t now = vmm_kvm_monotonic_ns();

	return load->age_ns + (now > load->received_ns ? now - load->received_ns : 0);
}

static int vm_load(struct vmm_kvm_state *st, const struct pieces *p,
		   const struct vmm_kvm_load *load, char **ret_error)
{
	static const enum tag chips[] = { TAG_PIC_MASTER, TAG_PIC_SLAVE, TAG_IOAPIC };
	struct kvm_clock_data clock = { 0 };
	struct kvm_pit_state2 pit;

	if (p->data[TAG_PIT]) {
		memcpy(&pit, p->data[TAG_PIT], sizeof(pit));
		if (ioctl(st->vm_fd, KVM_SET_PIT2, &pit) < 0)
			return vmm_kvm_fail(ret_error, errno, "KVM_SET_PIT2");
	}
	for (size_t i = 0; i < CL_ARRAY_LEN(chips); i++) {
		struct kvm_irqchip chip;

		memcpy(&chip, p->data[chips[i]], sizeof(chip));
		if (chip.chip_id != i)
			return vmm_kvm_fail(ret_error, EBADMSG, "interrupt controller %zu", i);
		if (ioctl(st->vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
			return vmm_kvm_fail(ret_error, errno, "KVM_SET_IRQCHIP %zu", i);
	}
	memcpy(&clock.clock, p->data[TAG_CLOCK], 8);
	clock.clock += stopped_ns(load);
	if (ioctl(st->vm_fd, KVM_SET_CLOCK, &clock) < 0)
		return vmm_kvm_fail(ret_error, errno, "KVM_SET_CLOCK");
	return 0;
}

int vmm_kvm_load(struct vmm_kvm_state *st, const struct vmm_kvm_load *load, char **ret_error)
{
	CL_CLEANUP_FREE struct pieces *vcpus = calloc(load->n_vcpus, sizeof(*vcpus));
	struct tsc_base base = { 0 };
	struct pieces vm;
	int r = 0;

	if (!vcpus)
		return vmm_kvm_fail(ret_error, ENOMEM, "state");
	if (parse(&vm, load->vm, load->vm_bytes) < 0 || !vm_pieces_ok(&vm))
		return vmm_kvm_fail(ret_error, EBADMSG, "state of the VM is malformed");
	for (unsigned i = 0; i < load->n_vcpus; i++)
		if (parse(&vcpus[i], load->vcpus[i], load->vcpu_bytes[i]) < 0 ||
		    !vcpu_pieces_ok(&vcpus[i]))
			return vmm_kvm_fail(ret_error, EBADMSG, "state of vCPU %u is malformed", i);
	if (!st->loaded) {
		st->loaded = calloc(load->n_vcpus, sizeof(struct kvm_cpuid2 *));
		if (!st->loaded)
			return vmm_kvm_fail(ret_error, ENOMEM, "state");
		st->n_loaded = load->n_vcpus;
	}
	memcpy(&base.src_host_tsc, vm.data[TAG_CLOCK] + 8, 8);
	base.stopped_ns = stopped_ns(load);
	base.dst_host_tsc = __rdtsc();
	for (unsigned i = 0; i < load->n_vcpus && !r; i++)
		r = vcpu_load(st, load->vcpu_fds[i], i, &vcpus[i], load->cpuids[i], &base, load,
			      ret_error);
	return r ? r : vm_load(st, &vm, load, ret_error);
}

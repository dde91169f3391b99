/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's state through bytes and back: two VMs with two vCPUs; the second, loaded from the first, saves the same
 * bytes, its clocks went on and not back, and altered bytes are refused or harmless, never a crash.
 */
#include "vmm/vcpu_state_kvm.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define VCPUS 2
#define STATE (64u << 10)

struct vm {
	int vm_fd, fds[VCPUS];
	struct vmm_kvm_state *st;
	struct kvm_cpuid2 *cpuid;
	uint8_t vm[STATE], vcpus[VCPUS][STATE];
	uint32_t vm_bytes, vcpu_bytes[VCPUS];
};

static int kvm_fd = -1;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static struct vm *vm_new(void)
{
	struct kvm_pit_config pit = { 0 };
	struct vm *v = calloc(1, sizeof(*v));
	char *error = NULL;

	v->cpuid = calloc(1, sizeof(*v->cpuid) + 256 * sizeof(v->cpuid->entries[0]));
	v->cpuid->nent = 256;
	CU_ASSERT_EQUAL_FATAL(ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, v->cpuid), 0);
	v->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	CU_ASSERT_FATAL(v->vm_fd >= 0);
	CU_ASSERT_EQUAL(ioctl(v->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
	CU_ASSERT_EQUAL(ioctl(v->vm_fd, KVM_CREATE_IRQCHIP, 0), 0);
	CU_ASSERT_EQUAL(ioctl(v->vm_fd, KVM_CREATE_PIT2, &pit), 0);
	for (int i = 0; i < VCPUS; i++) {
		v->fds[i] = ioctl(v->vm_fd, KVM_CREATE_VCPU, i);
		CU_ASSERT_FATAL(v->fds[i] >= 0);
		CU_ASSERT_EQUAL(ioctl(v->fds[i], KVM_SET_CPUID2, v->cpuid), 0);
	}
	CU_ASSERT_EQUAL_FATAL(vmm_kvm_state_new(kvm_fd, v->vm_fd, &v->st, &error), 0);
	return v;
}

static void vm_free(struct vm *v)
{
	vmm_kvm_state_free(v->st);
	for (int i = 0; i < VCPUS; i++)
		close(v->fds[i]);
	close(v->vm_fd);
	free(v->cpuid);
	free(v);
}

static void dirty_up(struct vm *v)
{
	for (int i = 0; i < VCPUS; i++) {
		struct {
			uint32_t nmsrs, pad;
			struct kvm_msr_entry e[3];
		} m = { .nmsrs = 3,
			.e = { { .index = 0x174, .data = 0x10 + (unsigned)i },
			       { .index = 0xc0000102, .data = 0xffff888000001000ull },
			       { .index = 0x277, .data = 0x0007040600070406ull } } };
		struct kvm_regs r;

		CU_ASSERT_EQUAL(ioctl(v->fds[i], KVM_GET_REGS, &r), 0);
		r.rax = 0x1122334455667788ull + (unsigned)i;
		r.rip = 0x100;
		r.rflags = 2;
		CU_ASSERT_EQUAL(ioctl(v->fds[i], KVM_SET_REGS, &r), 0);
		CU_ASSERT_EQUAL(ioctl(v->fds[i], KVM_SET_MSRS, &m), 3);
	}
}

static void save(struct vm *v)
{
	char *error = NULL;
	struct cl_writer w;

	CU_ASSERT_EQUAL(vmm_kvm_clock_read(v->st, &error), 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		cl_writer_init(&w, v->vcpus[i], STATE);
		CU_ASSERT_EQUAL_FATAL(vmm_kvm_vcpu_save(v->st, v->fds[i], i, v->cpuid, &w, &error), 0);
		CU_ASSERT_FATAL(cl_writer_done(&w) > 0);
		v->vcpu_bytes[i] = (uint32_t)cl_writer_done(&w);
	}
	cl_writer_init(&w, v->vm, STATE);
	CU_ASSERT_EQUAL_FATAL(vmm_kvm_vm_save(v->st, &w, &error), 0);
	v->vm_bytes = (uint32_t)cl_writer_done(&w);
}

static void on_warn(const char *text)
{
	printf("    warning: %s\n", text);
}

static int load(struct vm *to, const struct vm *from, char **error)
{
	const struct kvm_cpuid2 *cpuids[VCPUS] = { to->cpuid, to->cpuid };
	const void *data[VCPUS] = { from->vcpus[0], from->vcpus[1] };
	struct vmm_kvm_load l = { .vcpu_fds = to->fds,
				  .cpuids = cpuids,
				  .n_vcpus = VCPUS,
				  .vm = from->vm,
				  .vm_bytes = from->vm_bytes,
				  .vcpus = data,
				  .vcpu_bytes = from->vcpu_bytes,
				  .age_ns = 5000000000ull,
				  .received_ns = now_ns(),
				  .warn = on_warn };

	return vmm_kvm_load(to->st, &l, error);
}

static uint64_t kvmclock(const struct vm *v)
{
	struct kvm_clock_data c = { 0 };

	CU_ASSERT_EQUAL(ioctl(v->vm_fd, KVM_GET_CLOCK, &c), 0);
	return c.clock;
}

static uint64_t msr(int fd, uint32_t index)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry e;
	} m = { .nmsrs = 1, .e.index = index };

	CU_ASSERT_EQUAL(ioctl(fd, KVM_GET_MSRS, &m), 1);
	return m.e.data;
}

static void there_and_back(void)
{
	struct vm *a = vm_new(), *b = vm_new(), *c = vm_new();
	uint64_t clock, tsc0, tsc1, before;
	char *error = NULL;
	struct kvm_regs r;

	dirty_up(a);
	save(a);
	clock = kvmclock(a);
	before = msr(a->fds[0], 0x10);
	CU_ASSERT_EQUAL(load(b, a, &error), 0);
	if (error)
		printf("    %s\n", error);
	CU_ASSERT_EQUAL(ioctl(b->fds[1], KVM_GET_REGS, &r), 0);
	CU_ASSERT_EQUAL(r.rax, 0x1122334455667789ull);
	CU_ASSERT_EQUAL(msr(b->fds[1], 0x174), 0x11);
	CU_ASSERT_EQUAL(msr(b->fds[0], 0xc0000102), 0xffff888000001000ull);
	/* Five seconds stopped: both clocks went on by that much, never back. */
	CU_ASSERT(kvmclock(b) >= clock + 4000000000ull);
	tsc0 = msr(b->fds[0], 0x10);
	CU_ASSERT(tsc0 > before);
	tsc1 = msr(b->fds[1], 0x10);
	CU_ASSERT(tsc1 > tsc0);
	save(b);
	CU_ASSERT_EQUAL(a->vm_bytes, b->vm_bytes);
	CU_ASSERT_EQUAL(a->vcpu_bytes[1], b->vcpu_bytes[1]);
	/* What was loaded can be saved and loaded once more. */
	CU_ASSERT_EQUAL(load(c, b, &error), 0);
	CU_ASSERT_EQUAL(msr(c->fds[1], 0x174), 0x11);
	CU_ASSERT(msr(c->fds[0], 0x10) > tsc0);
	free(error);
	vm_free(c);
	vm_free(a);
	vm_free(b);
}

static void malformed(void)
{
	struct vm *a = vm_new();
	unsigned refused = 0, n = 0;

	save(a);
	for (uint32_t cut = 0; cut < a->vcpu_bytes[1]; cut += 1 + cut / 16) {
		uint32_t whole = a->vcpu_bytes[1];
		struct vm *b = vm_new();
		char *error = NULL;

		a->vcpu_bytes[1] = cut;
		CU_ASSERT_EQUAL(load(b, a, &error), -EBADMSG);
		CU_ASSERT_PTR_NOT_NULL(error);
		free(error);
		a->vcpu_bytes[1] = whole;
		vm_free(b);
	}
	for (uint32_t at = 0; at < a->vm_bytes; at += 61) {
		struct vm *b = vm_new();
		char *error = NULL;

		a->vm[at] ^= 0xff;
		refused += load(b, a, &error) != 0;
		n++;
		free(error);
		a->vm[at] ^= 0xff;
		vm_free(b);
	}
	printf("    %u of %u alterations refused, the others are values\n", refused, n);
	vm_free(a);
}

int main(void)
{
	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0 || ioctl(kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		printf("skipped: /dev/kvm: %s\n", strerror(errno));
		return 77;
	}
	if (CU_initialize_registry() == CUE_SUCCESS) {
		CU_pSuite s = CU_add_suite("vcpu state", NULL, NULL);

		CU_add_test(s, "there and back", there_and_back);
		CU_add_test(s, "malformed", malformed);
		CU_basic_run_tests();
	}
	return CU_get_number_of_failures() || !CU_get_number_of_asserts();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads.  A vCPU parks only after KVM_RUN has returned -EINTR: with immediate_exit
 * set that call first completes the port or memory access of the exit before, so that a
 * parked vCPU's registers are whole and may be saved.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_log.h"
#include "vmm/cpuid_kvm.h"
#include "vmm/machine.h"
#include "vmm/text.h"

#define REKICK_MS 10

static void on_kick(int signal)
{
	/* Only to interrupt KVM_RUN. */
}

/* run_lock held. */
static bool may_run(const struct vmm *vm)
{
	return vm->vcpus_run && !vm->vcpus_held && !vm->stalled && !vm->frozen && !vm->quit;
}

void vmm_vcpus_kick(struct vmm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];

		if (v->run)
			__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (v->thread_made && !v->parked)
			(void)pthread_kill(v->thread, VMM_KICK_SIGNAL);
	}
}

/* Waits until the vCPU may run (true) or the end. */
static bool park(struct vmm_vcpu *v)
{
	struct vmm *vm = v->vm;
	bool go;

	pthread_mutex_lock(&vm->run_lock);
	while (!may_run(vm) && !vm->quit) {
		if (!v->parked) {
			v->parked = true;
			pthread_cond_broadcast(&vm->park_cond);
		}
		pthread_cond_wait(&vm->run_cond, &vm->run_lock);
	}
	go = !vm->quit;
	v->parked = !go;
	if (go)
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	else
		pthread_cond_broadcast(&vm->park_cond);
	pthread_mutex_unlock(&vm->run_lock);
	return go;
}

static void exit_io(struct vmm *vm, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	pthread_mutex_lock(&vm->dev_lock);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		vmm_bus_pio(&vm->machine->bus, run->io.port, data, run->io.size,
			    run->io.direction == KVM_EXIT_IO_OUT);
	pthread_mutex_unlock(&vm->dev_lock);
}

static void exit_mmio(struct vmm *vm, struct kvm_run *run)
{
	pthread_mutex_lock(&vm->dev_lock);
	vmm_bus_mmio(&vm->machine->bus, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
		     run->mmio.is_write);
	pthread_mutex_unlock(&vm->dev_lock);
}

static void log_registers(const struct vmm_vcpu *v)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_REGS, &r) == 0 && ioctl(v->fd, KVM_GET_SREGS, &s) == 0)
		cl_error("vCPU %u: rip %#llx rsp %#llx rflags %#llx cr0 %#llx cr2 %#llx cr3 %#llx "
			 "cr4 %#llx efer %#llx",
			 v->index, r.rip, r.rsp, r.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
}

static void exit_handle(struct vmm_vcpu *v)
{
	struct kvm_run *run = v->run;
	struct vmm *vm = v->vm;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(vm, run);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(vm, run);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN: /* some guests reboot this way on purpose */
		cl_notice("vCPU %u: triple fault: the processor resets", v->index);
		log_registers(v);
		vmm_stop(vm, VMM_EXIT_GUEST_RESET);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		vmm_stop(vm, VMM_EXIT_GUEST_RESET);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		cl_error("vCPU %u: KVM internal error %u", v->index, run->internal.suberror);
		log_registers(v);
		vmm_stop(vm, VMM_EXIT_ERROR);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		cl_error("vCPU %u: entry failed, hardware reason %#llx", v->index,
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		vmm_stop(vm, VMM_EXIT_ERROR);
		break;
	default:
		cl_error("vCPU %u: exit %u is not handled", v->index, run->exit_reason);
		vmm_stop(vm, VMM_EXIT_ERROR);
		break;
	}
}

static void *vcpu_main(void *arg)
{
	struct vmm_vcpu *v = arg;
	char name[16];

	(void)snprintf(name, sizeof(name), "vmm-vcpu%u", v->index);
	pthread_setname_np(pthread_self(), name);
	if (v->vm->confine)
		v->vm->confine(VMM_THREAD_VCPU);
	while (park(v)) {
		/* EAGAIN: a processor that was waiting to be started has been. */
		for (;;) {
			if (ioctl(v->fd, KVM_RUN, 0) == 0)
				exit_handle(v);
			else if (errno != EAGAIN)
				break;
		}
		if (errno != EINTR) {
			cl_error("vCPU %u: KVM_RUN: %s", v->index, strerror(errno));
			log_registers(v);
			vmm_stop(v->vm, VMM_EXIT_ERROR);
		}
	}
	return NULL;
}

static int vcpu_new(struct vmm *vm, unsigned index, int run_bytes, char **ret_error)
{
	struct vmm_vcpu *v = &vm->vcpus[index];
	struct kvm_cpuid2 *cpuid;
	int r;

	v->vm = vm;
	v->index = index;
	v->parked = true;
	v->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (v->fd < 0)
		return vmm_error(ret_error, errno, "KVM_CREATE_VCPU %u: %s", index,
				 strerror(errno));
	v->run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return vmm_error(ret_error, errno, "map of vCPU %u: %s", index, strerror(errno));
	}
	v->run_bytes = (size_t)run_bytes;
	cpuid = vmm_cpuid_of(vm, index);
	if (!cpuid)
		return vmm_error(ret_error, ENOMEM, "vCPU %u: out of memory", index);
	r = ioctl(v->fd, KVM_SET_CPUID2, cpuid) < 0 ? errno : 0;
	free(cpuid);
	return r ? vmm_error(ret_error, r, "KVM_SET_CPUID2: %s", strerror(r)) : 0;
}

int vmm_vcpus_new(struct vmm *vm, char **ret_error)
{
	int run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (run_bytes < (int)sizeof(struct kvm_run))
		return vmm_error(ret_error, EIO, "KVM_GET_VCPU_MMAP_SIZE: %d", run_bytes);
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		int r = vcpu_new(vm, i, run_bytes, ret_error);

		if (r < 0)
			return r;
	}
	return 0;
}

int vmm_vcpus_start(struct vmm *vm, char **ret_error)
{
	struct sigaction sa = { .sa_handler = on_kick };
	int r;

	sigemptyset(&sa.sa_mask);
	if (sigaction(VMM_KICK_SIGNAL, &sa, NULL) < 0)
		return vmm_error(ret_error, errno, "sigaction: %s", strerror(errno));
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];

		r = pthread_create(&v->thread, NULL, vcpu_main, v);
		if (r)
			return vmm_error(ret_error, r, "thread of vCPU %u: %s", i, strerror(r));
		v->thread_made = true;
	}
	return 0;
}

static void deadline_in(struct timespec *ts, int ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_nsec += (long)ms % 1000 * 1000000;
	ts->tv_sec += ms / 1000 + ts->tv_nsec / 1000000000;
	ts->tv_nsec %= 1000000000;
}

static bool all_parked(const struct vmm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		if (vm->vcpus[i].thread_made && !vm->vcpus[i].parked)
			return false;
	return true;
}

/* run_lock held, may_run() is false. */
static void all_park(struct vmm *vm)
{
	while (!all_parked(vm)) {
		struct timespec ts;

		vmm_vcpus_kick(vm);
		deadline_in(&ts, REKICK_MS);
		(void)pthread_cond_timedwait(&vm->park_cond, &vm->run_lock, &ts);
	}
}

void vmm_vcpus_park(struct vmm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->vcpus_run = false;
	all_park(vm);
	pthread_mutex_unlock(&vm->run_lock);
}

void vmm_vcpus_freeze(struct vmm *vm, bool on)
{
	/* A guest that finds its clock ahead shall not take that for a hang; one without kvmclock refuses. */
	for (unsigned i = 0; i < vm->n_vcpus && !on; i++)
		(void)ioctl(vm->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
	pthread_mutex_lock(&vm->run_lock);
	vm->frozen = on;
	if (on)
		all_park(vm);
	else
		pthread_cond_broadcast(&vm->run_cond);
	pthread_mutex_unlock(&vm->run_lock);
}

void vmm_vcpus_run(struct vmm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	if (!vm->quit) {
		vm->vcpus_run = true;
		pthread_cond_broadcast(&vm->run_cond);
	}
	pthread_mutex_unlock(&vm->run_lock);
}

void vmm_vcpus_hold(struct vmm *vm, bool on)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->vcpus_held = on;
	if (on)
		vmm_vcpus_kick(vm);
	else
		pthread_cond_broadcast(&vm->run_cond);
	pthread_mutex_unlock(&vm->run_lock);
}

void vmm_vcpus_stall(struct vmm *vm, bool on)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->stalled = on;
	if (on)
		vmm_vcpus_kick(vm);
	else
		pthread_cond_broadcast(&vm->run_cond);
	pthread_mutex_unlock(&vm->run_lock);
}

void vmm_vcpus_join(struct vmm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		if (!vm->vcpus[i].thread_made)
			continue;
		pthread_mutex_lock(&vm->run_lock);
		vmm_vcpus_kick(vm);
		pthread_cond_broadcast(&vm->run_cond);
		pthread_mutex_unlock(&vm->run_lock);
		pthread_join(vm->vcpus[i].thread, NULL);
		vm->vcpus[i].thread_made = false;
	}
}

void vmm_vcpus_free(struct vmm *vm)
{
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		struct vmm_vcpu *v = &vm->vcpus[i];

		if (v->run)
			munmap(v->run, v->run_bytes);
		v->run = NULL;
		if (v->fd >= 0)
			close(v->fd);
		v->fd = -1;
	}
}

struct kvm_cpuid2 *vmm_cpuid_of(const struct vmm *vm, unsigned index)
{
	size_t len = sizeof(*vm->cpuid) + vm->cpuid->nent * sizeof(vm->cpuid->entries[0]);
	struct kvm_cpuid2 *copy = malloc(len);

	if (copy) {
		memcpy(copy, vm->cpuid, len);
		vmm_cpuid_topology(copy, vm->n_vcpus, index);
	}
	return copy;
}

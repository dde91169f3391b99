/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What devices ask of the world, over KVM.  Messages go by KVM_SIGNAL_MSI straight from the
 * device's own table (no routing table to keep in step, nothing to save), notifications
 * come by ioeventfd.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/cl_log.h"
#include "vmm/guard.h"
#include "vmm/machine.h"

static void on_msi(void *arg, uint64_t address, uint32_t data)
{
	struct vmm *vm = arg;
	struct kvm_msi msi = { .address_lo = (uint32_t)address,
			       .address_hi = (uint32_t)(address >> 32),
			       .data = data };

	/* A message to a processor that does not exist is lost, as on a bus. */
	(void)ioctl(vm->vm_fd, KVM_SIGNAL_MSI, &msi);
}

static void on_irq(void *arg, unsigned gsi, bool level)
{
	struct vmm *vm = arg;
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	(void)ioctl(vm->vm_fd, KVM_IRQ_LINE, &irq);
}

static void on_notify_area(void *arg, struct vmm_dev *dev, unsigned queue, uint64_t gpa, bool on)
{
	struct vmm *vm = arg;
	struct kvm_ioeventfd e = { .addr = gpa,
				   .len = 0, /* a write of any width */
				   .fd = dev->notify_fd[queue],
				   .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN };

	/* Where it cannot be had, the write reaches the BAR and kicks from there. */
	if (ioctl(vm->vm_fd, KVM_IOEVENTFD, &e) < 0 && on)
		cl_warning("%s: KVM_IOEVENTFD: %s", dev->name, strerror(errno));
}

static void on_kick(void *arg, struct vmm_dev *dev, unsigned queue)
{
	uint64_t one = 1;

	(void)!write(dev->notify_fd[queue], &one, sizeof(one));
}

static bool on_may_act(void *arg)
{
	struct vmm *vm = arg;

	return !vm->guard || vmm_guard_holds(vm->guard);
}

static void on_stop(void *arg, enum vmm_exit_reason reason)
{
	vmm_stop(arg, reason);
}

void vmm_host_init(struct vmm *vm)
{
	vm->host = (struct vmm_host){ .arg = vm,
				      .mem = &vm->mem,
				      .msi = on_msi,
				      .irq = on_irq,
				      .notify_area = on_notify_area,
				      .kick = on_kick,
				      .may_act = on_may_act,
				      .stop = on_stop };
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device: a register model and queues that know nothing of KVM, sockets or
 * files.  What it needs from the world it calls through struct vmm_host, so the
 * same object runs under KVM, in unit tests and under a fuzzer.
 *
 * Everything in a device is guarded by one lock, vmm.dev_lock, that the caller holds:
 * the vCPU thread around a register access, the I/O thread around a queue or
 * a completion, whoever saves or restores.  Device code takes no lock and never blocks.
 *
 * Whatever the guest writes is hostile.  A device answers nonsense with DEVICE_NEEDS_RESET, ignores it
 * or reads as ones; it never crashes, and never touches memory but through vmm/mem.h.
 */
#ifndef VMM_DEV_H
#define VMM_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_wire.h"

struct vmm_dev;
struct vmm_mem;

enum vmm_exit_reason {
	VMM_EXIT_NONE = 0,
	VMM_EXIT_GUEST_SHUTDOWN,
	VMM_EXIT_GUEST_RESET,
	VMM_EXIT_FENCED,
	VMM_EXIT_QUIT,
	VMM_EXIT_ERROR,
};

/* The world as a device sees it.  arg comes back as the first argument. */
struct vmm_host {
	void *arg;
	struct vmm_mem *mem;
	/* Deliver a message-signalled interrupt. */
	void (*msi)(void *arg, uint64_t address, uint32_t data);
	/* Level of an I/O APIC line. */
	void (*irq)(void *arg, unsigned gsi, bool level);
	/* Have guest writes at gpa (on) call dev's queue() on the I/O thread, or stop that (off). */
	void (*notify_area)(void *arg, struct vmm_dev *dev, unsigned queue, uint64_t gpa, bool on);
	/* Have queue() called soon on the I/O thread. */
	void (*kick)(void *arg, struct vmm_dev *dev, unsigned queue);
	/* Whether the machine may do something that others can see.  What was not done is asked for
	 * again. */
	bool (*may_act)(void *arg);
	/* The guest asks for an end. */
	void (*stop)(void *arg, enum vmm_exit_reason reason);
};

struct vmm_dev_ops {
	/*
	 * Writes the state that the guest can tell and nothing else.  Called quiesced.
	 * A device's state must not exceed VMM_DEV_STATE_MAX bytes.
	 */
	void (*save)(struct vmm_dev *dev, struct cl_writer *w);
	/*
	 * Into a freshly made device of the same configuration; checks everything as if the guest
	 * had written it.  0 or -EBADMSG, and then the VM must not run.  Does not touch
	 * guest memory; may call host->notify_area.
	 */
	int (*restore)(struct vmm_dev *dev, struct cl_reader *r);
	/* Runs a queue; called on the I/O thread.  NULL if the device has none. */
	void (*queue)(struct vmm_dev *dev, unsigned queue);
	/*
	 * Quiesce: start no more requests.  in_flight() tells how many are still
	 * outstanding; the device is quiet when it gives 0.
	 */
	unsigned (*in_flight)(const struct vmm_dev *dev);
	/* After a pause or restore: look at every queue and raise each interrupt once. */
	void (*kick_all)(struct vmm_dev *dev);
};

#define VMM_DEV_STATE_MAX 65536u
#define VMM_DEV_NAME_MAX  16u

/* Embedded as the first member of each device. */
struct vmm_dev {
	const struct vmm_dev_ops *ops;
	const struct vmm_host *host;
	char name[VMM_DEV_NAME_MAX]; /* "serial0", "blk1": names its state in a saved VM */
	bool quiesced;		     /* set by vmm_pause(): start nothing new */
	int notify_fd[4];	     /* host side: eventfd of each queue or -1 */
	unsigned n_notify;
};

#endif

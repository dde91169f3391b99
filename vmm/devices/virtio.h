/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio 1.2 device core and its modern PCI transport (4.1): common
 * configuration, notification, ISR, device configuration and the PCI access
 * window, all in BAR 0 with the MSI-X table.  One vector for the configuration and
 * one a queue; no INTx.
 *
 * Life of a device, by its status register:
 *
 *   reset ──ACKNOWLEDGE,DRIVER──> negotiating ──FEATURES_OK──> queues set up ──DRIVER_OK──> live
 *     ^                                                                                   │
 *     └── status := 0, finished once no request is in flight ──────── NEEDS_RESET <──nonsense──┘
 *
 * live: queue addresses and sizes are locked; queues run on the I/O thread.
 * resetting, NEEDS_RESET: no queue runs, nothing is pushed.
 *
 * Pure; the caller holds vmm.dev_lock.
 */
#ifndef VMM_DEVICES_VIRTIO_H
#define VMM_DEVICES_VIRTIO_H

#include "vmm/dev.h"
#include "vmm/devices/pci.h"
#include "vmm/devices/virtq.h"

#define VMM_VIRTIO_QUEUES_MAX 4u
#define VMM_VIRTIO_CONFIG_MAX 64u

#define VMM_VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VMM_VIRTIO_F_EVENT_IDX	   (1ull << 29)
#define VMM_VIRTIO_F_VERSION_1	   (1ull << 32)

#define VMM_VIRTIO_STATUS_DRIVER_OK   4u
#define VMM_VIRTIO_STATUS_FEATURES_OK 8u
#define VMM_VIRTIO_STATUS_NEEDS_RESET 64u

struct vmm_virtio;

struct vmm_virtio_ops {
	/* Runs queue i of a live device. */
	void (*queue)(struct vmm_virtio *vd, unsigned i);
	/* Requests that hold guest memory.  NULL: always 0. */
	unsigned (*in_flight)(const struct vmm_virtio *vd);
	/* Forget per-driver state; nothing is in flight.  NULL: none. */
	void (*reset)(struct vmm_virtio *vd);
	/* State beyond queues and configuration.  NULL: none. */
	void (*save)(struct vmm_virtio *vd, struct cl_writer *w);
	int (*restore)(struct vmm_virtio *vd, struct cl_reader *r);
};

struct vmm_virtio {
	struct vmm_dev dev;
	struct vmm_pci_func pci;
	const struct vmm_virtio_ops *vops;
	uint64_t features; /* offered */
	uint64_t driver_features;
	uint32_t feature_select;
	uint32_t driver_feature_select;
	uint16_t config_vector;
	uint16_t queue_select;
	uint8_t status;
	uint8_t isr;
	uint8_t config_generation;
	bool resetting;
	uint32_t budget; /* chains that may still be popped in this run */
	bool notify_on; /* host->notify_area() is set for notify_gpa */
	uint64_t notify_gpa;
	unsigned pci_cfg_cap;
	unsigned n_queues;
	struct vmm_virtq queues[VMM_VIRTIO_QUEUES_MAX];
	uint8_t config[VMM_VIRTIO_CONFIG_MAX]; /* read-only to drivers */
	unsigned config_bytes;
};

/* type: virtio device id (1 net, 2 block, 3 console, 4 rng).  name as in struct vmm_dev. */
void vmm_virtio_init(struct vmm_virtio *vd, const struct vmm_host *host, const char *name,
		     uint16_t type, const struct vmm_virtio_ops *vops, uint64_t features,
		     unsigned n_queues, unsigned queue_size);
bool vmm_virtio_live(const struct vmm_virtio *vd);
/* True if vd is live, not quiesced, and has budget left: it may start requests. */
bool vmm_virtio_may_run(const struct vmm_virtio *vd);
/* Pops; on nonsense the device goes to NEEDS_RESET and it looks empty. */
bool vmm_virtio_pop(struct vmm_virtio *vd, unsigned i, struct vmm_chain *chain);
/* Pushes, if the device is live; interrupts come with vmm_virtio_flush(). */
void vmm_virtio_push(struct vmm_virtio *vd, unsigned i, uint16_t head, uint32_t written_bytes);
void vmm_virtio_flush(struct vmm_virtio *vd, unsigned i);
/* The driver broke the rules. */
void vmm_virtio_broken(struct vmm_virtio *vd);
/* The device's configuration changed: bumps its generation and interrupts. */
void vmm_virtio_config_changed(struct vmm_virtio *vd);
/* To be called when in_flight became 0. */
void vmm_virtio_idle(struct vmm_virtio *vd);

#endif

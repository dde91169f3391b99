/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices of a VM and what connects each with the host: private to the files that
 * build and run the machine.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "vmm/bus.h"
#include "vmm/devices/blk.h"
#include "vmm/devices/console.h"
#include "vmm/devices/net.h"
#include "vmm/devices/rng.h"
#include "vmm/disk_uring.h"
#include "vmm/io.h"
#include "vmm/tty.h"
#include "vmm/vmm.h"

struct vmm_csv;

/* A network interface: the device and its tap. */
struct vmm_nic {
	struct vmm_net net; /* first */
	struct vmm *vm;
	int tap_fd;
	struct vmm_io_item *item;
	uint32_t events;
	size_t n_frame; /* a received frame that found no buffer */
	uint8_t frame[VMM_NET_FRAME_MAX];
};

struct vmm_queue_ref {
	struct vmm_dev *dev;
	unsigned queue;
};

struct vmm_machine {
	struct vmm_bus bus;
	struct vmm_serial serial;
	struct vmm_pm pm;
	struct vmm_pci_bus pci;
	struct vmm_console console;
	struct vmm_rng rng;
	struct vmm_blk *blks[VMM_DISKS_MAX];
	struct vmm_nic *nics[VMM_NETS_MAX];
	unsigned n_nics;
	struct vmm_tty *serial_tty;
	struct vmm_tty *console_tty;
	struct vmm_uring *uring;
	struct vmm_csv *csv; /* connection to the cluster's volumes, NULL without one */
	struct vmm_queue_ref queue_refs[VMM_DEVS_MAX][VMM_VIRTIO_QUEUES_MAX];
	struct vmm_io_item *queue_items[VMM_DEVS_MAX][VMM_VIRTIO_QUEUES_MAX];
};

/* machine_linux.c: devices, taps, sockets. vm->io and vm->host are there. */
int vmm_devices_new(struct vmm *vm, char **ret_error);
void vmm_devices_free(struct vmm *vm);

/* faults_linux.c: after the ring was made, before the disks. */
int vmm_faults_new(struct vmm *vm, char **ret_error);
void vmm_faults_free(struct vmm *vm);

/* nic_linux.c */
int vmm_nic_new(struct vmm *vm, unsigned index, char **ret_error);
void vmm_nic_free(struct vmm_nic *nic);
/* dev_lock held: sends the RARP. */
void vmm_nic_announce(struct vmm_nic *nic);

/* vcpu_kvm.c */
int vmm_vcpus_new(struct vmm *vm, char **ret_error);
int vmm_vcpus_start(struct vmm *vm, char **ret_error);
/* All threads end; vm->quit is set. */
void vmm_vcpus_join(struct vmm *vm);
void vmm_vcpus_free(struct vmm *vm);
/* Stops all vCPUs and waits until they are parked. */
void vmm_vcpus_park(struct vmm *vm);
void vmm_vcpus_run(struct vmm *vm);
/* Parks them and waits, until off; vcpus_run may change meanwhile. */
void vmm_vcpus_freeze(struct vmm *vm, bool on);
/* Parks them, or lets them go as far as all else allows; does not wait.  dev_lock may be held. */
void vmm_vcpus_stall(struct vmm *vm, bool on);
/* run_lock held. */
void vmm_vcpus_kick(struct vmm *vm);

/* host_kvm.c: vm->host over KVM. */
void vmm_host_init(struct vmm *vm);

#endif

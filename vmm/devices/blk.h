/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio block device (virtio 1.2, 5.2): one queue; read, write, flush, device id.
 * Writes are acknowledged when the disk has taken them, flushes when it says they
 * are stable; with a driver that did not negotiate FLUSH each write is stable.
 * The device id is "gen-N", N the VM's generation, so a guest can tell that
 * it was started again or moved.
 * Pure; the caller holds vmm.dev_lock and provides the disk.
 */
#ifndef VMM_DEVICES_BLK_H
#define VMM_DEVICES_BLK_H

#include "vmm/devices/virtio.h"
#include "vmm/disk.h"

#define VMM_BLK_QUEUE_SIZE 128u
#define VMM_BLK_BLOCK_MAX  4096u

struct vmm_blk_req {
	struct vmm_disk_req disk; /* first */
	struct vmm_blk *blk;
	bool busy;
	struct vmm_chain chain;
	struct iovec iov[VMM_CHAIN_SEGS_MAX];
};

struct vmm_blk {
	struct vmm_virtio virtio; /* "blk0"... */
	struct vmm_disk *disk;	  /* borrowed */
	const uint64_t *generation; /* borrowed */
	uint64_t size_promised;	 /* what a restored guest was told; the disk may not be smaller */
	uint32_t block_promised; /* the same of the block size: the disk may not need more; 0: a
				    fresh guest */
	uint32_t block_bytes;	 /* that the guest is told */
	unsigned n_busy;
	struct vmm_blk_req reqs[VMM_BLK_QUEUE_SIZE];
};

/* disk has its size and alignment; it may be closed until the VM runs. */
void vmm_blk_init(struct vmm_blk *blk, const struct vmm_host *host, const char *name,
		  struct vmm_disk *disk, const uint64_t *generation);
/*
 * The disk's size is known now; before a driver looks.  False: it needs a larger block than a
 * restored guest was told (block_promised).
 */
bool vmm_blk_size_set(struct vmm_blk *blk, uint64_t size_bytes, unsigned align_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7).  A descriptor chain
 * is copied and checked once, when it is popped; nothing of the ring is read a
 * second time.  -EBADMSG means that the driver broke the rules: the device must go to
 * DEVICE_NEEDS_RESET and leave the queue alone.
 *
 * Pure.  One thread at a time.
 */
#ifndef VMM_DEVICES_VIRTQ_H
#define VMM_DEVICES_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/mem.h"

#define VMM_VIRTQ_SIZE_MAX 256u
#define VMM_CHAIN_SEGS_MAX 256u

struct vmm_seg {
	uint64_t gpa;
	uint32_t len_bytes;
	uint8_t *host;
};

/* A popped request: segs[0, n_out) are the driver's, segs[n_out, n_out + n_in) are to be written. */
struct vmm_chain {
	uint16_t head;
	unsigned n_out;
	unsigned n_in;
	uint32_t out_bytes;
	uint32_t in_bytes;
	struct vmm_seg segs[VMM_CHAIN_SEGS_MAX];
};

struct vmm_virtq {
	uint16_t size_max;
	uint16_t size;
	bool enabled;
	uint16_t vector;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
	/* The device's own indices. */
	uint16_t avail_next;
	uint16_t used_next;
	uint16_t signalled; /* used_next at the last look at used_event */
	bool signalled_valid;
	bool event_idx;
};

void vmm_virtq_reset(struct vmm_virtq *q, uint16_t size_max);
/* True if the rings are aligned, the size is a power of two and all of it is RAM. */
bool vmm_virtq_valid(const struct vmm_virtq *q, const struct vmm_mem *mem);
/* 1 with *chain, 0 if there is nothing, -EBADMSG. */
int vmm_virtq_pop(struct vmm_virtq *q, const struct vmm_mem *mem, struct vmm_chain *chain);
/* Takes back the last pop; nothing may have been pushed for it. */
void vmm_virtq_unpop(struct vmm_virtq *q);
/* Gives a chain back with written_bytes of its in part filled.  0 or -EBADMSG. */
int vmm_virtq_push(struct vmm_virtq *q, const struct vmm_mem *mem, uint16_t head,
		   uint32_t written_bytes);
/* After pushes: whether the driver wants an interrupt. */
bool vmm_virtq_wants_irq(struct vmm_virtq *q, const struct vmm_mem *mem);
/*
 * Asks the driver to notify (on) or not to bother (off).  After on, pop once
 * more: returns true if something is there already.
 */
bool vmm_virtq_notify_set(struct vmm_virtq *q, const struct vmm_mem *mem, bool on);

/* Copy out of the driver's part / into the device's part at an offset; bytes copied. */
size_t vmm_chain_read(const struct vmm_chain *chain, uint64_t offset, void *out, size_t len_bytes);
size_t vmm_chain_write(const struct vmm_chain *chain, const struct vmm_mem *mem, uint64_t offset,
		       const void *in, size_t len_bytes);

#endif

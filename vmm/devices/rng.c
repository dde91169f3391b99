/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng: answers each buffer with at most VMM_RNG_CHUNK bytes, so that a driver cannot make
 * the I/O thread spend long on one.
 */
#include "vmm/devices/rng.h"

#define TYPE_RNG   4u
#define QUEUE_SIZE 64u

static void rng_queue(struct vmm_virtio *vd, unsigned i)
{
	struct vmm_rng *rng = (struct vmm_rng *)vd;
	const struct vmm_mem *mem = vd->dev.host->mem;

	do {
		while (vmm_virtio_pop(vd, i, &rng->chain)) {
			uint8_t bytes[VMM_RNG_CHUNK];
			size_t n = rng->chain.in_bytes < sizeof(bytes) ? rng->chain.in_bytes :
									 sizeof(bytes);

			if (n == 0) {
				vmm_virtio_broken(vd);
				return;
			}
			rng->fill(bytes, n);
			vmm_chain_write(&rng->chain, mem, 0, bytes, n);
			vmm_virtio_push(vd, i, rng->chain.head, (uint32_t)n);
		}
	} while (vmm_virtio_may_run(vd) && vmm_virtq_notify_set(&vd->queues[i], mem, true));
	vmm_virtio_flush(vd, i);
}

static const struct vmm_virtio_ops rng_ops = { .queue = rng_queue };

void vmm_rng_init(struct vmm_rng *rng, const struct vmm_host *host,
		  void (*fill)(void *out, size_t len_bytes))
{
	vmm_virtio_init(&rng->virtio, host, "rng0", TYPE_RNG, &rng_ops, 0, 1, QUEUE_SIZE);
	rng->fill = fill;
}

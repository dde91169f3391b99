/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio entropy device (virtio 1.2, 5.4).  Pure; the caller holds vmm.dev_lock. */
#ifndef VMM_DEVICES_RNG_H
#define VMM_DEVICES_RNG_H

#include "vmm/devices/virtio.h"

#define VMM_RNG_CHUNK 256u

struct vmm_rng {
	struct vmm_virtio virtio; /* "rng0" */
	/* Fills all of out with random bytes; never blocks for long, never fails. */
	void (*fill)(void *out, size_t len_bytes);
	struct vmm_chain chain;
};

void vmm_rng_init(struct vmm_rng *rng, const struct vmm_host *host,
		  void (*fill)(void *out, size_t len_bytes));

#endif

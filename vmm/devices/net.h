/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio network device (virtio 1.2, 5.1): one receive and one transmit queue,
 * no offloads.  A frame is copied once each way.
 * Pure; the caller holds vmm.dev_lock and moves frames to and from the wire.
 */
#ifndef VMM_DEVICES_NET_H
#define VMM_DEVICES_NET_H

#include "vmm/devices/virtio.h"

#define VMM_NET_QUEUE_SIZE 256u
#define VMM_NET_FRAME_MAX  65535u
#define VMM_NET_HDR_BYTES  12u

struct vmm_net {
	struct vmm_virtio virtio; /* "net0"... */
	uint8_t mac[6];
	/* Sends a frame; -EAGAIN: not now, the host kicks queue 1 when there is room. */
	int (*tx)(void *arg, const uint8_t *frame, size_t len_bytes);
	/* There are receive buffers again. */
	void (*rx_ready)(void *arg);
	void *arg;
	struct vmm_chain chain;
	uint8_t frame[VMM_NET_FRAME_MAX];
};

void vmm_net_init(struct vmm_net *net, const struct vmm_host *host, const char *name,
		  const uint8_t mac[6], int (*tx)(void *arg, const uint8_t *frame, size_t len_bytes),
		  void (*rx_ready)(void *arg), void *arg);
/* 0: taken or dropped; -EAGAIN: no buffer, try again after rx_ready().  Flush once after some frames. */
int vmm_net_rx(struct vmm_net *net, const uint8_t *frame, size_t len_bytes);
void vmm_net_rx_flush(struct vmm_net *net);
/* Fills out (60 bytes) with the RARP that announces the address. */
#define VMM_NET_RARP_BYTES 60u
void vmm_net_rarp(const struct vmm_net *net, uint8_t out[VMM_NET_RARP_BYTES]);

#endif

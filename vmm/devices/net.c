/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net data path.  No feature that would let a driver describe packets to
 * the host kernel (checksums, segmentation) is offered, so the header that comes with a
 * frame is skipped, and the one that goes with a received frame is all zero but for its
 * buffer count.
 */
#include "vmm/devices/net.h"

#include <errno.h>
#include <string.h>

#define TYPE_NET   1u
#define F_MAC	   (1ull << 5)
#define F_MRG	   (1ull << 15)
#define F_STATUS   (1ull << 16)
#define S_LINK_UP  1u
#define CFG_BYTES  8u
#define Q_RX	   0u
#define Q_TX	   1u
#define ETH_HEADER 14u

int vmm_net_rx(struct vmm_net *net, const uint8_t *frame, size_t len_bytes)
{
	struct vmm_virtio *vd = &net->virtio;
	const struct vmm_mem *mem = vd->dev.host->mem;
	uint8_t header[VMM_NET_HDR_BYTES] = { [10] = 1 }; /* num_buffers */

	if (!vmm_virtio_live(vd))
		return 0; /* no driver: nobody listens */
	if (!vmm_virtio_may_run(vd))
		return -EAGAIN;
	if (!vmm_virtio_pop(vd, Q_RX, &net->chain)) {
		if (!vmm_virtio_live(vd) || !vmm_virtq_notify_set(&vd->queues[Q_RX], mem, true))
			return -EAGAIN;
		if (!vmm_virtio_pop(vd, Q_RX, &net->chain))
			return -EAGAIN;
	}
	if (net->chain.in_bytes < VMM_NET_HDR_BYTES) {
		vmm_virtio_broken(vd);
		return 0;
	}
	if (net->chain.in_bytes < VMM_NET_HDR_BYTES + len_bytes) {
		/* Larger than the driver's buffer: drop the frame, keep the buffer. */
		vmm_virtq_unpop(&vd->queues[Q_RX]);
		return 0;
	}
	vmm_chain_write(&net->chain, mem, 0, header, sizeof(header));
	vmm_chain_write(&net->chain, mem, VMM_NET_HDR_BYTES, frame, len_bytes);
	vmm_virtio_push(vd, Q_RX, net->chain.head, (uint32_t)(VMM_NET_HDR_BYTES + len_bytes));
	return 0;
}

void vmm_net_rx_flush(struct vmm_net *net)
{
	vmm_virtio_flush(&net->virtio, Q_RX);
}

static void tx_run(struct vmm_net *net)
{
	struct vmm_virtio *vd = &net->virtio;
	struct vmm_virtq *q = &vd->queues[Q_TX];
	const struct vmm_mem *mem = vd->dev.host->mem;
	bool stuck = false;

	do {
		vmm_virtq_notify_set(q, mem, false);
		while (!stuck && vmm_virtio_pop(vd, Q_TX, &net->chain)) {
			size_t len;

			if (net->chain.out_bytes < VMM_NET_HDR_BYTES) {
				vmm_virtio_broken(vd);
				return;
			}
			len = vmm_chain_read(&net->chain, VMM_NET_HDR_BYTES, net->frame,
					     sizeof(net->frame));
			if (len >= ETH_HEADER && net->tx(net->arg, net->frame, len) == -EAGAIN) {
				vmm_virtq_unpop(q);
				stuck = true;
			} else {
				vmm_virtio_push(vd, Q_TX, net->chain.head, 0);
			}
		}
	} while (!stuck && vmm_virtio_may_run(vd) && vmm_virtq_notify_set(q, mem, true));
	vmm_virtio_flush(vd, Q_TX);
}

static void net_queue(struct vmm_virtio *vd, unsigned i)
{
	struct vmm_net *net = (struct vmm_net *)vd;

	if (i == Q_TX)
		tx_run(net);
	else
		net->rx_ready(net->arg);
}

static const struct vmm_virtio_ops net_ops = { .queue = net_queue };

void vmm_net_init(struct vmm_net *net, const struct vmm_host *host, const char *name,
		  const uint8_t mac[6], int (*tx)(void *arg, const uint8_t *frame, size_t len_bytes),
		  void (*rx_ready)(void *arg), void *arg)
{
	uint16_t status_le = S_LINK_UP;

	vmm_virtio_init(&net->virtio, host, name, TYPE_NET, &net_ops, F_MAC | F_MRG | F_STATUS, 2,
			VMM_NET_QUEUE_SIZE);
	memcpy(net->mac, mac, 6);
	memcpy(net->virtio.config, mac, 6);
	memcpy(net->virtio.config + 6, &status_le, 2);
	net->virtio.config_bytes = CFG_BYTES;
	net->tx = tx;
	net->rx_ready = rx_ready;
	net->arg = arg;
}

void vmm_net_rarp(const struct vmm_net *net, uint8_t out[VMM_NET_RARP_BYTES])
{
	/* Ethernet, IPv4, address lengths 6 and 4, operation 3: "reverse request" (RFC 903). */
	static const uint8_t fixed[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };

	memset(out, 0, VMM_NET_RARP_BYTES);
	memset(out, 0xff, 6);
	memcpy(out + 6, net->mac, 6);
	memcpy(out + 12, fixed, sizeof(fixed));
	memcpy(out + 22, net->mac, 6); /* sender */
	memcpy(out + 32, net->mac, 6); /* target: itself */
}

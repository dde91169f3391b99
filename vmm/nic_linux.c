/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moves frames between a tap and a virtio-net device.  Runs on the I/O thread with dev_lock.  A frame that
 * finds no buffer waits here and the tap is not read meanwhile, so the kernel's queue drops
 * the excess.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/machine.h"
#include "vmm/tap.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

#define FRAMES_PER_ROUND 256u

static void events_set(struct vmm_nic *nic, uint32_t events)
{
	if (events != nic->events) {
		nic->events = events;
		vmm_io_mod(nic->item, events);
	}
}

static int on_tx(void *arg, const uint8_t *frame, size_t len_bytes)
{
	struct vmm_nic *nic = arg;

	if (write(nic->tap_fd, frame, len_bytes) >= 0)
		return 0;
	if (errno == EAGAIN) {
		events_set(nic, nic->events | EPOLLOUT);
		return -EAGAIN;
	}
	return 0; /* too long, or the link is down: dropped, as a wire would */
}

static void rx_run(struct vmm_nic *nic)
{
	unsigned left = FRAMES_PER_ROUND;

	while (left-- > 0) {
		if (!nic->n_frame) {
			ssize_t n = read(nic->tap_fd, nic->frame, sizeof(nic->frame));

			if (n <= 0)
				break;
			nic->n_frame = (size_t)n;
		}
		if (vmm_net_rx(&nic->net, nic->frame, nic->n_frame) == -EAGAIN)
			break;
		nic->n_frame = 0;
	}
	vmm_net_rx_flush(&nic->net);
	events_set(nic, (nic->events & ~(uint32_t)EPOLLIN) | (nic->n_frame ? 0 : EPOLLIN));
}

static void on_rx_ready(void *arg)
{
	rx_run(arg);
}

static void on_tap(void *arg, uint32_t events)
{
	struct vmm_nic *nic = arg;

	if (events & EPOLLOUT) {
		events_set(nic, nic->events & ~(uint32_t)EPOLLOUT);
		nic->net.virtio.dev.ops->queue(&nic->net.virtio.dev, 1);
	}
	if (events & EPOLLIN)
		rx_run(nic);
}

void vmm_nic_announce(struct vmm_nic *nic)
{
	uint8_t frame[VMM_NET_RARP_BYTES];

	vmm_net_rarp(&nic->net, frame);
	(void)!write(nic->tap_fd, frame, sizeof(frame));
}

int vmm_nic_new(struct vmm *vm, unsigned index, char **ret_error)
{
	const struct vmm_config_net *c = &vm->config->nets[index];
	char name[] = { 'n', 'e', 't', (char)('0' + index), 0 };
	struct vmm_nic *nic = calloc(1, sizeof(*nic));
	int r;

	if (!nic)
		return vmm_error(ret_error, ENOMEM, "net %u: out of memory", index);
	vm->machine->nics[index] = nic;
	nic->vm = vm;
	nic->tap_fd = vmm_tap_open(c->tap, c->bridge, ret_error);
	if (nic->tap_fd < 0)
		return nic->tap_fd;
	vmm_net_init(&nic->net, &vm->host, name, c->mac, on_tx, on_rx_ready, nic);
	nic->events = EPOLLIN;
	r = vmm_io_add(vm->io, nic->tap_fd, EPOLLIN, on_tap, nic, &nic->item);
	return r < 0 ? vmm_error(ret_error, -r, "tap %s: %s", c->tap, strerror(-r)) : 0;
}

void vmm_nic_free(struct vmm_nic *nic)
{
	if (!nic)
		return;
	vmm_io_del(nic->item);
	if (nic->tap_fd >= 0)
		close(nic->tap_fd);
	free(nic);
}

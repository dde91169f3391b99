/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio console (virtio 1.2, 5.3), one port.  Much cheaper than the UART: a line is one
 * exit.  Pure; the caller holds vmm.dev_lock.
 */
#ifndef VMM_DEVICES_CONSOLE_H
#define VMM_DEVICES_CONSOLE_H

#include "vmm/devices/virtio.h"

#define VMM_CONSOLE_QUEUE_SIZE 64u

struct vmm_console {
	struct vmm_virtio virtio; /* "console0" */
	void (*out)(void *arg, const uint8_t *data, size_t len_bytes);
	/* The guest can take input again. */
	void (*in_ready)(void *arg);
	void *arg;
	struct vmm_chain chain;
};

void vmm_console_init(struct vmm_console *con, const struct vmm_host *host,
		      void (*out)(void *arg, const uint8_t *data, size_t len_bytes),
		      void (*in_ready)(void *arg), void *arg);
/* Bytes typed by the user; returns how many the guest took. */
size_t vmm_console_input(struct vmm_console *con, const uint8_t *data, size_t len_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 16550A UART at COM1: what the guest sends goes out at once, so the transmitter
 * is always empty.  Pure; the caller holds vmm.dev_lock.
 */
#ifndef VMM_DEVICES_SERIAL_H
#define VMM_DEVICES_SERIAL_H

#include "vmm/dev.h"

#define VMM_SERIAL_FIFO 16u

struct vmm_serial {
	struct vmm_dev dev; /* "serial0" */
	void (*out)(void *arg, const uint8_t *data, size_t len_bytes);
	void (*in_ready)(void *arg); /* the guest has read all input */
	void *arg;
	unsigned gsi;
	uint8_t ier;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scr;
	uint8_t fcr;
	uint8_t lsr_errors; /* overrun */
	uint16_t divisor;
	bool thre_pending; /* the "transmitter empty" interrupt was not yet taken */
	bool line;
	uint8_t fifo[VMM_SERIAL_FIFO];
	unsigned fifo_len;
};

void vmm_serial_init(struct vmm_serial *s, const struct vmm_host *host, unsigned gsi,
		     void (*out)(void *arg, const uint8_t *data, size_t len_bytes),
		     void (*in_ready)(void *arg), void *arg);
uint8_t vmm_serial_read(struct vmm_serial *s, unsigned reg);
void vmm_serial_write(struct vmm_serial *s, unsigned reg, uint8_t value);
/* Bytes typed by the user; returns how many fit. */
size_t vmm_serial_input(struct vmm_serial *s, const uint8_t *data, size_t len_bytes);
/* Room for input now. */
size_t vmm_serial_room(const struct vmm_serial *s);

#endif

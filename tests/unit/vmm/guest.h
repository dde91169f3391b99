/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine without KVM for device tests and fuzzers: RAM, a bus, and a host that counts what devices
 * ask of it.  One a program.
 */
#ifndef TESTS_UNIT_VMM_GUEST_H
#define TESTS_UNIT_VMM_GUEST_H

#include <string.h>

#include "vmm/bus.h"
#include "vmm/devices/virtio.h"
#include "vmm/layout.h"

#define GUEST_RAM_BYTES (1u << 20)

static uint8_t guest_ram[GUEST_RAM_BYTES] __attribute__((aligned(4096)));
static uint64_t guest_dirty[GUEST_RAM_BYTES / VMM_PAGE_SIZE / 64];
static struct vmm_mem guest_mem;
static struct vmm_host guest_host;
static struct vmm_serial guest_serial;
static struct vmm_pm guest_pm;
static struct vmm_pci_bus guest_pci;
static struct vmm_bus guest_bus = { &guest_serial, &guest_pm, &guest_pci };
static unsigned guest_msis, guest_kicks, guest_areas, guest_irqs;
static uint32_t guest_msi_data;
static bool guest_line[16];
static enum vmm_exit_reason guest_stopped;
static char guest_out[256];
static size_t guest_out_len;

static void guest_on_msi(void *arg, uint64_t address, uint32_t data)
{
	guest_msis++;
	guest_msi_data = data;
}

static void guest_on_irq(void *arg, unsigned gsi, bool level)
{
	guest_irqs += level;
	guest_line[gsi % 16] = level;
}

static void guest_on_area(void *arg, struct vmm_dev *dev, unsigned queue, uint64_t gpa, bool on)
{
	guest_areas += on ? 1u : -1u;
}

static void guest_on_kick(void *arg, struct vmm_dev *dev, unsigned queue)
{
	guest_kicks++;
}

static void guest_on_stop(void *arg, enum vmm_exit_reason reason)
{
	guest_stopped = reason;
}

static void guest_on_out(void *arg, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && guest_out_len < sizeof(guest_out) - 1; i++)
		guest_out[guest_out_len++] = (char)data[i];
}

static void guest_on_ready(void *arg)
{
}

static inline void guest_new(void)
{
	memset(guest_ram, 0, sizeof(guest_ram));
	memset(guest_dirty, 0, sizeof(guest_dirty));
	memset(guest_out, 0, sizeof(guest_out));
	memset(guest_line, 0, sizeof(guest_line));
	guest_out_len = 0;
	guest_msis = guest_kicks = guest_areas = guest_irqs = 0;
	guest_stopped = VMM_EXIT_NONE;
	vmm_mem_init(&guest_mem, guest_ram, GUEST_RAM_BYTES, guest_dirty);
	guest_host = (struct vmm_host){ NULL,	       &guest_mem,    guest_on_msi, guest_on_irq,
					guest_on_area, guest_on_kick, NULL,	    guest_on_stop };
	vmm_pci_bus_init(&guest_pci, &guest_host);
	vmm_serial_init(&guest_serial, &guest_host, VMM_GSI_COM1, guest_on_out, guest_on_ready,
			NULL);
	vmm_pm_init(&guest_pm, &guest_host, VMM_GSI_GED);
}

static inline uint32_t guest_in(unsigned port, unsigned len)
{
	uint32_t v = 0;

	vmm_bus_pio(&guest_bus, port, &v, len, false);
	return v;
}

static inline void guest_outp(unsigned port, unsigned len, uint32_t v)
{
	vmm_bus_pio(&guest_bus, port, &v, len, true);
}

static inline uint32_t guest_cfg_read(unsigned slot, unsigned offset, unsigned len)
{
	guest_outp(VMM_PORT_PCI_ADDR, 4, 0x80000000u | slot << 11 | (offset & 0xfc));
	return guest_in(VMM_PORT_PCI_DATA + (offset & 3), len);
}

static inline void guest_cfg_write(unsigned slot, unsigned offset, unsigned len, uint32_t v)
{
	guest_outp(VMM_PORT_PCI_ADDR, 4, 0x80000000u | slot << 11 | (offset & 0xfc));
	guest_outp(VMM_PORT_PCI_DATA + (offset & 3), len, v);
}

static inline uint64_t guest_read(uint64_t gpa, unsigned len)
{
	uint64_t v = 0;

	vmm_bus_mmio(&guest_bus, gpa, &v, len, false);
	return v;
}

static inline void guest_write(uint64_t gpa, unsigned len, uint64_t v)
{
	vmm_bus_mmio(&guest_bus, gpa, &v, len, true);
}

/* A ring of 8 for queue q of the device whose BAR is at bar: descriptors, avail, used. */
#define GUEST_DESC(q)  (0x1000u + 0x4000u * (q))
#define GUEST_AVAIL(q) (0x2000u + 0x4000u * (q))
#define GUEST_USED(q)  (0x3000u + 0x4000u * (q))

static inline void guest_queue(uint64_t bar, unsigned q)
{
	guest_write(bar + 22, 2, q);
	guest_write(bar + 24, 2, 8);
	guest_write(bar + 26, 2, q + 1);
	guest_write(bar + 32, 8, GUEST_DESC(q));
	guest_write(bar + 40, 8, GUEST_AVAIL(q));
	guest_write(bar + 48, 8, GUEST_USED(q));
	guest_write(bar + 28, 2, 1);
}

/* Brings a device to DRIVER_OK with features (low and VERSION_1), vectors 0..n_queues unmasked. */
static inline void guest_driver(uint64_t bar, unsigned slot, uint32_t features, unsigned n_queues)
{
	guest_write(bar + 20, 1, 0);
	guest_write(bar + 20, 1, 3);
	guest_write(bar + 8, 4, 0);
	guest_write(bar + 12, 4, features);
	guest_write(bar + 8, 4, 1);
	guest_write(bar + 12, 4, 1);
	guest_write(bar + 20, 1, 11);
	guest_cfg_write(slot, 0x42, 2, 0x8000); /* MSI-X on */
	for (unsigned v = 0; v <= n_queues; v++) {
		guest_write(bar + 0x4000 + 16 * v, 4, 0xfee00000);
		guest_write(bar + 0x4000 + 16 * v + 8, 4, 0x40 + v);
		guest_write(bar + 0x4000 + 16 * v + 12, 4, 0);
	}
	guest_write(bar + 16, 2, 0);
	for (unsigned q = 0; q < n_queues; q++)
		guest_queue(bar, q);
	guest_write(bar + 20, 1, 15);
}

static inline void guest_put(uint64_t gpa, uint64_t v, unsigned len)
{
	memcpy(guest_ram + gpa, &v, len);
}

static inline void guest_desc(unsigned q, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
			      unsigned next)
{
	guest_put(GUEST_DESC(q) + 16 * i, addr, 8);
	guest_put(GUEST_DESC(q) + 16 * i + 8, len, 4);
	guest_put(GUEST_DESC(q) + 16 * i + 12, flags, 2);
	guest_put(GUEST_DESC(q) + 16 * i + 14, next, 2);
}

/* Makes head the idx-th (from 0) available chain. */
static inline void guest_avail(unsigned q, unsigned idx, unsigned head)
{
	guest_put(GUEST_AVAIL(q) + 4 + 2 * (idx % 8), head, 2);
	guest_put(GUEST_AVAIL(q) + 2, idx + 1, 2);
}

static inline unsigned guest_used(unsigned q)
{
	uint16_t idx;

	memcpy(&idx, guest_ram + GUEST_USED(q) + 2, 2);
	return idx;
}

#endif

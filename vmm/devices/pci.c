/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI configuration space, BAR and MSI-X registers (PCI 3.0, 6.2 and 6.8.2).
 * There is no firmware: functions come with BAR 0 placed and decoding on, and an
 * operating system may move it.  Reads of what is not there give ones.
 */
#include "vmm/devices/pci.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/layout.h"

#define CFG_COMMAND	0x04u
#define CFG_STATUS	0x06u
#define CFG_CLASS_REV	0x08u
#define CFG_BAR0	0x10u
#define CFG_SUBSYSTEM	0x2cu
#define CFG_CAP_PTR	0x34u
#define CMD_MEMORY	0x0002u
#define CMD_WRITABLE	0x0406u /* memory, bus master, INTx disable */
#define STATUS_CAP_LIST 0x0010u
#define CAP_MSIX	0x11u
#define MSIX_ENABLE	0x8000u
#define MSIX_MASK_ALL	0x4000u

#define BRIDGE_VENDOR 0x1b36u
#define BRIDGE_DEVICE 0x0008u

/* Only messages to local APICs; anything else would be a write that no device here makes. */
#define MSI_BASE 0xfee00000u
#define MSI_LAST 0xfeefffffu

void vmm_pci_func_init(struct vmm_pci_func *f, const struct vmm_pci_func_ops *ops,
		       const struct vmm_host *host, uint16_t vendor, uint16_t device,
		       uint32_t class_revision)
{
	memset(f, 0, sizeof(*f));
	f->ops = ops;
	f->host = host;
	f->cap_end = 0x40;
	vmm_pci_set16(f, 0, vendor);
	vmm_pci_set16(f, 2, device);
	vmm_pci_set32(f, CFG_CLASS_REV, class_revision);
	f->writable[CFG_COMMAND] = CMD_WRITABLE & 0xff;
	f->writable[CFG_COMMAND + 1] = CMD_WRITABLE >> 8;
	f->writable[0x0c] = 0xff; /* cache line size */
	f->writable[0x3c] = 0xff; /* interrupt line: a scratch register */
}

unsigned vmm_pci_cap_add(struct vmm_pci_func *f, uint8_t id, unsigned len)
{
	unsigned at = f->cap_end;

	assert(at + len <= VMM_PCI_CFG_BYTES);
	f->cfg[at] = id;
	f->cfg[at + 1] = 0;
	if (f->cap_last)
		f->cfg[f->cap_last + 1] = (uint8_t)at;
	else
		f->cfg[CFG_CAP_PTR] = (uint8_t)at;
	f->cap_last = at;
	f->cap_end = (at + len + 3) & ~3u;
	vmm_pci_set16(f, CFG_STATUS, STATUS_CAP_LIST);
	return at;
}

void vmm_pci_msix_add(struct vmm_pci_func *f, unsigned n_vectors, uint32_t table_offset,
		      uint32_t pba_offset)
{
	unsigned at = vmm_pci_cap_add(f, CAP_MSIX, 12);

	assert(n_vectors > 0 && n_vectors <= VMM_MSIX_VECTORS_MAX);
	vmm_pci_set16(f, at + 2, (uint16_t)(n_vectors - 1));
	vmm_pci_set32(f, at + 4, table_offset); /* BIR 0 */
	vmm_pci_set32(f, at + 8, pba_offset);
	f->writable[at + 3] = (MSIX_ENABLE | MSIX_MASK_ALL) >> 8;
	f->msix_cap = at;
	f->n_vectors = n_vectors;
	for (unsigned i = 0; i < n_vectors; i++)
		f->vectors[i].masked = true;
}

bool vmm_pci_mem_enabled(const struct vmm_pci_func *f)
{
	return f->bar_bytes && (vmm_pci_get16(f, CFG_COMMAND) & CMD_MEMORY);
}

uint32_t vmm_pci_bar(const struct vmm_pci_func *f)
{
	return vmm_pci_get32(f, CFG_BAR0) & ~0xfu;
}

static void vector_fire(struct vmm_pci_func *f, unsigned v)
{
	struct vmm_msix_entry *e = &f->vectors[v];

	e->pending = false;
	if (e->address >= MSI_BASE && e->address <= MSI_LAST)
		f->host->msi(f->host->arg, e->address, e->data);
}

static void pending_replay(struct vmm_pci_func *f)
{
	uint16_t control = vmm_pci_get16(f, f->msix_cap + 2);

	if (!(control & MSIX_ENABLE) || (control & MSIX_MASK_ALL))
		return;
	for (unsigned i = 0; i < f->n_vectors; i++)
		if (f->vectors[i].pending && !f->vectors[i].masked)
			vector_fire(f, i);
}

void vmm_msix_raise(struct vmm_pci_func *f, unsigned vector)
{
	uint16_t control;

	if (!f->msix_cap || vector >= f->n_vectors)
		return;
	control = vmm_pci_get16(f, f->msix_cap + 2);
	if (!(control & MSIX_ENABLE))
		return;
	if ((control & MSIX_MASK_ALL) || f->vectors[vector].masked)
		f->vectors[vector].pending = true;
	else
		vector_fire(f, vector);
}

static uint32_t entry_dword(const struct vmm_msix_entry *e, unsigned i)
{
	switch (i) {
	case 0:
		return (uint32_t)e->address;
	case 1:
		return (uint32_t)(e->address >> 32);
	case 2:
		return e->data;
	default:
		return e->masked ? 1 : 0;
	}
}

uint64_t vmm_msix_table_read(const struct vmm_pci_func *f, uint32_t offset, unsigned len)
{
	uint64_t v;

	if (offset / 16 >= f->n_vectors || (len != 4 && len != 8) || offset % len)
		return UINT64_MAX;
	v = entry_dword(&f->vectors[offset / 16], offset % 16 / 4);
	if (len == 8)
		v |= (uint64_t)entry_dword(&f->vectors[offset / 16], offset % 16 / 4 + 1) << 32;
	return v;
}

static void entry_dword_set(struct vmm_pci_func *f, struct vmm_msix_entry *e, unsigned i, uint32_t v)
{
	switch (i) {
	case 0:
		e->address = (e->address & ~0xffffffffull) | (v & ~3u);
		break;
	case 1:
		e->address = (e->address & 0xffffffffull) | (uint64_t)v << 32;
		break;
	case 2:
		e->data = v;
		break;
	default:
		e->masked = v & 1;
		pending_replay(f);
		break;
	}
}

void vmm_msix_table_write(struct vmm_pci_func *f, uint32_t offset, unsigned len, uint64_t value)
{
	struct vmm_msix_entry *e;

	if (offset / 16 >= f->n_vectors || (len != 4 && len != 8) || offset % len)
		return;
	e = &f->vectors[offset / 16];
	entry_dword_set(f, e, offset % 16 / 4, (uint32_t)value);
	if (len == 8)
		entry_dword_set(f, e, offset % 16 / 4 + 1, (uint32_t)(value >> 32));
}

uint64_t vmm_msix_pba_read(const struct vmm_pci_func *f, uint32_t offset, unsigned len)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < f->n_vectors; i++)
		bits |= (uint64_t)f->vectors[i].pending << i;
	if (offset >= 8 || offset + len > 8)
		return 0;
	return bits >> (offset * 8);
}

static uint32_t cfg_read(struct vmm_pci_func *f, unsigned offset, unsigned len)
{
	uint32_t v = 0;

	if (f->ops && f->ops->cfg_reading)
		f->ops->cfg_reading(f, offset, len);
	for (unsigned i = 0; i < len; i++)
		v |= (uint32_t)f->cfg[offset + i] << (8 * i);
	return v;
}

static void cfg_write(struct vmm_pci_func *f, unsigned offset, unsigned len, uint32_t value)
{
	for (unsigned i = 0; i < len; i++) {
		uint8_t mask = f->writable[offset + i], byte = (uint8_t)(value >> (8 * i));

		f->cfg[offset + i] = (uint8_t)((f->cfg[offset + i] & ~mask) | (byte & mask));
	}
	if (f->msix_cap && offset <= f->msix_cap + 3 && offset + len > f->msix_cap + 2)
		pending_replay(f);
	if (f->ops && f->ops->cfg_written)
		f->ops->cfg_written(f, offset, len);
}

static void bus_save(struct vmm_dev *dev, struct cl_writer *w)
{
	struct vmm_pci_bus *bus = (struct vmm_pci_bus *)dev;

	cl_write_u8(w, 1);
	cl_write_u32(w, bus->address);
	vmm_pci_func_save(&bus->bridge, w);
}

static int bus_restore(struct vmm_dev *dev, struct cl_reader *r)
{
	struct vmm_pci_bus *bus = (struct vmm_pci_bus *)dev;

	if (cl_read_u8(r) != 1)
		return -EBADMSG;
	bus->address = cl_read_u32(r);
	return vmm_pci_func_restore(&bus->bridge, r);
}

static const struct vmm_dev_ops bus_ops = { .save = bus_save, .restore = bus_restore };

void vmm_pci_bus_init(struct vmm_pci_bus *bus, const struct vmm_host *host)
{
	memset(bus, 0, sizeof(*bus));
	bus->dev.ops = &bus_ops;
	bus->dev.host = host;
	memcpy(bus->dev.name, "pci0", 5);
	vmm_pci_func_init(&bus->bridge, NULL, host, BRIDGE_VENDOR, BRIDGE_DEVICE, 0x06000000);
	bus->funcs[0] = &bus->bridge;
}

int vmm_pci_bus_add(struct vmm_pci_bus *bus, struct vmm_pci_func *f)
{
	unsigned slot = 1;

	while (slot < VMM_PCI_SLOTS && bus->funcs[slot])
		slot++;
	if (slot == VMM_PCI_SLOTS)
		return -ENOSPC;
	assert(f->bar_bytes >= 4096 && (f->bar_bytes & (f->bar_bytes - 1)) == 0);
	for (unsigned i = 0; i < 4; i++)
		f->writable[CFG_BAR0 + i] = (uint8_t)(~(f->bar_bytes - 1) >> (8 * i));
	vmm_pci_set32(f, CFG_BAR0, VMM_GPA_PCI + slot * 0x100000u);
	vmm_pci_set16(f, CFG_COMMAND, CMD_MEMORY);
	bus->funcs[slot] = f;
	return 0;
}

static struct vmm_pci_func *addressed(const struct vmm_pci_bus *bus, unsigned port, unsigned len,
				      unsigned *ret_offset)
{
	unsigned lane = port - VMM_PORT_PCI_DATA;

	*ret_offset = (bus->address & 0xfc) + lane;
	/* Enable bit, bus 0, function 0. */
	if (port < VMM_PORT_PCI_DATA || lane + len > 4 || !(bus->address & 0x80000000u) ||
	    (bus->address & 0x00ff0700u))
		return NULL;
	return bus->funcs[bus->address >> 11 & 31];
}

uint32_t vmm_pci_port_read(struct vmm_pci_bus *bus, unsigned port, unsigned len)
{
	struct vmm_pci_func *f;
	unsigned offset;

	if (port == VMM_PORT_PCI_ADDR && len == 4)
		return bus->address;
	f = addressed(bus, port, len, &offset);
	return f ? cfg_read(f, offset, len) : UINT32_MAX;
}

void vmm_pci_port_write(struct vmm_pci_bus *bus, unsigned port, unsigned len, uint32_t value)
{
	struct vmm_pci_func *f;
	unsigned offset;

	if (port == VMM_PORT_PCI_ADDR && len == 4) {
		bus->address = value & 0x80fffffcu;
		return;
	}
	f = addressed(bus, port, len, &offset);
	if (f)
		cfg_write(f, offset, len, value);
}

bool vmm_pci_mmio(struct vmm_pci_bus *bus, uint64_t gpa, void *data, unsigned len, bool write)
{
	for (unsigned i = 0; i < VMM_PCI_SLOTS; i++) {
		struct vmm_pci_func *f = bus->funcs[i];
		uint64_t v = 0;
		uint32_t bar;

		if (!f || !vmm_pci_mem_enabled(f))
			continue;
		bar = vmm_pci_bar(f);
		if (gpa < bar || gpa - bar >= f->bar_bytes || len > f->bar_bytes - (gpa - bar))
			continue;
		if (write) {
			memcpy(&v, data, len);
			f->ops->bar_write(f, (uint32_t)(gpa - bar), len, v);
		} else {
			v = f->ops->bar_read(f, (uint32_t)(gpa - bar), len);
			memcpy(data, &v, len);
		}
		return true;
	}
	return false;
}

void vmm_pci_func_save(const struct vmm_pci_func *f, struct cl_writer *w)
{
	cl_write_bytes(w, f->cfg, sizeof(f->cfg));
	for (unsigned i = 0; i < f->n_vectors; i++) {
		const struct vmm_msix_entry *e = &f->vectors[i];

		cl_write_u64(w, e->address);
		cl_write_u32(w, e->data);
		cl_write_u8(w, (uint8_t)(e->masked | e->pending << 1));
	}
}

int vmm_pci_func_restore(struct vmm_pci_func *f, struct cl_reader *r)
{
	uint8_t cfg[VMM_PCI_CFG_BYTES];

	cl_read_bytes(r, cfg, sizeof(cfg));
	if (r->bad)
		return -EBADMSG;
	for (unsigned i = 0; i < VMM_PCI_CFG_BYTES; i++)
		if ((cfg[i] ^ f->cfg[i]) & ~f->writable[i])
			return -EBADMSG;
	memcpy(f->cfg, cfg, sizeof(cfg));
	for (unsigned i = 0; i < f->n_vectors; i++) {
		struct vmm_msix_entry *e = &f->vectors[i];
		uint8_t bits;

		e->address = cl_read_u64(r) & ~3ull;
		e->data = cl_read_u32(r);
		bits = cl_read_u8(r);
		if (bits > 3)
			return -EBADMSG;
		e->masked = bits & 1;
		e->pending = bits >> 1;
	}
	return r->bad ? -EBADMSG : 0;
}

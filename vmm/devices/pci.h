/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI bus 0: configuration mechanism #1 (0xCF8/0xCFC), type-0 functions with one
 * 32-bit memory BAR, MSI-X.  The host bridge is 00:00.0; other functions are
 * added at start and never go.  Pure; the caller holds vmm.dev_lock.
 */
#ifndef VMM_DEVICES_PCI_H
#define VMM_DEVICES_PCI_H

#include "vmm/dev.h"

#define VMM_PCI_SLOTS	     32u
#define VMM_PCI_CFG_BYTES    256u
#define VMM_MSIX_VECTORS_MAX 8u

struct vmm_pci_func;

struct vmm_pci_func_ops {
	/* Access to the BAR; offset + len is inside it, len is 1, 2, 4 or 8 and may be unaligned. */
	uint64_t (*bar_read)(struct vmm_pci_func *f, uint32_t offset, unsigned len);
	void (*bar_write)(struct vmm_pci_func *f, uint32_t offset, unsigned len, uint64_t value);
	/* Before a read and after a write of configuration space; may be NULL. */
	void (*cfg_reading)(struct vmm_pci_func *f, unsigned offset, unsigned len);
	void (*cfg_written)(struct vmm_pci_func *f, unsigned offset, unsigned len);
};

struct vmm_msix_entry {
	uint64_t address;
	uint32_t data;
	bool masked;
	bool pending;
};

struct vmm_pci_func {
	const struct vmm_pci_func_ops *ops;
	const struct vmm_host *host;
	uint8_t cfg[VMM_PCI_CFG_BYTES];
	uint8_t writable[VMM_PCI_CFG_BYTES]; /* mask of bits that the guest may change */
	uint32_t bar_bytes;		     /* of BAR 0; a power of two, 0 = none */
	unsigned cap_end;		     /* where the next capability goes */
	unsigned cap_last;
	unsigned msix_cap; /* offset or 0 */
	unsigned n_vectors;
	struct vmm_msix_entry vectors[VMM_MSIX_VECTORS_MAX];
};

struct vmm_pci_bus {
	struct vmm_dev dev; /* "pci0": the address latch */
	uint32_t address;
	struct vmm_pci_func bridge;
	struct vmm_pci_func *funcs[VMM_PCI_SLOTS];
};

void vmm_pci_bus_init(struct vmm_pci_bus *bus, const struct vmm_host *host);
/* Puts f in the next free slot with BAR 0 at its default address, decoding on.  0 or -ENOSPC. */
int vmm_pci_bus_add(struct vmm_pci_bus *bus, struct vmm_pci_func *f);
/* Ports 0xCF8..0xCFF. */
uint32_t vmm_pci_port_read(struct vmm_pci_bus *bus, unsigned port, unsigned len);
void vmm_pci_port_write(struct vmm_pci_bus *bus, unsigned port, unsigned len, uint32_t value);
/* False if no BAR claims the range. */
bool vmm_pci_mmio(struct vmm_pci_bus *bus, uint64_t gpa, void *data, unsigned len, bool write);

void vmm_pci_func_init(struct vmm_pci_func *f, const struct vmm_pci_func_ops *ops,
		       const struct vmm_host *host, uint16_t vendor, uint16_t device,
		       uint32_t class_revision);
/* Appends a capability of len bytes (ID and next included); returns its offset. */
unsigned vmm_pci_cap_add(struct vmm_pci_func *f, uint8_t id, unsigned len);
/* Table at table_offset and PBA at pba_offset of BAR 0. */
void vmm_pci_msix_add(struct vmm_pci_func *f, unsigned n_vectors, uint32_t table_offset,
		      uint32_t pba_offset);
bool vmm_pci_mem_enabled(const struct vmm_pci_func *f);
uint32_t vmm_pci_bar(const struct vmm_pci_func *f);
/* Registers of the MSI-X table and pending bits, by offset in each. */
uint64_t vmm_msix_table_read(const struct vmm_pci_func *f, uint32_t offset, unsigned len);
void vmm_msix_table_write(struct vmm_pci_func *f, uint32_t offset, unsigned len, uint64_t value);
uint64_t vmm_msix_pba_read(const struct vmm_pci_func *f, uint32_t offset, unsigned len);
/* Raises vector (0xffff and others that do not exist: nothing), or notes it while masked. */
void vmm_msix_raise(struct vmm_pci_func *f, unsigned vector);

void vmm_pci_func_save(const struct vmm_pci_func *f, struct cl_writer *w);
/* -EBADMSG if what the guest cannot change differs from this function. */
int vmm_pci_func_restore(struct vmm_pci_func *f, struct cl_reader *r);

/* Little-endian fields of configuration space. */
static inline uint16_t vmm_pci_get16(const struct vmm_pci_func *f, unsigned o)
{
	return (uint16_t)(f->cfg[o] | f->cfg[o + 1] << 8);
}

static inline void vmm_pci_set16(struct vmm_pci_func *f, unsigned o, uint16_t v)
{
	f->cfg[o] = (uint8_t)v;
	f->cfg[o + 1] = (uint8_t)(v >> 8);
}

static inline uint32_t vmm_pci_get32(const struct vmm_pci_func *f, unsigned o)
{
	return vmm_pci_get16(f, o) | (uint32_t)vmm_pci_get16(f, o + 2) << 16;
}

static inline void vmm_pci_set32(struct vmm_pci_func *f, unsigned o, uint32_t v)
{
	vmm_pci_set16(f, o, (uint16_t)v);
	vmm_pci_set16(f, o + 2, (uint16_t)(v >> 16));
}

#endif

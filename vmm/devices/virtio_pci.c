/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of a modern virtio PCI device (virtio 1.2, 4.1.4).  BAR 0:
 *
 *   0x0000 common configuration   0x1000 ISR        0x2000 device configuration
 *   0x3000 notification, 4 bytes a queue            0x4000 MSI-X table   0x5000 pending bits
 *
 * A field is accessed with its own width; 64-bit addresses also by halves.  Anything else
 * reads as ones and is ignored when written.
 */
#include <string.h>

#include "vmm/devices/virtio_int.h"

#define BAR_BYTES     0x8000u
#define OFF_COMMON    0x0000u
#define OFF_ISR	      0x1000u
#define OFF_CONFIG    0x2000u
#define OFF_NOTIFY    0x3000u
#define OFF_MSIX      0x4000u
#define OFF_PBA	      0x5000u
#define AREA_BYTES    0x1000u
#define COMMON_BYTES  56u
#define NOTIFY_STRIDE 4u

#define CAP_VENDOR     0x09u
#define CAP_COMMON     1u
#define CAP_NOTIFY     2u
#define CAP_ISR	       3u
#define CAP_DEVICE     4u
#define CAP_PCI	       5u
#define CFG_SUBSYSTEM  0x2cu
#define VENDOR_VIRTIO  0x1af4u
#define DEVICE_MODERN  0x1040u
#define REVISION       1u
#define PCI_CFG_DATA   16u /* of pci_cfg_data in its capability */

void virtio_notify_update(struct vmm_virtio *vd)
{
	const struct vmm_host *host = vd->dev.host;
	bool on = vmm_virtio_live(vd) && vmm_pci_mem_enabled(&vd->pci);
	uint64_t gpa = (uint64_t)vmm_pci_bar(&vd->pci) + OFF_NOTIFY;

	if (vd->notify_on && (!on || gpa != vd->notify_gpa)) {
		for (unsigned i = 0; i < vd->n_queues; i++)
			host->notify_area(host->arg, &vd->dev, i,
					  vd->notify_gpa + NOTIFY_STRIDE * i, false);
		vd->notify_on = false;
	}
	if (on && !vd->notify_on) {
		for (unsigned i = 0; i < vd->n_queues; i++)
			host->notify_area(host->arg, &vd->dev, i, gpa + NOTIFY_STRIDE * i, true);
		vd->notify_on = true;
		vd->notify_gpa = gpa;
	}
}

static struct vmm_virtq *selected(struct vmm_virtio *vd)
{
	return vd->queue_select < vd->n_queues ? &vd->queues[vd->queue_select] : NULL;
}

static uint64_t queue_read(struct vmm_virtio *vd, uint32_t offset, unsigned len)
{
	const struct vmm_virtq *q = selected(vd);
	uint64_t address;

	if (!q)
		return 0; /* queue_size 0: no such queue */
	switch (offset) {
	case 24:
		return q->size;
	case 26:
		return q->vector;
	case 28:
		return q->enabled;
	case 30:
		return vd->queue_select;
	}
	address = offset < 40 ? q->desc : offset < 48 ? q->avail : q->used;
	if (offset % 8 == 4)
		return address >> 32;
	return len == 8 ? address : (uint32_t)address;
}

static uint64_t common_read(struct vmm_virtio *vd, uint32_t offset, unsigned len)
{
	switch (offset) {
	case 0:
		return vd->feature_select;
	case 4:
		return vd->feature_select > 1 ? 0 : vd->features >> (32 * vd->feature_select);
	case 8:
		return vd->driver_feature_select;
	case 12:
		return vd->driver_feature_select > 1 ?
			       0 :
			       vd->driver_features >> (32 * vd->driver_feature_select);
	case 16:
		return vd->config_vector;
	case 18:
		return vd->n_queues;
	case 20:
		return vd->status;
	case 21:
		return vd->config_generation;
	case 22:
		return vd->queue_select;
	default:
		return queue_read(vd, offset, len);
	}
}

static void address_write(uint64_t *address, uint32_t offset, unsigned len, uint64_t value)
{
	if (len == 8)
		*address = value;
	else if (offset % 8 == 4)
		*address = (*address & 0xffffffffull) | value << 32;
	else
		*address = (*address & ~0xffffffffull) | (uint32_t)value;
}

static uint16_t vector_checked(const struct vmm_virtio *vd, uint64_t value)
{
	return value < vd->pci.n_vectors ? (uint16_t)value : 0xffff;
}

static void queue_write(struct vmm_virtio *vd, uint32_t offset, unsigned len, uint64_t value)
{
	struct vmm_virtq *q = selected(vd);

	if (!q)
		return;
	if (offset == 26) {
		q->vector = vector_checked(vd, value);
		return;
	}
	/* Locked once enabled or live. */
	if (q->enabled || (vd->status & VMM_VIRTIO_STATUS_DRIVER_OK))
		return;
	if (offset == 24)
		q->size = (uint16_t)(value <= q->size_max ? value : q->size_max);
	else if (offset == 28 && value == 1)
		virtio_queue_enable(vd, q);
	else if (offset >= 32)
		address_write(offset < 40 ? &q->desc : offset < 48 ? &q->avail : &q->used, offset,
			      len, value);
}

static void common_write(struct vmm_virtio *vd, uint32_t offset, unsigned len, uint64_t value)
{
	switch (offset) {
	case 0:
		vd->feature_select = (uint32_t)value;
		break;
	case 8:
		vd->driver_feature_select = (uint32_t)value;
		break;
	case 12:
		virtio_features_write(vd, (uint32_t)value);
		break;
	case 16:
		vd->config_vector = vector_checked(vd, value);
		break;
	case 20:
		virtio_status_write(vd, (uint8_t)value);
		break;
	case 22:
		vd->queue_select = (uint16_t)value;
		break;
	default:
		queue_write(vd, offset, len, value);
		break;
	}
}

/* Width and alignment of a common field. */
static bool common_fits(uint32_t offset, unsigned len)
{
	if (offset + len > COMMON_BYTES)
		return false;
	if (offset < 16)
		return len == 4 && offset % 4 == 0;
	if (offset == 20 || offset == 21)
		return len == 1;
	if (offset < 32)
		return len == 2 && offset % 2 == 0;
	return (len == 4 && offset % 4 == 0) || (len == 8 && offset % 8 == 0);
}

static uint64_t config_read(struct vmm_virtio *vd, uint32_t offset, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len && offset + i < vd->config_bytes; i++)
		v |= (uint64_t)vd->config[offset + i] << (8 * i);
	return v;
}

static uint64_t bar_read(struct vmm_pci_func *f, uint32_t offset, unsigned len)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)((char *)f - offsetof(struct vmm_virtio, pci));
	uint32_t at = offset % AREA_BYTES;
	uint64_t v;

	switch (offset - at) {
	case OFF_COMMON:
		return common_fits(at, len) ? common_read(vd, at, len) : UINT64_MAX;
	case OFF_ISR:
		v = at == 0 ? vd->isr : 0;
		vd->isr = at == 0 ? 0 : vd->isr;
		return v;
	case OFF_CONFIG:
		return config_read(vd, at, len);
	case OFF_MSIX:
		return vmm_msix_table_read(f, at, len);
	case OFF_PBA:
		return vmm_msix_pba_read(f, at, len);
	default:
		return UINT64_MAX;
	}
}

static void bar_write(struct vmm_pci_func *f, uint32_t offset, unsigned len, uint64_t value)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)((char *)f - offsetof(struct vmm_virtio, pci));
	uint32_t at = offset % AREA_BYTES;

	switch (offset - at) {
	case OFF_COMMON:
		if (common_fits(at, len))
			common_write(vd, at, len, value);
		break;
	case OFF_NOTIFY:
		/* Reached where the kernel does not take it for us. */
		if (at / NOTIFY_STRIDE < vd->n_queues && vmm_virtio_live(vd))
			vd->dev.host->kick(vd->dev.host->arg, &vd->dev, at / NOTIFY_STRIDE);
		break;
	case OFF_MSIX:
		vmm_msix_table_write(f, at, len, value);
		break;
	default:
		break;
	}
}

/* The access window (4.1.4.9): a firmware reaches BAR 0 without having mapped it. */
static bool window(const struct vmm_virtio *vd, unsigned offset, unsigned len, uint32_t *ret_at,
		   unsigned *ret_len)
{
	const unsigned data = vd->pci_cfg_cap + PCI_CFG_DATA;

	if (offset < data || offset + len > data + 4)
		return false;
	*ret_at = vmm_pci_get32(&vd->pci, vd->pci_cfg_cap + 8);
	*ret_len = vmm_pci_get32(&vd->pci, vd->pci_cfg_cap + 12);
	return vd->pci.cfg[vd->pci_cfg_cap + 4] == 0 &&
	       (*ret_len == 1 || *ret_len == 2 || *ret_len == 4) && *ret_at <= BAR_BYTES - 4 &&
	       *ret_at % *ret_len == 0;
}

static void cfg_reading(struct vmm_pci_func *f, unsigned offset, unsigned len)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)((char *)f - offsetof(struct vmm_virtio, pci));
	uint32_t at;
	unsigned n;

	if (window(vd, offset, len, &at, &n))
		vmm_pci_set32(f, vd->pci_cfg_cap + PCI_CFG_DATA, (uint32_t)bar_read(f, at, n));
}

static void cfg_written(struct vmm_pci_func *f, unsigned offset, unsigned len)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)((char *)f - offsetof(struct vmm_virtio, pci));
	uint32_t at;
	unsigned n;

	if (window(vd, offset, len, &at, &n))
		bar_write(f, at, n, vmm_pci_get32(f, vd->pci_cfg_cap + PCI_CFG_DATA));
	if (offset < 0x14)
		virtio_notify_update(vd);
}

static const struct vmm_pci_func_ops pci_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.cfg_reading = cfg_reading,
	.cfg_written = cfg_written,
};

static unsigned cap_add(struct vmm_virtio *vd, uint8_t type, uint32_t offset, uint32_t len_bytes,
			unsigned cap_bytes)
{
	unsigned at = vmm_pci_cap_add(&vd->pci, CAP_VENDOR, cap_bytes);

	vd->pci.cfg[at + 2] = (uint8_t)cap_bytes;
	vd->pci.cfg[at + 3] = type;
	vmm_pci_set32(&vd->pci, at + 8, offset);
	vmm_pci_set32(&vd->pci, at + 12, len_bytes);
	return at;
}

/* virtio type to PCI class code; drivers go by the device id. */
static uint32_t class_of(uint16_t type)
{
	switch (type) {
	case 1:
		return 0x020000u; /* network, Ethernet */
	case 2:
		return 0x018000u; /* mass storage, other */
	case 3:
		return 0x078000u; /* communication, other */
	default:
		return 0xff0000u;
	}
}

void virtio_pci_setup(struct vmm_virtio *vd, uint16_t type)
{
	struct vmm_pci_func *f = &vd->pci;
	unsigned at;

	vmm_pci_func_init(f, &pci_ops, vd->dev.host, VENDOR_VIRTIO,
			  (uint16_t)(DEVICE_MODERN + type), class_of(type) << 8 | REVISION);
	vmm_pci_set16(f, CFG_SUBSYSTEM, VENDOR_VIRTIO);
	vmm_pci_set16(f, CFG_SUBSYSTEM + 2, (uint16_t)(DEVICE_MODERN + type));
	f->bar_bytes = BAR_BYTES;
	vmm_pci_msix_add(f, vd->n_queues + 1, OFF_MSIX, OFF_PBA);
	cap_add(vd, CAP_COMMON, OFF_COMMON, COMMON_BYTES, 16);
	at = cap_add(vd, CAP_NOTIFY, OFF_NOTIFY, NOTIFY_STRIDE * vd->n_queues, 20);
	vmm_pci_set32(f, at + 16, NOTIFY_STRIDE);
	cap_add(vd, CAP_ISR, OFF_ISR, 1, 16);
	cap_add(vd, CAP_DEVICE, OFF_CONFIG, VMM_VIRTIO_CONFIG_MAX, 16);
	at = cap_add(vd, CAP_PCI, 0, 0, 20);
	vd->pci_cfg_cap = at;
	f->writable[at + 4] = 0xff;
	memset(&f->writable[at + 8], 0xff, 12);
}

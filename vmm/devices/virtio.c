/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio core: status, features, queue registers, interrupts, state.  Decides
 * when a queue may run; the transport's registers come in through
 * virtio_pci.c.  Never believes a driver: what it may not change is ignored,
 * what makes no sense is answered with DEVICE_NEEDS_RESET.
 */
#include "vmm/devices/virtio.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/devices/virtio_int.h"

#define RUN_BUDGET 1024u /* chains of one queue before others get their turn */

bool vmm_virtio_live(const struct vmm_virtio *vd)
{
	return (vd->status & VMM_VIRTIO_STATUS_DRIVER_OK) &&
	       !(vd->status & VMM_VIRTIO_STATUS_NEEDS_RESET) && !vd->resetting;
}

bool vmm_virtio_may_run(const struct vmm_virtio *vd)
{
	const struct vmm_host *host = vd->dev.host;

	return vmm_virtio_live(vd) && !vd->dev.quiesced && vd->budget > 0 &&
	       (!host->may_act || host->may_act(host->arg));
}

static unsigned in_flight(const struct vmm_virtio *vd)
{
	return vd->vops->in_flight ? vd->vops->in_flight(vd) : 0;
}

void vmm_virtio_broken(struct vmm_virtio *vd)
{
	if (vd->status & VMM_VIRTIO_STATUS_NEEDS_RESET)
		return;
	vd->status |= VMM_VIRTIO_STATUS_NEEDS_RESET;
	vmm_virtio_config_changed(vd);
}

void vmm_virtio_config_changed(struct vmm_virtio *vd)
{
	vd->config_generation++;
	vd->isr |= 2;
	if (vd->status & VMM_VIRTIO_STATUS_DRIVER_OK)
		vmm_msix_raise(&vd->pci, vd->config_vector);
}

bool vmm_virtio_pop(struct vmm_virtio *vd, unsigned i, struct vmm_chain *chain)
{
	int r;

	if (!vmm_virtio_may_run(vd) || !vd->queues[i].enabled)
		return false;
	r = vmm_virtq_pop(&vd->queues[i], vd->dev.host->mem, chain);
	if (r < 0)
		vmm_virtio_broken(vd);
	if (r > 0)
		vd->budget--;
	return r > 0;
}

void vmm_virtio_push(struct vmm_virtio *vd, unsigned i, uint16_t head, uint32_t written_bytes)
{
	if (!vmm_virtio_live(vd))
		return;
	if (vmm_virtq_push(&vd->queues[i], vd->dev.host->mem, head, written_bytes) < 0)
		vmm_virtio_broken(vd);
}

void vmm_virtio_flush(struct vmm_virtio *vd, unsigned i)
{
	if (!vmm_virtio_live(vd) || !vmm_virtq_wants_irq(&vd->queues[i], vd->dev.host->mem))
		return;
	vd->isr |= 1;
	vmm_msix_raise(&vd->pci, vd->queues[i].vector);
}

static void reset_finish(struct vmm_virtio *vd)
{
	virtio_notify_update(vd);
	if (vd->vops->reset)
		vd->vops->reset(vd);
	vd->resetting = false;
	vd->status = 0;
	vd->isr = 0;
	vd->driver_features = 0;
	vd->feature_select = vd->driver_feature_select = 0;
	vd->queue_select = 0;
	vd->config_vector = 0xffff;
	for (unsigned i = 0; i < vd->n_queues; i++)
		vmm_virtq_reset(&vd->queues[i], vd->queues[i].size_max);
	for (unsigned i = 0; i < vd->pci.n_vectors; i++)
		vd->pci.vectors[i].pending = false;
}

void vmm_virtio_idle(struct vmm_virtio *vd)
{
	if (vd->resetting && in_flight(vd) == 0)
		reset_finish(vd);
}

static void features_check(struct vmm_virtio *vd)
{
	uint64_t f = vd->driver_features;

	if ((f & ~vd->features) || !(f & VMM_VIRTIO_F_VERSION_1))
		vd->status &= (uint8_t)~VMM_VIRTIO_STATUS_FEATURES_OK;
}

void virtio_status_write(struct vmm_virtio *vd, uint8_t value)
{
	uint8_t old = vd->status;

	if (vd->resetting)
		return;
	if (value == 0) {
		vd->resetting = true;
		virtio_notify_update(vd);
		vmm_virtio_idle(vd);
		return;
	}
	/* Bits are only added; NEEDS_RESET is ours. */
	vd->status |= value & (uint8_t)~VMM_VIRTIO_STATUS_NEEDS_RESET;
	if ((vd->status & ~old) & VMM_VIRTIO_STATUS_FEATURES_OK)
		features_check(vd);
	if (!((vd->status & ~old) & VMM_VIRTIO_STATUS_DRIVER_OK))
		return;
	if (!(vd->status & VMM_VIRTIO_STATUS_FEATURES_OK)) {
		vmm_virtio_broken(vd);
		return;
	}
	for (unsigned i = 0; i < vd->n_queues; i++)
		vd->queues[i].event_idx = vd->driver_features & VMM_VIRTIO_F_EVENT_IDX;
	virtio_notify_update(vd);
	for (unsigned i = 0; i < vd->n_queues; i++)
		if (vd->queues[i].enabled)
			vd->dev.host->kick(vd->dev.host->arg, &vd->dev, i);
}

void virtio_features_write(struct vmm_virtio *vd, uint32_t value)
{
	unsigned shift = vd->driver_feature_select * 32;

	if (vd->driver_feature_select > 1 || (vd->status & VMM_VIRTIO_STATUS_FEATURES_OK))
		return;
	vd->driver_features =
		(vd->driver_features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

void virtio_queue_enable(struct vmm_virtio *vd, struct vmm_virtq *q)
{
	if (vd->status & VMM_VIRTIO_STATUS_DRIVER_OK)
		return;
	if (!(vd->status & VMM_VIRTIO_STATUS_FEATURES_OK) ||
	    !vmm_virtq_valid(q, vd->dev.host->mem)) {
		vmm_virtio_broken(vd);
		return;
	}
	q->enabled = true;
}

static void virtio_save(struct vmm_dev *dev, struct cl_writer *w)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)dev;

	cl_write_u8(w, 1);
	vmm_pci_func_save(&vd->pci, w);
	cl_write_u64(w, vd->features);
	cl_write_u64(w, vd->driver_features);
	cl_write_u32(w, vd->feature_select);
	cl_write_u32(w, vd->driver_feature_select);
	cl_write_u16(w, vd->config_vector);
	cl_write_u16(w, vd->queue_select);
	cl_write_u8(w, vd->status);
	cl_write_u8(w, vd->isr);
	cl_write_u8(w, vd->config_generation);
	cl_write_u8(w, (uint8_t)vd->n_queues);
	for (unsigned i = 0; i < vd->n_queues; i++) {
		const struct vmm_virtq *q = &vd->queues[i];

		cl_write_u16(w, q->size);
		cl_write_u8(w, q->enabled);
		cl_write_u16(w, q->vector);
		cl_write_u64(w, q->desc);
		cl_write_u64(w, q->avail);
		cl_write_u64(w, q->used);
		cl_write_u16(w, q->avail_next);
		cl_write_u16(w, q->used_next);
	}
	if (vd->vops->save)
		vd->vops->save(vd, w);
}

static int queue_restore(struct vmm_virtio *vd, struct vmm_virtq *q, struct cl_reader *r)
{
	uint8_t enabled;

	q->size = cl_read_u16(r);
	enabled = cl_read_u8(r);
	q->vector = cl_read_u16(r);
	q->desc = cl_read_u64(r);
	q->avail = cl_read_u64(r);
	q->used = cl_read_u64(r);
	q->avail_next = cl_read_u16(r);
	q->used_next = cl_read_u16(r);
	q->signalled_valid = false;
	q->event_idx = vd->driver_features & VMM_VIRTIO_F_EVENT_IDX;
	q->enabled = enabled;
	if (r->bad || enabled > 1 || (q->vector != 0xffff && q->vector >= vd->pci.n_vectors) ||
	    q->size > q->size_max || (enabled && !vmm_virtq_valid(q, vd->dev.host->mem)))
		return -EBADMSG;
	return 0;
}

static int virtio_restore(struct vmm_dev *dev, struct cl_reader *r)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)dev;
	int ret;

	if (cl_read_u8(r) != 1 || vmm_pci_func_restore(&vd->pci, r) < 0 ||
	    cl_read_u64(r) != vd->features)
		return -EBADMSG;
	vd->driver_features = cl_read_u64(r);
	vd->feature_select = cl_read_u32(r);
	vd->driver_feature_select = cl_read_u32(r);
	vd->config_vector = cl_read_u16(r);
	vd->queue_select = cl_read_u16(r);
	vd->status = cl_read_u8(r);
	vd->isr = cl_read_u8(r);
	vd->config_generation = cl_read_u8(r);
	if (cl_read_u8(r) != vd->n_queues || r->bad)
		return -EBADMSG;
	if ((vd->status & VMM_VIRTIO_STATUS_FEATURES_OK) &&
	    ((vd->driver_features & ~vd->features) ||
	     !(vd->driver_features & VMM_VIRTIO_F_VERSION_1)))
		return -EBADMSG;
	if (vd->config_vector != 0xffff && vd->config_vector >= vd->pci.n_vectors)
		return -EBADMSG;
	for (unsigned i = 0; i < vd->n_queues; i++) {
		ret = queue_restore(vd, &vd->queues[i], r);
		if (ret < 0)
			return ret;
	}
	if (vd->vops->restore) {
		ret = vd->vops->restore(vd, r);
		if (ret < 0)
			return ret;
	}
	virtio_notify_update(vd);
	return r->bad ? -EBADMSG : 0;
}

static void virtio_queue(struct vmm_dev *dev, unsigned i)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)dev;

	if (i >= vd->n_queues || !vmm_virtio_may_run(vd) || !vd->queues[i].enabled)
		return;
	/* A driver that adds as fast as we take must not keep the I/O thread. */
	vd->budget = RUN_BUDGET;
	vd->vops->queue(vd, i);
	if (vd->budget == 0)
		dev->host->kick(dev->host->arg, dev, i);
	vd->budget = UINT32_MAX;
}

static unsigned virtio_in_flight(const struct vmm_dev *dev)
{
	return in_flight((const struct vmm_virtio *)dev);
}

static void virtio_kick_all(struct vmm_dev *dev)
{
	struct vmm_virtio *vd = (struct vmm_virtio *)dev;

	vmm_virtio_idle(vd); /* a reset that waited for the requests of before */
	if (!(vd->status & VMM_VIRTIO_STATUS_DRIVER_OK))
		return;
	for (unsigned i = 0; i < vd->n_queues; i++) {
		if (!vd->queues[i].enabled)
			continue;
		vd->isr |= 1;
		vmm_msix_raise(&vd->pci, vd->queues[i].vector);
		dev->host->kick(dev->host->arg, dev, i);
	}
	vmm_msix_raise(&vd->pci, vd->config_vector);
}

static const struct vmm_dev_ops virtio_dev_ops = {
	.save = virtio_save,
	.restore = virtio_restore,
	.queue = virtio_queue,
	.in_flight = virtio_in_flight,
	.kick_all = virtio_kick_all,
};

void vmm_virtio_init(struct vmm_virtio *vd, const struct vmm_host *host, const char *name,
		     uint16_t type, const struct vmm_virtio_ops *vops, uint64_t features,
		     unsigned n_queues, unsigned queue_size)
{
	size_t len = strlen(name);

	assert(n_queues <= VMM_VIRTIO_QUEUES_MAX && len < sizeof(vd->dev.name));
	memset(vd, 0, sizeof(*vd));
	vd->dev.ops = &virtio_dev_ops;
	vd->dev.host = host;
	memcpy(vd->dev.name, name, len + 1);
	vd->dev.n_notify = n_queues;
	vd->vops = vops;
	vd->features = features | VMM_VIRTIO_F_VERSION_1 | VMM_VIRTIO_F_INDIRECT_DESC |
		       VMM_VIRTIO_F_EVENT_IDX;
	vd->config_vector = 0xffff;
	vd->budget = UINT32_MAX;
	vd->n_queues = n_queues;
	for (unsigned i = 0; i < n_queues; i++)
		vmm_virtq_reset(&vd->queues[i], (uint16_t)queue_size);
	virtio_pci_setup(vd, type);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between virtio.c (core) and virtio_pci.c (registers). */
#ifndef VMM_DEVICES_VIRTIO_INT_H
#define VMM_DEVICES_VIRTIO_INT_H

#include "vmm/devices/virtio.h"

void virtio_pci_setup(struct vmm_virtio *vd, uint16_t type);
/* Makes the host's notification areas agree with status and BAR. */
void virtio_notify_update(struct vmm_virtio *vd);
void virtio_status_write(struct vmm_virtio *vd, uint8_t value);
/* The half of the driver's features that is selected. */
void virtio_features_write(struct vmm_virtio *vd, uint32_t value);
void virtio_queue_enable(struct vmm_virtio *vd, struct vmm_virtq *q);

#endif

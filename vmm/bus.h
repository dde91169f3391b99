/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a guest's port and memory accesses go.  Pure; the caller holds
 * vmm.dev_lock.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include "vmm/devices/pci.h"
#include "vmm/devices/pm.h"
#include "vmm/devices/serial.h"

/* Devices are borrowed. */
struct vmm_bus {
	struct vmm_serial *serial;
	struct vmm_pm *pm;
	struct vmm_pci_bus *pci;
};

/* One access of len 1, 2 or 4; what nobody claims reads as ones. */
void vmm_bus_pio(struct vmm_bus *bus, unsigned port, void *data, unsigned len, bool write);
/* len 1..8. */
void vmm_bus_mmio(struct vmm_bus *bus, uint64_t gpa, void *data, unsigned len, bool write);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power management registers that our ACPI tables name (hardware-reduced ACPI,
 * 4.8.3.7 and 5.6.9): sleep control and status, reset, and the pending events of the
 * generic event device.  Pure; the caller holds vmm.dev_lock.
 */
#ifndef VMM_DEVICES_PM_H
#define VMM_DEVICES_PM_H

#include "vmm/dev.h"

/* Offsets from VMM_PORT_PM, one byte each. */
#define VMM_PM_SLEEP_CONTROL 0u
#define VMM_PM_SLEEP_STATUS  1u
#define VMM_PM_RESET	     2u
#define VMM_PM_EVENTS	     4u /* read clears */

#define VMM_PM_RESET_VALUE  0x01u
#define VMM_PM_S5_TYPE	    5u
#define VMM_PM_EVENT_POWER  0x01u /* power button */

struct vmm_pm {
	struct vmm_dev dev; /* "pm0" */
	unsigned gsi;
	uint8_t events;
};

void vmm_pm_init(struct vmm_pm *pm, const struct vmm_host *host, unsigned gsi);
uint8_t vmm_pm_read(struct vmm_pm *pm, unsigned offset);
void vmm_pm_write(struct vmm_pm *pm, unsigned offset, uint8_t value);
void vmm_pm_power_button(struct vmm_pm *pm);

#endif

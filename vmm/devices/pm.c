/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sleep, reset and event registers.  See pm.h. */
#include "vmm/devices/pm.h"

#include <errno.h>
#include <string.h>

#define SLEEP_ENABLE 0x20u

uint8_t vmm_pm_read(struct vmm_pm *pm, unsigned offset)
{
	uint8_t v;

	if (offset != VMM_PM_EVENTS)
		return 0;
	v = pm->events;
	pm->events = 0;
	pm->dev.host->irq(pm->dev.host->arg, pm->gsi, false);
	return v;
}

void vmm_pm_write(struct vmm_pm *pm, unsigned offset, uint8_t value)
{
	const struct vmm_host *host = pm->dev.host;

	if (offset == VMM_PM_SLEEP_CONTROL && (value & SLEEP_ENABLE) &&
	    (value >> 2 & 7) == VMM_PM_S5_TYPE)
		host->stop(host->arg, VMM_EXIT_GUEST_SHUTDOWN);
	else if (offset == VMM_PM_RESET && value == VMM_PM_RESET_VALUE)
		host->stop(host->arg, VMM_EXIT_GUEST_RESET);
}

/* Edge-triggered: a new edge for each press, also if the last one was not seen. */
static void events_raise(struct vmm_pm *pm)
{
	pm->dev.host->irq(pm->dev.host->arg, pm->gsi, false);
	if (pm->events)
		pm->dev.host->irq(pm->dev.host->arg, pm->gsi, true);
}

void vmm_pm_power_button(struct vmm_pm *pm)
{
	pm->events |= VMM_PM_EVENT_POWER;
	events_raise(pm);
}

static void pm_save(struct vmm_dev *dev, struct cl_writer *w)
{
	cl_write_u8(w, 1);
	cl_write_u8(w, ((const struct vmm_pm *)dev)->events);
}

static int pm_restore(struct vmm_dev *dev, struct cl_reader *r)
{
	uint8_t version = cl_read_u8(r), events = cl_read_u8(r);

	if (r->bad || version != 1 || (events & ~VMM_PM_EVENT_POWER))
		return -EBADMSG;
	((struct vmm_pm *)dev)->events = events;
	return 0;
}

static void pm_kick_all(struct vmm_dev *dev)
{
	events_raise((struct vmm_pm *)dev);
}

static const struct vmm_dev_ops pm_ops = {
	.save = pm_save,
	.restore = pm_restore,
	.kick_all = pm_kick_all,
};

void vmm_pm_init(struct vmm_pm *pm, const struct vmm_host *host, unsigned gsi)
{
	memset(pm, 0, sizeof(*pm));
	pm->dev.ops = &pm_ops;
	pm->dev.host = host;
	memcpy(pm->dev.name, "pm0", 4);
	pm->gsi = gsi;
}

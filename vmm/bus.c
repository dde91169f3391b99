/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port and MMIO dispatch, and the two old ways of asking for a reset.  See bus.h. */
#include "vmm/bus.h"

#include <string.h>

#include "vmm/layout.h"

#define PORT_I8042_COMMAND 0x64u
#define I8042_PULSE_RESET  0xfeu
#define PORT_RESET_CONTROL 0xcf9u
#define RESET_CPU	   0x04u

static uint32_t byte_read(struct vmm_bus *bus, unsigned port)
{
	if (port - VMM_PORT_COM1 < 8)
		return vmm_serial_read(bus->serial, port - VMM_PORT_COM1);
	if (port - VMM_PORT_PM < VMM_PORT_PM_LEN)
		return vmm_pm_read(bus->pm, port - VMM_PORT_PM);
	return 0xff;
}

static void byte_write(struct vmm_bus *bus, unsigned port, uint8_t value)
{
	const struct vmm_host *host = bus->pm->dev.host;

	if (port - VMM_PORT_COM1 < 8)
		vmm_serial_write(bus->serial, port - VMM_PORT_COM1, value);
	else if (port - VMM_PORT_PM < VMM_PORT_PM_LEN)
		vmm_pm_write(bus->pm, port - VMM_PORT_PM, value);
	else if ((port == PORT_I8042_COMMAND && value == I8042_PULSE_RESET) ||
		 (port == PORT_RESET_CONTROL && (value & RESET_CPU)))
		host->stop(host->arg, VMM_EXIT_GUEST_RESET);
}

static bool is_pci(unsigned port, unsigned len)
{
	return (port == VMM_PORT_PCI_ADDR && len == 4) ||
	       (port >= VMM_PORT_PCI_DATA && port + len <= VMM_PORT_PCI_DATA + 4);
}

void vmm_bus_pio(struct vmm_bus *bus, unsigned port, void *data, unsigned len, bool write)
{
	uint8_t *bytes = data;
	uint32_t v = 0;

	if (len != 1 && len != 2 && len != 4)
		return;
	if (is_pci(port, len)) {
		memcpy(&v, data, len);
		if (write) {
			vmm_pci_port_write(bus->pci, port, len, v);
		} else {
			v = vmm_pci_port_read(bus->pci, port, len);
			memcpy(data, &v, len);
		}
		return;
	}
	for (unsigned i = 0; i < len; i++) {
		if (write)
			byte_write(bus, port + i, bytes[i]);
		else
			bytes[i] = (uint8_t)byte_read(bus, port + i);
	}
}

void vmm_bus_mmio(struct vmm_bus *bus, uint64_t gpa, void *data, unsigned len, bool write)
{
	if (len == 0 || len > 8)
		return;
	if (!vmm_pci_mmio(bus->pci, gpa, data, len, write) && !write)
		memset(data, 0xff, len);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are in the guest: physical memory, I/O ports, interrupt lines.
 * All of it is visible to guests and so frozen once a VM may migrate between
 * versions.
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

#define VMM_CPUS_MAX 4u
#define VMM_DISKS_MAX 8u
#define VMM_NETS_MAX 4u
#define VMM_MEMORY_MIB_MIN 32u
#define VMM_MEMORY_MIB_MAX (1u << 20)

#define VMM_PAGE_SIZE 4096u

/* Low memory, filled by the loader. */
#define VMM_GPA_GDT	   0x500u
#define VMM_GPA_BOOTPARAMS 0x7000u
#define VMM_GPA_STACK	   0x8ff0u
#define VMM_GPA_PAGETABLES 0x9000u /* PML4, PDPT, 4 PD: to 0xf000 */
#define VMM_GPA_CMDLINE	   0x20000u
#define VMM_CMDLINE_MAX	   2048u /* with the NUL; the x86 kernel's COMMAND_LINE_SIZE */
#define VMM_GPA_EBDA	   0x9fc00u
#define VMM_GPA_ACPI	   0xe0000u /* RSDP and tables; reserved in e820 */
#define VMM_ACPI_MAX	   0x10000u
#define VMM_GPA_HIGH_LOAD  0x100000u

/* RAM: [0, 3 GiB) and what is left from 4 GiB up. */
#define VMM_GPA_HOLE	 0xc0000000ull
#define VMM_GPA_HOLE_END 0x100000000ull

/* PCI memory window, bus 0 only. */
#define VMM_GPA_PCI	 0xc0000000u
#define VMM_GPA_PCI_SIZE 0x20000000u
#define VMM_GPA_IOAPIC	 0xfec00000u
#define VMM_GPA_LAPIC	 0xfee00000u
#define VMM_GPA_IDENTITY 0xfffbc000u
#define VMM_GPA_TSS	 0xfffbd000u

/* I/O ports. */
#define VMM_PORT_COM1	  0x3f8u
#define VMM_PORT_PM	  0x600u /* sleep control, sleep status, reset, event */
#define VMM_PORT_PM_LEN	  8u
#define VMM_PORT_PCI_ADDR 0xcf8u
#define VMM_PORT_PCI_DATA 0xcfcu

/* Global system interrupts (I/O APIC pins). */
#define VMM_GSI_COM1 4u
#define VMM_GSI_GED  9u

#endif

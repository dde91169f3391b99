/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables of our machine: RSDP, XSDT, FADT (hardware-reduced), MADT, DSDT.
 * Pure: writes into the caller's buffer.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include <stddef.h>
#include <stdint.h>

/*
 * Builds the tables for n_cpus processors as they will lie at guest address gpa (16-byte
 * aligned; the RSDP comes first).  Returns the bytes used or -EMSGSIZE.
 */
long vmm_acpi_build(void *out, size_t cap_bytes, uint64_t gpa, unsigned n_cpus);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables (ACPI 6.4, chapter 5).  Hardware-reduced: no PM timer, no SCI, no
 * fixed events, so a guest probes nothing old: the FADT says that there is no
 * VGA, no CMOS clock and no 8042.  The power button is a control-method one,
 * signalled through the generic event device; S5 and reset are I/O ports.
 */
#include "vmm/acpi.h"

#include <errno.h>
#include <string.h>

#include "vmm/aml.h"
#include "vmm/devices/pm.h"
#include "vmm/layout.h"

#define HEADER_BYTES 36u
#define FADT_BYTES   276u
#define RSDP_BYTES   36u
#define DSDT_CAP     4096u

#define FADT_WBINVD	   (1u << 0)
#define FADT_PWR_BUTTON	   (1u << 4) /* not a fixed one */
#define FADT_SLP_BUTTON	   (1u << 5)
#define FADT_RESET_REG	   (1u << 10)
#define FADT_HW_REDUCED	   (1u << 20)
#define BOOT_NO_VGA	   (1u << 2)
#define BOOT_NO_CMOS_CLOCK (1u << 5)

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)v);
	put16(p + 2, (uint16_t)(v >> 16));
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

static uint8_t checksum(const uint8_t *p, size_t len_bytes)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len_bytes; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

static void header_put(uint8_t *t, const char *signature, uint8_t revision, size_t len_bytes)
{
	memcpy(t, signature, 4);
	put32(t + 4, (uint32_t)len_bytes);
	t[8] = revision;
	memcpy(t + 10, "HOLDFA", 6);
	memcpy(t + 16, "HOLDFAST", 8);
	put32(t + 24, 1);
	memcpy(t + 28, "HDFT", 4);
	put32(t + 32, 1);
	t[9] = 0;
	t[9] = checksum(t, len_bytes);
}

/* Generic address structure: one byte of I/O space. */
static void gas_put(uint8_t *p, uint16_t port)
{
	p[0] = 1;
	p[1] = 8;
	p[2] = 0;
	p[3] = 1;
	put64(p + 4, port);
}

static size_t fadt_build(uint8_t *t, uint64_t dsdt_gpa)
{
	memset(t, 0, FADT_BYTES);
	put16(t + 109, BOOT_NO_VGA | BOOT_NO_CMOS_CLOCK);
	put32(t + 112, FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG |
			       FADT_HW_REDUCED);
	gas_put(t + 116, VMM_PORT_PM + VMM_PM_RESET);
	t[128] = VMM_PM_RESET_VALUE;
	t[131] = 4; /* minor version */
	put64(t + 140, dsdt_gpa);
	gas_put(t + 244, VMM_PORT_PM + VMM_PM_SLEEP_CONTROL);
	gas_put(t + 256, VMM_PORT_PM + VMM_PM_SLEEP_STATUS);
	header_put(t, "FACP", 6, FADT_BYTES);
	return FADT_BYTES;
}

static size_t madt_build(uint8_t *t, unsigned n_cpus)
{
	size_t len = HEADER_BYTES + 8;

	put32(t + HEADER_BYTES, VMM_GPA_LAPIC);
	put32(t + HEADER_BYTES + 4, 0);
	for (unsigned i = 0; i < n_cpus; i++) {
		uint8_t *e = t + len;

		e[0] = 0; /* processor local APIC */
		e[1] = 8;
		e[2] = (uint8_t)i; /* uid */
		e[3] = (uint8_t)i; /* APIC id */
		put32(e + 4, 1);   /* enabled */
		len += 8;
	}
	t[len] = 1; /* I/O APIC */
	t[len + 1] = 12;
	t[len + 2] = 0;
	t[len + 3] = 0;
	put32(t + len + 4, VMM_GPA_IOAPIC);
	put32(t + len + 8, 0); /* first GSI */
	len += 12;
	header_put(t, "APIC", 5, len);
	return len;
}

static void dsdt_pci(struct aml *a)
{
	size_t dev = aml_device_open(a, "PCI0");
	struct aml_crs crs;

	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0A03");
	aml_name(a, "_UID");
	aml_integer(a, 0);
	aml_name(a, "_BBN");
	aml_integer(a, 0);
	crs = aml_crs_open(a);
	aml_crs_bus(a, 0, 0);
	aml_crs_io(a, VMM_PORT_PCI_ADDR, 8);
	aml_crs_mem32(a, VMM_GPA_PCI, VMM_GPA_PCI + VMM_GPA_PCI_SIZE - 1);
	aml_crs_close(a, crs);
	aml_pkg_close(a, dev);
}

static void dsdt_serial(struct aml *a)
{
	size_t dev = aml_device_open(a, "COM1");
	struct aml_crs crs;

	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0501");
	aml_name(a, "_UID");
	aml_integer(a, 1);
	crs = aml_crs_open(a);
	aml_crs_io(a, VMM_PORT_COM1, 8);
	aml_crs_irq(a, VMM_GSI_COM1);
	aml_crs_close(a, crs);
	aml_pkg_close(a, dev);
}

/* Method (_EVT, 1, Serialized) { Local0 = EVTS  If (Local0 & 1) { Notify (PWRB, 0x80) } } */
static void dsdt_events_method(struct aml *a)
{
	size_t method = aml_method_open(a, "_EVT", 1, true), block;

	aml_byte(a, 0x70); /* Store (EVTS, Local0) */
	aml_nameseg(a, "EVTS");
	aml_byte(a, 0x60);
	aml_byte(a, 0xa0); /* If */
	block = aml_pkg_open(a);
	aml_byte(a, 0x7b); /* And (Local0, 1, no target) */
	aml_byte(a, 0x60);
	aml_integer(a, VMM_PM_EVENT_POWER);
	aml_byte(a, 0);
	aml_byte(a, 0x86); /* Notify */
	aml_nameseg(a, "PWRB");
	aml_integer(a, 0x80);
	aml_pkg_close(a, block);
	aml_pkg_close(a, method);
}

static void dsdt_events(struct aml *a)
{
	size_t dev = aml_device_open(a, "PWRB"), field;
	struct aml_crs crs;

	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0C0C");
	aml_pkg_close(a, dev);

	dev = aml_device_open(a, "GED0");
	aml_name(a, "_HID");
	aml_string(a, "ACPI0013");
	aml_name(a, "_UID");
	aml_integer(a, 0);
	crs = aml_crs_open(a);
	aml_crs_irq(a, VMM_GSI_GED);
	aml_crs_close(a, crs);
	aml_byte(a, 0x5b); /* OperationRegion (EVRG, SystemIO, port, 1) */
	aml_byte(a, 0x80);
	aml_nameseg(a, "EVRG");
	aml_byte(a, 1);
	aml_integer(a, VMM_PORT_PM + VMM_PM_EVENTS);
	aml_integer(a, 1);
	aml_byte(a, 0x5b); /* Field (EVRG, ByteAcc, NoLock, WriteAsZeros) { EVTS, 8 } */
	aml_byte(a, 0x81);
	field = aml_pkg_open(a);
	aml_nameseg(a, "EVRG");
	aml_byte(a, 0x41);
	aml_nameseg(a, "EVTS");
	aml_byte(a, 8);
	aml_pkg_close(a, field);
	dsdt_events_method(a);
	aml_pkg_close(a, dev);
}

static long dsdt_build(uint8_t *t, size_t cap_bytes)
{
	struct aml a = { .data = t, .cap_bytes = cap_bytes, .pos = HEADER_BYTES };
	size_t scope = aml_scope_open(&a, "\\_SB_"), package;

	dsdt_pci(&a);
	dsdt_serial(&a);
	dsdt_events(&a);
	aml_pkg_close(&a, scope);
	aml_name(&a, "_S5_");
	aml_byte(&a, 0x12); /* Package (4) */
	package = aml_pkg_open(&a);
	aml_byte(&a, 4);
	aml_integer(&a, VMM_PM_S5_TYPE);
	aml_integer(&a, 0);
	aml_integer(&a, 0);
	aml_integer(&a, 0);
	aml_pkg_close(&a, package);
	if (a.bad)
		return -EMSGSIZE;
	header_put(t, "DSDT", 6, a.pos);
	return (long)a.pos;
}

static void rsdp_build(uint8_t *t, uint64_t xsdt_gpa)
{
	memset(t, 0, RSDP_BYTES);
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, "HOLDFA", 6);
	t[15] = 2;
	t[8] = checksum(t, 20);
	put32(t + 20, RSDP_BYTES);
	put64(t + 24, xsdt_gpa);
	t[32] = checksum(t, RSDP_BYTES);
}

static size_t align16(size_t v)
{
	return (v + 15) & ~(size_t)15;
}

long vmm_acpi_build(void *out, size_t cap_bytes, uint64_t gpa, unsigned n_cpus)
{
	uint8_t *base = out;
	size_t xsdt = align16(RSDP_BYTES), fadt = align16(xsdt + HEADER_BYTES + 16);
	size_t madt = align16(fadt + FADT_BYTES);
	size_t dsdt = align16(madt + HEADER_BYTES + 8 + 8ul * n_cpus + 12);
	long len;

	if (n_cpus == 0 || n_cpus > VMM_CPUS_MAX || dsdt + DSDT_CAP > cap_bytes)
		return -EMSGSIZE;
	memset(base, 0, dsdt + DSDT_CAP);
	len = dsdt_build(base + dsdt, DSDT_CAP);
	if (len < 0)
		return len;
	fadt_build(base + fadt, gpa + dsdt);
	madt_build(base + madt, n_cpus);
	put64(base + xsdt + HEADER_BYTES, gpa + fadt);
	put64(base + xsdt + HEADER_BYTES + 8, gpa + madt);
	header_put(base + xsdt, "XSDT", 1, HEADER_BYTES + 16);
	rsdp_build(base, gpa + xsdt);
	return (long)dsdt + len;
}

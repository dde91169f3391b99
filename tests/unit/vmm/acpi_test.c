/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables as an operating system walks them: signatures, lengths, checksums, pointers. */
#include "vmm/acpi.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#define GPA 0xe0000u

static uint8_t area[65536];

static uint64_t get(const uint8_t *p, unsigned len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

static unsigned sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static const uint8_t *table(uint64_t gpa, const char *signature, long used)
{
	const uint8_t *t = area + (gpa - GPA);

	CU_ASSERT_TRUE_FATAL(gpa >= GPA && gpa - GPA + 36 <= (uint64_t)used);
	CU_ASSERT_TRUE_FATAL(gpa - GPA + get(t + 4, 4) <= (uint64_t)used);
	CU_ASSERT_EQUAL(memcmp(t, signature, 4), 0);
	CU_ASSERT_EQUAL(sum(t, get(t + 4, 4)), 0);
	return t;
}

static void walk(unsigned n_cpus)
{
	long used = vmm_acpi_build(area, sizeof(area), GPA, n_cpus);
	const uint8_t *xsdt, *fadt, *madt, *p;
	unsigned cpus = 0, ioapics = 0;

	CU_ASSERT_TRUE_FATAL(used > 0);
	CU_ASSERT_EQUAL(memcmp(area, "RSD PTR ", 8), 0);
	CU_ASSERT_EQUAL(sum(area, 20), 0);
	CU_ASSERT_EQUAL(sum(area, 36), 0);
	xsdt = table(get(area + 24, 8), "XSDT", used);
	fadt = table(get(xsdt + 36, 8), "FACP", used);
	madt = table(get(xsdt + 44, 8), "APIC", used);
	(void)table(get(fadt + 140, 8), "DSDT", used);
	CU_ASSERT_TRUE(get(fadt + 112, 4) & 1u << 20); /* hardware-reduced */
	CU_ASSERT_EQUAL(fadt[116], 1);		       /* reset is an I/O port */
	for (p = madt + 44; p < madt + get(madt + 4, 4); p += p[1]) {
		CU_ASSERT_TRUE_FATAL(p[1] >= 8);
		cpus += p[0] == 0;
		ioapics += p[0] == 1;
	}
	CU_ASSERT_EQUAL(cpus, n_cpus);
	CU_ASSERT_EQUAL(ioapics, 1);
}

static void test_walk(void)
{
	for (unsigned n = 1; n <= 4; n++)
		walk(n);
}

static void test_room(void)
{
	CU_ASSERT_EQUAL(vmm_acpi_build(area, 1024, GPA, 1), -EMSGSIZE);
	CU_ASSERT_EQUAL(vmm_acpi_build(area, sizeof(area), GPA, 0), -EMSGSIZE);
	CU_ASSERT_EQUAL(vmm_acpi_build(area, sizeof(area), GPA, 5), -EMSGSIZE);
}

UNIT_MAIN("acpi", { "walked from the RSDP", test_walk }, { "too little room", test_room })

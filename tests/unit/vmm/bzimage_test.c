/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which files are kernels, where they go, and what they find in low memory. */
#include "vmm/bzimage.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/layout.h"

#define FILE_BYTES (2u << 20)
#define RAM_BYTES  (64u << 20)

static uint8_t head[VMM_BZIMAGE_HEAD];
static struct vmm_bzimage image;
static const char *why;

static void put(unsigned at, uint64_t v, unsigned len)
{
	memcpy(head + at, &v, len);
}

static void good(void)
{
	memset(head, 0, sizeof(head));
	head[0x1f1] = 27;
	put(0x1f4, (FILE_BYTES - 28 * 512) / 16, 4);
	put(0x1fe, 0xaa55, 2);
	put(0x200, 0x6aeb, 2);
	memcpy(head + 0x202, "HdrS", 4);
	put(0x206, 0x20f, 2);
	head[0x211] = 1;
	put(0x22c, 0x7fffffff, 4);
	head[0x234] = 1;
	put(0x236, 0x3f, 2);
	put(0x238, 2047, 4);
	put(0x258, 16u << 20, 8);
	put(0x260, 20u << 20, 4);
}

static int parse(void)
{
	return vmm_bzimage_parse(head, sizeof(head), FILE_BYTES, &image, &why);
}

static void refused(void)
{
	why = NULL;
	CU_ASSERT_EQUAL(parse(), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(why);
	good();
}

static void test_parse(void)
{
	good();
	CU_ASSERT_EQUAL(parse(), 0);
	CU_ASSERT_EQUAL(image.payload_offset, 28 * 512);
	CU_ASSERT_EQUAL(image.payload_bytes, FILE_BYTES - 28 * 512);
	CU_ASSERT_EQUAL(image.setup_len, 0x202 + 0x6a - 0x1f1);
	put(0x1fe, 0, 2);
	refused();
	memcpy(head, "\177ELF", 4);
	refused();
	memset(head + 0x202, 0, 4);
	refused();
	put(0x206, 0x20b, 2);
	refused();
	put(0x236, 0x3e, 2);
	refused();
	head[0x234] = 0;
	refused();
	put(0x260, 1000, 4);
	refused();
	put(0x258, UINT64_MAX, 8);
	refused();
	put(0x1f4, FILE_BYTES, 4);
	refused();
	CU_ASSERT_EQUAL(vmm_bzimage_parse(head, 100, 100, &image, &why), -EINVAL);
	CU_ASSERT_EQUAL(vmm_bzimage_parse(head, sizeof(head), 4096, &image, &why), -EINVAL);
	CU_ASSERT_EQUAL(vmm_bzimage_parse(head, 0, 0, &image, &why), -EINVAL);
}

static void test_plan(void)
{
	struct vmm_boot_plan plan;
	struct vmm_mem mem;
	uint64_t need;

	good();
	CU_ASSERT_EQUAL(parse(), 0);
	vmm_mem_init(&mem, NULL, RAM_BYTES, NULL);
	CU_ASSERT_EQUAL(vmm_boot_plan_make(&image, &mem, 5000, &plan, &need), 0);
	CU_ASSERT_EQUAL(plan.initrd_gpa, RAM_BYTES - 8192);
	CU_ASSERT_EQUAL(plan.entry_gpa, plan.kernel_gpa + 0x200);
	CU_ASSERT_EQUAL(vmm_boot_plan_make(&image, &mem, 28u << 20, &plan, &need), 0);
	CU_ASSERT_EQUAL(vmm_boot_plan_make(&image, &mem, (28u << 20) + 1, &plan, &need), -ENOMEM);
	CU_ASSERT_TRUE(need > RAM_BYTES);
	CU_ASSERT_EQUAL(vmm_boot_plan_make(&image, &mem, UINT64_MAX, &plan, &need), -ENOMEM);
	vmm_mem_init(&mem, NULL, 32u << 20, NULL);
	CU_ASSERT_EQUAL(vmm_boot_plan_make(&image, &mem, 0, &plan, &need), -ENOMEM);
}

static void test_lowmem(void)
{
	static const uint8_t seed[VMM_BOOT_SEED_BYTES] = { 7 };
	static char longest[VMM_CMDLINE_MAX + 1];
	uint8_t *ram = calloc(1, RAM_BYTES);
	struct vmm_boot_plan plan;
	struct vmm_mem mem;
	uint64_t need, pml4, rsdp;

	CU_ASSERT_PTR_NOT_NULL_FATAL(ram);
	good();
	CU_ASSERT_EQUAL(parse(), 0);
	vmm_mem_init(&mem, ram, RAM_BYTES, NULL);
	CU_ASSERT_EQUAL(vmm_boot_plan_make(&image, &mem, 100, &plan, &need), 0);
	CU_ASSERT_EQUAL(vmm_boot_lowmem_write(&image, &plan, &mem, "console=ttyS0", seed), 0);
	CU_ASSERT_STRING_EQUAL((char *)ram + VMM_GPA_CMDLINE, "console=ttyS0");
	CU_ASSERT_EQUAL(memcmp(ram + VMM_GPA_BOOTPARAMS + 0x202, "HdrS", 4), 0);
	CU_ASSERT_EQUAL(ram[VMM_GPA_BOOTPARAMS + 0x1e8], 3); /* e820 entries */
	memcpy(&rsdp, ram + VMM_GPA_BOOTPARAMS + 0x70, 8);
	CU_ASSERT_EQUAL(rsdp, VMM_GPA_ACPI);
	memcpy(&pml4, ram + VMM_GPA_PAGETABLES, 8);
	CU_ASSERT_EQUAL(pml4, (VMM_GPA_PAGETABLES + 4096) | 3);
	memset(longest, 'a', VMM_CMDLINE_MAX);
	CU_ASSERT_EQUAL(vmm_boot_lowmem_write(&image, &plan, &mem, longest, seed), -EINVAL);
	longest[VMM_CMDLINE_MAX - 1] = 0;
	CU_ASSERT_EQUAL(vmm_boot_lowmem_write(&image, &plan, &mem, longest, seed), 0);
	free(ram);
}

UNIT_MAIN("bzimage", { "what is a kernel", test_parse }, { "placement", test_plan },
	  { "low memory", test_lowmem })

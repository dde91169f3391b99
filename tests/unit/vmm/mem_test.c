/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory a guest may have: what the host can address, what it has left. */
#include "vmm/mem.h"
#include "tests/unit/unit.h"

#include "vmm/layout.h"

static void test_address_bits(void)
{
	const uint64_t hole = VMM_GPA_HOLE_END - VMM_GPA_HOLE;

	CU_ASSERT_EQUAL(vmm_mem_max_bytes(36), (1ull << 36) - hole);
	CU_ASSERT_EQUAL(vmm_mem_max_bytes(40), (1ull << 40) - hole);
	CU_ASSERT_EQUAL(vmm_mem_max_bytes(32), VMM_GPA_HOLE);
	CU_ASSERT_EQUAL(vmm_mem_max_bytes(31), 1ull << 31);
	CU_ASSERT_TRUE(vmm_mem_max_bytes(64) > 1ull << 62);
	/* The most of the configuration does not fit 40 bits: it was refused by KVM only. */
	CU_ASSERT_TRUE((uint64_t)VMM_MEMORY_MIB_MAX << 20 > vmm_mem_max_bytes(40));
}

static void test_meminfo(void)
{
	uint64_t kib = 7;

	CU_ASSERT_TRUE(vmm_meminfo_available("MemTotal:  9 kB\nMemAvailable:   1024 kB\n"
					     "SwapFree:\t 512 kB\n",
					     &kib));
	CU_ASSERT_EQUAL(kib, 1536);
	CU_ASSERT_TRUE(vmm_meminfo_available("MemAvailable: 3 kB", &kib));
	CU_ASSERT_EQUAL(kib, 3);
	CU_ASSERT_FALSE(vmm_meminfo_available("", &kib));
	CU_ASSERT_FALSE(vmm_meminfo_available("MemFree: 1 kB\n", &kib));
	CU_ASSERT_FALSE(vmm_meminfo_available("MemAvailable: x\n", &kib));
}

UNIT_MAIN("mem", { "address bits", test_address_bits }, { "/proc/meminfo", test_meminfo })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration space, BAR, MSI-X and virtio registers, driven through the bus as a guest would. */
#include "tests/unit/vmm/guest.h"
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/devices/rng.h"

#define SLOT 1u

static struct vmm_rng rng;
static uint64_t bar;

static void fill(void *out, size_t len)
{
	memset(out, 'r', len);
}

static void fresh(void)
{
	guest_new();
	vmm_rng_init(&rng, &guest_host, fill);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &rng.virtio.pci), 0);
	bar = guest_cfg_read(SLOT, 0x10, 4) & ~0xfu;
}

static void test_config_space(void)
{
	unsigned cap, caps = 0;

	fresh();
	CU_ASSERT_EQUAL(guest_cfg_read(0, 0x0a, 2), 0x0600); /* host bridge */
	CU_ASSERT_EQUAL(guest_cfg_read(SLOT, 0, 4), 0x10441af4u);
	CU_ASSERT_EQUAL(guest_cfg_read(2, 0, 4), 0xffffffffu);
	CU_ASSERT_EQUAL(guest_in(VMM_PORT_PCI_ADDR, 4), 0x80001000u);
	/* Identity does not change; BAR sizing gives the size; the command register keeps its bits. */
	guest_cfg_write(SLOT, 0, 4, 0);
	CU_ASSERT_EQUAL(guest_cfg_read(SLOT, 0, 4), 0x10441af4u);
	guest_cfg_write(SLOT, 4, 2, 0xffff);
	CU_ASSERT_EQUAL(guest_cfg_read(SLOT, 4, 2), 0x0406);
	guest_cfg_write(SLOT, 0x10, 4, 0xffffffff);
	CU_ASSERT_EQUAL(guest_cfg_read(SLOT, 0x10, 4), 0xffff8000u);
	guest_cfg_write(SLOT, 0x14, 4, 0xffffffff);
	CU_ASSERT_EQUAL(guest_cfg_read(SLOT, 0x14, 4), 0);
	for (cap = guest_cfg_read(SLOT, 0x34, 1); cap && caps < 20; caps++)
		cap = guest_cfg_read(SLOT, cap + 1, 1);
	CU_ASSERT_EQUAL(caps, 6);
}

static void test_bar_moves(void)
{
	fresh();
	guest_driver(bar, SLOT, 0, 1);
	CU_ASSERT_EQUAL(guest_areas, 1);
	CU_ASSERT_EQUAL(guest_read(bar + 18, 2), 1);
	guest_cfg_write(SLOT, 4, 2, 0);
	CU_ASSERT_EQUAL(guest_areas, 0);
	CU_ASSERT_EQUAL(guest_read(bar + 18, 2), 0xffff);
	guest_cfg_write(SLOT, 0x10, 4, 0xd0000000);
	guest_cfg_write(SLOT, 4, 2, 2);
	CU_ASSERT_EQUAL(guest_areas, 1);
	CU_ASSERT_EQUAL(guest_read(0xd0000000 + 18, 2), 1);
	/* Accesses that stick out or have a width of their own. */
	CU_ASSERT_EQUAL(guest_read(0xd0000000 + 0x7ffe, 4), 0xffffffff);
	CU_ASSERT_EQUAL(guest_read(0xd0000000 + 18, 1), 0xff);
	CU_ASSERT_EQUAL(guest_read(0xd0000000 + 0x6000, 4), 0xffffffff);
}

static void test_negotiation(void)
{
	fresh();
	/* A feature that was not offered, then none of VERSION_1. */
	guest_write(bar + 20, 1, 3);
	guest_write(bar + 12, 4, 1);
	guest_write(bar + 20, 1, 11);
	CU_ASSERT_EQUAL(guest_read(bar + 20, 1), 3);
	guest_driver(bar, SLOT, 0, 1);
	CU_ASSERT_EQUAL(guest_read(bar + 20, 1), 15);
	CU_ASSERT_TRUE(vmm_virtio_live(&rng.virtio));
	/* Live: nothing of the queue may be changed any more. */
	guest_write(bar + 22, 2, 0);
	guest_write(bar + 24, 2, 256);
	guest_write(bar + 48, 8, 0x666);
	CU_ASSERT_EQUAL(guest_read(bar + 24, 2), 8);
	CU_ASSERT_EQUAL(guest_read(bar + 48, 8), GUEST_USED(0));
	CU_ASSERT_EQUAL(guest_read(bar + 52, 4), 0);
	/* A queue that does not exist. */
	guest_write(bar + 22, 2, 0xffff);
	guest_write(bar + 24, 2, 8);
	CU_ASSERT_EQUAL(guest_read(bar + 24, 2), 0);
	guest_write(bar + 20, 1, 0);
	CU_ASSERT_EQUAL(guest_read(bar + 20, 1), 0);
	CU_ASSERT_EQUAL(guest_areas, 0);
}

static void test_driver_breaks_rules(void)
{
	fresh();
	guest_write(bar + 20, 1, 7); /* DRIVER_OK without FEATURES_OK */
	CU_ASSERT_TRUE(guest_read(bar + 20, 1) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_FALSE(vmm_virtio_live(&rng.virtio));
	guest_driver(bar, SLOT, 0, 1);
	guest_desc(0, 0, 0xffffffff, 16, 2, 0);
	guest_avail(0, 0, 0);
	guest_msis = 0;
	rng.virtio.dev.ops->queue(&rng.virtio.dev, 0);
	CU_ASSERT_TRUE(guest_read(bar + 20, 1) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_EQUAL(guest_msis, 1);
	CU_ASSERT_EQUAL(guest_msi_data, 0x40); /* configuration change */
	CU_ASSERT_EQUAL(guest_used(0), 0);
}

static void test_interrupts(void)
{
	fresh();
	guest_driver(bar, SLOT, 0, 1);
	guest_desc(0, 0, 0x20000, 8, 2, 0);
	guest_avail(0, 0, 0);
	/* Masked: pending, and delivered when unmasked. */
	guest_write(bar + 0x4000 + 16 + 12, 4, 1);
	rng.virtio.dev.ops->queue(&rng.virtio.dev, 0);
	CU_ASSERT_EQUAL(guest_used(0), 1);
	CU_ASSERT_EQUAL(guest_ram[0x20007], 'r');
	CU_ASSERT_EQUAL(guest_msis, 0);
	CU_ASSERT_EQUAL(guest_read(bar + 0x5000, 8), 2);
	guest_write(bar + 0x4000 + 16 + 12, 4, 0);
	CU_ASSERT_EQUAL(guest_msis, 1);
	CU_ASSERT_EQUAL(guest_msi_data, 0x41);
	CU_ASSERT_EQUAL(guest_read(bar + 0x5000, 8), 0);
	CU_ASSERT_EQUAL(guest_read(bar + 0x1000, 1), 1);
	CU_ASSERT_EQUAL(guest_read(bar + 0x1000, 1), 0);
	/* Not a local APIC's address: nothing is sent. Beyond the table: nothing happens. */
	guest_write(bar + 0x4000 + 16, 4, 0x1000);
	vmm_msix_raise(&rng.virtio.pci, 1);
	vmm_msix_raise(&rng.virtio.pci, 0xffff);
	guest_write(bar + 0x4000 + 16 * 2, 4, 1);
	CU_ASSERT_EQUAL(guest_msis, 1);
	CU_ASSERT_EQUAL(guest_read(bar + 0x4000 + 16 * 2, 4), 0xffffffff);
}

static void test_window(void)
{
	unsigned cap;

	fresh();
	cap = rng.virtio.pci_cfg_cap;
	guest_cfg_write(SLOT, cap + 8, 4, 18); /* num_queues */
	guest_cfg_write(SLOT, cap + 12, 4, 2);
	CU_ASSERT_EQUAL(guest_cfg_read(SLOT, cap + 16, 2), 1);
	guest_cfg_write(SLOT, cap + 8, 4, 0xfffffffe);
	(void)guest_cfg_read(SLOT, cap + 16, 4);
	guest_cfg_write(SLOT, cap + 16, 4, 1);
}

static void test_state(void)
{
	static uint8_t state[VMM_DEV_STATE_MAX];
	struct cl_writer w;
	struct cl_reader r;
	long len;

	fresh();
	guest_driver(bar, SLOT, 0, 1);
	cl_writer_init(&w, state, sizeof(state));
	rng.virtio.dev.ops->save(&rng.virtio.dev, &w);
	len = cl_writer_done(&w);
	CU_ASSERT_TRUE_FATAL(len > 0);
	/* Cut short anywhere it is refused, whole it is taken. */
	for (long n = 0; n <= len; n++) {
		int e;

		vmm_rng_init(&rng, &guest_host, fill);
		guest_pci.funcs[SLOT] = NULL;
		(void)vmm_pci_bus_add(&guest_pci, &rng.virtio.pci);
		cl_reader_init(&r, state, (size_t)n);
		e = rng.virtio.dev.ops->restore(&rng.virtio.dev, &r);
		if (n < len ? e != -EBADMSG : e != 0)
			CU_FAIL("length");
	}
	CU_ASSERT_EQUAL(guest_read(bar + 20, 1), 15);
	guest_msis = guest_kicks = 0;
	rng.virtio.dev.ops->kick_all(&rng.virtio.dev);
	CU_ASSERT_EQUAL(guest_kicks, 1);
	CU_ASSERT_EQUAL(guest_msis, 2);
	/* Another device id. */
	state[3] ^= 1;
	vmm_rng_init(&rng, &guest_host, fill);
	cl_reader_init(&r, state, (size_t)len);
	CU_ASSERT_EQUAL(rng.virtio.dev.ops->restore(&rng.virtio.dev, &r), -EBADMSG);
}

UNIT_MAIN("virtio_pci", { "configuration space", test_config_space },
	  { "a BAR moves", test_bar_moves }, { "negotiation and locking", test_negotiation },
	  { "a driver breaks the rules", test_driver_breaks_rules },
	  { "interrupts, masked and not", test_interrupts },
	  { "the access window", test_window }, { "state there and back", test_state })

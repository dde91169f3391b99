/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block requests against a disk in memory that answers when told. */
#include "tests/unit/vmm/guest.h"
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/devices/blk.h"

#define SLOT	   1u
#define DISK_BYTES 65536u
#define HEADER	   0x20000u
#define DATA	   0x21000u
#define STATUS	   0x22000u
#define F_NEXT	   1u
#define F_WRITE	   2u
#define F_FLUSH	   (1u << 9)

static struct vmm_blk blk;
static struct vmm_disk disk;
static struct vmm_disk_req *waiting[8];
static unsigned n_waiting;
static uint8_t content[DISK_BYTES];
static uint64_t generation = 42;
static uint64_t bar;
static unsigned n_avail;

static int on_submit(struct vmm_disk *d, struct vmm_disk_req *req)
{
	waiting[n_waiting++ % 8] = req;
	return 0;
}

static const struct vmm_disk_ops disk_ops = { .submit = on_submit };

static void answer(int res)
{
	struct vmm_disk_req *req = waiting[--n_waiting];
	uint64_t at = req->offset_bytes;

	for (unsigned i = 0; i < req->n_iov && res == 0; i++) {
		if (req->op == VMM_DISK_READ)
			memcpy(req->iov[i].iov_base, content + at, req->iov[i].iov_len);
		else
			memcpy(content + at, req->iov[i].iov_base, req->iov[i].iov_len);
		at += req->iov[i].iov_len;
	}
	req->done(req, res);
}

static void fresh(uint32_t features)
{
	guest_new();
	memset(&disk, 0, sizeof(disk));
	disk = (struct vmm_disk){ .ops = &disk_ops, .size_bytes = DISK_BYTES, .align_bytes = 512 };
	n_waiting = n_avail = 0;
	vmm_blk_init(&blk, &guest_host, "blk0", &disk, &generation);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &blk.virtio.pci), 0);
	bar = guest_cfg_read(SLOT, 0x10, 4) & ~0xfu;
	guest_driver(bar, SLOT, features, 1);
}

/* One request of len data bytes; status byte in its own descriptor. */
static void request(uint32_t type, uint64_t sector, uint32_t len)
{
	unsigned data = type == 1 ? 0 : F_WRITE;

	guest_put(HEADER, type, 8);
	guest_put(HEADER + 8, sector, 8);
	guest_ram[STATUS] = 0xee;
	guest_desc(0, 0, HEADER, 16, F_NEXT, len ? 1 : 2);
	guest_desc(0, 1, DATA, len, data | F_NEXT, 2);
	guest_desc(0, 2, STATUS, 1, F_WRITE, 0);
	guest_avail(0, n_avail++, 0);
	blk.virtio.dev.ops->queue(&blk.virtio.dev, 0);
}

static void test_read_write(void)
{
	fresh(F_FLUSH);
	CU_ASSERT_EQUAL(guest_read(bar + 0x2000, 8), DISK_BYTES / 512);
	memset(guest_ram + DATA, 'w', 1024);
	request(1, 3, 1024);
	CU_ASSERT_EQUAL(n_waiting, 1);
	CU_ASSERT_EQUAL(guest_used(0), 0);
	CU_ASSERT_FALSE(waiting[0]->durable);
	answer(0);
	CU_ASSERT_EQUAL(guest_used(0), 1);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 0);
	CU_ASSERT_EQUAL(content[3 * 512 + 1023], 'w');
	memset(guest_ram + DATA, 0, 1024);
	memset(guest_dirty, 0, sizeof(guest_dirty));
	request(0, 4, 512);
	answer(0);
	CU_ASSERT_EQUAL(guest_ram[DATA], 'w');
	CU_ASSERT_TRUE((guest_dirty[0] >> (DATA / VMM_PAGE_SIZE) & 1) == 1);
	CU_ASSERT_TRUE((guest_dirty[0] >> (STATUS / VMM_PAGE_SIZE) & 1) == 1);
	request(4, 0, 0);
	CU_ASSERT_EQUAL(waiting[0]->op, VMM_DISK_FLUSH);
	answer(-EIO);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 1);
	CU_ASSERT_EQUAL(guest_msi_data, 0x41);
}

static void test_write_through(void)
{
	fresh(0);
	request(1, 0, 512);
	CU_ASSERT_TRUE(waiting[0]->durable);
	answer(0);
}

static void test_device_id(void)
{
	fresh(F_FLUSH);
	request(8, 0, 20);
	CU_ASSERT_STRING_EQUAL((char *)guest_ram + DATA, "gen-42");
	generation = UINT64_MAX;
	request(8, 0, 20);
	CU_ASSERT_EQUAL(memcmp(guest_ram + DATA, "gen-1844674407370955", 20), 0);
	request(8, 0, 3);
	CU_ASSERT_EQUAL(guest_used(0), 3);
	generation = 42;
}

static void test_bad_requests(void)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} bad[] = {
		{ 0, DISK_BYTES / 512, 512, 1 },     { 0, DISK_BYTES / 512 - 1, 1024, 1 },
		{ 1, UINT64_MAX, 512, 1 },	     { 1, UINT64_MAX / 512, 512, 1 },
		{ 1, 0, 511, 1 },		     { 0, 0, 0, 1 },
		{ 11, 0, 512, 2 },		     { 0xffffffff, 0, 512, 2 },
	};

	fresh(F_FLUSH);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request(bad[i].type, bad[i].sector, bad[i].len);
		CU_ASSERT_EQUAL(guest_ram[STATUS], bad[i].status);
		CU_ASSERT_EQUAL(n_waiting, 0);
	}
	CU_ASSERT_EQUAL(guest_used(0), sizeof(bad) / sizeof(bad[0]));
	/* No room for a header, none for a status. */
	guest_desc(0, 0, HEADER, 15, F_NEXT, 2);
	guest_avail(0, n_avail++, 0);
	blk.virtio.dev.ops->queue(&blk.virtio.dev, 0);
	CU_ASSERT_TRUE(guest_read(bar + 20, 1) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	fresh(F_FLUSH);
	guest_desc(0, 0, HEADER, 16, 0, 0);
	guest_avail(0, n_avail++, 0);
	blk.virtio.dev.ops->queue(&blk.virtio.dev, 0);
	CU_ASSERT_TRUE(guest_read(bar + 20, 1) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_EQUAL(blk.n_busy, 0);
}

/* A driver resets while a request is out: the device says so when it is back, and touches nothing. */
static void test_reset_in_flight(void)
{
	fresh(F_FLUSH);
	request(0, 0, 512);
	guest_write(bar + 20, 1, 0);
	CU_ASSERT_NOT_EQUAL(guest_read(bar + 20, 1), 0);
	CU_ASSERT_EQUAL(blk.virtio.dev.ops->in_flight(&blk.virtio.dev), 1);
	guest_ram[STATUS] = 0xee;
	answer(0);
	CU_ASSERT_EQUAL(guest_read(bar + 20, 1), 0);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 0xee);
	CU_ASSERT_EQUAL(guest_used(0), 0);
	CU_ASSERT_EQUAL(blk.virtio.dev.ops->in_flight(&blk.virtio.dev), 0);
}

static void test_quiesce(void)
{
	fresh(F_FLUSH);
	request(0, 0, 512);
	blk.virtio.dev.quiesced = true;
	request(0, 1, 512);
	CU_ASSERT_EQUAL(n_waiting, 1);
	answer(0);
	CU_ASSERT_EQUAL(guest_used(0), 1);
	CU_ASSERT_EQUAL(blk.virtio.dev.ops->in_flight(&blk.virtio.dev), 0);
	blk.virtio.dev.quiesced = false;
	guest_kicks = 0;
	blk.virtio.dev.ops->kick_all(&blk.virtio.dev);
	CU_ASSERT_EQUAL(guest_kicks, 1);
	blk.virtio.dev.ops->queue(&blk.virtio.dev, 0);
	CU_ASSERT_EQUAL(n_waiting, 1);
	answer(0);
	CU_ASSERT_EQUAL(guest_used(0), 2);
}

UNIT_MAIN("blk", { "read, write, flush", test_read_write },
	  { "writes are stable without FLUSH", test_write_through },
	  { "the device id names the generation", test_device_id },
	  { "bad requests", test_bad_requests }, { "reset in flight", test_reset_in_flight },
	  { "quiesce and go on", test_quiesce })

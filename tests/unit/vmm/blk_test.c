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
#define F_RO	   (1u << 5)

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

/* A write to it is answered here: nothing reaches the host. */
static void test_readonly(void)
{
	guest_new();
	disk = (struct vmm_disk){
		.ops = &disk_ops, .size_bytes = DISK_BYTES, .align_bytes = 512, .readonly = true
	};
	n_waiting = n_avail = 0;
	vmm_blk_init(&blk, &guest_host, "blk0", &disk, &generation);
	CU_ASSERT_TRUE(blk.virtio.features & F_RO);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &blk.virtio.pci), 0);
	bar = guest_cfg_read(SLOT, 0x10, 4) & ~0xfu;
	guest_driver(bar, SLOT, F_FLUSH, 1);
	request(1, 0, 512);
	CU_ASSERT_EQUAL(n_waiting, 0);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 1);
	request(0, 0, 512);
	CU_ASSERT_EQUAL(n_waiting, 1);
	answer(0);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 0);
	fresh(F_FLUSH);
	CU_ASSERT_FALSE(blk.virtio.features & F_RO);
}

/* Saves a device over a disk of that block size; the next one over another disk takes the state. */
static int moved(unsigned from_align, unsigned to_align, bool *ret_fits)
{
	static uint8_t state[4096];
	struct cl_writer w;
	struct cl_reader r;
	int rc;

	guest_new();
	disk = (struct vmm_disk){ .ops = &disk_ops,
				  .size_bytes = DISK_BYTES,
				  .align_bytes = from_align };
	vmm_blk_init(&blk, &guest_host, "blk0", &disk, &generation);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &blk.virtio.pci), 0);
	cl_writer_init(&w, state, sizeof(state));
	blk.virtio.dev.ops->save(&blk.virtio.dev, &w);
	guest_new();
	disk.align_bytes = to_align;
	vmm_blk_init(&blk, &guest_host, "blk0", &disk, &generation);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &blk.virtio.pci), 0);
	cl_reader_init(&r, state, (size_t)cl_writer_done(&w));
	rc = blk.virtio.dev.ops->restore(&blk.virtio.dev, &r);
	rc = rc ? rc : cl_reader_done(&r);
	*ret_fits = vmm_blk_size_set(&blk, DISK_BYTES, to_align);
	return rc;
}

static uint32_t told(void)
{
	uint32_t block;

	memcpy(&block, blk.virtio.config + 20, 4);
	return block;
}

/* A guest keeps the block size that it was told, wherever it goes. */
static void test_block_size(void)
{
	bool fits;

	CU_ASSERT_EQUAL(moved(512, 512, &fits), 0);
	CU_ASSERT_TRUE(fits);
	CU_ASSERT_EQUAL(told(), 512);
	CU_ASSERT_EQUAL(moved(4096, 4096, &fits), 0);
	CU_ASSERT_TRUE(fits);
	CU_ASSERT_EQUAL(told(), 4096);
	CU_ASSERT_EQUAL(moved(4096, 512, &fits), 0);
	CU_ASSERT_TRUE(fits);
	CU_ASSERT_EQUAL(told(), 4096);
	CU_ASSERT_EQUAL(moved(512, 4096, &fits), 0);
	CU_ASSERT_FALSE(fits);
	/* Before there was such a field the state ended with the size; 512 is still written so. */
	fresh(F_FLUSH);
	blk.block_bytes = 4096;
	request(0, 1, 512);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 1);
	request(0, 8, 4096);
	CU_ASSERT_EQUAL(n_waiting, 1);
	answer(0);
	CU_ASSERT_EQUAL(guest_ram[STATUS], 0);
}

UNIT_MAIN("blk", { "read, write, flush", test_read_write },
	  { "writes are stable without FLUSH", test_write_through },
	  { "the device id names the generation", test_device_id },
	  { "bad requests", test_bad_requests }, { "reset in flight", test_reset_in_flight },
	  { "quiesce and go on", test_quiesce }, { "a read-only disk", test_readonly },
	  { "block size", test_block_size })

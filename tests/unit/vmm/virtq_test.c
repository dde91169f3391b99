/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device's side of a virtqueue against a driver that plays fair, and many that do not. */
#include "vmm/devices/virtq.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "vmm/layout.h"

#define RAM_BYTES (1u << 20)
#define SIZE	  8u
#define DESC	  0x1000u
#define AVAIL	  0x2000u
#define USED	  0x3000u
#define DATA	  0x10000u
#define F_NEXT	  1u
#define F_WRITE	  2u
#define F_INDIR	  4u

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static uint64_t dirty[RAM_BYTES / VMM_PAGE_SIZE / 64];
static struct vmm_mem mem;
static struct vmm_virtq q;
static struct vmm_chain chain;

static void put(uint64_t gpa, uint64_t v, unsigned len)
{
	memcpy(ram + gpa, &v, len);
}

static void desc(uint64_t table, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
		 unsigned next)
{
	put(table + 16 * i, addr, 8);
	put(table + 16 * i + 8, len, 4);
	put(table + 16 * i + 12, flags, 2);
	put(table + 16 * i + 14, next, 2);
}

static void avail(unsigned slot, unsigned head, unsigned idx)
{
	put(AVAIL + 4 + 2 * slot, head, 2);
	put(AVAIL + 2, idx, 2);
}

static void fresh(void)
{
	memset(ram, 0, sizeof(ram));
	memset(dirty, 0, sizeof(dirty));
	vmm_mem_init(&mem, ram, RAM_BYTES, dirty);
	vmm_virtq_reset(&q, SIZE);
	q.desc = DESC;
	q.avail = AVAIL;
	q.used = USED;
	CU_ASSERT_TRUE(vmm_virtq_valid(&q, &mem));
	q.enabled = true;
}

static void test_chain(void)
{
	char out[8] = "";

	fresh();
	CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), 0);
	memcpy(ram + DATA, "abcdef", 6);
	desc(DESC, 3, DATA, 2, F_NEXT, 5);
	desc(DESC, 5, DATA + 2, 4, F_NEXT, 0);
	desc(DESC, 0, DATA + 0x1000, 100, F_WRITE, 7);
	avail(0, 3, 1);
	CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), 1);
	CU_ASSERT_EQUAL(chain.n_out, 2);
	CU_ASSERT_EQUAL(chain.n_in, 1);
	CU_ASSERT_EQUAL(chain.out_bytes, 6);
	CU_ASSERT_EQUAL(chain.in_bytes, 100);
	/* Reads and writes go across descriptors, and stop at the end. */
	CU_ASSERT_EQUAL(vmm_chain_read(&chain, 1, out, sizeof(out)), 5);
	CU_ASSERT_STRING_EQUAL(out, "bcdef");
	memset(dirty, 0, sizeof(dirty));
	CU_ASSERT_EQUAL(vmm_chain_write(&chain, &mem, 98, "xyz", 3), 2);
	CU_ASSERT_EQUAL(ram[DATA + 0x1000 + 99], 'y');
	CU_ASSERT_EQUAL(dirty[0], 1ull << (DATA / VMM_PAGE_SIZE + 1));
	CU_ASSERT_EQUAL(vmm_virtq_push(&q, &mem, chain.head, 2), 0);
	CU_ASSERT_EQUAL(ram[USED + 2], 1);
	CU_ASSERT_EQUAL(ram[USED + 4], 3);
	CU_ASSERT_EQUAL(ram[USED + 8], 2);
	CU_ASSERT_TRUE((dirty[0] >> (USED / VMM_PAGE_SIZE) & 1) == 1);
}

static void test_indirect(void)
{
	fresh();
	desc(DESC, 1, DATA, 32, F_INDIR, 0);
	desc(DATA, 0, 0x20000, 16, F_NEXT, 1);
	desc(DATA, 1, 0x21000, 512, F_WRITE, 0);
	avail(0, 1, 1);
	CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), 1);
	CU_ASSERT_EQUAL(chain.n_out, 1);
	CU_ASSERT_EQUAL(chain.in_bytes, 512);
}

/* Each sets one chain at head 0 that must be refused. */
static void refused(const char *what)
{
	avail(0, 0, 1);
	if (vmm_virtq_pop(&q, &mem, &chain) != -EBADMSG)
		CU_FAIL(what);
	fresh();
}

static void test_hostile_chains(void)
{
	fresh();
	desc(DESC, 0, DATA, 16, F_NEXT, 0);
	refused("a loop");
	desc(DESC, 0, DATA, 16, F_NEXT, SIZE);
	refused("next beyond the table");
	desc(DESC, 0, RAM_BYTES - 8, 16, 0, 0);
	refused("beyond the end of RAM");
	desc(DESC, 0, UINT64_MAX - 4, 16, 0, 0);
	refused("address wraps");
	desc(DESC, 0, DATA, 0, 0, 0);
	refused("empty");
	desc(DESC, 0, DATA, 16, F_WRITE | F_NEXT, 1);
	desc(DESC, 1, DATA, 16, 0, 0);
	refused("readable after writable");
	desc(DESC, 0, DATA, 17, F_INDIR, 0);
	refused("indirect table of odd size");
	desc(DESC, 0, DATA, 0, F_INDIR, 0);
	refused("indirect table of no size");
	desc(DESC, 0, DATA, 32, F_INDIR | F_NEXT, 1);
	refused("indirect with next");
	desc(DESC, 0, DATA, 32, F_INDIR, 0);
	desc(DATA, 0, DATA, 32, F_INDIR, 0);
	refused("indirect in indirect");
	desc(DESC, 0, DATA, 16 * 65536, F_INDIR, 0);
	for (unsigned i = 0; i < 300; i++)
		desc(DATA, i, 0x40000, 1, F_NEXT, i + 1);
	refused("more segments than we take");
	desc(DESC, 0, RAM_BYTES, 32, F_INDIR, 0);
	refused("indirect table outside RAM");
	avail(0, SIZE, 1);
	CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), -EBADMSG);
	fresh();
	put(AVAIL + 2, SIZE + 1, 2);
	CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), -EBADMSG);
}

static void test_rings(void)
{
	fresh();
	q.size = 6;
	CU_ASSERT_FALSE(vmm_virtq_valid(&q, &mem));
	q.size = 2 * SIZE;
	CU_ASSERT_FALSE(vmm_virtq_valid(&q, &mem));
	q.size = 0;
	CU_ASSERT_FALSE(vmm_virtq_valid(&q, &mem));
	q.size = SIZE;
	q.desc = DESC + 8;
	CU_ASSERT_FALSE(vmm_virtq_valid(&q, &mem));
	q.desc = RAM_BYTES - 16;
	CU_ASSERT_FALSE(vmm_virtq_valid(&q, &mem));
	q.desc = DESC;
	q.used = UINT64_MAX - 3;
	CU_ASSERT_FALSE(vmm_virtq_valid(&q, &mem));
	q.used = USED;
	q.enabled = false;
	CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), -EBADMSG);
	CU_ASSERT_EQUAL(vmm_virtq_push(&q, &mem, 0, 0), -EBADMSG);
}

static void test_wrap(void)
{
	fresh();
	q.avail_next = q.used_next = 0xfffe;
	for (unsigned i = 0; i < 4; i++) {
		desc(DESC, i, DATA, 16, 0, 0);
		avail((0xfffe + i) % SIZE, i, (uint16_t)(0xffff + i));
		CU_ASSERT_EQUAL(vmm_virtq_pop(&q, &mem, &chain), 1);
		CU_ASSERT_EQUAL(chain.head, i);
		CU_ASSERT_EQUAL(vmm_virtq_push(&q, &mem, chain.head, 0), 0);
	}
	CU_ASSERT_EQUAL(q.used_next, 2);
}

static void test_interrupts(void)
{
	fresh();
	CU_ASSERT_TRUE(vmm_virtq_wants_irq(&q, &mem));
	put(AVAIL, 1, 2); /* VIRTQ_AVAIL_F_NO_INTERRUPT */
	CU_ASSERT_FALSE(vmm_virtq_wants_irq(&q, &mem));
	vmm_virtq_notify_set(&q, &mem, false);
	CU_ASSERT_EQUAL(ram[USED], 1);
	avail(0, 0, 1);
	CU_ASSERT_TRUE(vmm_virtq_notify_set(&q, &mem, true));
	CU_ASSERT_EQUAL(ram[USED], 0);

	fresh();
	q.event_idx = true;
	put(AVAIL + 4 + 2 * SIZE, 2, 2); /* used_event: after the third */
	CU_ASSERT_TRUE(vmm_virtq_wants_irq(&q, &mem)); /* the first look is not comparable */
	CU_ASSERT_EQUAL(vmm_virtq_push(&q, &mem, 0, 0), 0);
	CU_ASSERT_EQUAL(vmm_virtq_push(&q, &mem, 0, 0), 0);
	CU_ASSERT_FALSE(vmm_virtq_wants_irq(&q, &mem));
	CU_ASSERT_EQUAL(vmm_virtq_push(&q, &mem, 0, 0), 0);
	CU_ASSERT_TRUE(vmm_virtq_wants_irq(&q, &mem));
	q.avail_next = 5;
	vmm_virtq_notify_set(&q, &mem, true);
	CU_ASSERT_EQUAL(ram[USED + 4 + 8 * SIZE], 5);
}

static void test_memory(void)
{
	struct vmm_mem big;
	uint8_t b[4] = { 1, 2, 3, 4 };

	fresh();
	CU_ASSERT_PTR_NOT_NULL(vmm_mem_ptr(&mem, 0, RAM_BYTES));
	CU_ASSERT_PTR_NULL(vmm_mem_ptr(&mem, 1, RAM_BYTES));
	CU_ASSERT_PTR_NULL(vmm_mem_ptr(&mem, RAM_BYTES + 1, 0));
	CU_ASSERT_PTR_NULL(vmm_mem_ptr(&mem, UINT64_MAX, 2));
	CU_ASSERT_EQUAL(vmm_mem_write(&mem, 0x4ffe, b, 4), 0);
	CU_ASSERT_EQUAL(vmm_mem_dirty_take(&mem, 0), 3ull << 4);
	CU_ASSERT_EQUAL(vmm_mem_dirty_take(&mem, 0), 0);
	/* Above 3 GiB RAM goes on at 4 GiB, and nothing straddles the hole. */
	vmm_mem_init(&big, NULL, VMM_GPA_HOLE + RAM_BYTES, NULL);
	CU_ASSERT_EQUAL(big.n_regions, 2);
	CU_ASSERT_EQUAL(big.regions[1].file_offset, VMM_GPA_HOLE);
	CU_ASSERT_PTR_NULL(vmm_mem_ptr(&big, VMM_GPA_HOLE - 1, 2));
	CU_ASSERT_PTR_NULL(vmm_mem_ptr(&big, VMM_GPA_HOLE, 1));
	CU_ASSERT_PTR_EQUAL(vmm_mem_ptr(&big, VMM_GPA_HOLE_END, 1),
			    (const uint8_t *)(uintptr_t)VMM_GPA_HOLE);
}

UNIT_MAIN("virtq", { "a chain is read, written and given back", test_chain },
	  { "an indirect chain", test_indirect }, { "hostile chains", test_hostile_chains },
	  { "hostile rings", test_rings }, { "indices wrap", test_wrap },
	  { "interrupts and notifications when needed", test_interrupts },
	  { "memory is checked at its ends", test_memory })

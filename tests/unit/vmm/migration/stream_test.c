/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stream's coding: what goes in comes out; every cut and every flipped byte is refused. */
#include "vmm/migration/stream.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE VMM_STREAM_PAGE_BYTES

static uint8_t stream[64 << 10];
static size_t stream_len;

static void put(struct vmm_stream *s, unsigned type, unsigned instance, const void *p, size_t n)
{
	vmm_section_seal(s, type, instance, p, n, stream + stream_len);
	memcpy(stream + stream_len + VMM_SECTION_HEADER_BYTES, p, n);
	stream_len += VMM_SECTION_HEADER_BYTES + n;
}

/* A small stream with every kind of section. */
static void make_stream(void)
{
	static uint8_t buf[VMM_STREAM_RAM_HEAD_BYTES + VMM_STREAM_BATCH_PAGES * PAGE];
	struct vmm_stream_config c = { .name = "vm1", .source = "n1", .generation = 7,
				       .memory_bytes = 8 * PAGE, .cpus = 1, .devices = 1,
				       .machine_digest = 99 };
	struct vmm_stream_end end = { .data_pages = 2, .zero_pages = 3, .vcpus = 1, .devices = 1 };
	uint8_t page[PAGE] = { 0 }, small[256];
	const uint8_t *payload;
	struct vmm_ram_batch b;
	struct vmm_stream s;
	size_t len;

	vmm_stream_init(&s);
	vmm_stream_header_encode(&s, stream);
	stream_len = VMM_STREAM_HEADER_BYTES;
	put(&s, VMM_SECTION_CONFIG, 0, small,
	    (size_t)vmm_stream_config_encode(&c, small, sizeof(small)));
	vmm_ram_batch_init(&b, buf);
	for (unsigned i = 0; i < 5; i++) {
		page[100] = i == 1 || i == 2 ? 0x5a : 0;
		CU_ASSERT(vmm_ram_batch_add(&b, i * PAGE, page));
	}
	len = vmm_ram_batch_finish(&b, &payload);
	put(&s, VMM_SECTION_RAM, 0, payload, len);
	put(&s, VMM_SECTION_ROUND, 0, "", 0);
	put(&s, VMM_SECTION_VM, 0, "clock", 5);
	put(&s, VMM_SECTION_VCPU, 0, "registers", 9);
	put(&s, VMM_SECTION_DEVICE, 0, "queue", 5);
	end.sections = s.seq;
	put(&s, VMM_SECTION_END, 0, small, (size_t)vmm_stream_end_encode(&end, small, sizeof(small)));
	CU_ASSERT_EQUAL(s.offset, stream_len);
}

/* 0 if the bytes are a whole stream; counts what was in it. */
static int walk(const uint8_t *in, size_t len, unsigned *ret_sections, unsigned *ret_pages)
{
	struct vmm_stream s;
	size_t at = VMM_STREAM_HEADER_BYTES;

	*ret_sections = *ret_pages = 0;
	vmm_stream_init(&s);
	if (len < at)
		return -ENODATA;
	if (vmm_stream_header_decode(&s, in) < 0)
		return -EBADMSG;
	while (!s.ended) {
		struct vmm_section sec;
		struct vmm_stream_config c;
		struct vmm_stream_end end;
		struct vmm_ram_reader r;
		struct vmm_ram_run run;
		const uint8_t *payload = in + at + VMM_SECTION_HEADER_BYTES;

		if (len - at < VMM_SECTION_HEADER_BYTES)
			return -ENODATA;
		if (vmm_section_open(&s, in + at, &sec) < 0)
			return -EBADMSG;
		if (len - at - VMM_SECTION_HEADER_BYTES < sec.len_bytes)
			return -ENODATA;
		if (vmm_section_check(&s, &sec, payload) < 0)
			return -EBADMSG;
		++*ret_sections;
		at += VMM_SECTION_HEADER_BYTES + sec.len_bytes;
		CU_ASSERT_EQUAL(s.offset, at);
		if (sec.type == VMM_SECTION_CONFIG &&
		    vmm_stream_config_decode(&c, payload, sec.len_bytes) < 0)
			return -EBADMSG;
		if (sec.type == VMM_SECTION_END &&
		    vmm_stream_end_decode(&end, payload, sec.len_bytes) < 0)
			return -EBADMSG;
		if (sec.type == VMM_SECTION_RAM) {
			if (vmm_ram_reader_init(&r, payload, sec.len_bytes) < 0)
				return -EBADMSG;
			while (vmm_ram_reader_next(&r, &run)) {
				*ret_pages += run.pages;
				if (run.kind == VMM_RAM_DATA)
					CU_ASSERT_EQUAL(run.data[100], 0x5a);
			}
		}
	}
	return at == len ? 0 : -EBADMSG;
}

static void goes_through(void)
{
	unsigned sections, pages;

	make_stream();
	CU_ASSERT_EQUAL(walk(stream, stream_len, &sections, &pages), 0);
	CU_ASSERT_EQUAL(sections, 7);
	CU_ASSERT_EQUAL(pages, 5);
}

static void cut_anywhere(void)
{
	unsigned sections, pages;

	make_stream();
	for (size_t cut = 0; cut < stream_len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1); /* the sanitizer sees a read beyond */

		memcpy(copy, stream, cut);
		if (walk(copy, cut, &sections, &pages) == 0)
			CU_FAIL("a stream that was cut is taken");
		free(copy);
	}
}

static void flipped_anywhere(void)
{
	unsigned sections, pages;

	make_stream();
	for (size_t at = 0; at < stream_len; at++) {
		for (unsigned bit = 0; bit < 8; bit += 1 + at % 3) {
			stream[at] ^= 1u << bit;
			if (walk(stream, stream_len, &sections, &pages) == 0)
				CU_FAIL("a stream with a flipped bit is taken");
			stream[at] ^= 1u << bit;
		}
	}
}

static void sections_lost_or_moved(void)
{
	uint8_t other[sizeof(stream)];
	unsigned sections, pages;
	size_t vm, vcpu, device;
	struct vmm_stream s;

	make_stream();
	/* VM (5), VCPU (9), DEVICE (5), END are the last four. */
	device = stream_len - (VMM_SECTION_HEADER_BYTES + 56) - (VMM_SECTION_HEADER_BYTES + 5);
	vcpu = device - (VMM_SECTION_HEADER_BYTES + 9);
	vm = vcpu - (VMM_SECTION_HEADER_BYTES + 5);
	memcpy(other, stream, vm);
	memcpy(other + vm, stream + vcpu, stream_len - vcpu);
	CU_ASSERT_EQUAL(walk(other, stream_len - (vcpu - vm), &sections, &pages), -EBADMSG);
	memcpy(other, stream, stream_len);
	memcpy(other + vm, stream + device, VMM_SECTION_HEADER_BYTES + 5);
	memcpy(other + device, stream + vm, VMM_SECTION_HEADER_BYTES + 5);
	CU_ASSERT_EQUAL(walk(other, stream_len, &sections, &pages), -EBADMSG);
	/* A first section that is not CONFIG. */
	vmm_stream_init(&s);
	vmm_stream_header_encode(&s, stream);
	stream_len = VMM_STREAM_HEADER_BYTES;
	put(&s, VMM_SECTION_VM, 0, "x", 1);
	CU_ASSERT_EQUAL(walk(stream, stream_len, &sections, &pages), -EBADMSG);
}

static void batches_fill(void)
{
	uint8_t *buf = malloc(VMM_STREAM_RAM_HEAD_BYTES + VMM_STREAM_BATCH_PAGES * PAGE);
	uint8_t page[PAGE] = { [PAGE - 1] = 1 }, zero[PAGE] = { 0 };
	struct vmm_ram_reader r;
	struct vmm_ram_batch b;
	const uint8_t *payload;
	size_t len;

	vmm_ram_batch_init(&b, buf);
	for (unsigned i = 0; i < VMM_STREAM_BATCH_PAGES; i++)
		CU_ASSERT(vmm_ram_batch_add(&b, 2ull * i * PAGE, page));
	CU_ASSERT_FALSE(vmm_ram_batch_add(&b, 1ull << 40, page));
	CU_ASSERT_FALSE(vmm_ram_batch_add(&b, 1ull << 40, zero)); /* no run left */
	len = vmm_ram_batch_finish(&b, &payload);
	CU_ASSERT_PTR_EQUAL(payload, buf);
	CU_ASSERT_EQUAL(vmm_ram_reader_init(&r, payload, len), 0);
	CU_ASSERT_EQUAL(vmm_ram_reader_init(&r, payload, len - 1), -EBADMSG);
	/* A whole gigabyte of zero pages is one run. */
	vmm_ram_batch_init(&b, buf);
	for (unsigned i = 0; i < 262144; i++)
		if (!vmm_ram_batch_add(&b, (uint64_t)i * PAGE, zero))
			CU_FAIL("zero pages fill a batch");
	CU_ASSERT_EQUAL(vmm_ram_batch_finish(&b, &payload), 24);
	free(buf);
}

static void hostile_runs(void)
{
	/* count, data pages, then gpa, pages, kind+reserved: little-endian words */
	static const uint32_t cases[][6] = {
		{ 0, 0, 0, 0, 0, 0 },		   /* no run */
		{ 1, 0, 1, 0, 1, 1 },		   /* unaligned */
		{ 1, 0, 0, 0, 0, 1 },		   /* no page */
		{ 1, 0, 0, 0, 1, 2 },		   /* unknown kind */
		{ 1, 0, 0, 0, 1, 0x10001 },	   /* reserved */
		{ 1, 0, 0, 0, 1, 0 },		   /* data pages that are not there */
		{ 1, 0, 0xfffff000u, ~0u, 2, 1 }, /* wraps */
		{ 2, 0, 0, 0, 1, 1 },		   /* run that is not there */
	};
	struct vmm_ram_reader r;
	uint32_t good[6] = { 1, 0, 0, 0, 1, 1 };

	CU_ASSERT_EQUAL(vmm_ram_reader_init(&r, good, sizeof(good)), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_EQUAL(vmm_ram_reader_init(&r, cases[i], sizeof(cases[i])), -EBADMSG);
}

static void replies(void)
{
	struct vmm_stream_reply_msg m = { .code = VMM_REPLY_FAIL, .load_us = 5, .text = "why" }, n;
	uint8_t buf[400];
	long len = vmm_stream_reply_encode(&m, buf, sizeof(buf));

	CU_ASSERT_EQUAL(vmm_stream_reply_decode(&n, buf, (size_t)len), 0);
	CU_ASSERT_STRING_EQUAL(n.text, "why");
	CU_ASSERT_EQUAL(vmm_stream_reply_decode(&n, buf, (size_t)len - 1), -EBADMSG);
	buf[0] = 9;
	CU_ASSERT_EQUAL(vmm_stream_reply_decode(&n, buf, (size_t)len), -EBADMSG);
}

UNIT_MAIN("migration stream", { "goes through", goes_through }, { "cut anywhere", cut_anywhere },
	  { "flipped anywhere", flipped_anywhere },
	  { "sections lost or moved", sections_lost_or_moved }, { "batches fill", batches_fill },
	  { "hostile runs", hostile_runs }, { "replies", replies })

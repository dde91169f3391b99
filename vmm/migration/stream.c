/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames, checks and payloads of the migration stream (docs/formats/migration.md).
 *
 * Decides only whether bytes are a well-formed piece of a stream.  Whether a
 * piece fits this VM (a page beyond its memory, a second vCPU 0) is decided by
 * the reader in recv.c.  Never trusts a length before it compared it with a bound.
 */
#include "vmm/migration/stream.h"

#include <errno.h>
#include <string.h>

#include "common/cl_wire.h"

#define SECTION_MAGIC 0x54434553u /* "SECT" */

#define HASH_K0 0x9ddfea08eb382d69ull
#define HASH_K1 0xd1b54a32d192ed03ull

static const uint8_t stream_magic[8] = { 'H', 'F', 'V', 'M', 'S', 'T', 'R', '\n' };

static uint64_t rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static uint64_t load_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

/* Each step is a bijection of the lane, so that one altered word always alters the lane. */
static uint64_t hash_step(uint64_t lane, uint64_t word)
{
	return rotl(lane ^ word, 29) * HASH_K0;
}

uint64_t vmm_stream_hash(uint64_t seed, const void *data, size_t len_bytes)
{
	const uint8_t *p = data;
	uint64_t a = seed ^ HASH_K1, b = rotl(seed, 17) + HASH_K0;
	uint64_t c = ~seed * HASH_K1, d = rotl(seed, 41) ^ HASH_K0;
	uint64_t h = len_bytes * HASH_K1;
	uint8_t tail[32] = { 0 };

	for (; len_bytes >= 32; len_bytes -= 32, p += 32) {
		a = hash_step(a, load_le64(p));
		b = hash_step(b, load_le64(p + 8));
		c = hash_step(c, load_le64(p + 16));
		d = hash_step(d, load_le64(p + 24));
	}
	if (len_bytes) {
		memcpy(tail, p, len_bytes);
		a = hash_step(a, load_le64(tail));
		b = hash_step(b, load_le64(tail + 8));
		c = hash_step(c, load_le64(tail + 16));
		d = hash_step(d, load_le64(tail + 24));
	}
	h = hash_step(h, a);
	h = hash_step(h, b);
	h = hash_step(h, c);
	h = hash_step(h, d);
	h ^= h >> 32;
	h *= HASH_K1;
	return h ^ h >> 29;
}

bool vmm_page_is_zero(const void *page)
{
	const uint8_t *p = page;

	/* Most pages that are not empty show it at their start, middle or end. */
	if (load_le64(p) || load_le64(p + VMM_STREAM_PAGE_BYTES / 2) ||
	    load_le64(p + VMM_STREAM_PAGE_BYTES - 8))
		return false;
	for (size_t i = 0; i < VMM_STREAM_PAGE_BYTES; i += 64) {
		uint64_t acc = 0;

		for (size_t k = 0; k < 64; k += 8)
			acc |= load_le64(p + i + k);
		if (acc)
			return false;
	}
	return true;
}

const char *vmm_section_type_name(unsigned type)
{
	switch (type) {
	case VMM_SECTION_CONFIG:
		return "CONFIG";
	case VMM_SECTION_RAM:
		return "RAM";
	case VMM_SECTION_ROUND:
		return "ROUND";
	case VMM_SECTION_VM:
		return "VM";
	case VMM_SECTION_VCPU:
		return "VCPU";
	case VMM_SECTION_DEVICE:
		return "DEVICE";
	case VMM_SECTION_END:
		return "END";
	case VMM_SECTION_REPLY:
		return "REPLY";
	default:
		return "?";
	}
}

static int bad(struct vmm_stream *s, const char *why)
{
	s->why = why;
	return -EBADMSG;
}

void vmm_stream_init(struct vmm_stream *s)
{
	*s = (struct vmm_stream){ .why = "" };
}

void vmm_stream_header_encode(struct vmm_stream *s, uint8_t *out)
{
	struct cl_writer w;

	cl_writer_init(&w, out, VMM_STREAM_HEADER_BYTES);
	cl_write_bytes(&w, stream_magic, sizeof(stream_magic));
	cl_write_u32(&w, VMM_STREAM_VERSION);
	cl_write_u32(&w, VMM_STREAM_PAGE_BYTES);
	cl_write_u64(&w, 0);
	s->chain = vmm_stream_hash(0, out, 24);
	cl_write_u64(&w, s->chain);
	s->offset = VMM_STREAM_HEADER_BYTES;
	s->begun = true;
}

int vmm_stream_header_decode(struct vmm_stream *s, const uint8_t *in)
{
	struct cl_reader r;
	uint8_t magic[8];

	cl_reader_init(&r, in, VMM_STREAM_HEADER_BYTES);
	cl_read_bytes(&r, magic, sizeof(magic));
	if (memcmp(magic, stream_magic, sizeof(magic)) != 0)
		return bad(s, "not a saved or migrating VM (magic)");
	if (cl_read_u32(&r) != VMM_STREAM_VERSION)
		return bad(s, "stream of another version");
	if (cl_read_u32(&r) != VMM_STREAM_PAGE_BYTES)
		return bad(s, "another page size");
	if (cl_read_u64(&r) != 0)
		return bad(s, "reserved bits in the stream's header");
	s->chain = vmm_stream_hash(0, in, 24);
	if (cl_read_u64(&r) != s->chain)
		return bad(s, "hash of the stream's header");
	s->offset = VMM_STREAM_HEADER_BYTES;
	s->begun = true;
	return 0;
}

void vmm_section_seal(struct vmm_stream *s, unsigned type, unsigned instance, const void *payload,
		      size_t len_bytes, uint8_t *out)
{
	struct cl_writer w;

	cl_writer_init(&w, out, VMM_SECTION_HEADER_BYTES);
	cl_write_u32(&w, SECTION_MAGIC);
	cl_write_u16(&w, (uint16_t)type);
	cl_write_u16(&w, (uint16_t)instance);
	cl_write_u32(&w, (uint32_t)len_bytes);
	cl_write_u32(&w, 0);
	cl_write_u64(&w, s->seq++);
	cl_write_u64(&w, vmm_stream_hash(type, payload, len_bytes));
	s->chain = vmm_stream_hash(s->chain, out, 32);
	cl_write_u64(&w, s->chain);
	s->offset += VMM_SECTION_HEADER_BYTES + len_bytes;
	if (type == VMM_SECTION_END)
		s->ended = true;
}

int vmm_section_open(struct vmm_stream *s, const uint8_t *in, struct vmm_section *ret)
{
	struct cl_reader r;
	uint32_t reserved;
	uint64_t chain;

	*ret = (struct vmm_section){ .offset = s->offset };
	if (!s->begun)
		return bad(s, "section before the stream's header");
	if (s->ended)
		return bad(s, "section after END");
	cl_reader_init(&r, in, VMM_SECTION_HEADER_BYTES);
	if (cl_read_u32(&r) != SECTION_MAGIC)
		return bad(s, "no section where one must start");
	ret->type = cl_read_u16(&r);
	ret->instance = cl_read_u16(&r);
	ret->len_bytes = cl_read_u32(&r);
	reserved = cl_read_u32(&r);
	ret->seq = cl_read_u64(&r);
	ret->payload_hash = cl_read_u64(&r);
	chain = vmm_stream_hash(s->chain, in, 32);
	if (cl_read_u64(&r) != chain)
		return bad(s, "hash of a section's header: altered, missing or out of order");
	if (ret->type < VMM_SECTION_CONFIG || ret->type > VMM_SECTION_REPLY)
		return bad(s, "section of an unknown type");
	if (reserved)
		return bad(s, "reserved bits in a section's header");
	if (ret->seq != s->seq)
		return bad(s, "section out of sequence");
	if (ret->len_bytes > VMM_STREAM_PAYLOAD_MAX)
		return bad(s, "section too long");
	if (s->seq == 0 && ret->type != VMM_SECTION_CONFIG && ret->type != VMM_SECTION_REPLY)
		return bad(s, "stream does not start with CONFIG");
	if (s->seq > 0 && ret->type == VMM_SECTION_CONFIG)
		return bad(s, "second CONFIG");
	s->chain = chain;
	s->seq++;
	s->offset += VMM_SECTION_HEADER_BYTES + ret->len_bytes;
	if (ret->type == VMM_SECTION_END)
		s->ended = true;
	return 0;
}

int vmm_section_check(struct vmm_stream *s, const struct vmm_section *sec, const void *payload)
{
	if (vmm_stream_hash(sec->type, payload, sec->len_bytes) != sec->payload_hash)
		return bad(s, "hash of the payload");
	return 0;
}

long vmm_stream_config_encode(const struct vmm_stream_config *c, void *out, size_t cap_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, out, cap_bytes);
	cl_write_str(&w, c->name);
	cl_write_bytes(&w, c->uuid, sizeof(c->uuid));
	cl_write_str(&w, c->source);
	cl_write_u64(&w, c->generation);
	cl_write_u64(&w, c->memory_bytes);
	cl_write_u32(&w, c->cpus);
	cl_write_u32(&w, c->devices);
	cl_write_u64(&w, c->machine_digest);
	return cl_writer_done(&w);
}

int vmm_stream_config_decode(struct vmm_stream_config *c, const void *in, size_t len_bytes)
{
	struct cl_reader r;

	memset(c, 0, sizeof(*c));
	cl_reader_init(&r, in, len_bytes);
	cl_read_str(&r, c->name, sizeof(c->name));
	cl_read_bytes(&r, c->uuid, sizeof(c->uuid));
	cl_read_str(&r, c->source, sizeof(c->source));
	c->generation = cl_read_u64(&r);
	c->memory_bytes = cl_read_u64(&r);
	c->cpus = cl_read_u32(&r);
	c->devices = cl_read_u32(&r);
	c->machine_digest = cl_read_u64(&r);
	if (cl_reader_done(&r) < 0 || !cl_name_valid(c->name) ||
	    (c->source[0] && !cl_name_valid(c->source)) || c->cpus == 0 ||
	    c->cpus > VMM_STREAM_CPUS_MAX || c->devices > VMM_STREAM_DEVICES_MAX ||
	    c->memory_bytes == 0 || c->memory_bytes % VMM_STREAM_PAGE_BYTES)
		return -EBADMSG;
	return 0;
}

long vmm_stream_end_encode(const struct vmm_stream_end *e, void *out, size_t cap_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, out, cap_bytes);
	cl_write_u64(&w, e->data_pages);
	cl_write_u64(&w, e->zero_pages);
	cl_write_u64(&w, e->sections);
	cl_write_u64(&w, e->age_ns);
	cl_write_u64(&w, e->realtime_ns);
	cl_write_u64(&w, e->ram_hash);
	cl_write_u32(&w, e->vcpus);
	cl_write_u32(&w, e->devices);
	return cl_writer_done(&w);
}

int vmm_stream_end_decode(struct vmm_stream_end *e, const void *in, size_t len_bytes)
{
	struct cl_reader r;

	cl_reader_init(&r, in, len_bytes);
	e->data_pages = cl_read_u64(&r);
	e->zero_pages = cl_read_u64(&r);
	e->sections = cl_read_u64(&r);
	e->age_ns = cl_read_u64(&r);
	e->realtime_ns = cl_read_u64(&r);
	e->ram_hash = cl_read_u64(&r);
	e->vcpus = cl_read_u32(&r);
	e->devices = cl_read_u32(&r);
	return cl_reader_done(&r);
}

long vmm_stream_reply_encode(const struct vmm_stream_reply_msg *m, void *out, size_t cap_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, out, cap_bytes);
	cl_write_u16(&w, m->code);
	cl_write_u64(&w, m->load_us);
	cl_write_str(&w, m->text);
	return cl_writer_done(&w);
}

int vmm_stream_reply_decode(struct vmm_stream_reply_msg *m, const void *in, size_t len_bytes)
{
	struct cl_reader r;

	cl_reader_init(&r, in, len_bytes);
	m->code = cl_read_u16(&r);
	m->load_us = cl_read_u64(&r);
	cl_read_str(&r, m->text, sizeof(m->text));
	if (cl_reader_done(&r) < 0 || m->code < VMM_REPLY_ACCEPT || m->code > VMM_REPLY_FAIL)
		return -EBADMSG;
	return 0;
}

/*
 * The table of runs is written right in front of the first data page, so that the
 * payload is one piece: runs are kept from the buffer's start while the batch is
 * filled and moved up to the data at the end.
 */
void vmm_ram_batch_init(struct vmm_ram_batch *b, uint8_t *buf)
{
	*b = (struct vmm_ram_batch){ .buf = buf };
}

bool vmm_ram_batch_empty(const struct vmm_ram_batch *b)
{
	return b->runs == 0;
}

static void run_write(uint8_t *at, uint64_t gpa, uint32_t pages, uint16_t kind)
{
	struct cl_writer w;

	cl_writer_init(&w, at, 16);
	cl_write_u64(&w, gpa);
	cl_write_u32(&w, pages);
	cl_write_u16(&w, kind);
	cl_write_u16(&w, 0);
}

static void run_read(const uint8_t *at, struct vmm_ram_run *run, uint16_t *ret_reserved)
{
	struct cl_reader r;

	cl_reader_init(&r, at, 16);
	run->gpa = cl_read_u64(&r);
	run->pages = cl_read_u32(&r);
	run->kind = cl_read_u16(&r);
	run->data = NULL;
	*ret_reserved = cl_read_u16(&r);
}

bool vmm_ram_batch_add(struct vmm_ram_batch *b, uint64_t gpa, const void *page)
{
	bool zero = vmm_page_is_zero(page);
	uint16_t kind = zero ? VMM_RAM_ZERO : VMM_RAM_DATA;
	uint8_t *copy = b->buf + VMM_STREAM_RAM_HEAD_BYTES;
	struct vmm_ram_run last;
	uint16_t reserved;

	if (!zero && b->data_pages == VMM_STREAM_BATCH_PAGES)
		return false;
	if (b->runs) {
		run_read(b->buf + 16 * (b->runs - 1), &last, &reserved);
		if (last.kind == kind && last.pages < UINT32_MAX &&
		    last.gpa + (uint64_t)last.pages * VMM_STREAM_PAGE_BYTES == gpa) {
			run_write(b->buf + 16 * (b->runs - 1), last.gpa, last.pages + 1, kind);
			goto counted;
		}
	}
	if (b->runs == VMM_STREAM_BATCH_RUNS)
		return false;
	run_write(b->buf + 16 * b->runs++, gpa, 1, kind);
counted:
	if (zero) {
		b->zero_pages++;
	} else {
		memcpy(copy + (size_t)b->data_pages * VMM_STREAM_PAGE_BYTES, page,
		       VMM_STREAM_PAGE_BYTES);
		b->data_pages++;
	}
	return true;
}

size_t vmm_ram_batch_finish(struct vmm_ram_batch *b, const uint8_t **ret_payload)
{
	size_t head = 8 + 16 * (size_t)b->runs;
	uint8_t *payload = b->buf + VMM_STREAM_RAM_HEAD_BYTES - head;
	struct cl_writer w;

	memmove(payload + 8, b->buf, head - 8);
	cl_writer_init(&w, payload, 8);
	cl_write_u32(&w, b->runs);
	cl_write_u32(&w, b->data_pages);
	*ret_payload = payload;
	return head + (size_t)b->data_pages * VMM_STREAM_PAGE_BYTES;
}

int vmm_ram_reader_init(struct vmm_ram_reader *r, const void *payload, size_t len_bytes)
{
	const uint8_t *p = payload;
	uint32_t runs, data_pages;
	uint64_t seen = 0;
	struct cl_reader head;

	*r = (struct vmm_ram_reader){ 0 };
	cl_reader_init(&head, payload, len_bytes);
	runs = cl_read_u32(&head);
	data_pages = cl_read_u32(&head);
	if (head.bad || runs == 0 || runs > VMM_STREAM_BATCH_RUNS ||
	    data_pages > VMM_STREAM_BATCH_PAGES ||
	    len_bytes != 8 + 16 * (size_t)runs + (size_t)data_pages * VMM_STREAM_PAGE_BYTES)
		return -EBADMSG;
	for (uint32_t i = 0; i < runs; i++) {
		struct vmm_ram_run run;
		uint16_t reserved;

		run_read(p + 8 + 16 * (size_t)i, &run, &reserved);
		if (reserved || run.kind > VMM_RAM_ZERO || run.pages == 0 ||
		    run.gpa % VMM_STREAM_PAGE_BYTES ||
		    run.gpa > UINT64_MAX - (uint64_t)run.pages * VMM_STREAM_PAGE_BYTES)
			return -EBADMSG;
		if (run.kind == VMM_RAM_DATA)
			seen += run.pages;
	}
	if (seen != data_pages)
		return -EBADMSG;
	r->run = p + 8;
	r->data = p + 8 + 16 * (size_t)runs;
	r->left = runs;
	return 0;
}

bool vmm_ram_reader_next(struct vmm_ram_reader *r, struct vmm_ram_run *ret)
{
	uint16_t reserved;

	if (!r->left)
		return false;
	run_read(r->run, ret, &reserved);
	if (ret->kind == VMM_RAM_DATA) {
		ret->data = r->data;
		r->data += (size_t)ret->pages * VMM_STREAM_PAGE_BYTES;
	}
	r->run += 16;
	r->left--;
	return true;
}

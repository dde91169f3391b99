// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Coding of stamps and of the superblock; see stamp.h.  The CRC tells a torn or
 * foreign block from a stamp; the chain of hashes is the checker's business.
 */
#include "tests/lab/guest/stamp.h"

#include <errno.h>
#include <string.h>

#include "common/cl_types.h"
#include "common/cl_wire.h"

#define STAMP_MAGIC	  0x3170736d74736648ull /* "Hfstmsp1" */
#define STAMP_SUPER_MAGIC 0x3162736d74736648ull /* "Hfstmsb1" */

static bool bytes_zero(const uint8_t *p, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		if (p[i])
			return false;
	return true;
}

/* The last four bytes of a block are the CRC-32C of the rest. */
static void crc_seal(uint8_t *p, size_t len_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, p + len_bytes - 4, 4);
	cl_write_u32(&w, cl_crc32c(0, p, len_bytes - 4));
}

static bool crc_good(const uint8_t *p, size_t len_bytes)
{
	struct cl_reader r;

	cl_reader_init(&r, p + len_bytes - 4, 4);
	return cl_read_u32(&r) == cl_crc32c(0, p, len_bytes - 4);
}

void stamp_encode(const struct stamp *s, uint8_t out[STAMP_BYTES])
{
	struct cl_writer w;

	memset(out, 0, STAMP_BYTES);
	cl_writer_init(&w, out, STAMP_BYTES - 4);
	cl_write_u64(&w, STAMP_MAGIC);
	cl_write_u64(&w, s->generation);
	cl_write_u64(&w, s->seq);
	cl_write_u64(&w, s->mono_ns);
	cl_write_u64(&w, s->wall_ns);
	cl_write_u64(&w, s->prev_hash);
	cl_write_u64(&w, s->ram_hash);
	cl_write_u32(&w, s->ram_bad);
	cl_write_u32(&w, s->read_bad);
	cl_write_u32(&w, s->io_errors);
	cl_write_bytes(&w, s->boot_id, STAMP_ID_BYTES);
	cl_write_bytes(&w, s->disk_id, STAMP_ID_BYTES);
	crc_seal(out, STAMP_BYTES);
}

int stamp_decode(const uint8_t in[STAMP_BYTES], struct stamp *ret_stamp)
{
	struct cl_reader r;

	if (bytes_zero(in, STAMP_BYTES))
		return -ENODATA;
	if (!crc_good(in, STAMP_BYTES))
		return -EBADMSG;
	cl_reader_init(&r, in, STAMP_BYTES);
	if (cl_read_u64(&r) != STAMP_MAGIC)
		return -EBADMSG;
	ret_stamp->generation = cl_read_u64(&r);
	ret_stamp->seq = cl_read_u64(&r);
	ret_stamp->mono_ns = cl_read_u64(&r);
	ret_stamp->wall_ns = cl_read_u64(&r);
	ret_stamp->prev_hash = cl_read_u64(&r);
	ret_stamp->ram_hash = cl_read_u64(&r);
	ret_stamp->ram_bad = cl_read_u32(&r);
	ret_stamp->read_bad = cl_read_u32(&r);
	ret_stamp->io_errors = cl_read_u32(&r);
	cl_read_bytes(&r, ret_stamp->boot_id, STAMP_ID_BYTES);
	cl_read_bytes(&r, ret_stamp->disk_id, STAMP_ID_BYTES);
	return ret_stamp->seq ? 0 : -EBADMSG;
}

uint64_t stamp_hash(const uint8_t in[STAMP_BYTES])
{
	return cl_hash64(0, in, STAMP_BYTES);
}

void stamp_super_encode(const struct stamp_super *s, uint8_t out[STAMP_SUPER_BYTES])
{
	struct cl_writer w;

	memset(out, 0, STAMP_SUPER_BYTES);
	cl_writer_init(&w, out, STAMP_SUPER_BYTES - 4);
	cl_write_u64(&w, STAMP_SUPER_MAGIC);
	cl_write_u64(&w, s->slots);
	cl_write_bytes(&w, s->disk_id, STAMP_ID_BYTES);
	crc_seal(out, STAMP_SUPER_BYTES);
}

int stamp_super_decode(const uint8_t in[STAMP_SUPER_BYTES], struct stamp_super *ret_super)
{
	struct cl_reader r;

	if (bytes_zero(in, STAMP_SUPER_BYTES))
		return -ENODATA;
	if (!crc_good(in, STAMP_SUPER_BYTES))
		return -EBADMSG;
	cl_reader_init(&r, in, STAMP_SUPER_BYTES);
	if (cl_read_u64(&r) != STAMP_SUPER_MAGIC)
		return -EBADMSG;
	ret_super->slots = cl_read_u64(&r);
	cl_read_bytes(&r, ret_super->disk_id, STAMP_ID_BYTES);
	return ret_super->slots ? 0 : -EBADMSG;
}

uint64_t stamp_slots_of(uint64_t disk_bytes)
{
	return disk_bytes > STAMP_SUPER_BYTES ? (disk_bytes - STAMP_SUPER_BYTES) / STAMP_BYTES : 0;
}

uint64_t stamp_slot_offset(uint64_t slot)
{
	return STAMP_SUPER_BYTES + slot * STAMP_BYTES;
}

void stamp_id_text(const uint8_t id[STAMP_ID_BYTES], char out[33])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < STAMP_ID_BYTES; i++) {
		out[2 * i] = digits[id[i] >> 4];
		out[2 * i + 1] = digits[id[i] & 15];
	}
	out[32] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool stamp_id_parse(const char *text, uint8_t ret_id[STAMP_ID_BYTES])
{
	if (strlen(text) != 32)
		return false;
	for (unsigned i = 0; i < STAMP_ID_BYTES; i++) {
		int hi = hex_value(text[2 * i]), lo = hex_value(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		ret_id[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

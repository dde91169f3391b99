/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metadata records of a LUN, byte for byte as docs/formats/lun.md has them.  Pure.  A record
 * counts only whole: magic, version, checksum over its block, and every field in range.
 */
#include "csv/lun.h"

#include "common/cl_wire.h"

#include <errno.h>
#include <string.h>

#define SUPER_MAGIC "HFSUPER1"
#define TERM_MAGIC  "HFTERM01"
#define MAGIC_BYTES 8u
#define VERSION	    1u
#define CRC_OFF	    12u /* after magic and version */

const char *csv_term_state_name(enum csv_term_state state)
{
	switch (state) {
	case CSV_TERM_RELEASED:
		return "released";
	case CSV_TERM_GRACE:
		return "grace";
	case CSV_TERM_ACTIVE:
		return "active";
	}
	return "unknown";
}

static uint32_t block_crc(const uint8_t *buf)
{
	static const uint8_t zero[4];
	uint32_t crc = cl_crc32c(0, buf, CRC_OFF);

	crc = cl_crc32c(crc, zero, sizeof(zero));
	return cl_crc32c(crc, buf + CRC_OFF + 4, CSV_LUN_BLOCK - CRC_OFF - 4);
}

static void block_begin(struct cl_writer *w, uint8_t *buf, const char *magic)
{
	memset(buf, 0, CSV_LUN_BLOCK);
	cl_writer_init(w, buf, CSV_LUN_BLOCK);
	cl_write_bytes(w, magic, MAGIC_BYTES);
	cl_write_u32(w, VERSION);
	cl_write_u32(w, 0);
}

static void block_end(uint8_t *buf)
{
	struct cl_writer w;

	cl_writer_init(&w, buf + CRC_OFF, 4);
	cl_write_u32(&w, block_crc(buf));
}

static bool all_zero(const uint8_t *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (buf[i] != 0)
			return false;
	return true;
}

/* Leaves r at the first field. */
static int block_open(struct cl_reader *r, const uint8_t *buf, const char *magic)
{
	uint32_t version, crc;

	if (memcmp(buf, magic, MAGIC_BYTES) != 0)
		return all_zero(buf, CSV_LUN_BLOCK) ? -ENODATA : -EBADMSG;
	cl_reader_init(r, buf, CSV_LUN_BLOCK);
	cl_read_ref(r, MAGIC_BYTES);
	version = cl_read_u32(r);
	crc = cl_read_u32(r);
	return version == VERSION && crc == block_crc(buf) ? 0 : -EBADMSG;
}

/* What a later version might put behind the fields must not be dropped in silence. */
static int block_rest(struct cl_reader *r)
{
	size_t left = cl_reader_left(r);
	const uint8_t *rest = cl_read_ref(r, left);

	return rest && all_zero(rest, left) ? cl_reader_done(r) : -EBADMSG;
}

void csv_super_encode(const struct csv_super *super, uint8_t *buf)
{
	char name[CL_NAME_MAX] = { 0 };
	struct cl_writer w;

	memcpy(name, super->name, strnlen(super->name, sizeof(name) - 1));
	block_begin(&w, buf, SUPER_MAGIC);
	cl_write_bytes(&w, super->cluster_uuid, CL_UUID_BYTES);
	cl_write_bytes(&w, super->volume_uuid, CL_UUID_BYTES);
	cl_write_bytes(&w, name, sizeof(name));
	cl_write_u64(&w, super->data_off);
	cl_write_u64(&w, super->data_bytes);
	cl_write_u64(&w, super->created_ms);
	block_end(buf);
}

int csv_super_decode(const uint8_t *buf, struct csv_super *ret_super)
{
	struct cl_reader r;
	int ret;

	memset(ret_super, 0, sizeof(*ret_super));
	ret = block_open(&r, buf, SUPER_MAGIC);
	if (ret < 0)
		return ret;
	cl_read_bytes(&r, ret_super->cluster_uuid, CL_UUID_BYTES);
	cl_read_bytes(&r, ret_super->volume_uuid, CL_UUID_BYTES);
	cl_read_bytes(&r, ret_super->name, sizeof(ret_super->name));
	ret_super->data_off = cl_read_u64(&r);
	ret_super->data_bytes = cl_read_u64(&r);
	ret_super->created_ms = cl_read_u64(&r);
	if (block_rest(&r) < 0 || ret_super->name[CL_NAME_MAX - 1] != '\0' ||
	    !cl_name_valid(ret_super->name) || ret_super->data_off != CSV_LUN_DATA_OFF ||
	    ret_super->data_bytes == 0 || ret_super->data_bytes % CSV_LUN_DATA_ALIGN != 0 ||
	    ret_super->data_bytes > UINT64_MAX - ret_super->data_off)
		return -EBADMSG;
	return 0;
}

void csv_term_encode(const struct csv_term *term, uint8_t *buf)
{
	struct cl_writer w;

	block_begin(&w, buf, TERM_MAGIC);
	cl_write_bytes(&w, term->volume_uuid, CL_UUID_BYTES);
	cl_write_u64(&w, term->term);
	cl_write_u32(&w, term->owner);
	cl_write_u32(&w, (uint32_t)term->state);
	cl_write_u64(&w, term->owner_key);
	cl_write_u32(&w, term->clients);
	cl_write_u32(&w, 0);
	cl_write_u64(&w, term->sequence);
	block_end(buf);
}

int csv_term_decode(const uint8_t *buf, struct csv_term *ret_term)
{
	struct cl_reader r;
	uint32_t state, reserved;
	int ret;

	memset(ret_term, 0, sizeof(*ret_term));
	ret = block_open(&r, buf, TERM_MAGIC);
	if (ret < 0)
		return ret;
	cl_read_bytes(&r, ret_term->volume_uuid, CL_UUID_BYTES);
	ret_term->term = cl_read_u64(&r);
	ret_term->owner = cl_read_u32(&r);
	state = cl_read_u32(&r);
	ret_term->owner_key = cl_read_u64(&r);
	ret_term->clients = cl_read_u32(&r);
	reserved = cl_read_u32(&r);
	ret_term->sequence = cl_read_u64(&r);
	if (block_rest(&r) < 0 || reserved != 0 || ret_term->owner > CL_NODES_MAX ||
	    state < CSV_TERM_RELEASED || state > CSV_TERM_ACTIVE ||
	    ret_term->clients >> CL_NODES_MAX != 0)
		return -EBADMSG;
	ret_term->state = (enum csv_term_state)state;
	return 0;
}

bool csv_term_equal(const struct csv_term *a, const struct csv_term *b)
{
	return memcmp(a->volume_uuid, b->volume_uuid, CL_UUID_BYTES) == 0 && a->term == b->term &&
	       a->owner == b->owner && a->owner_key == b->owner_key && a->state == b->state &&
	       a->clients == b->clients && a->sequence == b->sequence;
}

void csv_uuid_format(const uint8_t uuid[CL_UUID_BYTES], char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	char *p = ret_text;

	for (unsigned i = 0; i < CL_UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uuid[i] >> 4];
		*p++ = digits[uuid[i] & 0xf];
	}
	*p = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int csv_uuid_parse(const char *text, uint8_t ret_uuid[CL_UUID_BYTES])
{
	size_t pos = 0;

	if (strnlen(text, CSV_LUN_UUID_TEXT) != CSV_LUN_UUID_TEXT - 1)
		return -EINVAL;
	for (unsigned i = 0; i < CL_UUID_BYTES; i++) {
		int hi, lo;

		if (i == 4 || i == 6 || i == 8 || i == 10) {
			if (text[pos++] != '-')
				return -EINVAL;
		}
		hi = nibble(text[pos]);
		lo = nibble(text[pos + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		ret_uuid[i] = (uint8_t)(hi << 4 | lo);
		pos += 2;
	}
	return 0;
}

int csv_lun_layout(uint64_t lun_bytes, uint64_t *ret_data_off, uint64_t *ret_data_bytes)
{
	uint64_t end;

	if (lun_bytes < CSV_LUN_SIZE_MIN)
		return -ENOSPC;
	/* The last MiB holds the second GPT. */
	end = (lun_bytes - CSV_LUN_DATA_ALIGN) / CSV_LUN_DATA_ALIGN * CSV_LUN_DATA_ALIGN;
	*ret_data_off = CSV_LUN_DATA_OFF;
	*ret_data_bytes = end - CSV_LUN_DATA_OFF;
	return 0;
}

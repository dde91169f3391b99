/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bounded little-endian coding; see the header for the sticky rule.  It never
 * trusts a length: each one is compared with what is left before it is used.
 */
#include "common/cl_wire.h"

#include <errno.h>
#include <string.h>

void cl_reader_init(struct cl_reader *r, const void *data, size_t len_bytes)
{
	r->data = data;
	r->len_bytes = len_bytes;
	r->pos = 0;
	r->bad = false;
}

size_t cl_reader_left(const struct cl_reader *r)
{
	return r->bad ? 0 : r->len_bytes - r->pos;
}

const void *cl_read_ref(struct cl_reader *r, size_t len_bytes)
{
	const uint8_t *p;

	if (r->bad || len_bytes > r->len_bytes - r->pos) {
		r->bad = true;
		return NULL;
	}
	p = r->data + r->pos;
	r->pos += len_bytes;
	return p;
}

void cl_read_bytes(struct cl_reader *r, void *out, size_t len_bytes)
{
	const void *p = cl_read_ref(r, len_bytes);

	if (!len_bytes)
		return;
	if (p)
		memcpy(out, p, len_bytes);
	else
		memset(out, 0, len_bytes);
}

static uint64_t read_le(struct cl_reader *r, size_t len_bytes)
{
	const uint8_t *p = cl_read_ref(r, len_bytes);
	uint64_t v = 0;

	if (!p)
		return 0;
	for (size_t i = 0; i < len_bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t cl_read_u8(struct cl_reader *r)
{
	return (uint8_t)read_le(r, 1);
}

uint16_t cl_read_u16(struct cl_reader *r)
{
	return (uint16_t)read_le(r, 2);
}

uint32_t cl_read_u32(struct cl_reader *r)
{
	return (uint32_t)read_le(r, 4);
}

uint64_t cl_read_u64(struct cl_reader *r)
{
	return read_le(r, 8);
}

void cl_read_str(struct cl_reader *r, char *out, size_t cap_bytes)
{
	size_t len_bytes = cl_read_u16(r);
	const char *p;

	out[0] = '\0';
	if (len_bytes >= cap_bytes) {
		r->bad = true;
		return;
	}
	p = cl_read_ref(r, len_bytes);
	if (!p)
		return;
	if (memchr(p, '\0', len_bytes)) {
		r->bad = true;
		return;
	}
	memcpy(out, p, len_bytes);
	out[len_bytes] = '\0';
}

int cl_reader_done(const struct cl_reader *r)
{
	return r->bad || r->pos != r->len_bytes ? -EBADMSG : 0;
}

void cl_writer_init(struct cl_writer *w, void *data, size_t cap_bytes)
{
	w->data = data;
	w->cap_bytes = cap_bytes;
	w->pos = 0;
	w->bad = false;
}

void cl_write_bytes(struct cl_writer *w, const void *data, size_t len_bytes)
{
	if (w->bad || len_bytes > w->cap_bytes - w->pos) {
		w->bad = true;
		return;
	}
	if (len_bytes)
		memcpy(w->data + w->pos, data, len_bytes);
	w->pos += len_bytes;
}

static void write_le(struct cl_writer *w, uint64_t v, size_t len_bytes)
{
	uint8_t b[8];

	for (size_t i = 0; i < len_bytes; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	cl_write_bytes(w, b, len_bytes);
}

void cl_write_u8(struct cl_writer *w, uint8_t v)
{
	write_le(w, v, 1);
}

void cl_write_u16(struct cl_writer *w, uint16_t v)
{
	write_le(w, v, 2);
}

void cl_write_u32(struct cl_writer *w, uint32_t v)
{
	write_le(w, v, 4);
}

void cl_write_u64(struct cl_writer *w, uint64_t v)
{
	write_le(w, v, 8);
}

void cl_write_str(struct cl_writer *w, const char *s)
{
	size_t len_bytes = strlen(s);

	if (len_bytes > UINT16_MAX) {
		w->bad = true;
		return;
	}
	cl_write_u16(w, (uint16_t)len_bytes);
	cl_write_bytes(w, s, len_bytes);
}

long cl_writer_done(const struct cl_writer *w)
{
	return w->bad ? -EMSGSIZE : (long)w->pos;
}

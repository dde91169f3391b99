/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bounded reader and writer for wire and disk formats.  All integers are
 * little-endian.  Both are sticky: after the first overrun every later call
 * does nothing (reads give 0), so a decoder may read everything and ask once,
 * with cl_reader_done(), whether the bytes were all there and all used.
 *
 * Pure: no allocation, no I/O.  A reader borrows the buffer; pointers that it
 * returns live as long as that buffer.
 */
#ifndef CL_WIRE_H
#define CL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cl_reader {
	const uint8_t *data;
	size_t len_bytes;
	size_t pos;
	bool bad;
};

struct cl_writer {
	uint8_t *data;
	size_t cap_bytes;
	size_t pos;
	bool bad;
};

void cl_reader_init(struct cl_reader *r, const void *data, size_t len_bytes);
uint8_t cl_read_u8(struct cl_reader *r);
uint16_t cl_read_u16(struct cl_reader *r);
uint32_t cl_read_u32(struct cl_reader *r);
uint64_t cl_read_u64(struct cl_reader *r);
/* Copies len_bytes to out (zero-filled on overrun). */
void cl_read_bytes(struct cl_reader *r, void *out, size_t len_bytes);
/* Borrows len_bytes; NULL on overrun. */
const void *cl_read_ref(struct cl_reader *r, size_t len_bytes);
/* u16 length + bytes into out with a NUL; bad if it does not fit or holds a NUL. */
void cl_read_str(struct cl_reader *r, char *out, size_t cap_bytes);
/* Bytes not read yet, 0 once bad. */
size_t cl_reader_left(const struct cl_reader *r);
/* 0 if nothing overran and every byte was used, else -EBADMSG. */
int cl_reader_done(const struct cl_reader *r);

void cl_writer_init(struct cl_writer *w, void *data, size_t cap_bytes);
void cl_write_u8(struct cl_writer *w, uint8_t v);
void cl_write_u16(struct cl_writer *w, uint16_t v);
void cl_write_u32(struct cl_writer *w, uint32_t v);
void cl_write_u64(struct cl_writer *w, uint64_t v);
void cl_write_bytes(struct cl_writer *w, const void *data, size_t len_bytes);
void cl_write_str(struct cl_writer *w, const char *s);
/* Length written, or -EMSGSIZE if it did not fit. */
long cl_writer_done(const struct cl_writer *w);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codec of the local socket's messages.  See local.h.
 */
#include "csv/local.h"

#include "common/cl_wire.h"

#include <errno.h>

long csv_local_encode(const struct csv_local_msg *m, void *buf, size_t cap_bytes)
{
	struct cl_writer w;

	cl_writer_init(&w, buf, cap_bytes < CSV_LOCAL_MAX ? cap_bytes : CSV_LOCAL_MAX);
	cl_write_u8(&w, CSV_LOCAL_VERSION);
	cl_write_u8(&w, (uint8_t)m->type);
	cl_write_u32(&w, m->id);
	cl_write_u32(&w, m->disk);
	cl_write_u32(&w, (uint32_t)m->rc);
	cl_write_u32(&w, m->event);
	cl_write_u32(&w, m->mode);
	cl_write_u32(&w, m->timeout_ms);
	cl_write_u64(&w, m->generation);
	cl_write_u64(&w, m->size);
	cl_write_str(&w, m->vm);
	cl_write_str(&w, m->secret);
	cl_write_str(&w, m->volume);
	cl_write_str(&w, m->path);
	return cl_writer_done(&w);
}

int csv_local_decode(const void *buf, size_t len_bytes, struct csv_local_msg *m)
{
	struct cl_reader r;
	uint8_t version;

	cl_reader_init(&r, buf, len_bytes);
	version = cl_read_u8(&r);
	m->type = cl_read_u8(&r);
	m->id = cl_read_u32(&r);
	m->disk = cl_read_u32(&r);
	m->rc = (int32_t)cl_read_u32(&r);
	m->event = cl_read_u32(&r);
	m->mode = cl_read_u32(&r);
	m->timeout_ms = cl_read_u32(&r);
	m->generation = cl_read_u64(&r);
	m->size = cl_read_u64(&r);
	cl_read_str(&r, m->vm, sizeof(m->vm));
	cl_read_str(&r, m->secret, sizeof(m->secret));
	cl_read_str(&r, m->volume, sizeof(m->volume));
	cl_read_str(&r, m->path, sizeof(m->path));
	if (cl_reader_done(&r) || version != CSV_LOCAL_VERSION)
		return -EBADMSG;
	if (m->type < CSV_LOCAL_HELLO || m->type >= CSV_LOCAL_COUNT || m->rc > 0 || m->rc < -4095)
		return -EBADMSG;
	return 0;
}

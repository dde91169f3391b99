/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both directions of a coding in one function: a coder either writes its fields or
 * reads them, so that the two cannot differ.  For the files of the core.
 */
#ifndef CLUSTERD_CORE_CODER_H
#define CLUSTERD_CORE_CODER_H

#include "common/cl_types.h"
#include "common/cl_wire.h"

struct coder {
	struct cl_writer *w; /* one of the two */
	struct cl_reader *r;
};

static inline void code_u8(struct coder *c, uint8_t *v)
{
	if (c->w)
		cl_write_u8(c->w, *v);
	else
		*v = cl_read_u8(c->r);
}

static inline void code_bool(struct coder *c, bool *v)
{
	uint8_t byte = *v;

	code_u8(c, &byte);
	if (c->r && byte > 1)
		c->r->bad = true;
	*v = byte == 1;
}

static inline void code_u16(struct coder *c, uint16_t *v)
{
	if (c->w)
		cl_write_u16(c->w, *v);
	else
		*v = cl_read_u16(c->r);
}

static inline void code_u32(struct coder *c, uint32_t *v)
{
	if (c->w)
		cl_write_u32(c->w, *v);
	else
		*v = cl_read_u32(c->r);
}

static inline void code_u64(struct coder *c, uint64_t *v)
{
	if (c->w)
		cl_write_u64(c->w, *v);
	else
		*v = cl_read_u64(c->r);
}

static inline void code_bytes(struct coder *c, void *v, size_t len)
{
	if (c->w)
		cl_write_bytes(c->w, v, len);
	else
		cl_read_bytes(c->r, v, len);
}

static inline void code_str(struct coder *c, char *v, size_t cap)
{
	if (c->w)
		cl_write_str(c->w, v);
	else
		cl_read_str(c->r, v, cap);
}

#define CODE_STR(c, field) code_str(c, field, sizeof(field))

static inline void code_node(struct coder *c, uint8_t *node, bool zero_too)
{
	code_u8(c, node);
	if (c->r && (*node > CL_NODES_MAX || (!*node && !zero_too))) {
		c->r->bad = true;
		*node = 1;
	}
}

#endif

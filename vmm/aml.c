/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AML and resource descriptors (ACPI 6.4, 20.2 and 6.4).  See aml.h. */
#include "vmm/aml.h"

#include <assert.h>
#include <string.h>

#define OP_NAME	      0x08u
#define OP_BYTE	      0x0au
#define OP_WORD	      0x0bu
#define OP_DWORD      0x0cu
#define OP_STRING     0x0du
#define OP_QWORD      0x0eu
#define OP_SCOPE      0x10u
#define OP_BUFFER     0x11u
#define OP_METHOD     0x14u
#define OP_EXT	      0x5bu
#define OP_EXT_DEVICE 0x82u

void aml_bytes(struct aml *a, const void *v, size_t len_bytes)
{
	if (a->bad || len_bytes > a->cap_bytes - a->pos) {
		a->bad = true;
		return;
	}
	memcpy(a->data + a->pos, v, len_bytes);
	a->pos += len_bytes;
}

void aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

void aml_nameseg(struct aml *a, const char *name)
{
	assert(strlen(name) == 4);
	aml_bytes(a, name, 4);
}

static void aml_le(struct aml *a, uint64_t v, unsigned len_bytes)
{
	for (unsigned i = 0; i < len_bytes; i++)
		aml_byte(a, (uint8_t)(v >> (8 * i)));
}

void aml_integer(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		aml_byte(a, (uint8_t)v); /* ZeroOp, OneOp */
	} else if (v <= 0xff) {
		aml_byte(a, OP_BYTE);
		aml_le(a, v, 1);
	} else if (v <= 0xffff) {
		aml_byte(a, OP_WORD);
		aml_le(a, v, 2);
	} else if (v <= 0xffffffff) {
		aml_byte(a, OP_DWORD);
		aml_le(a, v, 4);
	} else {
		aml_byte(a, OP_QWORD);
		aml_le(a, v, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

void aml_eisaid(struct aml *a, const char *id)
{
	uint8_t b[4];

	assert(strlen(id) == 7);
	b[0] = (uint8_t)((id[0] - 0x40) << 2 | (id[1] - 0x40) >> 3);
	b[1] = (uint8_t)((id[1] - 0x40) << 5 | (id[2] - 0x40));
	b[2] = (uint8_t)(hex(id[3]) << 4 | hex(id[4]));
	b[3] = (uint8_t)(hex(id[5]) << 4 | hex(id[6]));
	aml_byte(a, OP_DWORD);
	aml_bytes(a, b, 4);
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, OP_NAME);
	aml_nameseg(a, name);
}

size_t aml_pkg_open(struct aml *a)
{
	size_t mark = a->pos;

	aml_le(a, 0, 2);
	return mark;
}

void aml_pkg_close(struct aml *a, size_t mark)
{
	size_t len = a->pos - mark;

	if (a->bad || len >= 4096) {
		a->bad = true;
		return;
	}
	a->data[mark] = (uint8_t)(0x40 | (len & 0xf));
	a->data[mark + 1] = (uint8_t)(len >> 4);
}

size_t aml_scope_open(struct aml *a, const char *path)
{
	size_t mark;

	aml_byte(a, OP_SCOPE);
	mark = aml_pkg_open(a);
	aml_bytes(a, path, strlen(path));
	return mark;
}

size_t aml_device_open(struct aml *a, const char *name)
{
	size_t mark;

	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_DEVICE);
	mark = aml_pkg_open(a);
	aml_nameseg(a, name);
	return mark;
}

size_t aml_method_open(struct aml *a, const char *name, unsigned n_args, bool serialized)
{
	size_t mark;

	aml_byte(a, OP_METHOD);
	mark = aml_pkg_open(a);
	aml_nameseg(a, name);
	aml_byte(a, (uint8_t)(n_args | (serialized ? 8 : 0)));
	return mark;
}

struct aml_crs aml_crs_open(struct aml *a)
{
	struct aml_crs crs;

	aml_name(a, "_CRS");
	aml_byte(a, OP_BUFFER);
	crs.pkg = aml_pkg_open(a);
	aml_byte(a, OP_WORD);
	crs.size_at = a->pos;
	aml_le(a, 0, 2);
	return crs;
}

void aml_crs_close(struct aml *a, struct aml_crs crs)
{
	size_t len;

	aml_byte(a, 0x79); /* end tag */
	aml_byte(a, 0);	   /* no checksum */
	if (a->bad)
		return;
	len = a->pos - crs.size_at - 2;
	a->data[crs.size_at] = (uint8_t)len;
	a->data[crs.size_at + 1] = (uint8_t)(len >> 8);
	aml_pkg_close(a, crs.pkg);
}

void aml_crs_io(struct aml *a, uint16_t port, uint8_t len)
{
	aml_byte(a, 0x47); /* I/O port descriptor */
	aml_byte(a, 1);	   /* decodes 16 bits */
	aml_le(a, port, 2);
	aml_le(a, port, 2);
	aml_byte(a, 1);
	aml_byte(a, len);
}

void aml_crs_irq(struct aml *a, uint32_t gsi)
{
	aml_byte(a, 0x89); /* extended interrupt descriptor */
	aml_le(a, 6, 2);
	aml_byte(a, 0x03); /* consumer, edge, active high, exclusive */
	aml_byte(a, 1);
	aml_le(a, gsi, 4);
}

void aml_crs_bus(struct aml *a, uint16_t first, uint16_t last)
{
	aml_byte(a, 0x88); /* word address space descriptor */
	aml_le(a, 13, 2);
	aml_byte(a, 2);	   /* bus numbers */
	aml_byte(a, 0x0c); /* minimum and maximum fixed, producer */
	aml_byte(a, 0);
	aml_le(a, 0, 2);
	aml_le(a, first, 2);
	aml_le(a, last, 2);
	aml_le(a, 0, 2);
	aml_le(a, last - first + 1u, 2);
}

void aml_crs_mem32(struct aml *a, uint32_t first, uint32_t last)
{
	aml_byte(a, 0x87); /* dword address space descriptor */
	aml_le(a, 23, 2);
	aml_byte(a, 0);	   /* memory */
	aml_byte(a, 0x0c); /* minimum and maximum fixed, producer */
	aml_byte(a, 1);	   /* read-write, not cacheable */
	aml_le(a, 0, 4);
	aml_le(a, first, 4);
	aml_le(a, last, 4);
	aml_le(a, 0, 4);
	aml_le(a, last - first + 1u, 4);
}

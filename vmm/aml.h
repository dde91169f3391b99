/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writer of the little ACPI Machine Language (ACPI 6.4, chapter 20) that our DSDT needs.
 * Sticky: after the first overrun nothing is written and aml_done() says so.
 */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;
	size_t cap_bytes;
	size_t pos;
	bool bad;
};

void aml_byte(struct aml *a, uint8_t v);
void aml_bytes(struct aml *a, const void *v, size_t len_bytes);
/* A four-letter name segment. */
void aml_nameseg(struct aml *a, const char *name);
void aml_integer(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
/* "PNP0A03" as a compressed EISA id. */
void aml_eisaid(struct aml *a, const char *id);
/* Name (NAME, ...): the object follows. */
void aml_name(struct aml *a, const char *name);

/* A package that starts with a two-byte length; end with the returned mark. */
size_t aml_pkg_open(struct aml *a);
void aml_pkg_close(struct aml *a, size_t mark);
size_t aml_scope_open(struct aml *a, const char *path);
size_t aml_device_open(struct aml *a, const char *name);
size_t aml_method_open(struct aml *a, const char *name, unsigned n_args, bool serialized);
/* Name (_CRS, ResourceTemplate {...}): descriptors follow, then close with both marks. */
struct aml_crs {
	size_t pkg;
	size_t size_at;
};
struct aml_crs aml_crs_open(struct aml *a);
void aml_crs_close(struct aml *a, struct aml_crs crs);
void aml_crs_io(struct aml *a, uint16_t port, uint8_t len);
void aml_crs_irq(struct aml *a, uint32_t gsi);
void aml_crs_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_crs_mem32(struct aml *a, uint32_t first, uint32_t last);

#endif

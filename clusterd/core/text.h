/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text into a bounded buffer, without stdio.  Cuts what does not fit; always ends with NUL. */
#ifndef CLUSTERD_CORE_TEXT_H
#define CLUSTERD_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core_text {
	char *out;
	size_t cap, len;
};

void core_text_init(struct core_text *t, char *out, size_t cap_bytes);
void core_text_add(struct core_text *t, const char *s);
void core_text_u64(struct core_text *t, uint64_t v);
void core_text_hex(struct core_text *t, uint64_t v);
/* Strings up to a NULL. */
void core_text_join(char *out, size_t cap_bytes, ...) __attribute__((sentinel));
void core_str_copy(char *out, size_t cap_bytes, const char *s);
bool core_str_equal(const char *a, const char *b);

#endif

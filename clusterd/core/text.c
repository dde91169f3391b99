/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small formatters.  See text.h. */
#include "clusterd/core/text.h"

#include <stdarg.h>
#include <string.h>

void core_text_init(struct core_text *t, char *out, size_t cap_bytes)
{
	t->out = out;
	t->cap = cap_bytes;
	t->len = 0;
	if (cap_bytes)
		out[0] = '\0';
}

void core_text_add(struct core_text *t, const char *s)
{
	while (*s && t->len + 1 < t->cap)
		t->out[t->len++] = *s++;
	if (t->cap)
		t->out[t->len] = '\0';
}

void core_text_u64(struct core_text *t, uint64_t v)
{
	char digits[21];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do
		digits[--i] = (char)('0' + v % 10);
	while (v /= 10);
	core_text_add(t, digits + i);
}

void core_text_hex(struct core_text *t, uint64_t v)
{
	char digits[19];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do
		digits[--i] = "0123456789abcdef"[v & 15];
	while (v >>= 4);
	digits[--i] = 'x';
	digits[--i] = '0';
	core_text_add(t, digits + i);
}

void core_text_join(char *out, size_t cap_bytes, ...)
{
	struct core_text t;
	const char *s;
	va_list ap;

	core_text_init(&t, out, cap_bytes);
	va_start(ap, cap_bytes);
	while ((s = va_arg(ap, const char *)) != NULL)
		core_text_add(&t, s);
	va_end(ap);
}

void core_str_copy(char *out, size_t cap_bytes, const char *s)
{
	size_t len = strlen(s);

	if (len >= cap_bytes)
		len = cap_bytes - 1;
	memcpy(out, s, len);
	memset(out + len, 0, cap_bytes - len);
}

bool core_str_equal(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

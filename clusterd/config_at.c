/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See config_at.h.  The text is sound JSON; a reader that meets something else stops where it is. */
#include "clusterd/config_at.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	const char *p, *end;
};

static char peek(const struct reader *r)
{
	return r->p < r->end ? *r->p : '\0';
}

static void space_skip(struct reader *r)
{
	while (r->p < r->end && strchr(" \t\r\n", *r->p))
		r->p++;
}

/* From the opening quote to behind the closing one. */
static void string_skip(struct reader *r)
{
	for (r->p++; r->p < r->end && *r->p != '"'; r->p++)
		if (*r->p == '\\')
			r->p++;
	if (r->p < r->end)
		r->p++;
}

/* One value, whatever is in it: brackets are counted, strings passed over. */
static void value_skip(struct reader *r)
{
	unsigned depth = 0;

	space_skip(r);
	while (r->p < r->end) {
		char c = *r->p;

		if (c == '"') {
			string_skip(r);
		} else if (c == '{' || c == '[') {
			depth++;
			r->p++;
		} else if (c == '}' || c == ']') {
			if (!depth)
				return;
			depth--;
			r->p++;
		} else if (c == ',' && !depth) {
			return;
		} else {
			r->p++;
			continue;
		}
		if (!depth)
			return;
	}
}

/* To the value of the member; false (at the object's beginning) if there is none. */
static bool member_go(struct reader *r, const char *key, size_t len)
{
	struct reader start = *r;

	if (peek(r) != '{')
		return false;
	r->p++;
	for (;;) {
		const char *name;
		bool found;

		space_skip(r);
		if (peek(r) != '"')
			break;
		name = r->p + 1;
		string_skip(r);
		found = (size_t)(r->p - name) == len + 1 && memcmp(name, key, len) == 0;
		space_skip(r);
		if (peek(r) != ':')
			break;
		r->p++;
		space_skip(r);
		if (found)
			return true;
		value_skip(r);
		space_skip(r);
		if (peek(r) != ',')
			break;
		r->p++;
	}
	*r = start;
	return false;
}

static bool element_go(struct reader *r, unsigned long index)
{
	struct reader start = *r;

	if (peek(r) != '[')
		return false;
	r->p++;
	for (;;) {
		space_skip(r);
		if (peek(r) == ']' || r->p == r->end)
			break;
		if (!index--)
			return true;
		value_skip(r);
		space_skip(r);
		if (peek(r) != ',')
			break;
		r->p++;
	}
	*r = start;
	return false;
}

void cd_config_at(const char *text, size_t len_bytes, const char *path, unsigned *ret_line,
		  unsigned *ret_column)
{
	struct reader r = { text, text + len_bytes };
	const char *p;

	space_skip(&r);
	while (*path) {
		bool there;

		if (*path == '[') {
			char *end;

			there = element_go(&r, strtoul(path + 1, &end, 10));
			path = *end == ']' ? end + 1 : "";
		} else {
			size_t len = strcspn(path, ".[");

			there = member_go(&r, path, len);
			path += len;
		}
		if (*path == '.')
			path++;
		if (!there)
			break;
	}
	*ret_line = *ret_column = 1;
	for (p = text; p < r.p; p++) {
		if (*p == '\n') {
			(*ret_line)++;
			*ret_column = 1;
		} else if (((unsigned char)*p & 0xc0) != 0x80) {
			(*ret_column)++;
		}
	}
}

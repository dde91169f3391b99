/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which line of a vmm's log explains its end; see vm_words.h. */
#include "clusterd/vm_words.h"

#include <stdio.h>
#include <string.h>

static const char *const levels[] = { "error", "warning", "notice", "info", "debug" };

/* "2026-11-27T11:53:58.123Z vmm[286] error: text": the level's index and where its text begins; -1: no such line. */
static int line_level(const char *line, size_t len, size_t *ret_text)
{
	const char *at = memchr(line, ' ', len), *end = line + len;

	if (!at || at == line || at[-1] != 'Z')
		return -1;
	at = memchr(at + 1, ' ', (size_t)(end - at - 1));
	if (!at || at[-1] != ']')
		return -1;
	at++;
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		size_t n = strlen(levels[i]);

		if ((size_t)(end - at) > n + 2 && memcmp(at, levels[i], n) == 0 && at[n] == ':' &&
		    at[n + 1] == ' ') {
			*ret_text = (size_t)(at - line) + n + 2;
			return (int)i;
		}
	}
	return -1;
}

static void take(char *out, size_t cap_bytes, const char *text, size_t len)
{
	(void)snprintf(out, cap_bytes, "%.*s", (int)len, text);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

bool cd_log_words(const char *log, enum cd_words which, char *out, size_t cap_bytes)
{
	bool found = false, other = false;

	while (*log) {
		size_t len = strcspn(log, "\n"), at = 0;
		int level = line_level(log, len, &at);

		if (level >= 0 && which == CD_WORDS_LAST_LINE) {
			other = false;
		} else if (level == 0 && !(found && which == CD_WORDS_FIRST_ERROR)) {
			take(out, cap_bytes, log + at, len - at);
			found = true;
		} else if (level < 0 && len && !found) {
			take(out, cap_bytes, log, len);
			other = true;
		}
		log += len;
		log += *log == '\n';
	}
	return found || other;
}

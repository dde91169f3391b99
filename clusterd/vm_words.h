/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a vmm's log says of its end.  Pure. */
#ifndef CD_VM_WORDS_H
#define CD_VM_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum cd_words {
	CD_WORDS_FIRST_ERROR, /* it did not come up: what came after is the consequence */
	CD_WORDS_LAST_ERROR,  /* it ran, and said that it ends: earlier ones it had survived */
	CD_WORDS_LAST_LINE,   /* it said nothing: only an assertion's line at the very end explains */
};

/*
 * The text of the first or the last line of level error in a log (common/cl_log.h), without time and program; of a log
 * without one, of the last line that is not such a line at all (a dynamic linker's, an assertion's).  Control characters become
 * '?'.  False: nothing that explains; the vmm's farewell ("ends (error)") never does.
 */
bool cd_log_words(const char *log, enum cd_words which, char *out, size_t cap_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an operator writes on the command line, as values.  Pure. */
#ifndef CTL_PARSE_H
#define CTL_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_types.h"

#define CTL_PATH_MAX 256u
#define CTL_WORD_MAX 40u

/* "512", "4k", "256M", "1G", "2T" (powers of 1024, either case, an "iB" or "B" after it is fine). 0 or -EINVAL, -ERANGE. */
int ctl_size_parse(const char *text, uint64_t *ret_bytes);
/* A decimal number within [min, max]: 0, -EINVAL or -ERANGE. */
int ctl_number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

/* "500ms", "30s", "5m", "6h", "1d", or a number of default_ms each: 0, -EINVAL or -ERANGE. */
int ctl_period_parse(const char *text, uint64_t default_ms, uint64_t *ret_ms);

struct ctl_disk {
	char volume[CL_NAME_MAX];
	char path[CTL_PATH_MAX];
	uint64_t size_bytes; /* 0: not given */
	bool readonly;
};

/* "VOLUME/PATH[,size=SIZE|,readonly]"; a leading /clusterstorage/ is allowed. 0 or -EINVAL with
 * what is wrong. */
int ctl_disk_parse(const char *text, struct ctl_disk *ret_disk, const char **ret_why);

struct ctl_net {
	char name[CL_NAME_MAX];
	char mac[18]; /* "" if not given */
};

/* "SWITCH[,mac=52:54:00:12:34:56]" */
int ctl_net_parse(const char *text, struct ctl_net *ret_net, const char **ret_why);

/*
 * How many letters must be put in, left out, changed or swapped with their neighbour to make b of
 * a; words of more than CTL_WORD_MAX letters are unlike any other.
 */
unsigned ctl_distance(const char *a, const char *b);
/* Is that near enough to word for "did you mean"? */
bool ctl_near(const char *word, const char *other);

/* "1.5 GiB" into out. */
void ctl_size_text(uint64_t bytes, char *out, size_t cap_bytes);

#endif

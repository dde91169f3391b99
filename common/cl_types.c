/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cl_types.h"

const char *cl_outcome_name(enum cl_outcome outcome)
{
	switch (outcome) {
	case CL_DONE:
		return "done";
	case CL_FAILED:
		return "failed";
	case CL_UNKNOWN:
		return "unknown";
	}
	return "invalid";
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool cl_name_valid(const char *name)
{
	size_t i;

	if (!name || !is_alnum(name[0]))
		return false;
	for (i = 0; name[i]; i++) {
		if (i >= CL_NAME_MAX - 1)
			return false;
		if (!is_alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	}
	return true;
}

uint32_t cl_crc32c(uint32_t crc, const void *data, size_t len_bytes)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len_bytes--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
	}
	return ~crc;
}

uint64_t cl_hash64(uint64_t seed, const void *data, size_t len_bytes)
{
	const uint8_t *p = data;
	uint64_t hash = seed ^ 0xcbf29ce484222325ull;

	while (len_bytes--) {
		hash ^= *p++;
		hash *= 0x100000001b3ull;
	}
	return hash;
}

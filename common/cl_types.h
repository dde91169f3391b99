/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small types that every module shares.  Pure: no I/O, no allocation.
 */
#ifndef CL_TYPES_H
#define CL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The result of an effect on the world.  UNKNOWN means that it may or may not
 * have happened (a time-out, a lost reply).  UNKNOWN never permits a takeover.
 */
enum cl_outcome {
	CL_DONE = 0,
	CL_FAILED = 1,
	CL_UNKNOWN = 2,
};

const char *cl_outcome_name(enum cl_outcome outcome);

#define CL_NODES_MAX  16u /* nodes of a cluster; node ids are 1..CL_NODES_MAX */
#define CL_NAME_MAX   64u /* bytes of an object's name with its NUL */
#define CL_UUID_BYTES 16u

#define CL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/*
 * A name of a cluster, node, volume, VM or switch: 1 to 63 bytes of
 * [A-Za-z0-9._-], starting with a letter or digit.  Returns true if allowed.
 * Names never reach a shell, a path or a terminal without this check.
 */
bool cl_name_valid(const char *name);

/* CRC-32C (Castagnoli, RFC 3720 B.4), start with crc = 0. */
uint32_t cl_crc32c(uint32_t crc, const void *data, size_t len_bytes);

/* FNV-1a 64 bit, for hash chains of test stamps and change digests; not for security. */
uint64_t cl_hash64(uint64_t seed, const void *data, size_t len_bytes);

#endif

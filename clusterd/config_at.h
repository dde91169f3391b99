/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where in a JSON text a value stands: for messages about files that people write.  Pure. */
#ifndef CD_CONFIG_AT_H
#define CD_CONFIG_AT_H

#include <stddef.h>

/*
 * Line and column (from 1, in characters) of the value at path, such as "vms[3].disks[0].size"; "" is the whole.  text
 * is JSON that was parsed before; where the path leads nowhere, the last value on the way.
 */
void cd_config_at(const char *text, size_t len_bytes, const char *path, unsigned *ret_line,
		  unsigned *ret_column);

#endif

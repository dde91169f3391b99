/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries from a hostile member, one after another (u16 length, bytes): refused whole or taken; one that decodes
 * encodes to the same bytes, and applying it breaks nothing.
 *
 * fuzz-sources: clusterd/core/[a-z]*.c clusterd/log/[a-z]*.c common/cl_types.c common/cl_wire.c
 */
#include "clusterd/core/core.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct core_command cmd;
	static struct core_state st;
	static uint8_t again[65536];
	struct core_answer answer;

	core_state_init(&st);
	while (size >= 2) {
		size_t len = data[0] | (size_t)data[1] << 8;

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		if (core_command_decode(&cmd, data, len) == 0 &&
		    (core_command_encode(&cmd, again, sizeof(again)) != (long)len ||
		     memcmp(again, data, len)))
			abort();
		core_apply(&st, st.applied_seq + 1, data, len, &cmd, &answer);
		data += len;
		size -= len;
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A log message, an entry and a snapshot from a hostile member: refused whole or taken; an entry that decodes
 * encodes to the same bytes, and applying it to a state, or going on from a snapshot that was taken, breaks nothing.
 *
 * fuzz-sources: clusterd/core/apply.c clusterd/core/batch.c clusterd/core/command.c clusterd/core/effect.c clusterd/core/migrate.c clusterd/core/node.c clusterd/core/operator.c clusterd/core/place.c clusterd/core/settings.c clusterd/core/snapshot.c clusterd/core/state.c clusterd/core/text.c clusterd/core/timing.c clusterd/core/vm.c clusterd/core/volume.c clusterd/core/why.c clusterd/log/message.c common/cl_types.c common/cl_wire.c
 */
#include "clusterd/core/core.h"
#include "clusterd/log/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct core_command cmd;
	static struct core_state st;
	static uint8_t again[65536];
	struct core_answer answer;
	struct log_message msg;
	static bool ready;
	long len;

	if (!ready) {
		core_state_init(&st);
		ready = true;
	}
	(void)log_message_decode(&msg, data, size);
	if (core_command_decode(&cmd, data, size) == 0) {
		len = core_command_encode(&cmd, again, sizeof(again));
		if (len != (long)size || memcmp(again, data, size))
			abort();
		core_apply(&st, st.applied_seq + 1, data, size, &cmd, &answer);
	}
	if (size > 4 && data[0] == 'H' && core_snapshot_decode(&st, data, size))
		core_state_init(&st);
	return 0;
}

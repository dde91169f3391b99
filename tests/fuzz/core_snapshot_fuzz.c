/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot from a hostile member or a damaged disk: refused whole, or a state that can go on: it ticks, answers, and
 * encodes again.
 *
 * fuzz-sources: clusterd/core/[a-z]*.c clusterd/log/[a-z]*.c common/cl_types.c common/cl_wire.c
 */
#include "clusterd/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "clusterd/log/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(struct core_state *st, struct core_command *cmd)
{
	static struct core_command scratch;
	static uint8_t bytes[LOG_ENTRY_MAX];
	struct core_answer answer;
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	if (len > 0)
		core_apply(st, st->applied_seq + 1, bytes, (size_t)len, &scratch, &answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct core_command cmd;
	static struct core_state st, again;
	static uint8_t bytes[LOG_SNAPSHOT_MAX];
	char text[2048];
	long len;

	if (core_snapshot_decode(&st, data, size))
		return 0;
	len = core_snapshot_encode(&st, bytes, sizeof(bytes));
	if (len < 0 || core_snapshot_decode(&again, bytes, (size_t)len))
		abort();
	memset(&cmd, 0, offsetof(struct core_command, report));
	cmd.kind = CORE_CMD_MEMBERS;
	cmd.members = cmd.alive = (core_nodes)(size & 7);
	apply(&st, &cmd);
	cmd.kind = CORE_CMD_TICK;
	cmd.delta_ms = 100000;
	cmd.seen_seq = UINT64_MAX;
	apply(&st, &cmd);
	for (uint16_t i = 0; i < 4 && i < st.effect_count; i++) {
		if (!st.effects[i].kind)
			continue;
		memset(&cmd, 0, offsetof(struct core_command, report));
		cmd.kind = CORE_CMD_RESULT;
		cmd.result.id = st.effects[i].id;
		cmd.result.outcome = (uint8_t)(size % 3);
		apply(&st, &cmd);
	}
	for (uint16_t i = 0; i < st.vm_count && i < 2; i++)
		(void)core_why(&st, CORE_OBJECT_VM, st.vms[i].config.name, text, sizeof(text));
	(void)core_timer_ms(&st);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node of a cluster of three and what CPG brings it: every kind of message, from every member, in any order (u8 node, u16
 * length, bytes), with changes of the configuration between (node 0: u8 members, u8 quorate).  Malformed ones are refused whole and
 * counted; whatever the others say, this node stays whole: what it has committed stays as it was.
 *
 * fuzz-sources: clusterd/core/[a-z]*.c clusterd/log/[a-z]*.c common/cl_types.c common/cl_wire.c
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/replica.h"
#include "clusterd/core/replica_int.h"
#include "clusterd/log/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct replica replica;
static uint64_t last_op;

/* The store is as fast as can be; own messages are delivered by the input alone. */
static void sink(void *arg, const struct replica_out *out)
{
	if (out->kind == REPLICA_STORE)
		last_op = out->log->op;
}

static void start(void)
{
	static const uint8_t boot[CL_UUID_BYTES] = { 7 };
	static struct core_command cmd;

	replica_init(&replica, 1, boot, 77, sink, NULL);
	memset(&cmd, 0, offsetof(struct core_command, report));
	cmd.kind = CORE_CMD_INIT;
	cmd.node = 1;
	strcpy(cmd.name, "fuzz");
	strcpy(cmd.target, "n1");
	strcpy(cmd.address, "10.0.0.1");
	if (replica_bootstrap(&replica, &cmd) || replica_start(&replica, 0, 0))
		abort();
	replica_durable(&replica, 0, last_op);
	replica_config(&replica, 1, 7, 7, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t now = 10;

	last_op = 0;
	start();
	while (size >= 3) {
		uint8_t node = data[0];
		size_t len = data[1] | (size_t)data[2] << 8;
		struct log_mark before = replica.log.commit;
		uint64_t malformed = replica.log.counters.malformed;
		struct log_message msg;

		now += 7;
		if (node == 0) {
			replica_config(&replica, now, (core_nodes)((data[1] & 7) | 1), 7, data[2] & 1);
			replica_timer(&replica, now += 500, 1);
			data += 3;
			size -= 3;
			continue;
		}
		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		node = (uint8_t)(node % 3 + 1);
		if (replica_message(&replica, now, node, data, len) == 0) {
			if (!replica_beat_is(data, len) && log_message_decode(&msg, data, len))
				abort();
		} else if (replica.log.counters.malformed != malformed + 1) {
			abort();
		}
		replica_durable(&replica, now, last_op);
		/* What was committed is not taken back. */
		if (replica.log.commit.seq < before.seq)
			abort();
		data += len;
		size -= len;
	}
	replica_timer(&replica, now + 100, 1);
	return 0;
}

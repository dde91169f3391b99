/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/command.c: every kind comes back as it went, and no piece of it is taken. */
#include "clusterd/core/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static struct core_command cmd, back;
static uint8_t bytes[8192], again[8192];

static void fill(uint8_t kind)
{
	memset(&cmd, 0, sizeof(cmd));
	cmd.kind = kind;
	cmd.node = 3;
	cmd.wall_ms = 77;
	cmd.members = 5;
	cmd.alive = 7;
	cmd.delta_ms = 500;
	cmd.seen_seq = 12;
	cmd.generation = 9;
	cmd.incarnation = 4;
	cmd.method = CORE_METHOD_QUICK;
	cmd.force = cmd.drain = cmd.failback = true;
	strcpy(cmd.name, "web");
	strcpy(cmd.target, "n2");
	strcpy(cmd.address, "10.0.0.1");
	strcpy(cmd.lun, "naa.6001405");
	cmd.result.id = 8;
	cmd.result.outcome = CL_UNKNOWN;
	strcpy(cmd.result.text, "no answer");
	strcpy(cmd.vm.name, "web");
	cmd.vm.memory_mib = 256;
	cmd.vm.cpus = 2;
	cmd.vm.disk_count = 2;
	cmd.vm.net_count = 1;
	strcpy(cmd.vm.disks[1].path, "web.img");
	strcpy(cmd.volume_names[1], "data");
	cmd.set_count = 1;
	cmd.part_len = 5;
	cmd.batch = 6;
	cmd.report_count = 2;
	cmd.report[1].name_hash = core_name_hash("web");
	cmd.report[1].seen = CORE_SEEN_RUNNING;
}

static void round_trip(void)
{
	unsigned kind, known = 0;

	for (kind = 1; kind < 256; kind++) {
		long len, cut;

		fill((uint8_t)kind);
		len = core_command_encode(&cmd, bytes, sizeof(bytes));
		if (len < 0)
			continue;
		known++;
		CU_ASSERT_EQUAL(core_command_decode(&back, bytes, (size_t)len), 0);
		CU_ASSERT_EQUAL(core_command_encode(&back, again, sizeof(again)), len);
		CU_ASSERT_EQUAL(memcmp(bytes, again, (size_t)len), 0);
		for (cut = 0; cut < len; cut++)
			CU_ASSERT_EQUAL(core_command_decode(&back, bytes, (size_t)cut), -EBADMSG);
		bytes[len] = 0;
		CU_ASSERT_EQUAL(core_command_decode(&back, bytes, (size_t)len + 1), -EBADMSG);
	}
	CU_ASSERT_EQUAL(known, CORE_CMD_LAST + CORE_CMD_INTERNAL_LAST - CORE_CMD_MEMBERS + 1);
}

static void refused(void)
{
	long len;

	fill(CORE_CMD_HELLO);
	cmd.node = CL_NODES_MAX + 1;
	len = core_command_encode(&cmd, bytes, sizeof(bytes));
	CU_ASSERT_EQUAL(core_command_decode(&back, bytes, (size_t)len), -EBADMSG);
	fill(CORE_CMD_RESULT);
	cmd.result.outcome = 3;
	len = core_command_encode(&cmd, bytes, sizeof(bytes));
	CU_ASSERT_EQUAL(core_command_decode(&back, bytes, (size_t)len), -EBADMSG);
	fill(CORE_CMD_VM_CREATE);
	cmd.vm.memory_mib = UINT32_MAX;
	len = core_command_encode(&cmd, bytes, sizeof(bytes));
	CU_ASSERT_EQUAL(core_command_decode(&back, bytes, (size_t)len), -EBADMSG);
}

UNIT_MAIN("core command", { "round trip", round_trip }, { "refused", refused })

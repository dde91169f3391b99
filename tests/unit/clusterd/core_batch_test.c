/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/batch.c: all of a batch, or nothing. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "tests/unit/unit.h"

static uint8_t batch[CORE_BATCH_MAX], before[1 << 20], after[1 << 20];
static uint32_t batch_len;

static void add(const struct core_command *cmd)
{
	long len = core_command_encode(cmd, batch + batch_len + 2, sizeof(batch) - batch_len - 2);

	CU_ASSERT_TRUE_FATAL(len > 0);
	batch[batch_len] = (uint8_t)len;
	batch[batch_len + 1] = (uint8_t)(len >> 8);
	batch_len += 2 + (uint32_t)len;
}

static const struct core_command *vm(uint8_t kind, const char *name, const char *path,
				     uint32_t memory_mib)
{
	struct core_command *cmd = flow_vm_cmd(name, memory_mib);

	cmd->kind = kind;
	strcpy(cmd->vm.disks[0].path, path);
	cmd->adopt = kind == CORE_CMD_VM_CREATE;
	return cmd;
}

static int parts(uint64_t id, uint32_t piece)
{
	for (uint32_t at = 0; at < batch_len; at += piece) {
		struct core_command *cmd = flow_cmd(CORE_CMD_BATCH_PART, "");

		cmd->batch = id;
		cmd->offset = at;
		cmd->part_len = (uint16_t)(batch_len - at < piece ? batch_len - at : piece);
		memcpy(cmd->part, batch + at, cmd->part_len);
		if (flow_apply(cmd))
			return ans.err;
	}
	return 0;
}

static int run(uint64_t id)
{
	struct core_command *cmd;

	if (parts(id, 100))
		return ans.err;
	cmd = flow_cmd(CORE_CMD_BATCH_APPLY, "");
	cmd->batch = id;
	cmd->offset = batch_len;
	return flow_apply(cmd);
}

/* What operators made, without what a refused entry may change. */
static void configuration_same(void)
{
	CU_ASSERT_PTR_NULL(core_vm_find(&st, "a", NULL));
	CU_ASSERT_PTR_NULL(core_vm_find(&st, "b", NULL));
	CU_ASSERT_EQUAL(st.vm_count, 1);
	CU_ASSERT_EQUAL(st.timing.silent_ms, 60000);
	CU_ASSERT_EQUAL(st.batch.len_bytes, 0);
}

static void all_of_it(void)
{
	flow_cluster();
	batch_len = 0;
	add(flow_setting_cmd("silent-ms", 30000));
	add(vm(CORE_CMD_VM_CREATE, "a", "a.img", 512));
	add(vm(CORE_CMD_VM_CREATE, "b", "b.img", 512));
	CU_ASSERT_EQUAL(run(7), 0);
	CU_ASSERT_EQUAL(st.timing.silent_ms, 30000);
	CU_ASSERT_PTR_NOT_NULL(core_vm_find(&st, "a", NULL));
	CU_ASSERT_TRUE(flow_effect(CORE_FX_DISK_CREATE, 0)->flags & CORE_FLAG_AGAIN);
	flow_settle(0);
	CU_ASSERT_EQUAL(core_vm_find(&st, "b", NULL)->state, CORE_VM_STOPPED);
	CU_ASSERT_EQUAL(ans.job, 0);
}

static void nothing_of_it(void)
{
	for (unsigned what = 0; what < 7; what++) {
		int expected = -EINVAL;

		flow_cluster();
		batch_len = 0;
		add(flow_setting_cmd("silent-ms", 30000));
		add(vm(CORE_CMD_VM_CREATE, "a", "a.img", 512));
		switch (what) {
		case 0: /* the name again */
			add(vm(CORE_CMD_VM_CREATE, "a", "b.img", 512));
			break;
		case 1: /* the disk again */
			add(vm(CORE_CMD_VM_CREATE, "b", "a.img", 512));
			expected = -EBUSY;
			break;
		case 2: /* a disk of one that is there */
			add(vm(CORE_CMD_VM_CREATE, "b", "web.img", 512));
			expected = -EBUSY;
			break;
		case 3: /* not safe */
			add(flow_setting_cmd("takeover-ms", 5000));
			break;
		case 4: /* it runs */
			add(vm(CORE_CMD_VM_CHANGE, "web", "web.img", 2048));
			expected = -EBUSY;
			break;
		case 5: /* not for a batch */
			add(flow_cmd(CORE_CMD_VM_DELETE, "web"));
			break;
		case 6: /* cut off */
			batch[batch_len++] = 9;
			expected = -EBADMSG;
			break;
		}
		CU_ASSERT_EQUAL(run(7), expected);
		CU_ASSERT_TRUE(ans.text[0]);
		configuration_same();
	}
}

static void interrupted(void)
{
	struct core_command *cmd;

	flow_cluster();
	batch_len = 0;
	add(vm(CORE_CMD_VM_CREATE, "a", "a.img", 512));
	CU_ASSERT_EQUAL(parts(7, 50), 0);
	/* Another one begins. */
	CU_ASSERT_EQUAL(parts(8, 4096), 0);
	cmd = flow_cmd(CORE_CMD_BATCH_APPLY, "");
	cmd->batch = 7;
	cmd->offset = batch_len;
	CU_ASSERT_EQUAL(flow_apply(cmd), -ESTALE);
	/* A change of membership, and a snapshot, in between. */
	{
		long len = core_snapshot_encode(&st, before, sizeof(before));

		CU_ASSERT_EQUAL(core_snapshot_decode(&st, before, (size_t)len), 0);
		CU_ASSERT_EQUAL(core_snapshot_encode(&st, after, sizeof(after)), len);
		CU_ASSERT_EQUAL(memcmp(before, after, (size_t)len), 0);
		CU_ASSERT_EQUAL(st.batch.len_bytes, batch_len);
	}
	flow_members(3, 3);
	cmd = flow_cmd(CORE_CMD_BATCH_APPLY, "");
	cmd->batch = 8;
	cmd->offset = batch_len;
	CU_ASSERT_EQUAL(flow_apply(cmd), -ESTALE);
	configuration_same();
	/* A piece that is lost. */
	cmd = flow_cmd(CORE_CMD_BATCH_PART, "");
	cmd->batch = 9;
	cmd->offset = 10;
	CU_ASSERT_EQUAL(flow_apply(cmd), -ESTALE);
}

static void change(void)
{
	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	flow_settle(0);
	batch_len = 0;
	add(vm(CORE_CMD_VM_CHANGE, "web", "web.img", 2048));
	CU_ASSERT_EQUAL(run(7), 0);
	CU_ASSERT_EQUAL(flow_web()->config.memory_mib, 2048);
	CU_ASSERT_TRUE(flow_web()->config.disks[0].created);
	batch_len = 0;
	add(vm(CORE_CMD_VM_CHANGE, "web", "other.img", 2048));
	CU_ASSERT_EQUAL(run(8), -EINVAL);
}

UNIT_MAIN("core batch", { "all of it", all_of_it }, { "nothing of it", nothing_of_it },
	  { "interrupted", interrupted }, { "change", change })

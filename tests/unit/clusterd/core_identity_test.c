/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/identity.c: an address and a MAC are of one node, of one VM. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "tests/unit/unit.h"

static const uint8_t first[6] = { 0x52, 0x54, 0, 1, 2, 3 }, other[6] = { 0x52, 0x54, 0, 1, 2, 4 };

static struct core_command *with_mac(const char *name, const uint8_t mac[6])
{
	struct core_command *cmd = flow_vm_cmd(name, 512);

	cmd->vm.net_count = 1;
	strcpy(cmd->vm.nets[0].network, "vmbr0");
	memcpy(cmd->vm.nets[0].mac, mac, 6);
	return cmd;
}

static int node_add(const char *name, const char *address)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_NODE_ADD, name);

	strcpy(cmd->address, address);
	strcpy(cmd->vm_address, address);
	return flow_apply(cmd);
}

static void one_address_one_node(void)
{
	flow_cluster();
	CU_ASSERT_EQUAL(node_add("n4", "10.77.1.14"), 0);
	CU_ASSERT_EQUAL(node_add("n4", "10.77.1.14"), 0); /* a join that was cut off */
	CU_ASSERT_EQUAL(node_add("n4b", "10.77.1.14"), -EEXIST);
	CU_ASSERT_STRING_EQUAL(ans.text, "node n4b: address 10.77.1.14 is that of node n4");
	CU_ASSERT_PTR_NULL(core_node_find(&st, "n4b"));
	CU_ASSERT_EQUAL(node_add("n5", "10.77.1.15"), 0);
	/* Not before all nodes decide so. */
	st.level = CORE_LEVEL_IDENTITY - 1;
	CU_ASSERT_EQUAL(node_add("n6", "10.77.1.15"), 0);
}

static void one_mac_one_vm(void)
{
	static const uint8_t none[6], group[6] = { 1, 0, 0x5e, 0, 0, 1 };
	struct core_command *cmd;

	flow_cluster();
	CU_ASSERT_EQUAL(flow_apply(with_mac("a", first)), 0);
	CU_ASSERT_EQUAL(flow_apply(with_mac("b", first)), -EEXIST);
	CU_ASSERT_STRING_EQUAL(ans.text, "vm b: MAC 52:54:00:01:02:03 is that of VM a");
	CU_ASSERT_EQUAL(flow_apply(with_mac("b", none)), -EINVAL);
	CU_ASSERT_EQUAL(flow_apply(with_mac("b", group)), -EINVAL);
	cmd = with_mac("b", other);
	cmd->vm.net_count = 2;
	cmd->vm.nets[1] = cmd->vm.nets[0];
	CU_ASSERT_EQUAL(flow_apply(cmd), -EINVAL);
	CU_ASSERT_EQUAL(flow_apply(with_mac("b", other)), 0);
	flow_settle(0);
	/* A change keeps its own, and takes nobody's. */
	cmd = with_mac("b", other);
	cmd->kind = CORE_CMD_VM_CHANGE;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	cmd = with_mac("b", first);
	cmd->kind = CORE_CMD_VM_CHANGE;
	CU_ASSERT_EQUAL(flow_apply(cmd), -EEXIST);
	st.level = CORE_LEVEL_IDENTITY - 1;
	CU_ASSERT_EQUAL(flow_apply(with_mac("c", first)), 0);
}

/* A disk has a higher generation on record: the start after the refused one is above it. */
static void no_number_locks_a_vm_out(void)
{
	const uint64_t floors[] = { 5000, CORE_GENERATION_MAX };
	struct core_command *cmd;

	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	flow_settle(0);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(flow_effect(CORE_FX_VM_START, 0));
		cmd = flow_cmd(CORE_CMD_RESULT, "");
		cmd->result.id = flow_effect(CORE_FX_VM_START, 0)->id;
		cmd->result.outcome = CL_FAILED;
		cmd->result.values[1] = floors[i];
		flow_apply(cmd);
		flow_tick(st.timing.retry_ms);
	}
	/* What is no generation changes nothing. */
	CU_ASSERT_EQUAL(flow_web()->generation, 5002);
}

/* A disk that stays is given up by the VM before the VM is gone. */
static void a_kept_disk_is_nobodys(void)
{
	const struct core_effect *fx;
	struct core_command *cmd;

	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	flow_settle(0);
	cmd = flow_cmd(CORE_CMD_VM_DELETE, "web");
	cmd->keep = true;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	fx = flow_effect(CORE_FX_DISK_DELETE, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fx);
	CU_ASSERT_EQUAL(fx->flags, CORE_FLAG_KEEP);
	flow_answer(CORE_FX_DISK_DELETE, 0, CL_UNKNOWN, ETIMEDOUT);
	CU_ASSERT_PTR_NOT_NULL(flow_web());
	flow_tick(st.timing.retry_ms);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_DISK_DELETE, 0));
	flow_settle(0);
	CU_ASSERT_PTR_NULL(core_vm_find(&st, "web", NULL));
}

UNIT_MAIN("core identity", { "no number locks out", no_number_locks_a_vm_out },
	  { "kept disk", a_kept_disk_is_nobodys }, { "one address, one node", one_address_one_node },
	  { "one MAC, one VM", one_mac_one_vm })

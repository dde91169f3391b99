/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/place.c, spare.c, explain.c: where VMs fit, and what the words for it are. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "clusterd/core/place.h"
#include "tests/unit/unit.h"

static char text[16384];

static const char *why(const char *vm)
{
	CU_ASSERT_EQUAL(core_why(&st, CORE_OBJECT_VM, vm, text, sizeof(text)), 0);
	return text;
}

static void preferred_and_possible(void)
{
	struct core_command *cmd;
	const struct core_vm *vm;

	flow_cluster();
	/* The most room is not on n3 once it has something. */
	cmd = flow_vm_cmd("fat", 2048);
	cmd->set = CORE_SET_PREFERRED;
	cmd->policy.preferred[0] = 3;
	vm = flow_create(cmd);
	CU_ASSERT_EQUAL(vm->node, 3);
	cmd = flow_vm_cmd("a", 512);
	cmd->set = CORE_SET_PREFERRED | CORE_SET_POSSIBLE;
	cmd->policy.preferred[0] = 3;
	cmd->policy.preferred[1] = 2;
	cmd->policy.possible = CORE_NODE_BIT(2) | CORE_NODE_BIT(3);
	vm = flow_create(cmd);
	CU_ASSERT_EQUAL(vm->node, 3);
	CU_ASSERT_PTR_NOT_NULL(strstr(why("a"), "best of its preferred owners"));
	/* An operator cannot send it anywhere else either. */
	cmd = flow_cmd(CORE_CMD_VM_MIGRATE, "a");
	strcpy(cmd->target, "n1");
	CU_ASSERT_EQUAL(flow_apply(cmd), -ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(ans.text, "not one of the possible owners"));
	flow_lose(3);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_vm("a")->node, 2);
	CU_ASSERT_EQUAL(flow_vm("fat")->state, CORE_VM_RUNNING);
	flow_lose(2);
	CU_ASSERT_NOT_EQUAL(flow_vm("a")->state, CORE_VM_STARTING);
}

static void says_why_nowhere(void)
{
	struct core_command *cmd;

	flow_cluster();
	cmd = flow_vm_cmd("huge", 4000);
	cmd->set = CORE_SET_POSSIBLE;
	cmd->policy.possible = CORE_NODE_BIT(1) | CORE_NODE_BIT(2);
	flow_create(cmd);
	CU_ASSERT_EQUAL(flow_vm("huge")->state, CORE_VM_RUNNING);
	cmd = flow_vm_cmd("more", 4000);
	cmd->set = CORE_SET_POSSIBLE;
	cmd->policy.possible = flow_vm("huge")->copies | flow_web()->copies;
	flow_create(cmd);
	CU_ASSERT_EQUAL(flow_vm("more")->state, CORE_VM_WAITING);
	why("more");
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "no node can take it (4000 MiB)"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, ": 4000 MiB are needed, 96 MiB are free"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "not one of the possible owners"));
	/* Room appears: it starts without being asked again. */
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "huge"));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_vm("more")->state, CORE_VM_RUNNING);
}

static void apart(bool hard)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	core_nodes used = 0;

	flow_cluster();
	for (unsigned i = 0; i < 4; i++) {
		struct core_command *cmd = flow_vm_cmd(names[i], 256);

		cmd->set = CORE_SET_APART;
		strcpy(cmd->policy.apart, "db");
		cmd->policy.apart_hard = hard && i == 0;
		flow_create(cmd);
		if (i < 3)
			used |= flow_vm(names[i])->copies;
	}
	CU_ASSERT_EQUAL(used, 7);
	CU_ASSERT_EQUAL(flow_vm("d")->state, CORE_VM_RUNNING);
	/* One of the two insists: that is enough, whichever it is. */
	if (hard)
		CU_ASSERT_NOT_EQUAL(flow_vm("d")->node, flow_vm("a")->node);
	flow_lose(flow_vm("a")->node);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_vm("a")->state, hard ? CORE_VM_WAITING : CORE_VM_RUNNING);
	if (hard)
		CU_ASSERT_PTR_NOT_NULL(strstr(why("a"), "of the same anti-affinity group is there"));
}

static void apart_soft(void)
{
	apart(false);
}

static void apart_hard(void)
{
	apart(true);
}

static void cpus_are_counted(void)
{
	struct core_command *cmd;

	flow_cluster();
	for (uint8_t id = 1; id <= 3; id++)
		st.nodes[id].cpus = 2;
	CU_ASSERT_EQUAL(flow_setting("cpu-overcommit", 2), 0);
	cmd = flow_vm_cmd("wide", 256);
	cmd->vm.cpus = 5;
	flow_create(cmd);
	CU_ASSERT_EQUAL(flow_vm("wide")->state, CORE_VM_WAITING);
	CU_ASSERT_PTR_NOT_NULL(strstr(why("wide"), "5 vCPUs are needed, 4 are free, by 2 for each CPU"));
	flow_setting("cpu-overcommit", 0);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_vm("wide")->state, CORE_VM_RUNNING);
}

static void spare(void)
{
	struct core_command *cmd;
	struct core_spare out;

	flow_cluster(); /* web: 1024 of 3 x 4096 */
	core_spare(&st, CORE_NONE, 3, &out);
	CU_ASSERT_EQUAL(out.losses, 1);
	CU_ASSERT_EQUAL(out.limit, CORE_SPARE_QUORUM);
	CU_ASSERT_EQUAL(flow_setting("spare", 1), 0);
	flow_create(flow_vm_cmd("a", 3080));
	CU_ASSERT_EQUAL(flow_vm("a")->state, CORE_VM_RUNNING);
	flow_create(flow_vm_cmd("b", 1200)); /* with web beside it there is no room for a any more */
	CU_ASSERT_EQUAL(flow_vm("b")->state, CORE_VM_STOPPED);
	CU_ASSERT_EQUAL(ans.err, -ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(ans.text, "would leave no room for VM a; the spare to keep is 1"));
	cmd = flow_cmd(CORE_CMD_VM_START, "b");
	cmd->force = true;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	flow_settle(0);
	core_spare(&st, CORE_NONE, 3, &out);
	CU_ASSERT_EQUAL(out.losses, 0);
	CU_ASSERT_EQUAL(out.limit, CORE_SPARE_ROOM);
	CU_ASSERT_EQUAL(out.lost, flow_vm("a")->copies);
	/* One that is not restarted needs no room elsewhere. */
	flow_vm_set("a", CORE_SET_PRIORITY, &(struct core_vm_policy){ .priority = CORE_PRIORITY_NONE });
	core_spare(&st, CORE_NONE, 3, &out);
	CU_ASSERT_EQUAL(out.losses, 1);
}

UNIT_MAIN("core placement", { "preferred and possible owners", preferred_and_possible },
	  { "why nowhere", says_why_nowhere }, { "anti-affinity, soft", apart_soft },
	  { "anti-affinity, hard", apart_hard }, { "CPUs", cpus_are_counted }, { "spare", spare })

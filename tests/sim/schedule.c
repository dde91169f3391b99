/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to the world: a swarm of faults (each seed has its own subset and rates),
 * operators who race, and in the end healing, after which everything must come back.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

enum fault {
	FAULT_POWER,	 /* a node's power cut, back later */
	FAULT_POWER_ALL, /* all at once */
	FAULT_DAEMON,	 /* clusterd killed, restarted */
	FAULT_ISOLATE,	 /* one node's cluster network; storage stays */
	FAULT_SPLIT,	 /* two groups */
	FAULT_STALL,	 /* a whole node paused */
	FAULT_STOP,	 /* clusterd paused */
	FAULT_KEY,	 /* somebody removes a node's key */
	FAULT_GUEST,	 /* a guest ends */
	FAULT_CSVD,	 /* csvd dies */
	FAULT_RESTART,	 /* power cut and instant return */
	FAULT_KINDS,
};

static void command_send(struct core_command *cmd, uint64_t cookie)
{
	uint8_t node = (uint8_t)(1 + sim_below(sim.count));

	if (!sim.nodes[node].daemon || !sim_node_runs(node))
		return;
	SIM_SAY("node %u: operator: %s %s %s", node, core_command_name(cmd->kind),
		cmd->kind == CORE_CMD_VM_CREATE ? cmd->vm.name : cmd->name, cmd->target);
	if (cmd->kind == CORE_CMD_VM_START)
		sim_policy_asked(cmd->name);
	replica_command(sim.nodes[node].r, sim.now, cookie, cmd);
	sim_after(node);
}

static struct core_command *command(uint8_t kind)
{
	static struct core_command cmd;

	memset(&cmd, 0, offsetof(struct core_command, report));
	cmd.kind = kind;
	return &cmd;
}

static void name_of(char *out, char letter, unsigned number)
{
	out[0] = letter;
	out[1] = (char)('0' + number);
	out[2] = '\0';
}

/* Cookies: what the answer is to be remembered for. */
#define COOKIE_CREATE 1000u
#define COOKIE_DELETE 2000u
#define COOKIE_CONFIRM 3000u

void sim_answer(uint8_t node, uint64_t cookie, const struct core_answer *answer)
{
	SIM_SAY("node %u: answer to %llu: %d %s", node, (unsigned long long)cookie, answer->err,
		answer->text);
	sim.commands_acked += !answer->err;
}

static void vm_create(unsigned vm)
{
	struct core_command *cmd = command(CORE_CMD_VM_CREATE);

	name_of(cmd->vm.name, 'v', vm);
	cmd->vm.memory_mib = 512 + 256 * sim_below(3);
	cmd->vm.cpus = 1;
	core_str_copy(cmd->vm.kernel, sizeof(cmd->vm.kernel), "/k");
	cmd->vm.disk_count = 1;
	name_of(cmd->volume_names[0], 'd', vm % sim.volume_count);
	name_of(cmd->vm.disks[0].path, 'f', vm);
	cmd->vm.disks[0].size_bytes = 1 << 20;
	sim_policy_create(cmd, vm);
	command_send(cmd, COOKIE_CREATE + vm);
}

void sim_operator(void)
{
	unsigned vm = sim_below(sim.vm_count);
	struct core_command *cmd;
	unsigned node = 1 + sim_below(sim.count);
	unsigned volume;

	if (sim.healed)
		return;
	sim_push(sim.now + 300 + sim_below(3000), SIM_EV_OPERATOR, 0, 0, 0);
	if (sim.now < 12000) {
		/* Build the cluster: nodes, volumes, VMs.  Repeats are refused, which is part of it. */
		for (node = 2; node <= sim.count; node++) {
			cmd = command(CORE_CMD_NODE_ADD);
			cmd->node = (uint8_t)node;
			name_of(cmd->name, 'n', node);
			if (sim.nodes[1].daemon &&
			    sim.nodes[1].r->st.nodes[node].state == CORE_NODE_UNUSED) {
				replica_command(sim.nodes[1].r, sim.now, 1, cmd);
				sim_after(1);
			}
		}
		for (volume = 0; volume < sim.volume_count; volume++) {
			cmd = command(CORE_CMD_VOLUME_ADD);
			name_of(cmd->name, 'd', volume);
			name_of(cmd->lun, 'l', volume);
			command_send(cmd, 2);
		}
		for (vm = 0; vm < sim.vm_count; vm++) {
			vm_create(vm);
			cmd = command(CORE_CMD_VM_START);
			name_of(cmd->name, 'v', vm);
			command_send(cmd, 3);
		}
		return;
	}
	sim.operators++;
	switch (sim_below(18)) {
	case 0:
	case 1:
	case 2:
	case 3:
		cmd = command(CORE_CMD_VM_MIGRATE);
		name_of(cmd->name, 'v', vm);
		if (sim_chance(50))
			name_of(cmd->target, 'n', node);
		cmd->method = (uint8_t)(1 + sim_chance(35));
		command_send(cmd, 4);
		break;
	case 4:
	case 5:
		cmd = command(CORE_CMD_VM_START);
		name_of(cmd->name, 'v', vm);
		command_send(cmd, 3);
		break;
	case 6:
		cmd = command(CORE_CMD_VM_STOP);
		name_of(cmd->name, 'v', vm);
		cmd->force = sim_chance(50);
		command_send(cmd, 5);
		break;
	case 7:
		cmd = command(CORE_CMD_NODE_PAUSE);
		name_of(cmd->name, 'n', node);
		cmd->drain = sim_chance(80);
		command_send(cmd, 6);
		break;
	case 8:
	case 9:
		cmd = command(CORE_CMD_NODE_RESUME);
		name_of(cmd->name, 'n', node);
		cmd->failback = sim_chance(60);
		command_send(cmd, 7);
		break;
	case 10:
		cmd = command(CORE_CMD_VOLUME_MOVE);
		name_of(cmd->name, 'd', sim_below(sim.volume_count));
		name_of(cmd->target, 'n', node);
		command_send(cmd, 8);
		break;
	case 11:
		cmd = command(CORE_CMD_VM_CANCEL);
		name_of(cmd->name, 'v', vm);
		command_send(cmd, 9);
		break;
	case 12:
		if (!sim_chance(30))
			break;
		cmd = command(CORE_CMD_VM_DELETE);
		name_of(cmd->name, 'v', vm);
		sim.vm_gone[vm] = true;
		command_send(cmd, COOKIE_DELETE + vm);
		break;
	case 14:
	case 15:
		cmd = command(sim_chance(80) ? CORE_CMD_VM_SET : CORE_CMD_CLUSTER_SET);
		if (cmd->kind == CORE_CMD_VM_SET)
			name_of(cmd->name, 'v', vm);
		sim_policy_change(cmd);
		command_send(cmd, 10);
		break;
	case 16:
	case 17:
		cmd = command(CORE_CMD_CLUSTER_ARM);
		sim_maintain_command(cmd);
		command_send(cmd, 11);
		break;
	case 13:
		/* An operator who has looked: the node is off, and stays off until the answer. */
		if (sim.nodes[node].power || !sim_chance(30))
			break;
		cmd = command(CORE_CMD_NODE_CONFIRM);
		name_of(cmd->name, 'n', node);
		sim_oracle_proof((uint8_t)node);
		command_send(cmd, COOKIE_CONFIRM + node);
		break;
	}
}

static void later(uint64_t after_ms, enum sim_event_kind kind, uint8_t node)
{
	sim_push(sim.now + after_ms, kind, node, 0, 0);
}

static void parts_merge(void)
{
	uint8_t id;

	for (id = 1; id <= sim.count; id++)
		sim.nodes[id].part = 0;
	sim_cpg_disturb();
}

/* What is stopped goes on by itself, at the latest soon after the healing. */
static uint64_t stop_end(uint64_t after_ms)
{
	return sim.now + after_ms < sim.heal_at + 5000 ? sim.now + after_ms : sim.heal_at + 5000;
}

static void excuse(uint8_t node, uint64_t until)
{
	if (until > sim.excused_until[node])
		sim.excused_until[node] = until;
}

void sim_fault(void)
{
	uint8_t node = (uint8_t)(1 + sim_below(sim.count)), id;
	struct sim_node *n = &sim.nodes[node];
	unsigned kind = sim_below(FAULT_KINDS);
	unsigned volume = sim_below(sim.volume_count);

	if (sim.healed)
		return;
	sim_push(sim.now + 500 + sim_below(9000), SIM_EV_FAULT, 0, 0, 0);
	if (!sim_chance(sim.p_fault[kind]))
		return;
	sim.faults++;
	switch (kind) {
	case FAULT_POWER:
	case FAULT_RESTART:
		if (!n->power)
			break;
		sim_power_off(node);
		later(kind == FAULT_POWER ? 3000 + sim_below(30000) : 200, SIM_EV_BOOT, node);
		break;
	case FAULT_POWER_ALL:
		for (id = 1; id <= sim.count; id++) {
			sim_power_off(id);
			later(2000 + sim_below(15000), SIM_EV_BOOT, id);
		}
		break;
	case FAULT_DAEMON:
		if (!n->daemon)
			break;
		sim_daemon_kill(node);
		later(300 + sim_below(sim_chance(20) ? 90000 : 3000), SIM_EV_DAEMON, node);
		break;
	case FAULT_ISOLATE:
		n->part = n->part ? 0 : node;
		SIM_SAY("node %u: network part %u", node, n->part);
		sim_cpg_disturb();
		break;
	case FAULT_SPLIT:
		if (sim_chance(50)) {
			parts_merge();
			break;
		}
		for (id = 1; id <= sim.count; id++)
			sim.nodes[id].part = (uint8_t)sim_below(2);
		SIM_SAY("network split");
		sim_cpg_disturb();
		break;
	case FAULT_STALL:
		if (!n->power || n->stalled_until > sim.now)
			break;
		n->stalled_until = stop_end(500 + sim_below(20000));
		excuse(node, n->stalled_until + 8000);
		SIM_SAY("node %u: stalls until %llu", node, (unsigned long long)n->stalled_until);
		sim_cpg_disturb();
		sim_push(n->stalled_until + 1, SIM_EV_WAKE, node, 0, 0);
		break;
	case FAULT_STOP:
		if (!n->daemon)
			break;
		n->daemon_stalled = stop_end(200 + sim_below(sim_chance(30) ? 100000 : 8000));
		excuse(node, n->daemon_stalled + 8000);
		SIM_SAY("node %u: clusterd stopped until %llu", node,
			(unsigned long long)n->daemon_stalled);
		break;
	case FAULT_KEY:
		if (!n->power || !sim.luns[volume].registered[node])
			break;
		SIM_SAY("node %u: somebody removes its key from volume %u", node, volume);
		sim.luns[volume].registered[node] = false;
		for (id = 0; id < SIM_VMS; id++)
			if (id % sim.volume_count == volume)
				sim_push(sim.now + sim_below(1500), SIM_EV_GUEST, node, id,
					 CORE_EXIT_FENCED);
		if (n->daemon) {
			char name[3];

			name_of(name, 'd', volume);
			replica_key_lost(n->r, sim.now, name);
			sim_after(node);
		}
		break;
	case FAULT_GUEST:
		sim_guest_stop(node, sim_below(SIM_VMS), CORE_EXIT_SHUTDOWN + sim_below(2) +
								 2 * sim_chance(50));
		break;
	case FAULT_CSVD:
		if (!n->daemon || !sim_node_runs(node))
			break;
		for (volume = 0; volume < SIM_VOLUMES; volume++) {
			n->attached[volume] = n->mounted[volume] = n->layouts[volume] = false;
			sim.mount_held[volume][node] = false;
		}
		replica_csvd_lost(n->r, sim.now);
		sim_after(node);
		break;
	}
}

void sim_schedule_start(void)
{
	unsigned i;
	uint8_t id;

	sim.p_lost = sim_chance(50) ? 0 : sim_below(12);
	sim.p_fail = sim_chance(50) ? 0 : sim_below(10);
	for (i = 0; i < FAULT_KINDS; i++)
		sim.p_fault[i] = sim_chance(45) ? 20 + sim_below(80) : 0;
	sim.p_fault[FAULT_POWER_ALL] /= 3;
	sim.lease_stop_ms = sim_below(CORE_LEASE_STOP_MS);
	sim_policy_start();
	for (id = 1; id <= sim.count; id++) {
		sim_boot(id);
	}
	sim_push(1500, SIM_EV_OPERATOR, 0, 0, 0);
	sim_push(8000 + sim_below(8000), SIM_EV_FAULT, 0, 0, 0);
	sim.heal_at = 12000 + sim.opt.fault_ms;
	sim_push(sim.heal_at, SIM_EV_HEAL, 0, 0, 0);
}

void sim_heal(void)
{
	uint8_t id;

	SIM_SAY("healing");
	sim.healed = true;
	sim.p_lost = sim.p_fail = 0;
	for (id = 1; id <= sim.count; id++) {
		struct sim_node *n = &sim.nodes[id];

		n->part = 0;
		if (!n->power)
			later(sim_below(2000), SIM_EV_BOOT, id);
		else if (!n->daemon)
			later(sim_below(2000), SIM_EV_DAEMON, id);
	}
	sim_cpg_disturb();
	sim_push(sim.now + 15000, SIM_EV_CHECK, 0, 0, 0);
}

#define HEAL_BOUND_MS 180000u

void sim_check(void)
{
	uint32_t i;
	uint8_t id;

	bool converged = sim_oracle_converged(false);

	if (sim_maintain_plan(converged)) {
		sim_push(sim.now + 2000, SIM_EV_CHECK, 0, 0, 0);
		return;
	}
	if (converged) {
		sim_oracle_end();
		sim.converged = true;
		return;
	}
	if (sim.now > sim.heal_at + HEAL_BOUND_MS) {
		sim_oracle_converged(true);
		return;
	}
	/* Operators clean up: arm, resume nodes, start what gave up. */
	if (sim.nodes[1].r->st.disarmed)
		command_send(command(CORE_CMD_CLUSTER_ARM), 11);
	for (id = 1; id <= sim.count; id++) {
		struct core_command *cmd = command(CORE_CMD_NODE_RESUME);

		const struct core_node *n = &sim.nodes[1].r->st.nodes[id];

		if (!sim.nodes[id].daemon || n->state == CORE_NODE_UP ||
		    (!n->pause && n->state != CORE_NODE_QUARANTINED))
			continue;
		name_of(cmd->name, 'n', id);
		command_send(cmd, 7);
	}
	for (i = 0; i < sim.nodes[1].r->st.vm_count; i++) {
		struct core_command *cmd = command(CORE_CMD_VM_START);

		if (sim.nodes[1].r->st.vms[i].state != CORE_VM_FAILED)
			continue;
		core_str_copy(cmd->name, sizeof(cmd->name), sim.nodes[1].r->st.vms[i].config.name);
		command_send(cmd, 3);
	}
	sim_push(sim.now + 2000, SIM_EV_CHECK, 0, 0, 0);
}

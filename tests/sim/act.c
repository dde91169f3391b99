/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of a plan: faults, operators' commands; building the cluster before, healing after. */
#include "tests/sim/sim.h"

#include <string.h>

#define BUILD_UNTIL_MS 12000u
#define HEAL_BOUND_MS  180000u
#define AFTER_MS       8000u /* a node that stood still has to find out yet */

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

static void later(uint64_t after_ms, enum sim_event_kind kind, uint8_t node)
{
	sim_push(sim.now + after_ms, kind, node, 0, 0);
}

static void excuse(uint8_t node, uint64_t until)
{
	if (until > sim.excused_until[node])
		sim.excused_until[node] = until;
}

/* ---- faults --------------------------------------------------------------------------------- */

static void power(uint8_t node, uint32_t for_ms)
{
	if (!sim.nodes[node].power)
		return;
	sim_power_off(node);
	if (for_ms)
		later(for_ms, SIM_EV_BOOT, node);
}

static void fault_node(const struct plan_step *step, uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint8_t id;

	switch (step->act) {
	case PLAN_POWER:
		power(node, step->for_ms);
		break;
	case PLAN_POWER_ALL:
		for (id = 1; id <= sim.count; id++) {
			power(id, 0);
			later(2000 + sim_below(step->for_ms), SIM_EV_BOOT, id);
		}
		break;
	case PLAN_DAEMON:
		if (!n->daemon)
			break;
		sim_daemon_kill(node);
		if (step->for_ms)
			later(step->for_ms, SIM_EV_DAEMON, node);
		break;
	case PLAN_STALL:
		if (!n->power || n->stalled_until > sim.now)
			break;
		sim_clock_stall(node, step->value);
		n->stalled_until = sim.now + step->for_ms;
		excuse(node, n->stalled_until + AFTER_MS);
		SIM_SAY("node %u: stalls until %llu%s", node, (unsigned long long)n->stalled_until,
			step->value ? ", its clock too" : "");
		sim_oracle_blame(node);
		sim_net_disturb();
		sim_push(n->stalled_until + 1, SIM_EV_WAKE, node, 0, 0);
		break;
	case PLAN_STOP:
		if (!n->daemon)
			break;
		n->daemon_stalled = sim.now + step->for_ms;
		excuse(node, n->daemon_stalled + AFTER_MS);
		if (!sim.silent_since[node])
			sim.silent_since[node] = sim.now;
		SIM_SAY("node %u: clusterd stopped until %llu", node,
			(unsigned long long)n->daemon_stalled);
		break;
	case PLAN_CSVD:
		if (sim_node_runs(node))
			sim_csvd_die(node);
		break;
	case PLAN_WALL:
		n->wall_off_ms += (int64_t)step->value * 1000;
		break;
	}
}

static void mend(void)
{
	uint8_t id;

	for (id = 1; id <= sim.count; id++) {
		sim.nodes[id].isolated = false;
		sim.nodes[id].deaf = 0;
		sim.nodes[id].side = 0;
	}
}

static void fault_net(const struct plan_step *step, uint8_t node, uint8_t peer)
{
	uint8_t id;

	switch (step->act) {
	case PLAN_ISOLATE:
		sim.nodes[node].isolated = true;
		break;
	case PLAN_SPLIT:
		for (id = 1; id <= sim.count; id++)
			sim.nodes[id].side = (step->value >> (id - 1)) & 1;
		break;
	case PLAN_SEVER:
		sim.nodes[node].deaf |= CORE_NODE_BIT(peer);
		/* fall through */
	case PLAN_CUT:
		if (node != peer)
			sim.nodes[peer].deaf |= CORE_NODE_BIT(node);
		break;
	case PLAN_MEND:
		mend();
		break;
	}
	SIM_SAY("network changes");
	sim_net_disturb();
}

/* Of two voters each one's memory is needed: a lost one leaves no majority, and the cluster rightly waits. */
static bool spare_vote(uint8_t node)
{
	uint8_t id;

	for (id = 1; id <= sim.count; id++)
		if (id != node && (unsigned)__builtin_popcount(sim.nodes[id].r->log.voters) != sim.count)
			return false;
	return sim.count >= 3;
}

/* A node loses its power, and comes back with another disk than it had. */
static void fault_store(const struct plan_step *step, uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];

	switch (step->act) {
	case PLAN_FSYNC:
		n->fsync_stuck_until = sim.now + step->for_ms;
		break;
	case PLAN_COPY:
		sim_disk_copy(node);
		SIM_SAY("node %u: somebody keeps a copy of its store", node);
		break;
	case PLAN_OLD_DISK:
	case PLAN_BAD_DISK:
		if (!n->power || n->damaged || !spare_vote(node))
			break;
		/* Nobody changes a disk while what the node said last is still on its way. */
		power(node, step->for_ms > 4000 ? step->for_ms : 4000);
		n->disk_change = step->act;
		n->disk_byte = step->value;
		break;
	}
}

/* The paths that never come back: of one node, and others are there to go on. */
static bool spare_path(uint8_t node, uint32_t volume)
{
	uint8_t id;

	for (id = 1; id <= sim.count; id++)
		if (id != node && (sim.nodes[id].mute_until[0] == UINT64_MAX ||
				   sim.nodes[id].mute_until[1] == UINT64_MAX))
			return false;
	return sim.count >= 3 && sim.formatted[volume];
}

static void fault_san(const struct plan_step *step, uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t volume = step->volume;

	switch (step->act) {
	case PLAN_KEY:
		if (!n->power || !sim_registered(node, volume))
			break;
		SIM_SAY("node %u: somebody removes its key from volume %u", node, volume);
		sim_lun_key_gone(node, volume);
		break;
	case PLAN_FORGET:
		if (!sim.formatted[volume])
			break;
		SIM_SAY("volume %u: its target forgets all keys", volume);
		sim_lun_forget(volume);
		break;
	case PLAN_NEXUS:
		if (!n->power || !sim_registered(node, volume))
			break;
		SIM_SAY("node %u: speaks to volume %u by another nexus", node, volume);
		n->nexus_new[volume] = !n->nexus_new[volume];
		sim_lun_check();
		sim_oracle_blame(node);
		break;
	case PLAN_PATHS:
		/* Two of three that lose a LUN are a fault of the site: what then ends is judged by
		 * I1 to I4 only. */
		if (!n->power || n->mute_until[volume] > sim.now)
			break;
		n->mute_until[volume] = step->value && spare_path(node, volume)
						? UINT64_MAX
						: sim.now + step->for_ms;
		SIM_SAY("node %u: volume %u does not answer it %s", node, volume,
			n->mute_until[volume] == UINT64_MAX ? "any more" : "for a time");
		sim_oracle_blame(node);
		excuse(node, n->mute_until[volume] == UINT64_MAX ? sim.now : n->mute_until[volume]);
		break;
	case PLAN_WRITES:
		sim.writes_late_until[volume] = sim.now + step->for_ms;
		break;
	}
}

static void fault_vm(const struct plan_step *step, uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t i;

	switch (step->act) {
	case PLAN_GUEST:
		sim_guest_stop(node, step->vm, (uint32_t)step->value);
		break;
	case PLAN_VMM:
		sim_vmm_die(node, step->vm);
		break;
	case PLAN_HANG:
		n->hang_until[step->vm] = sim.now + step->for_ms;
		break;
	case PLAN_REPLY:
		for (i = 0; i < SIM_RUNS; i++)
			if (n->runs[i].used && n->runs[i].stage <= 1 &&
			    (!step->arg || n->runs[i].fx.kind == step->arg))
				n->runs[i].fate = (uint8_t)step->value;
		break;
	}
}

/* ---- operators ------------------------------------------------------------------------------ */

static void vm_create(uint8_t node, unsigned vm)
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
	sim_command(node, PLAN_VM_CREATE, (uint8_t)vm, false, cmd);
}

static void operate(const struct plan_step *step)
{
	static const uint8_t kinds[PLAN_ACTS] = {
		[PLAN_VM_START] = CORE_CMD_VM_START,	   [PLAN_VM_STOP] = CORE_CMD_VM_STOP,
		[PLAN_VM_DELETE] = CORE_CMD_VM_DELETE,	   [PLAN_VM_MIGRATE] = CORE_CMD_VM_MIGRATE,
		[PLAN_VM_CANCEL] = CORE_CMD_VM_CANCEL,	   [PLAN_NODE_PAUSE] = CORE_CMD_NODE_PAUSE,
		[PLAN_NODE_RESUME] = CORE_CMD_NODE_RESUME, [PLAN_CONFIRM] = CORE_CMD_NODE_CONFIRM,
		[PLAN_VOLUME_MOVE] = CORE_CMD_VOLUME_MOVE, [PLAN_VM_SET] = CORE_CMD_VM_SET,
		[PLAN_CAPS] = CORE_CMD_CLUSTER_SET,	   [PLAN_CLUSTER] = CORE_CMD_CLUSTER_ARM,
	};
	struct core_command *cmd = command(kinds[step->act]);
	uint8_t subject = step->vm;

	name_of(cmd->name, 'v', step->vm);
	switch (step->act) {
	case PLAN_VM_CREATE:
		vm_create(step->node, step->vm);
		return;
	case PLAN_VM_STOP:
		cmd->force = step->value;
		break;
	case PLAN_VM_SET:
	case PLAN_CAPS:
		sim_policy_change(cmd);
		break;
	case PLAN_CLUSTER:
		cmd->name[0] = '\0';
		sim_maintain_command(cmd);
		break;
	case PLAN_VM_DELETE:
		sim.vm_gone[step->vm] = true;
		break;
	case PLAN_VM_MIGRATE:
		if (step->peer)
			name_of(cmd->target, 'n', step->peer);
		cmd->method = (uint8_t)step->value;
		break;
	case PLAN_NODE_PAUSE:
	case PLAN_NODE_RESUME:
		name_of(cmd->name, 'n', step->peer);
		cmd->drain = cmd->failback = step->value;
		subject = step->peer;
		break;
	case PLAN_CONFIRM:
		/* An operator who has looked: the node is off, and stays off until the answer. */
		if (sim.nodes[step->peer].power)
			return;
		name_of(cmd->name, 'n', step->peer);
		sim_oracle_proof(step->peer);
		break;
	case PLAN_VOLUME_MOVE:
		name_of(cmd->name, 'd', step->volume);
		name_of(cmd->target, 'n', step->peer);
		break;
	}
	sim_command(step->node, step->act, subject, step->value, cmd);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static uint8_t resolve(uint8_t node, uint8_t where, uint8_t other)
{
	if (node == PLAN_WHERE)
		return where;
	return node == PLAN_OTHER ? other : node;
}

void sim_step(uint32_t index, uint8_t where, uint8_t other)
{
	const struct plan_step *step = &sim.plan.steps[index % PLAN_STEPS];
	uint8_t node = resolve(step->node, where, other), peer = resolve(step->peer, where, other);

	if (sim.healed || node > sim.count || peer > sim.count)
		return;
	if (index >= PLAN_STEPS) {
		sim.nodes[where].isolated = false;
		sim_net_disturb();
		return;
	}
	/* Of what happens at no node in particular any number will do. */
	if (!node && step->act != PLAN_POWER_ALL && step->act != PLAN_SPLIT &&
	    step->act != PLAN_MEND && step->act != PLAN_FORGET && step->act != PLAN_WRITES)
		return;
	sim.steps_done++;
	if (sim.opt.trace) {
		sim_say("-- step %u%s:", index, step->when ? " (triggered)" : "");
		plan_step_print(step, stdout);
	}
	if (step->act > PLAN_FAULTS_LAST)
		operate(step);
	else if (step->act >= PLAN_GUEST)
		fault_vm(step, node);
	else if (step->act >= PLAN_KEY)
		fault_san(step, node);
	else if (step->act >= PLAN_FSYNC)
		fault_store(step, node);
	else if (step->act >= PLAN_ISOLATE)
		fault_net(step, node, peer);
	else
		fault_node(step, node);
	if (step->act == PLAN_ISOLATE && step->for_ms)
		sim_push(sim.now + step->for_ms, SIM_EV_STEP, node, index + PLAN_STEPS, 0);
}

bool sim_hook(enum plan_when when, uint8_t arg, uint8_t node, uint8_t other)
{
	bool fired = false;
	uint32_t i;

	for (i = 0; i < sim.plan.count; i++) {
		const struct plan_step *step = &sim.plan.steps[i];

		if (step->when != when || step->arg != arg || sim.step_over[i] || sim.healed ||
		    step->at_ms > sim.now || (step->on && step->on != node))
			continue;
		if (++sim.step_seen[i] < step->nth)
			continue;
		sim.step_over[i] = true;
		sim.armed[when]--;
		fired = true;
		sim_push(sim.now, SIM_EV_STEP, node, i, other);
	}
	return fired;
}

/* ---- from the first boot to the end --------------------------------------------------------- */

void sim_plan_start(void)
{
	uint32_t i;
	uint8_t id;

	sim.p_lost = sim.plan.p_lost;
	sim.p_fail = sim.plan.p_fail;
	sim.p_slow = sim.plan.p_slow;
	sim_policy_start();
	for (id = 1; id <= sim.count; id++) {
		sim.nodes[id].drift_ppm = sim.plan.drift_ppm[id];
		sim_boot(id);
	}
	sim_push(1500, SIM_EV_BUILD, 0, 0, 0);
	for (i = 0; i < sim.plan.count; i++) {
		const struct plan_step *step = &sim.plan.steps[i];

		if (step->when)
			sim.armed[step->when]++;
		else if (step->act)
			sim_push(step->at_ms, SIM_EV_STEP, 0, i, 0);
	}
	sim.heal_at = sim.plan.heal_ms;
	sim_push(sim.heal_at, SIM_EV_HEAL, 0, 0, 0);
}

/* Nodes, volumes, VMs.  Repeats are refused, which is part of it. */
void sim_build(void)
{
	struct core_command *cmd;
	unsigned volume, vm;
	uint8_t node;

	if (sim.now >= BUILD_UNTIL_MS || sim.healed)
		return;
	sim_push(sim.now + 300 + sim_below(3000), SIM_EV_BUILD, 0, 0, 0);
	for (node = 2; node <= sim.count; node++) {
		cmd = command(CORE_CMD_NODE_ADD);
		cmd->node = node;
		name_of(cmd->name, 'n', node);
		if (sim.nodes[1].daemon && sim.nodes[1].r->st.nodes[node].state == CORE_NODE_UNUSED)
			sim_command(1, PLAN_ACT_NONE, 0, false, cmd);
	}
	for (volume = 0; volume < sim.volume_count; volume++) {
		cmd = command(CORE_CMD_VOLUME_ADD);
		name_of(cmd->name, 'd', volume);
		name_of(cmd->lun, 'l', volume);
		sim_command((uint8_t)(1 + sim_below(sim.count)), PLAN_ACT_NONE, 0, false, cmd);
	}
	for (vm = 0; vm < sim.vm_count; vm++) {
		uint8_t via = (uint8_t)(1 + sim_below(sim.count));

		vm_create(via, vm);
		cmd = command(CORE_CMD_VM_START);
		name_of(cmd->name, 'v', vm);
		sim_command(via, PLAN_VM_START, (uint8_t)vm, false, cmd);
	}
}

void sim_heal(void)
{
	uint8_t id;

	SIM_SAY("healing");
	sim.healed = true;
	sim.p_lost = sim.p_fail = sim.p_slow = 0;
	mend();
	memset(sim.writes_late_until, 0, sizeof(sim.writes_late_until));
	for (id = 1; id <= sim.count; id++) {
		struct sim_node *n = &sim.nodes[id];

		if (n->stalled_until > sim.now)
			n->stalled_until = sim.now;
		if (n->daemon_stalled > sim.now)
			n->daemon_stalled = sim.now;
		n->fsync_stuck_until = 0;
		for (unsigned volume = 0; volume < SIM_VOLUMES; volume++)
			if (n->mute_until[volume] != UINT64_MAX)
				n->mute_until[volume] = 0;
		memset(n->hang_until, 0, sizeof(n->hang_until));
		if (!n->power)
			later(sim_below(2000), SIM_EV_BOOT, id);
		else if (!n->daemon)
			later(sim_below(2000), SIM_EV_DAEMON, id);
	}
	sim_net_disturb();
	sim_push(sim.now + 12000, SIM_EV_CHECK, 0, 0, 0);
}

/* Operators clean up: resume nodes, start what gave up. */
static void clean_up(void)
{
	const struct core_state *st = &sim.nodes[1].r->st;
	uint32_t i;
	uint8_t id;

	if (st->disarmed)
		sim_command((uint8_t)(1 + sim_below(sim.count)), PLAN_CLUSTER, 0, false,
			    command(CORE_CMD_CLUSTER_ARM));
	for (id = 1; id <= sim.count; id++) {
		struct core_command *cmd = command(CORE_CMD_NODE_RESUME);

		if (!sim.nodes[id].daemon || st->nodes[id].state == CORE_NODE_UP ||
		    (!st->nodes[id].pause && st->nodes[id].state != CORE_NODE_QUARANTINED))
			continue;
		name_of(cmd->name, 'n', id);
		sim_command((uint8_t)(1 + sim_below(sim.count)), PLAN_NODE_RESUME, id, false, cmd);
	}
	for (i = 0; i < st->vm_count; i++) {
		struct core_command *cmd = command(CORE_CMD_VM_START);

		if (st->vms[i].state != CORE_VM_FAILED)
			continue;
		core_str_copy(cmd->name, sizeof(cmd->name), st->vms[i].config.name);
		sim_command((uint8_t)(1 + sim_below(sim.count)), PLAN_VM_START,
			    (uint8_t)sim_vm_of(cmd->name), false, cmd);
	}
}

/* A VM goes home by its policy when a slow tick shows that its window is open: also long after all was well. */
static bool goes_home(void)
{
	const struct core_state *st = &sim.nodes[1].r->st;
	uint16_t i;

	for (i = 0; i < st->vm_count; i++)
		if (st->vms[i].state == CORE_VM_LIVE &&
		    st->vms[i].policy.failback != CORE_FAILBACK_NEVER)
			return true;
	return false;
}

void sim_check(void)
{
	bool well = sim_oracle_converged(false, !sim.well), quiet;
	uint8_t id;

	quiet = sim.well && well && sim.now >= sim.well_since + SIM_QUIET_MS &&
		sim_oracle_converged(false, true);
	if (sim_maintain_plan(quiet)) {
		sim.well = false;
		sim_push(sim.now + 1000, SIM_EV_CHECK, 0, 0, 0);
		return;
	}

	for (id = 1; id <= sim.count; id++)
		sim_history_read(id);
	if (well && !sim.well) {
		sim.well = true;
		sim.well_since = sim.now;
	}
	if (sim.well && !well && goes_home())
		sim.well = false;
	if (sim.well && !well) {
		/* Nothing happens any more, so nothing may come undone. */
		sim_oracle_converged(true, false);
		return;
	}
	if (quiet) {
		sim_oracle_end();
		sim_history_end();
		sim.converged = true;
		return;
	}
	if (sim.now > sim.heal_at + HEAL_BOUND_MS) {
		sim_oracle_converged(true, true);
		return;
	}
	if (!sim.well)
		clean_up();
	sim_push(sim.now + 1000, SIM_EV_CHECK, 0, 0, 0);
}

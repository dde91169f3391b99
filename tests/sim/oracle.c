/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must never be (numbers of docs/decisions/proof.md): judged from processes, registrations,
 * disks and answers, never from what the core believes.
 *
 *   I1  no two copies of a VM that can write; no two that execute; no volume mounted twice
 *   I2  all committed logs are one; a committed entry is on the disks of a majority
 *   I3  what was acknowledged is there at the end
 *   I4  a start elsewhere needs the end of the last copy: seen, or proven by an answer that arrived
 *   I5  a node is fenced only if something befell that incarnation which the promise does not
 *       cover: power, a stop of the whole, the network, its key, a clusterd silent beyond the hold.  A clusterd or a csvd
 *       that dies and comes back, a lost reply, a slow disk, a clock are no reason.  None when all is well
 *   I6  after healing everything that should run runs, within a bound, and then nothing stirs
 *   I11 before a VM starts elsewhere the lost node's copy can execute no more, whatever is stopped or
 *       dead there (its vmm's lease); and a clusterd that runs has ended it
 *   I7  a migration's target runs only when the source is paused for good; an image is used once
 */
#include "tests/sim/sim.h"

#include <string.h>

#include "clusterd/log/internal.h"

bool sim_executes(uint8_t node, uint32_t vm)
{
	const struct sim_vm *p = &sim.nodes[node].vms[vm];

	return sim_node_runs(node) && sim_lease_holds(node) &&
	       (p->state == SIM_VM_RUNNING || p->state == SIM_VM_SENDING);
}

void sim_oracle_vms(uint32_t vm)
{
	uint8_t node, first = 0, writer = 0;

	for (node = 1; node <= sim.count; node++) {
		if (!sim_executes(node, vm))
			continue;
		if (sim.nodes[node].vms[vm].generation < sim.top_generation[vm])
			sim_fail("I1: v%u executes on node %u with generation %llu, %llu was given out", vm,
				 node, (unsigned long long)sim.nodes[node].vms[vm].generation,
				 (unsigned long long)sim.top_generation[vm]);
		if (sim_may_write(node, sim_volume_of(vm))) {
			if (writer)
				sim_fail("I1: v%u can write on node %u and node %u", vm, writer, node);
			writer = node;
		}
		if (first)
			sim_fail("I1: v%u executes on node %u and node %u", vm, first, node);
		first = node;
	}
}

void sim_oracle_start(uint8_t node, uint32_t vm, uint64_t generation, bool migrated)
{
	uint8_t other;

	/* Told to start by what was in progress when the node stood still: it is judged if it thaws. */
	if (!sim_lease_holds(node))
		return;
	sim_policy_began(node, vm);
	/* The same start asked again by a restarted clusterd, after its process has died, is no other copy. */
	if (generation <= sim.top_generation[vm] &&
	    !(generation == sim.top_generation[vm] && sim.top_node[vm] == node))
		sim_fail("I1: v%u starts on node %u with generation %llu, %llu was given out before",
			 vm, node, (unsigned long long)generation,
			 (unsigned long long)sim.top_generation[vm]);
	sim.top_generation[vm] = generation;
	sim.top_node[vm] = node;
	for (other = 1; other <= sim.count; other++) {
		uint8_t state = sim.nodes[other].vms[vm].state;

		/* A migration's target that was never told to run does not count. */
		if (other != node && !migrated && (state == SIM_VM_RUNNING || state == SIM_VM_SENDING) &&
		    sim_lease_holds(other))
			sim_fail("I11: v%u starts on node %u while it may execute on node %u", vm, node,
				 other);
		if (other != node && !migrated && state && state != SIM_VM_INCOMING &&
		    state != SIM_VM_READY && sim.excused_until[other] <= sim.now &&
		    sim.now - sim.learning_at[other] > CORE_KILL_EXEC_MS)
			sim_fail("I11: v%u starts on node %u while its process on node %u still exists",
				 vm, node, other);
		if (other == node || !sim.held[vm][other])
			continue;
		if (migrated && sim.switched[vm][other])
			continue;
		sim_fail("%s: v%u starts on node %u without proof of its end on node %u",
			 migrated ? "I7" : "I4", vm, node, other);
	}
}

void sim_oracle_mount(uint8_t node, uint32_t volume, core_nodes members)
{
	uint8_t other;

	for (other = 1; other <= sim.count; other++) {
		struct sim_node *o = &sim.nodes[other];

		/*
		 * What a fence has barred and its target then forgot, the target has let in again: VMs are held
		 * by their lease, a lost owner's mount by nothing (docs/decisions/simulation.md).
		 */
		if (other == node || sim.let_in[volume][other])
			continue;
		if (o->mounted[volume] && sim_may_write(other, volume))
			sim_fail("I1: volume %u mounted on node %u and node %u", volume, other, node);
		if (sim.mount_held[volume][other])
			sim_fail("I4: node %u takes volume %u without proof of the end of node %u", node,
				 volume, other);
		if (o->power && o->layouts[volume] && !(members & CORE_NODE_BIT(other)) &&
		    sim_may_write(other, volume))
			sim_fail("I4: node %u takes volume %u while node %u may write to it", node,
				 volume, other);
	}
	sim.mount_held[volume][node] = true;
	for (other = 1; other <= sim.count; other++)
		sim.nodes[other].layouts[volume] |= sim.nodes[other].attached[volume] &&
						    (members & CORE_NODE_BIT(other));
}

void sim_oracle_fenced(uint32_t volume, uint8_t node)
{
	uint32_t vm;

	sim.mount_held[volume][node] = false;
	for (vm = 0; vm < SIM_VMS; vm++)
		if (sim_volume_of(vm) == volume)
			sim.held[vm][node] = false;
}

void sim_oracle_proof(uint8_t node)
{
	uint32_t volume;

	for (volume = 0; volume < SIM_VOLUMES; volume++) {
		sim_oracle_fenced(volume, node);
		sim.barred[volume][node] = sim.let_in[volume][node] = false;
	}
}

static bool disk_has(uint8_t node, const struct log_mark *mark)
{
	const struct sim_store *s = &sim.nodes[node].store;

	if (s->has_snapshot && s->snap_mark.seq >= mark->seq)
		return true;
	return s->first <= mark->seq && mark->seq <= s->last &&
	       s->entry[mark->seq % SIM_ENTRIES]->mark.hash == mark->hash;
}

/* An entry that nobody had committed before: on how many disks is it? */
static void commit_new(uint8_t node, const struct log *log, const struct log_mark *mark)
{
	unsigned have = 0, all = 0;
	uint8_t id;

	sim.commit_hash[mark->seq] = mark->hash;
	for (id = 1; id <= sim.count; id++) {
		if (!(log->voters & LOG_NODE_BIT(id)))
			continue;
		all++;
		have += disk_has(id, mark);
	}
	if (have * 2 <= all)
		sim_fail("I2: entry %llu committed with %u of %u disks", (unsigned long long)mark->seq,
			 have, all);
}

/* A node's own word to a majority that a VM's process has ended there. */
static void commit_exit(const struct log_entry *entry)
{
	static struct core_command cmd;
	int vm;

	if (entry->kind != LOG_ENTRY_DATA || !entry->len_bytes || entry->bytes[0] != CORE_CMD_VM_EXIT ||
	    core_command_decode(&cmd, entry->bytes, entry->len_bytes))
		return;
	vm = sim_vm_of(cmd.name);
	if (vm >= 0 && !sim.nodes[cmd.node].vms[vm].state &&
	    cmd.generation >= sim.held_generation[vm][cmd.node])
		sim.held[vm][cmd.node] = false;
}

/* Its clusterd has been silent for the least hold that operators set here (maintain.c). */
static bool silent_too_long(uint8_t node)
{
	const uint32_t silent_ms = 20000;
	uint64_t since = sim.silent_since[node];

	return since && sim.now - since + silent_ms / 100 + SIM_SKEW_MS >= silent_ms;
}

void sim_oracle_commit(uint8_t node)
{
	struct log *log = &sim.nodes[node].r->log;
	const struct log_mark *mark = &log->commit;
	uint64_t seq;

	sim_maintain_commit(node);
	if (!log_is_open(log))
		sim.learning_at[node] = sim.now;
	if (sim.nodes[node].r->hello_done && sim.nodes[node].r->safe) {
		/* It speaks again; the entry that its silence lasted too long may be on its way. */
		if (silent_too_long(node))
			sim_oracle_blame(node);
		sim.silent_since[node] = 0;
	}
	if (log->halted)
		sim_fail("I2: node %u halted: its history is not the cluster's", node);
	if (!mark->seq)
		return;
	if (mark->seq >= SIM_ENTRIES) {
		sim_fail("I10: %u entries: something goes round in circles", SIM_ENTRIES);
		return;
	}
	if (sim.commit_hash[mark->seq]) {
		if (sim.commit_hash[mark->seq] != mark->hash)
			sim_fail("I2: node %u committed another entry %llu", node,
				 (unsigned long long)mark->seq);
		return;
	}
	for (seq = sim.commit_max + 1; seq <= mark->seq; seq++) {
		const struct log_entry *entry = log_entry_at(log, seq);

		if (!entry)
			continue; /* in a snapshot that it was given */
		commit_new(node, log, &entry->mark);
		commit_exit(entry);
		sim_history_entry(entry);
	}
	if (mark->seq > sim.commit_max)
		sim.commit_max = mark->seq;
	if (sim.nodes[node].r->safe && sim.nodes[node].r->hello_done &&
	    !sim.nodes[node].r->st.nodes[node].doomed && sim.excused_until[node] == UINT64_MAX)
		sim.excused_until[node] = 0;
}

/* ---- fencing -------------------------------------------------------------------------------- */

void sim_oracle_blame(uint8_t node)
{
	sim.blamed_at[node] = sim.now;
}

/* An executor begins to fence: what befell this incarnation of the victim? */
void sim_oracle_fence(uint8_t executor, const struct core_effect *fx)
{
	uint8_t victim = fx->peer;

	if ((uint32_t)fx->pr_key != sim.joined[victim])
		return; /* of an incarnation before: that was its end */
	if (sim.well)
		sim_fail("I5: node %u fences node %u when all is well", executor, victim);
	if (sim.blamed_at[victim] + SIM_ENTRY_MS >= sim.joined_at[victim])
		return;
	/* Parted, and its incarnation came with what the log had to catch up on. */
	if (sim.nodes[victim].ring != sim.nodes[executor].ring)
		return;
	if (silent_too_long(victim)) {
		sim_oracle_blame(victim); /* it may be back before the fence has been tried for the last time */
		return;
	}
	sim_fail("I5: node %u fences node %u, which nothing befell", executor, victim);
}

/* ---- decisions ------------------------------------------------------------------------------ */

static void digest(const void *data, size_t len)
{
	sim.decisions = cl_hash64(sim.decisions, data, len);
}

static void joined(const struct core_node *n)
{
	if (!n || sim.joined[n->id] == n->incarnation)
		return;
	sim.joined[n->id] = n->incarnation;
	sim.joined_at[n->id] = sim.now;
}

/* A line of what the cluster decided, once: the first node that knows it. */
static void decided(uint8_t node, const struct core_trace *trace)
{
	char text[400];

	digest(&trace->seq, sizeof(trace->seq));
	digest(&trace->object, 3);
	digest(&trace->cause.reason, 1);
	digest(trace->name, sizeof(trace->name));
	if (trace->object == CORE_OBJECT_NODE)
		joined(core_node_find(&sim.nodes[node].r->st, trace->name));
	if (trace->object == CORE_OBJECT_VM && trace->after == CORE_VM_UNUSED &&
	    sim.freed_count < CL_ARRAY_LEN(sim.freed)) {
		sim.freed[sim.freed_count].vm = (uint8_t)sim_vm_of(trace->name);
		sim.freed[sim.freed_count++].seq = trace->seq;
	}
	if (!sim.opt.trace && !sim.plan.expect_count)
		return;
	core_trace_render(&sim.nodes[node].r->st, trace, text, sizeof(text));
	sim_say("entry %llu (node %u): %s", (unsigned long long)trace->seq, node, text);
}

void sim_oracle_trace(uint8_t node, const struct core_trace *trace)
{
	/* Of one entry's records all come from the same node: it is the first to be there. */
	if (trace->seq < sim.decided_seq || (trace->seq == sim.decided_seq && sim.decided_by != node))
		return;
	sim.decided_seq = trace->seq;
	sim.decided_by = node;
	decided(node, trace);
}

/* ---- the end -------------------------------------------------------------------------------- */

#define WAITS(...)                                                                                 \
	do {                                                                                       \
		if (say)                                                                           \
			sim_fail("I6: " __VA_ARGS__);                                              \
		return false;                                                                      \
	} while (0)

static const char *cause_text(const struct core_cause *cause)
{
	static char text[512];

	core_cause_render(&sim.nodes[1].r->st, cause, text, sizeof(text));
	return text;
}

static bool mute_anywhere(uint32_t volume)
{
	uint8_t id;

	for (id = 1; id <= sim.count; id++)
		if (sim_mute(id, volume))
			return true;
	return false;
}

bool sim_oracle_converged(bool say, bool all)
{
	const struct core_state *st = &sim.nodes[1].r->st;
	uint8_t id;
	uint32_t i;

	for (id = 1; id <= sim.count; id++) {
		if (!sim.nodes[id].power || !sim.nodes[id].daemon)
			WAITS("node %u is off", id);
		if (!log_is_open(&sim.nodes[id].r->log))
			WAITS("node %u: log is %s%s", id, log_state_name(sim.nodes[id].r->log.state),
			      sim.nodes[id].r->log.hole ? " and behind" : "");
		if (!all)
			continue;
		if (sim.nodes[id].r->log.commit.seq != sim.nodes[1].r->log.commit.seq)
			WAITS("node %u: entry %llu, node 1: %llu", id,
			      (unsigned long long)sim.nodes[id].r->log.commit.seq,
			      (unsigned long long)sim.nodes[1].r->log.commit.seq);
		if (sim.nodes[id].r->log.pending_count)
			WAITS("node %u: %u proposals are out", id, sim.nodes[id].r->log.pending_count);
	}
	for (id = 1; id <= sim.count; id++)
		if (st->nodes[id].state != CORE_NODE_UP)
			WAITS("node %u is %s: %s", id, core_node_state_name(st->nodes[id].state),
			      cause_text(&st->nodes[id].cause));
	for (i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED &&
		    st->volumes[i].state != CORE_VOLUME_ACTIVE)
			WAITS("volume %s is %s: %s", st->volumes[i].name,
			      core_volume_state_name(st->volumes[i].state),
			      cause_text(&st->volumes[i].cause));
	for (i = 0; i < st->volume_count; i++) {
		const struct core_volume *v = &st->volumes[i];
		uint16_t lun = sim_volume_named(v->name);

		if (v->state != CORE_VOLUME_ACTIVE)
			continue;
		for (id = 1; id <= sim.count; id++)
			if (!sim.nodes[id].attached[lun] && !sim_mute(id, lun))
				WAITS("node %u is up without volume %s", id, v->name);
		if (sim_mute(v->owner, lun))
			WAITS("volume %s is owned by node %u, which its LUN does not answer",
			      v->name, v->owner);
		if (!sim.nodes[v->owner].mounted[lun])
			WAITS("volume %s is not mounted at its owner, node %u", v->name, v->owner);
	}
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];
		int index;

		if (vm->state == CORE_VM_UNUSED)
			continue;
		index = sim_vm_of(vm->config.name);
		/* Its policy may leave it no node but the one whose paths are gone. */
		if (vm->state == CORE_VM_WAITING && vm->cause.reason == CORE_WHY_VM_NO_ROOM &&
		    mute_anywhere(sim_volume_of((uint32_t)index)))
			continue;
		if (vm->state != (vm->run ? CORE_VM_RUNNING : CORE_VM_STOPPED))
			WAITS("VM %s is %s: %s", vm->config.name, core_vm_state_name(vm->state),
			      cause_text(&vm->cause));
		if (vm->copies & ~(vm->run ? CORE_NODE_BIT(vm->node) : 0))
			WAITS("VM %s: something of it may be left elsewhere", vm->config.name);
		if (vm->run && sim_mute(vm->node, sim_volume_of((uint32_t)index)))
			WAITS("VM %s runs on node %u, which its LUN does not answer",
			      vm->config.name, vm->node);
		if (vm->run && !sim_executes(vm->node, (uint32_t)index))
			WAITS("VM %s should run on node %u and does not", vm->config.name, vm->node);
	}
	if (all && st->effect_count)
		WAITS("effect %s of node %u is out", core_effect_name(st->effects[0].kind),
		      st->effects[0].node);
	return true;
}

void sim_oracle_end(void)
{
	static uint8_t a[LOG_SNAPSHOT_MAX], b[LOG_SNAPSHOT_MAX];
	long len = core_snapshot_encode(&sim.nodes[1].r->st, a, sizeof(a));
	uint32_t vm;
	uint8_t id;

	for (id = 2; id <= sim.count; id++)
		if (core_snapshot_encode(&sim.nodes[id].r->st, b, sizeof(b)) != len ||
		    memcmp(a, b, (size_t)len))
			sim_fail("I2: node %u and node 1 have different states at entry %llu", id,
				 (unsigned long long)sim.nodes[1].r->st.applied_seq);
	for (vm = 0; vm < SIM_VMS; vm++) {
		char name[3] = { 'v', (char)('0' + vm), 0 };
		bool there = core_vm_find(&sim.nodes[1].r->st, name, NULL) != NULL;

		if (sim.vm_acked[vm] && !sim.vm_gone[vm] && !there)
			sim_fail("I3: %s was acknowledged and is not there", name);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long the core decides, and what it needs: core [--runs N] [--json].
 *
 * A cluster of N nodes and V VMs is brought up by commands, as an operator would; then, per size:
 *   change    one VM created, its disk confirmed, started, and stopped: per entry
 *   waiting   one entry while 64 VMs wait that fit nowhere
 *   failover  a node is lost: every entry from its loss to the last VM_START, all together and the
 *             longest one
 *   snapshot  bytes, and the time to write and to read it
 * Times are CPU time of this thread, medians of N runs (5); they say nothing of the network or the disk.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clusterd/core/core.h"
#include "clusterd/core/replica.h"

#define NODE_MIB 262144u
#define VM_MIB	 512u
#define LIMIT_US 100000.0 /* a failover of one node among 16 must be decided within */

struct figures {
	double change_us, waiting_us, failover_us, longest_us, encode_us, decode_us;
	unsigned moved;
	long snapshot_bytes;
};

static struct core_state st, copy;
static struct core_command cmd, scratch;
static struct core_answer answer;
static uint8_t bytes[LOG_ENTRY_MAX], snapshot[LOG_SNAPSHOT_MAX];
static double apply_us, apply_longest_us;
static unsigned applied;

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static struct core_command *fresh(uint8_t kind, const char *name)
{
	memset(&cmd, 0, sizeof(cmd));
	cmd.kind = kind;
	snprintf(cmd.name, sizeof(cmd.name), "%s", name);
	return &cmd;
}

static void apply(void)
{
	long len = core_command_encode(&cmd, bytes, sizeof(bytes));
	double begin = now_us(), took;

	if (len < 0)
		abort();
	core_apply(&st, st.applied_seq + 1, bytes, (size_t)len, &scratch, &answer);
	took = now_us() - begin;
	apply_us += took;
	if (took > apply_longest_us)
		apply_longest_us = took;
	applied++;
	if (answer.err) {
		fprintf(stderr, "core: %s %s: %s\n", core_command_name(cmd.kind), cmd.name, answer.text);
		exit(1);
	}
}

static void counters_clear(void)
{
	apply_us = apply_longest_us = 0;
	applied = 0;
}

/* Every effect out succeeds, but those of the kind `but`. */
static void settle(uint8_t but)
{
	for (;;) {
		const struct core_effect *fx = NULL;

		for (uint16_t i = 0; i < st.effect_count && !fx; i++)
			if (st.effects[i].kind && st.effects[i].kind != but)
				fx = &st.effects[i];
		if (!fx)
			return;
		fresh(CORE_CMD_RESULT, "");
		cmd.result.id = fx->id;
		cmd.result.outcome = CL_DONE;
		cmd.result.values[0] = 7410;
		apply();
	}
}

static void vm_create(unsigned n, uint32_t memory_mib)
{
	fresh(CORE_CMD_VM_CREATE, "");
	snprintf(cmd.vm.name, sizeof(cmd.vm.name), "vm%04u", n);
	snprintf(cmd.vm.kernel, sizeof(cmd.vm.kernel), "/clusterstorage/data/kernels/vmlinuz-6.1.0-18-amd64");
	snprintf(cmd.vm.initrd, sizeof(cmd.vm.initrd), "/clusterstorage/data/kernels/initrd.img-6.1.0-18-amd64");
	snprintf(cmd.vm.append, sizeof(cmd.vm.append), "root=/dev/vda1 ro console=ttyS0 quiet");
	cmd.vm.memory_mib = memory_mib;
	cmd.vm.cpus = 2;
	cmd.vm.disk_count = 1;
	snprintf(cmd.volume_names[0], CL_NAME_MAX, "data");
	snprintf(cmd.vm.disks[0].path, sizeof(cmd.vm.disks[0].path), "vm%04u/disk.img", n);
	cmd.vm.disks[0].size_bytes = 1 << 30;
	apply();
	settle(0);
}

static void members(core_nodes nodes)
{
	fresh(CORE_CMD_MEMBERS, "");
	cmd.members = cmd.alive = nodes;
	apply();
}

static void cluster_make(unsigned nodes, unsigned vms)
{
	char name[CL_NAME_MAX];

	core_state_init(&st);
	fresh(CORE_CMD_INIT, "bench");
	cmd.node = 1;
	snprintf(cmd.target, sizeof(cmd.target), "n1");
	apply();
	for (unsigned id = 2; id <= nodes; id++) {
		snprintf(name, sizeof(name), "n%u", id);
		fresh(CORE_CMD_NODE_ADD, name);
		apply();
	}
	members((core_nodes)((1u << nodes) - 1));
	for (unsigned id = 1; id <= nodes; id++) {
		fresh(CORE_CMD_HELLO, "");
		cmd.node = (uint8_t)id;
		cmd.uuid[0] = (uint8_t)id;
		cmd.memory_mib = NODE_MIB;
		cmd.cpus = 64;
		cmd.seen_seq = st.applied_seq;
		apply();
	}
	fresh(CORE_CMD_VOLUME_ADD, "data");
	snprintf(cmd.lun, sizeof(cmd.lun), "naa.600140500000000000000000000000001");
	apply();
	settle(0);
	for (unsigned n = 0; n < vms; n++) {
		vm_create(n, VM_MIB);
		snprintf(name, sizeof(name), "vm%04u", n);
		fresh(CORE_CMD_VM_START, name);
		apply();
		settle(0);
	}
}

static unsigned count(uint8_t state, uint8_t node)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < st.vm_count; i++)
		n += st.vms[i].state == state && (!node || st.vms[i].node == node);
	return n;
}

static void change(struct figures *f, unsigned vms)
{
	char name[CL_NAME_MAX];

	/* At the maximum there is no room for one more: the last one is taken anew. */
	snprintf(name, sizeof(name), "vm%04u", vms - 1);
	counters_clear();
	fresh(CORE_CMD_VM_STOP, name);
	apply();
	settle(0);
	fresh(CORE_CMD_VM_DELETE, name);
	apply();
	settle(0);
	vm_create(vms - 1, VM_MIB);
	fresh(CORE_CMD_VM_START, name);
	apply();
	settle(0);
	f->change_us = apply_us / applied;
}

static void failover(struct figures *f, unsigned nodes)
{
	unsigned before = count(CORE_VM_RUNNING, (uint8_t)nodes), deadline = 0;

	counters_clear();
	members((core_nodes)((1u << (nodes - 1)) - 1));
	settle(0);
	/* Volumes are taken over; the VMs wait for the hold. */
	while (count(CORE_VM_STARTING, 0) + count(CORE_VM_RUNNING, 0) < st.vm_count) {
		if (++deadline > 1000) {
			fprintf(stderr, "core: the failover does not end\n");
			exit(1);
		}
		fresh(CORE_CMD_TICK, "");
		cmd.delta_ms = 500;
		cmd.seen_seq = st.applied_seq;
		apply();
		settle(CORE_FX_VM_START);
	}
	f->moved = before;
	f->failover_us = apply_us;
	f->longest_us = apply_longest_us;
	settle(0);
}

static void waiting(struct figures *f)
{
	unsigned n = 0;

	/* The last 64 are made too big for any node. */
	for (uint16_t i = st.vm_count; i-- > 0 && n < 64; n++) {
		struct core_vm *vm = &st.vms[i];

		vm->config.memory_mib = 2 * NODE_MIB;
		vm->state = CORE_VM_WAITING;
		vm->copies = 0;
		vm->node = 0;
	}
	fresh(CORE_CMD_TICK, "");
	cmd.delta_ms = 1;
	apply();
	counters_clear();
	for (n = 0; n < 20; n++) {
		fresh(CORE_CMD_TICK, "");
		cmd.delta_ms = 1;
		cmd.seen_seq = st.applied_seq;
		apply();
	}
	f->waiting_us = apply_us / applied;
}

static void measure(unsigned nodes, unsigned vms, struct figures *f)
{
	double begin;

	cluster_make(nodes, vms);
	if (count(CORE_VM_RUNNING, 0) != vms) {
		fprintf(stderr, "core: %u of %u VMs run\n", count(CORE_VM_RUNNING, 0), vms);
		exit(1);
	}
	begin = now_us();
	f->snapshot_bytes = core_snapshot_encode(&st, snapshot, sizeof(snapshot));
	f->encode_us = now_us() - begin;
	begin = now_us();
	if (f->snapshot_bytes < 0 || core_snapshot_decode(&copy, snapshot, (size_t)f->snapshot_bytes)) {
		fprintf(stderr, "core: no snapshot\n");
		exit(1);
	}
	f->decode_us = now_us() - begin;
	change(f, vms);
	failover(f, nodes);
	waiting(f);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(struct figures *all, unsigned n, size_t offset)
{
	double *v = malloc(n * sizeof(*v)), m;

	if (!v)
		abort();
	for (unsigned i = 0; i < n; i++)
		memcpy(&v[i], (char *)&all[i] + offset, sizeof(v[i]));
	qsort(v, n, sizeof(*v), by_value);
	m = v[n / 2];
	free(v);
	return m;
}

#define MEDIAN(member) median(all, runs, offsetof(struct figures, member))

int main(int argc, char **argv)
{
	static const struct option options[] = { { "runs", required_argument, NULL, 'r' },
						 { "json", no_argument, NULL, 'j' },
						 { 0 } };
	static const unsigned sizes[][2] = { { 2, 64 },	   { 4, 64 },  { 16, 64 }, { 4, 256 },
					     { 16, 256 }, { 4, 768 }, { 8, 1024 }, { 16, 1024 } };
	unsigned runs = 5;
	bool json = false, slow = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			runs = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'j')
			json = true;
		if (c == '?' || !runs || runs > 1000) {
			fprintf(stderr, "usage: core [--runs N] [--json]\n");
			return 2;
		}
	}
	if (!json)
		printf("memory per node: state %zu KiB, whole replica %zu KiB\n"
		       "nodes   VMs  change/entry  64 waiting/entry  failover (VMs)     longest entry"
		       "  snapshot       write     read\n",
		       sizeof(struct core_state) >> 10, sizeof(struct replica) >> 10);
	for (unsigned s = 0; s < CL_ARRAY_LEN(sizes); s++) {
		struct figures *all = calloc(runs, sizeof(*all));

		if (!all)
			abort();
		for (unsigned i = 0; i < runs; i++)
			measure(sizes[s][0], sizes[s][1], &all[i]);
		if (sizes[s][0] == 16 && MEDIAN(failover_us) > LIMIT_US)
			slow = true;
		if (json)
			printf("{\"nodes\":%u,\"vms\":%u,\"change_us\":%.1f,\"waiting_us\":%.1f,"
			       "\"failover_us\":%.1f,\"failover_vms\":%u,\"longest_us\":%.1f,"
			       "\"snapshot_bytes\":%ld,\"encode_us\":%.1f,\"decode_us\":%.1f,"
			       "\"state_bytes\":%zu,\"replica_bytes\":%zu}\n",
			       sizes[s][0], sizes[s][1], MEDIAN(change_us), MEDIAN(waiting_us),
			       MEDIAN(failover_us), all[0].moved, MEDIAN(longest_us),
			       all[0].snapshot_bytes, MEDIAN(encode_us), MEDIAN(decode_us),
			       sizeof(struct core_state), sizeof(struct replica));
		else
			printf("%5u %5u %9.1f us %13.1f us %9.2f ms (%3u) %9.2f ms %9ld KiB %6.2f ms %5.2f ms\n",
			       sizes[s][0], sizes[s][1], MEDIAN(change_us), MEDIAN(waiting_us),
			       MEDIAN(failover_us) / 1000, all[0].moved, MEDIAN(longest_us) / 1000,
			       all[0].snapshot_bytes >> 10, MEDIAN(encode_us) / 1000,
			       MEDIAN(decode_us) / 1000);
		fflush(stdout);
		free(all);
	}
	if (slow)
		fprintf(stderr, "core: a failover among 16 nodes takes more than %.0f ms\n",
			LIMIT_US / 1000);
	return slow;
}

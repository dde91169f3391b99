/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the fuzzers of clusterd begin: corpus DIR writes DIR/TARGET/NAME, valid inputs made by the shipped encoders, so that
 * they are never of another format than the code.  A cluster of three is played by three replicas in this process; what they
 * tell each other, commit and store is what is written.
 *
 * fuzz-sources: clusterd/store_sqlite.c clusterd/post_linux.c clusterd/paths_linux.c clusterd/token.c clusterd/pki_gnutls.c clusterd/core/[a-z]*.c clusterd/log/[a-z]*.c common/cl_types.c common/cl_wire.c
 * fuzz-flags: -DHF_LIBEXECDIR="/x" -DHF_SBINDIR="/x" -lsqlite3 -lpthread -lgnutls
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/core/replica.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/store_sqlite.h"
#include "clusterd/token.h"

#define NODES	  3
#define QUEUE_MAX 4096
#define PACK_MAX  60000

struct packet {
	uint8_t node;
	size_t len;
	uint8_t *data;
};

static struct replica *replicas[NODES + 1];
static struct packet queue[QUEUE_MAX];
static unsigned head, tail, files;
static uint64_t ops[NODES + 1], now = 1000;
static struct core_effect effects[NODES + 1][CORE_EFFECTS_MAX];
static unsigned n_effects[NODES + 1], lists[NODES + 1];
static uint8_t pack[PACK_MAX], entries[PACK_MAX];
static size_t pack_len, entries_len;
static struct cd_store *store;
static uint64_t stored, durable;
static const char *dir;

static void file_write(const char *target, const void *data, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, target);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%u", dir, target, files++);
	f = fopen(path, "wb");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		exit(1);
}

static void put(uint8_t *to, size_t *len, int node, const void *data, size_t n)
{
	size_t head_bytes = node ? 3 : 2;

	if (*len + n + head_bytes > PACK_MAX || n > 0xffff)
		return;
	if (node)
		to[(*len)++] = (uint8_t)(node - 1 + 3); /* the target takes it modulo 3 */
	to[(*len)++] = (uint8_t)n;
	to[(*len)++] = (uint8_t)(n >> 8);
	memcpy(to + *len, data, n);
	*len += n;
}

static void sink(void *arg, const struct replica_out *out)
{
	int self = (int)(intptr_t)arg;

	switch (out->kind) {
	case REPLICA_MULTICAST:
		if (tail < QUEUE_MAX) {
			struct packet *p = &queue[tail++];

			p->node = (uint8_t)self;
			p->len = out->len_bytes;
			p->data = malloc(p->len);
			if (!p->data)
				exit(1);
			memcpy(p->data, out->data, p->len);
		}
		break;
	case REPLICA_STORE:
		ops[self] = out->log->op;
		if (self != 1)
			break;
		if (out->log->store == LOG_STORE_APPEND && out->log->entry->len_bytes)
			put(entries, &entries_len, 0, out->log->entry->bytes,
			    out->log->entry->len_bytes);
		cd_store_write(store, out->log);
		stored = out->log->op;
		break;
	case REPLICA_EFFECT:
		if (n_effects[self] < CORE_EFFECTS_MAX)
			effects[self][n_effects[self]++] = *out->effect;
		break;
	case REPLICA_LOCAL:
		lists[self] += out->local->kind == REPLICA_LIST;
		break;
	default:
		break;
	}
}

/* Everybody acts until nobody has anything to say. */
static void settle(core_nodes members)
{
	for (unsigned quiet = 0; quiet < 8; quiet++) {
		now += 100;
		for (int i = 1; i <= NODES; i++) {
			if (!(members & CORE_NODE_BIT(i)))
				continue;
			replica_durable(replicas[i], now, ops[i]);
			replica_timer(replicas[i], now, now);
			if (lists[i]) {
				lists[i] = 0;
				replica_hello(replicas[i], now, NULL, 0, 65536, 8, 1);
			}
			while (n_effects[i]) {
				struct core_result result = { .id = effects[i][--n_effects[i]].id,
							      .outcome = CL_DONE,
							      .values = { 7410, 1 } };

				replica_result(replicas[i], now, &result);
			}
		}
		while (head < tail) {
			struct packet *p = &queue[head++];

			quiet = 0;
			put(pack, &pack_len, p->node, p->data, p->len);
			for (int i = 1; i <= NODES; i++)
				if (members & CORE_NODE_BIT(i)) {
					replica_message(replicas[i], now, p->node, p->data, p->len);
					replica_durable(replicas[i], now, ops[i]);
				}
			free(p->data);
		}
		head = tail = 0;
	}
}

static void config(core_nodes members)
{
	for (int i = 1; i <= NODES; i++)
		replica_config(replicas[i], now,
			       members & CORE_NODE_BIT(i) ? members : CORE_NODE_BIT(i), members,
			       members & CORE_NODE_BIT(i));
	settle(members);
}

static void command(struct core_command *cmd)
{
	static uint64_t cookie;

	replica_command(replicas[1], now, ++cookie, cmd);
	settle(7);
}

static struct core_command *fresh(uint8_t kind, const char *name)
{
	static struct core_command cmd;

	memset(&cmd, 0, sizeof(cmd));
	cmd.kind = kind;
	strcpy(cmd.name, name);
	return &cmd;
}

static void snapshot_write(void)
{
	static uint8_t bytes[LOG_SNAPSHOT_MAX];
	long len = core_snapshot_encode(&replicas[1]->st, bytes, sizeof(bytes));

	if (len > 0)
		file_write("core_snapshot_fuzz", bytes, (size_t)len);
}

static void play(void)
{
	struct core_command *cmd = fresh(CORE_CMD_INIT, "fuzz");
	char name[3] = "n2";

	cmd->node = 1;
	strcpy(cmd->target, "n1");
	strcpy(cmd->address, "10.0.0.1");
	if (replica_bootstrap(replicas[1], cmd))
		exit(1);
	for (int i = 1; i <= NODES; i++)
		replica_start(replicas[i], now, 0);
	config(1);
	for (; name[1] <= '3'; name[1]++) {
		cmd = fresh(CORE_CMD_NODE_ADD, name);
		strcpy(cmd->address, "10.0.0.2");
		replica_command(replicas[1], now, 100, cmd);
		settle(1);
	}
	config(7);
	cmd = fresh(CORE_CMD_VOLUME_ADD, "data");
	strcpy(cmd->lun, "naa.6001405");
	command(cmd);
	cmd = fresh(CORE_CMD_VM_CREATE, "");
	strcpy(cmd->vm.name, "web");
	strcpy(cmd->vm.kernel, "/k");
	cmd->vm.memory_mib = 64;
	cmd->vm.cpus = 1;
	cmd->vm.disk_count = 1;
	strcpy(cmd->volume_names[0], "data");
	strcpy(cmd->vm.disks[0].path, "web.img");
	cmd->vm.disks[0].size_bytes = 1 << 20;
	command(cmd);
	command(fresh(CORE_CMD_VM_START, "web"));
	snapshot_write();
	cmd = fresh(CORE_CMD_VM_MIGRATE, "web");
	cmd->method = CORE_METHOD_LIVE;
	command(cmd);
	cmd = fresh(CORE_CMD_VM_MIGRATE, "web");
	cmd->method = CORE_METHOD_QUICK;
	command(cmd);
	cmd = fresh(CORE_CMD_NODE_PAUSE, "n2");
	cmd->drain = true;
	command(cmd);
	command(fresh(CORE_CMD_NODE_RESUME, "n2"));
	snapshot_write();
	config(3);
	snapshot_write();
	config(7);
	command(fresh(CORE_CMD_VM_STOP, "web"));
	command(fresh(CORE_CMD_VM_DELETE, "web"));
	snapshot_write();
}

static void on_durable(void *arg, uint64_t op)
{
	durable = op;
}

static void on_text(void *arg, const char *text)
{
	fprintf(stderr, "corpus: %s\n", text);
	exit(1);
}

static void texts_write(void)
{
	static const char *const requests[] = {
		"{\"do\":\"status\"}\n{\"do\":\"events\",\"since\":1}\n{\"do\":\"why\",\"object\":\"node\",\"name\":\"n1\"}",
		"{\"do\":\"vm-create\",\"name\":\"web\",\"kernel\":\"/k\",\"memory\":\"64M\",\"memory_mib\":64,\"cpus\":1,"
		"\"disks\":[{\"volume\":\"data\",\"path\":\"a/b.img\",\"size\":1048576}],\"nets\":[{\"switch\":\"br0\","
		"\"mac\":\"52:54:00:00:00:01\"}]}\n{\"do\":\"vm-start\",\"name\":\"web\",\"to\":\"n1\"}",
		"{\"do\":\"volume-add\",\"name\":\"data\",\"lun\":\"naa.6001405\",\"force\":true}\n{\"do\":\"volume-move\","
		"\"name\":\"data\",\"to\":\"n1\"}\n{\"do\":\"lun-list\"}",
		"{\"do\":\"vm-migrate\",\"name\":\"web\",\"to\":\"n1\",\"method\":\"live\"}\n{\"do\":\"vm-stop\",\"name\":"
		"\"web\",\"force\":true}\n{\"do\":\"vm-delete\",\"name\":\"web\"}\n{\"do\":\"vm-show\",\"name\":\"web\"}",
		"{\"do\":\"node-pause\",\"name\":\"n1\",\"drain\":true}\n{\"do\":\"node-resume\",\"name\":\"n1\",\"failback\":"
		"true}\n{\"do\":\"job\",\"id\":3}",
		"{\"do\":\"config-import\",\"plan\":true,\"config\":{\"format\":\"holdfast-config\",\"version\":1,\"cluster\":"
		"{\"name\":\"fuzz\",\"settings\":{\"takeover-ms\":15000}},\"nodes\":[{\"name\":\"n1\",\"id\":1,\"address\":"
		"\"\"}],\"volumes\":[],\"vms\":[{\"name\":\"web\",\"memory_mib\":64,\"cpus\":1,\"kernel\":\"/k\",\"initrd\":"
		"\"/i\",\"append\":\"a\",\"disks\":[],\"nets\":[{\"switch\":\"br0\",\"mac\":\"52:54:00:00:00:01\"}],"
		"\"policy\":{\"priority\":\"high\",\"preferred\":[\"n1\"],\"possible\":[],\"anti_affinity\":\"g\","
		"\"anti_affinity_hard\":true,\"failover_limit\":null,\"failback\":\"22-05\",\"drain\":\"live\"}}]}}\n"
		"{\"do\":\"config-export\"}",
		"{\"do\":\"cluster-set\",\"sets\":{\"spare\":1,\"takeover-ms\":20000}}\n{\"do\":\"cluster-disarm\"}\n"
		"{\"do\":\"cluster-arm\"}\n{\"do\":\"timing\"}\n{\"do\":\"node-fail\",\"name\":\"n1\",\"plan\":true}",
		"{\"do\":\"vm-set\",\"name\":\"web\",\"policy\":{\"max_pause_ms\":5,\"restart_wait_s\":9,"
		"\"failover_period_s\":60,\"failover_limit\":3,\"failback\":\"never\"}}",
	};
	static const char node[] =
		"{\"id\":1,\"name\":\"n1\",\"address\":\"10.0.0.1\",\"cluster\":\"demo\",\"uuid\":"
		"\"01020304-0506-0708-090a-0b0c0d0e0f10\",\"token_ms\":3000}";
	char *key = NULL, *csr = NULL;
	struct cd_token token = { .port = 7400, .cluster = "demo", .node = "n2" };
	char text[CD_TOKEN_TEXT_MAX];

	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		file_write("request_fuzz", requests[i], strlen(requests[i]));
	file_write("node_file_fuzz", node, sizeof(node) - 1);
	if (cd_token_encode(&token, text) == 0)
		file_write("token_fuzz", text, strlen(text));
	if (cd_pki_key_create(&key) == 0 && cd_pki_csr_create(key, "n2", &csr) == 0)
		file_write("csr_fuzz", csr, strlen(csr));
	free(csr);
	free(key);
}

static void store_write(struct cd_post *post, const char *path)
{
	static uint8_t bytes[1 << 20];
	struct cd_store *again;
	char *error;
	size_t len;
	FILE *f;

	while (durable < stored) {
		struct pollfd pfd = { .fd = cd_post_fd(post), .events = POLLIN };

		poll(&pfd, 1, 100);
		cd_post_run(post);
	}
	/* Opening moves what is in the write-ahead log into the file. */
	if (cd_store_open(path, (const uint8_t[CL_UUID_BYTES]){ 1, 2, 3 }, 1, false, &again, &error) < 0)
		exit(1);
	f = fopen(path, "rb");
	len = f ? fread(bytes, 1, sizeof(bytes), f) : 0;
	file_write("state_db_fuzz", bytes, len);
	fclose(f);
}

static const struct cd_store_ops store_ops = { on_durable, on_text, on_text };

int main(int argc, char **argv)
{
	char path[512], *error = NULL;
	struct cd_post *post;

	if (argc != 2)
		return 2;
	dir = argv[1];
	mkdir(dir, 0755);
	snprintf(path, sizeof(path), "%s/state.db", dir);
	unlink(path);
	if (cd_post_new(&post) < 0 ||
	    cd_store_open(path, (const uint8_t[CL_UUID_BYTES]){ 1, 2, 3 }, 1, true, &store, &error) < 0 ||
	    cd_store_start(store, post, &store_ops, NULL) < 0) {
		fprintf(stderr, "corpus: %s\n", error ? error : "no store");
		return 1;
	}
	for (int i = 1; i <= NODES; i++) {
		uint8_t boot[CL_UUID_BYTES] = { (uint8_t)i };

		replicas[i] = calloc(1, sizeof(*replicas[i]));
		if (!replicas[i])
			return 1;
		replica_init(replicas[i], (uint8_t)i, boot, (uint64_t)i * 1000, sink, (void *)(intptr_t)i);
	}
	play();
	file_write("log_replica_fuzz", pack, pack_len);
	file_write("core_entry_fuzz", entries, entries_len);
	texts_write();
	store_write(post, path);
	unlink(path);
	fprintf(stderr, "corpus: %u inputs, %llu entries, %zu bytes of messages\n", files,
		(unsigned long long)replicas[1]->log.commit.seq, pack_len);
	return replicas[1]->st.vm_count == 0 && replicas[1]->st.volume_count ? 0 : 1;
}

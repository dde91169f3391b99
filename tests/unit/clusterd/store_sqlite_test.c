/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state file: written, read again, and refused when it is not what it should be. */
#include "clusterd/store_sqlite.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 60000

static const uint8_t uuid[CL_UUID_BYTES] = { 1, 2, 3 }, other_uuid[CL_UUID_BYTES] = { 9 };
static char dir[64] = "/tmp/hf-store-XXXXXX", path[96];
static struct cd_store *store;
static struct cd_post *post;
static uint64_t durable, wanted;
static struct replica *replica;

static void on_durable(void *arg, uint64_t op)
{
	durable = op;
}

static void on_trouble(void *arg, const char *text)
{
	CU_FAIL("the store is in trouble");
}

static const struct cd_store_ops ops = { on_durable, on_trouble, on_trouble };

static void sink(void *arg, const struct replica_out *out)
{
	if (out->kind != REPLICA_STORE || !store)
		return;
	cd_store_write(store, out->log);
	wanted = out->log->op;
}

static void pump(void)
{
	for (int i = 0; i < WAIT_MS / 10 && durable != wanted; i++) {
		struct pollfd pfd = { .fd = cd_post_fd(post), .events = POLLIN };

		poll(&pfd, 1, 10);
		cd_post_run(post);
	}
	CU_ASSERT_EQUAL_FATAL(durable, wanted);
}

static void replica_new(void)
{
	free(replica);
	replica = calloc(1, sizeof(*replica));
	CU_ASSERT_PTR_NOT_NULL_FATAL(replica);
	replica_init(replica, 1, uuid, 77, sink, NULL);
}

/* A cluster's first entry goes through the store, and a restart finds it. */
static void test_write_and_restart(void)
{
	struct core_command *cmd = calloc(1, sizeof(*cmd));
	struct cd_store *again = NULL;
	struct stat st;
	char *error = NULL;
	uint64_t commit;
	bool empty;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/state.db", dir);
	CU_ASSERT_EQUAL_FATAL(cd_post_new(&post), 0);
	CU_ASSERT_EQUAL_FATAL(cd_store_open(path, uuid, 1, true, &store, &error), 0);
	CU_ASSERT_EQUAL_FATAL(cd_store_start(store, post, &ops, NULL), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 077, 0);
	cmd->kind = CORE_CMD_INIT;
	cmd->node = 1;
	strcpy(cmd->name, "prod");
	strcpy(cmd->target, "n1");
	strcpy(cmd->address, "10.0.0.1");
	memcpy(cmd->uuid, uuid, sizeof(uuid));
	replica_new();
	CU_ASSERT_EQUAL_FATAL(replica_bootstrap(replica, cmd), 0);
	pump();
	free(cmd);
	/* As after SIGKILL: the writer still has it open. */
	CU_ASSERT_EQUAL_FATAL(cd_store_open(path, uuid, 1, false, &again, &error), 0);
	replica_new();
	CU_ASSERT_EQUAL(cd_store_restore(again, replica, &commit, &empty, &error), 0);
	CU_ASSERT_FALSE(empty);
	CU_ASSERT_EQUAL(replica->log.last.seq, 1);
	cd_store_close(again);
}

static void refused(const uint8_t *whose, uint32_t node, const char *what)
{
	struct cd_store *again = NULL;
	char *error = NULL;

	CU_ASSERT_EQUAL(cd_store_open(path, whose, node, true, &again, &error), -EBADMSG);
	CU_ASSERT_PTR_NULL(again);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, path));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, what));
	CU_ASSERT_PTR_NULL(strchr(error, '\n'));
	free(error);
}

static void test_foreign(void)
{
	refused(other_uuid, 1, "belongs to");
	refused(uuid, 2, "belongs to");
}

static void file_write(const char *name, const char *text, size_t len)
{
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CU_ASSERT_EQUAL_FATAL(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void test_not_ours(void)
{
	char zero[8192] = { 0 };
	struct stat st;

	file_write("text.db", "hello, this is no state file at all, and longer than a header of SQLite"
			      " would be, so that nothing is too short; hello again, hello again", 130);
	refused(uuid, 1, "not a state file");
	file_write("empty.db", "", 0);
	refused(uuid, 1, "empty");
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 0);
	file_write("zero.db", zero, sizeof(zero));
	refused(uuid, 1, "not a state file");
}

/* Bytes of the file changed at many places: refused, or still the same log; never something else. */
static void test_damaged(void)
{
	char from[96], *data;
	unsigned bad = 0;
	long size;
	FILE *f;

	snprintf(from, sizeof(from), "%s/state.db", dir);
	/* A copy without a writer, everything in the main file. */
	{
		struct cd_store *again = NULL;
		char *error = NULL;

		CU_ASSERT_EQUAL_FATAL(cd_store_open(from, uuid, 1, false, &again, &error), 0);
		CU_ASSERT_EQUAL(cd_store_checkpoint(again), 0);
		cd_store_close(again);
	}
	f = fopen(from, "rb");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	data = malloc((size_t)size);
	CU_ASSERT_EQUAL_FATAL(fread(data, 1, (size_t)size, f), (size_t)size);
	fclose(f);
	for (long at = 100; at < size; at += 61) {
		struct cd_store *again = NULL;
		char *error = NULL, keep = data[at];
		uint64_t commit;
		bool empty;
		int rc;

		data[at] = (char)~keep;
		file_write("copy.db", data, (size_t)size);
		data[at] = keep;
		rc = cd_store_open(path, uuid, 1, false, &again, &error);
		if (rc == 0) {
			replica_new();
			rc = cd_store_restore(again, replica, &commit, &empty, &error);
			cd_store_close(again);
		}
		if (rc < 0)
			bad++;
		else
			CU_ASSERT_TRUE(empty || replica->log.last.seq == 1);
		free(error);
	}
	CU_ASSERT_TRUE(bad > 0);
	free(data);
}

UNIT_MAIN("store_sqlite", { "write and restart", test_write_and_restart },
	  { "foreign", test_foreign }, { "not ours", test_not_ours }, { "damaged", test_damaged })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/log: three logs over an ordered list of messages; the simulator does the rest. */
#include "clusterd/log/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static struct world {
	struct log *log[4];
	struct {
		uint8_t from;
		size_t len;
		uint8_t data[LOG_MESSAGE_MAX];
	} queue[256];
	unsigned count;
	uint64_t op[4];
	unsigned committed[4];
	char last[4][16];
	uint8_t state[4][16]; /* what a snapshot of the "core" is */
	log_nodes reach;
} w;

static uint8_t ids[4] = { 0, 1, 2, 3 };

static void sink(void *arg, const struct log_out *out)
{
	uint8_t id = *(uint8_t *)arg;

	switch (out->kind) {
	case LOG_OUT_MULTICAST:
		w.queue[w.count].from = id;
		w.queue[w.count].len = out->len_bytes;
		memcpy(w.queue[w.count++].data, out->data, out->len_bytes);
		break;
	case LOG_OUT_STORE:
		w.op[id] = out->op;
		break;
	case LOG_OUT_COMMIT:
		w.committed[id]++;
		memcpy(w.last[id], out->entry->bytes, 16);
		break;
	case LOG_OUT_SNAPSHOT_TAKE:
		log_snapshot_give(w.log[id], w.last[id], 16);
		break;
	case LOG_OUT_INSTALL:
		memcpy(w.last[id], out->data, 16);
		break;
	default:
		break;
	}
}

/* Delivers and syncs until nothing is left to do. */
static void run(void)
{
	static uint64_t now;
	unsigned done = 0, idle = 0;

	while (idle++ < 3) {
		for (; done < w.count; done++, idle = 0)
			for (uint8_t id = 1; id <= 3; id++)
				if (w.reach & LOG_NODE_BIT(id))
					log_message(w.log[id], now, w.queue[done].from,
						    w.queue[done].data, w.queue[done].len);
		for (uint8_t id = 1; id <= 3; id++)
			if (w.reach & LOG_NODE_BIT(id))
				log_durable(w.log[id], now, w.op[id]);
		now += 10;
	}
	w.count = 0;
}

static void config(log_nodes members)
{
	w.reach = members;
	for (uint8_t id = 1; id <= 3; id++)
		if (members & LOG_NODE_BIT(id))
			log_config(w.log[id], 0, members, true);
	run();
}

static void propose(uint8_t id, const char *text, uint8_t voter)
{
	static uint64_t cookie;
	char bytes[16] = "";

	strcpy(bytes, text);
	CU_ASSERT_EQUAL(log_propose(w.log[id], 0, ++cookie, voter, bytes, sizeof(bytes)), 0);
	run();
}

static void start(void)
{
	for (uint8_t id = 1; id <= 3; id++) {
		if (!w.log[id])
			w.log[id] = calloc(1, sizeof(struct log));
		log_init(w.log[id], id, 100 + id, sink, &ids[id]);
		w.op[id] = w.committed[id] = 0;
	}
	w.count = 0;
	CU_ASSERT_EQUAL(log_bootstrap(w.log[1], "init............", 16), 0);
	config(7);
	propose(1, "two", 2);
	propose(1, "three", 3);
}

static void open_and_commit(void)
{
	start();
	for (uint8_t id = 1; id <= 3; id++) {
		CU_ASSERT_TRUE(log_is_open(w.log[id]));
		CU_ASSERT_EQUAL(w.log[id]->voters, 7);
		CU_ASSERT_STRING_EQUAL(w.last[id], "three");
		CU_ASSERT_EQUAL(w.log[id]->commit.hash, w.log[1]->commit.hash);
	}
	propose(3, "from three", 0);
	CU_ASSERT_STRING_EQUAL(w.last[1], "from three");
}

static void minority_waits_and_catches_up(void)
{
	start();
	config(3);
	propose(2, "two of three", 0);
	CU_ASSERT_STRING_EQUAL(w.last[1], "two of three");
	config(4); /* alone: no majority */
	CU_ASSERT_EQUAL(w.log[3]->state, LOG_STATE_DOWN);
	propose(3, "held back", 0);
	CU_ASSERT_STRING_EQUAL(w.last[3], "three");
	config(7);
	run();
	CU_ASSERT_STRING_EQUAL(w.last[3], "held back");
	CU_ASSERT_STRING_EQUAL(w.last[1], "held back");
	CU_ASSERT_EQUAL(w.log[3]->commit.hash, w.log[1]->commit.hash);
}

/* Far behind: the window does not reach back any more, a snapshot does. */
static void snapshot(void)
{
	start();
	config(3);
	for (unsigned i = 0; i < LOG_WINDOW + 20; i++)
		propose(1, "many", 0);
	propose(1, "latest", 0);
	config(7);
	CU_ASSERT_STRING_EQUAL(w.last[3], "latest");
	CU_ASSERT_EQUAL(w.log[3]->counters.snapshots_received, 1);
	CU_ASSERT_EQUAL(w.log[3]->commit.hash, w.log[1]->commit.hash);
}

static void messages(void)
{
	struct log_message msg = { .type = LOG_MSG_ACK, .sender = 2, .epoch = 5 }, back;
	uint8_t bytes[256];
	long len = log_message_encode(&msg, bytes, sizeof(bytes)), cut;

	CU_ASSERT_EQUAL(log_message_decode(&back, bytes, (size_t)len), 0);
	CU_ASSERT_EQUAL(back.epoch, 5);
	for (cut = 0; cut < len; cut++)
		CU_ASSERT_EQUAL(log_message_check(bytes, (size_t)cut), -EBADMSG);
	bytes[2] ^= 0x80; /* version */
	CU_ASSERT_EQUAL(log_message_check(bytes, (size_t)len), -EBADMSG);
	start();
	CU_ASSERT_EQUAL(log_message(w.log[1], 0, 2, bytes, (size_t)len), -EBADMSG);
	CU_ASSERT_EQUAL(w.log[1]->counters.malformed, 1);
}

UNIT_MAIN("log", { "open and commit", open_and_commit },
	  { "minority", minority_waits_and_catches_up }, { "snapshot", snapshot },
	  { "messages", messages })

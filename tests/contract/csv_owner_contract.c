/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner role on a real XFS (loop devices), with two clients that are this program: name space,
 * layouts and recalls, exclusive opens, orphans, planned move, takeover with reclaim, replays.
 * Needs root, loop devices and XFS; else it is skipped.
 */
#include "csv/fs.h"
#include "csv/lun.h"
#include "csv/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #x);                             \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static struct csv_owner *owner;
static struct csv_owner_config config = {.volume = "v1", .node = 1, .prkey = 7, .members = 3};
static struct csv_rpc_msg m, r;
static uint64_t seqs[3], keys[3] = {0, 7, 8}, term = 1;
static void *buf;
static unsigned recalls[3];
static struct csv_fh recalled_fh;
static uint64_t recalled_seq;
static bool answers = true;
static uint32_t unanswered_by;

struct recall {
	uint32_t node;
	struct csv_fh fh;
	uint64_t seq;
};

static void *recall_answer(void *arg)
{
	struct recall *a = arg;

	csv_owner_returned(owner, a->node, a->fh, a->seq, 0);
	free(a);
	return NULL;
}

static int on_recall(void *arg, struct csv_fh fh, uint64_t seq, uint32_t flags)
{
	uint32_t node = (uint32_t)(uintptr_t)arg;
	struct recall *a;
	pthread_t t;

	recalls[node]++;
	recalled_fh = fh;
	recalled_seq = seq;
	if (!answers)
		return 0;
	a = malloc(sizeof(*a));
	*a = (struct recall){node, fh, seq};
	if (pthread_create(&t, NULL, recall_answer, a))
		free(a);
	else
		pthread_detach(t);
	return 0;
}

static void on_change(void *arg, const char *trouble)
{
	if (trouble)
		printf("owner: %s\n", trouble);
}

static void on_unanswered(void *arg, uint32_t nodes, struct csv_fh fh)
{
	if (csv_fh_equal(fh, recalled_fh))
		unanswered_by = nodes;
}

static int32_t ask_as(uint32_t node, enum csv_rpc_op op, uint64_t seq, uint32_t hdr_flags)
{
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = op, .term = term, .slot = 1, .seq = seq,
				.flags = hdr_flags};
	struct csv_peer peer = {node, 100 + node};

	return csv_owner_serve(owner, &peer, &h, &m, &r, buf);
}

static int32_t ask(uint32_t node, enum csv_rpc_op op)
{
	return ask_as(node, op, ++seqs[node], 0);
}

static void msg(struct csv_fh fh, const char *name)
{
	memset(&m, 0, sizeof(m));
	m.fh = fh;
	snprintf(m.name, sizeof(m.name), "%s", name);
	m.mode = S_IFREG | 0644;
}

static int32_t greet(uint32_t node)
{
	struct csv_recall_sink sink = {on_recall, (void *)(uintptr_t)node};
	bool active;

	return csv_owner_hello(owner, node, 100 + node, keys[node], term, &sink, &active);
}

static int start(bool fresh)
{
	char error[CSV_OWNER_TEXT] = "";
	int rc;

	config.term = term;
	config.fresh = fresh;
	config.changed = on_change;
	config.unanswered = on_unanswered;
	config.recall_ms = 1500; /* a busy machine does its truncates in less */
	config.grants_ms = 500;
	rc = csv_owner_start(&config, &owner, error);
	if (rc)
		printf("start: %s: %s\n", strerror(-rc), error);
	return rc;
}

static int name_space(void)
{
	const struct csv_fh root = {0};
	struct csv_fh dir, file;

	CHECK(ask(1, CSV_OP_PING) == CSV_STATUS_MOVED); /* nobody said hello */
	for (uint32_t n = 1; n <= 2; n++) {
		CHECK(greet(n) == 0);
		msg(root, "");
		CHECK(ask(n, CSV_OP_GETATTR) == CSV_STATUS_GRACE); /* not reclaimed yet */
		CHECK(ask(n, CSV_OP_RECLAIM_DONE) == 0 && r.flags);
	}
	msg(root, "d");
	CHECK(ask(1, CSV_OP_MKDIR) == 0);
	dir = r.attr.fh;
	CHECK(ask_as(1, CSV_OP_MKDIR, seqs[1], 0) == 0 && csv_fh_equal(r.attr.fh, dir)); /* replayed */
	CHECK(ask(1, CSV_OP_MKDIR) == -EEXIST);
	CHECK(ask_as(2, CSV_OP_MKDIR, ++seqs[2], CSV_HDR_RETRY) == 0); /* a former owner did it */
	msg(dir, "f");
	CHECK(ask(2, CSV_OP_CREATE) == 0);
	file = r.attr.fh;
	msg(file, "");
	m.data = "hello";
	m.data_bytes = 5;
	m.off = 4094; /* over a block's end, beyond the file's */
	CHECK(ask(2, CSV_OP_WRITE) == 0 && r.len == 5);
	m.flags = CSV_WRITE_APPEND;
	CHECK(ask(1, CSV_OP_WRITE) == 0 && r.off == 4099);
	m.flags = 0;
	m.off = 4090;
	m.len = 100;
	CHECK(ask(1, CSV_OP_READ) == 0 && r.data_bytes == 14 && !memcmp(r.data, "\0\0\0\0hellohello", 14));
	/* Unlinked while open: lives until its last close. */
	msg(dir, "f");
	CHECK(ask(1, CSV_OP_UNLINK) == 0);
	CHECK(ask(1, CSV_OP_LOOKUP) == -ENOENT);
	msg(file, "");
	CHECK(ask(2, CSV_OP_GETATTR) == 0 && r.attr.nlink == 0);
	CHECK(ask(2, CSV_OP_CLOSE) == 0);
	CHECK(ask(2, CSV_OP_GETATTR) == -ESTALE);
	msg(root, ".holdfast");
	CHECK(ask(1, CSV_OP_RMDIR) == -EPERM);
	return 0;
}

static int image_make(struct csv_fh *ret_fh)
{
	msg((struct csv_fh){0}, "img");
	CHECK(ask(1, CSV_OP_CREATE) == 0);
	*ret_fh = r.attr.fh;
	msg(*ret_fh, "");
	m.len = 4u << 20;
	CHECK(ask(1, CSV_OP_FALLOCATE) == 0);
	/* Allocated, not written: nothing of it may be used directly. */
	CHECK(ask(1, CSV_OP_LAYOUTGET) == 0 && r.data_bytes == 0);
	CHECK(ask(1, CSV_OP_ZEROFILL) == 0);
	CHECK(ask(1, CSV_OP_LAYOUTGET) == 0 && r.data_bytes >= CSV_RPC_EXTENT_BYTES && r.len == 4u << 20);
	return 0;
}

static int layouts(struct csv_fh fh)
{
	unsigned before = recalls[1];

	msg(fh, "");
	CHECK(ask(2, CSV_OP_OPEN) == 0);
	m.flags = CSV_LAYOUT_RW;
	CHECK(ask(2, CSV_OP_LAYOUTGET) == 0); /* takes the reader's away */
	CHECK(recalls[1] == before + 1);
	CHECK(ask(1, CSV_OP_LAYOUTGET) == CSV_STATUS_RECALL); /* quiet for a while */
	before = recalls[2];
	m.flags = CSV_SET_SIZE;
	m.attr.size = 2u << 20;
	CHECK(ask(1, CSV_OP_SETATTR) == 0 && r.attr.size == 2u << 20);
	CHECK(recalls[2] == before + 1);
	return 0;
}

/* A client that does not return: the operation fails and is told of; fenced, it is done without. */
static int deserted(struct csv_fh fh)
{
	msg(fh, "");
	m.flags = CSV_LAYOUT_RW;
	while (ask(2, CSV_OP_LAYOUTGET) == CSV_STATUS_RECALL)
		usleep(50000);
	answers = false;
	m.flags = CSV_SET_SIZE;
	m.attr.size = 1u << 20;
	CHECK(ask(1, CSV_OP_SETATTR) == -ETIMEDOUT);
	CHECK(unanswered_by == 1u << 1);
	CHECK(csv_owner_member_gone(owner, 2) == 0);
	CHECK(ask(1, CSV_OP_SETATTR) == 0 && r.attr.size == 1u << 20);
	answers = true;
	/* Its csvd lives on; its key does not. The next incarnation is let in. */
	CHECK(ask(2, CSV_OP_PING) == CSV_STATUS_MOVED);
	CHECK(greet(2) == -EACCES);
	keys[2]++;
	CHECK(greet(2) == 0 && ask(2, CSV_OP_RECLAIM_DONE) == 0);
	CHECK(ask(2, CSV_OP_OPEN) == 0);
	return 0;
}

/* What the log says of the VM "vm": up to which generation nodes 1 and 2 may have it. */
static void grant(uint64_t seq, uint64_t first, uint64_t second)
{
	struct csv_grants *g = calloc(1, sizeof(*g) + sizeof(g->vms[0]));

	g->seq = seq;
	g->count = first || second; /* nobody has it: it is not in the table */
	strcpy(g->vms[0].vm, "vm");
	strcpy(g->vms[0].path[0], "img");
	g->vms[0].generation[0] = first;
	g->vms[0].generation[1] = second;
	csv_owner_grants_set(owner, g);
	free(g);
}

static void *grant_later(void *arg)
{
	usleep(100000);
	grant(4, 1, 2);
	return arg;
}

/* The log says that node 1 has the VM: nobody else is served its image, however high a generation he brings. */
static int granted(struct csv_fh fh)
{
	pthread_t t;

	grant(2, 1, 0);
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 1ull << 63;
	CHECK(ask(2, CSV_OP_XOPEN) == -EACCES);
	CHECK(ask(1, CSV_OP_XOPEN) == -EACCES);
	m.generation = 1;
	CHECK(ask(2, CSV_OP_XOPEN) == -EACCES);
	m.len = 4096;
	CHECK(ask(2, CSV_OP_READ) == -EACCES);
	CHECK(ask(1, CSV_OP_READ) == 0);
	m.len = 0;
	m.data = "x";
	m.data_bytes = 1;
	CHECK(ask(2, CSV_OP_WRITE) == -EACCES);
	m.data_bytes = 0;
	m.flags = CSV_SET_SIZE;
	CHECK(ask(2, CSV_OP_SETATTR) == -EACCES);
	m.flags = CSV_RECLAIM_OPEN | CSV_RECLAIM_X | CSV_RECLAIM_HELD;
	m.generation = 1;
	CHECK(ask(2, CSV_OP_RECLAIM) == -ESTALE);
	/* Everybody may look where it is, and at other files. */
	msg(fh, "");
	CHECK(ask(2, CSV_OP_GETATTR) == 0);
	/* An older table changes nothing; a newer one ends the wait of who came before it. */
	grant(1, 1, 2);
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 2;
	pthread_create(&t, NULL, grant_later, NULL);
	CHECK(ask(2, CSV_OP_XOPEN) == 0);
	pthread_join(t, NULL);
	CHECK(ask(2, CSV_OP_XCLOSE) == 0);
	/* Stopped: it is a file as others are, and no VM's to open. */
	grant(5, 0, 0);
	m.generation = 3;
	CHECK(ask(1, CSV_OP_XOPEN) == -EACCES);
	msg(fh, "");
	m.len = 4096;
	CHECK(ask(2, CSV_OP_READ) == 0);
	grant(6, 100, 100);
	return 0;
}

static int exclusive(struct csv_fh fh)
{
	uint64_t version;

	msg(fh, "");
	CHECK(ask(1, CSV_OP_PREPARE) == 0 && (r.flags & CSV_LAYOUT_WHOLE));
	version = r.version;
	strcpy(m.vm, "vm");
	m.generation = 5;
	m.version = version;
	CHECK(ask(1, CSV_OP_XOPEN) == 0 && r.flags == CSV_LAYOUT_SAME);
	CHECK(ask(2, CSV_OP_XOPEN) == -ESTALE);
	m.flags = CSV_SET_SIZE;
	CHECK(ask(1, CSV_OP_SETATTR) == -ETXTBSY);
	m.data = "x";
	m.data_bytes = 1;
	m.flags = 0;
	CHECK(ask(2, CSV_OP_WRITE) == -ETXTBSY);
	CHECK(ask(1, CSV_OP_WRITE) == -ETXTBSY); /* its own node too, while it is direct */
	msg((struct csv_fh){0}, "img");
	CHECK(ask(2, CSV_OP_UNLINK) == -ETXTBSY);
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 6;
	CHECK(ask(2, CSV_OP_XOPEN) == 0 && (r.flags & CSV_LAYOUT_WHOLE)); /* displaces */
	m.generation = 5;
	CHECK(ask(1, CSV_OP_XOPEN) == -ESTALE);
	return 0;
}

/* ---- what is under way (the linker puts these two between the owner and its file system) ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static bool gate_shut;
static unsigned gate_waiting;

static void gate_set(bool shut)
{
	pthread_mutex_lock(&gate_lock);
	gate_shut = shut;
	pthread_cond_broadcast(&gate_cond);
	pthread_mutex_unlock(&gate_lock);
}

static void gate_pass(void)
{
	pthread_mutex_lock(&gate_lock);
	gate_waiting++;
	pthread_cond_broadcast(&gate_cond);
	while (gate_shut)
		pthread_cond_wait(&gate_cond, &gate_lock);
	gate_waiting--;
	pthread_mutex_unlock(&gate_lock);
}

static void gate_reached(void)
{
	pthread_mutex_lock(&gate_lock);
	while (!gate_waiting)
		pthread_cond_wait(&gate_cond, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

int __real_csv_fs_truncate(struct csv_fs_file *file, uint64_t size);
int __wrap_csv_fs_truncate(struct csv_fs_file *file, uint64_t size);
int __wrap_csv_fs_truncate(struct csv_fs_file *file, uint64_t size)
{
	gate_pass();
	return __real_csv_fs_truncate(file, size);
}

int __real_csv_fs_write(struct csv_fs_file *file, uint64_t off, const void *data, size_t len,
			bool *ret_changed);
int __wrap_csv_fs_write(struct csv_fs_file *file, uint64_t off, const void *data, size_t len,
			bool *ret_changed);
int __wrap_csv_fs_write(struct csv_fs_file *file, uint64_t off, const void *data, size_t len,
			bool *ret_changed)
{
	gate_pass();
	return __real_csv_fs_write(file, off, data, len, ret_changed);
}

/* An operation in a thread of its own. */
struct aside {
	uint32_t node;
	enum csv_rpc_op op;
	struct csv_rpc_msg m, r;
	void *buf;
	int32_t rc;
	pthread_t thread;
};

static void *aside_main(void *arg)
{
	static uint64_t seq = 1000;
	struct aside *a = arg;
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = a->op, .term = term,
				.slot = 1 + a->node, .seq = ++seq};
	struct csv_peer peer = {a->node, 100 + a->node};

	a->rc = csv_owner_serve(owner, &peer, &h, &a->m, &a->r, a->buf);
	return NULL;
}

static int aside_start(struct aside *a, uint32_t node, enum csv_rpc_op op)
{
	a->node = node;
	a->op = op;
	CHECK(a->buf || !posix_memalign(&a->buf, 4096, CSV_OWNER_BUF));
	CHECK(!pthread_create(&a->thread, NULL, aside_main, a));
	return 0;
}

static struct aside side;

static int image_whole(struct csv_fh fh, uint64_t *ret_version)
{
	msg(fh, "");
	m.flags = CSV_SET_SIZE;
	m.attr.size = 4u << 20;
	CHECK(ask(1, CSV_OP_SETATTR) == 0);
	msg(fh, "");
	m.len = 4u << 20;
	CHECK(ask(1, CSV_OP_ZEROFILL) == 0);
	msg(fh, "");
	CHECK(ask(2, CSV_OP_PREPARE) == 0 && (r.flags & CSV_LAYOUT_WHOLE));
	*ret_version = r.version;
	return 0;
}

/* A VM starts while the file is being cut: it does not get the blocks of before. */
static int start_beside_truncate(struct csv_fh fh)
{
	uint64_t version;

	if (image_whole(fh, &version))
		return 1;
	gate_set(true);
	memset(&side.m, 0, sizeof(side.m));
	side.m.fh = fh;
	side.m.flags = CSV_SET_SIZE;
	side.m.attr.size = 4096;
	CHECK(aside_start(&side, 1, CSV_OP_SETATTR) == 0);
	gate_reached();
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 50;
	m.version = version;
	CHECK(ask(2, CSV_OP_XOPEN) == -ETIMEDOUT);
	gate_set(false);
	pthread_join(side.thread, NULL);
	CHECK(side.rc == 0 && side.r.attr.size == 4096);
	CHECK(ask(2, CSV_OP_XOPEN) == 0 && r.flags == CSV_LAYOUT_WHOLE && r.version != version);
	CHECK(ask(2, CSV_OP_XCLOSE) == 0);
	/* The same by chance, as the review found it. */
	for (unsigned i = 0; i < 40; i++) {
		if (image_whole(fh, &version))
			return 1;
		CHECK(aside_start(&side, 1, CSV_OP_SETATTR) == 0);
		usleep(i * 25);
		msg(fh, "");
		strcpy(m.vm, "vm");
		m.generation = 100 + i;
		m.version = version;
		CHECK(ask(2, CSV_OP_XOPEN) == 0);
		pthread_join(side.thread, NULL);
		CHECK(side.rc == -ETXTBSY || (side.rc == 0 && !(r.flags & CSV_LAYOUT_SAME)));
		CHECK(ask(2, CSV_OP_XCLOSE) == 0);
	}
	return 0;
}

/* The owner's own command for a node that is fenced meanwhile: no fence ends it. */
static int start_beside_late_write(struct csv_fh fh)
{
	uint64_t version;

	if (image_whole(fh, &version))
		return 1;
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 200;
	CHECK(ask(2, CSV_OP_XOPEN) == 0);
	m.seq = r.seq;
	CHECK(ask(2, CSV_OP_LAYOUTRETURN) == 0); /* redirected */
	gate_set(true);
	memset(&side.m, 0, sizeof(side.m));
	side.m.fh = fh;
	side.m.data = "old";
	side.m.data_bytes = 3;
	CHECK(aside_start(&side, 2, CSV_OP_WRITE) == 0);
	gate_reached();
	CHECK(csv_owner_member_gone(owner, 2) == -EBUSY);
	m.generation = 201;
	CHECK(ask(1, CSV_OP_XOPEN) == -ETIMEDOUT);
	gate_set(false);
	pthread_join(side.thread, NULL);
	CHECK(csv_owner_member_gone(owner, 2) == 0);
	CHECK(ask(1, CSV_OP_XOPEN) == 0);
	CHECK(ask(1, CSV_OP_XCLOSE) == 0);
	keys[2]++;
	CHECK(greet(2) == 0 && ask(2, CSV_OP_RECLAIM_DONE) == 0);
	return 0;
}

static int rename_ask(const char *from, const char *to, unsigned flags)
{
	msg((struct csv_fh){0}, from);
	snprintf(m.name2, sizeof(m.name2), "%s", to);
	m.flags = flags;
	return ask(1, CSV_OP_RENAME);
}

/* A disk keeps its one name while a VM has it, and while it is on record as one's; no second VM gets it. */
static int one_name(void)
{
	const struct csv_fh root = {0};
	struct csv_fh fh;
	uint64_t version;

	msg(root, "plain");
	CHECK(ask(1, CSV_OP_CREATE) == 0);
	msg(root, "disk");
	CHECK(ask(1, CSV_OP_CREATE) == 0);
	fh = r.attr.fh;
	/* Never a disk: may be moved and linked, and the link does not make it one. */
	CHECK(rename_ask("disk", "disk2", 0) == 0 && rename_ask("disk2", "disk", 0) == 0);
	msg(fh, "");
	strcpy(m.name2, "second");
	CHECK(ask(1, CSV_OP_LINK) == 0);
	if (image_whole(fh, &version))
		return 1;
	msg(fh, "");
	strcpy(m.vm, "a");
	m.generation = 241;
	CHECK(ask(2, CSV_OP_XOPEN) == 0);
	for (int open = 1; open >= 0; open--) {
		const int busy = open ? -ETXTBSY : -EBUSY;

		CHECK(rename_ask("disk", "disk2", 0) == busy);
		CHECK(rename_ask("second", "disk2", 0) == busy);
		CHECK(rename_ask("plain", "disk", 0) == busy);
		CHECK(rename_ask("plain", "disk", 2 /* exchange */) == busy);
		CHECK(rename_ask("disk", "plain", 2) == busy);
		msg(fh, "");
		strcpy(m.name2, "third");
		CHECK(ask(1, CSV_OP_LINK) == busy);
		/* By its second name, with whatever number: it is the disk of a. */
		msg(fh, "");
		strcpy(m.vm, "x");
		m.generation = 1000;
		CHECK(ask(1, CSV_OP_XOPEN) == -ETXTBSY);
		CHECK(ask(1, CSV_OP_XWHOSE) == 0 && !strcmp(r.vm, "a") && r.generation == 241);
		CHECK(ask(1, CSV_OP_XDISOWN) == (open ? -ETXTBSY : -EPERM));
		strcpy(m.vm, "a");
		m.generation = 34;
		CHECK(ask(1, CSV_OP_XOPEN) == -ESTALE);
		CHECK(ask(1, CSV_OP_XWHOSE) == 0 && r.generation == 241);
		m.generation = 241;
		if (open)
			CHECK(ask(2, CSV_OP_XCLOSE) == 0);
	}
	/* Given up by its name, it is a file like any other; a new VM begins with its own numbers. */
	msg(fh, "");
	strcpy(m.vm, "a");
	CHECK(ask(1, CSV_OP_XDISOWN) == 0);
	CHECK(rename_ask("disk", "disk2", 0) == 0);
	msg(fh, "");
	strcpy(m.vm, "x");
	m.generation = 3;
	CHECK(ask(1, CSV_OP_XOPEN) == 0 && ask(1, CSV_OP_XCLOSE) == 0);
	/* A stopped VM's disk may be deleted. */
	msg(root, "disk2");
	CHECK(ask(1, CSV_OP_UNLINK) == 0);
	return 0;
}

static int under_way(struct csv_fh img)
{
	struct csv_fh fh;

	msg((struct csv_fh){0}, "img2");
	CHECK(ask(1, CSV_OP_CREATE) == 0);
	fh = r.attr.fh;
	if (start_beside_truncate(fh) || start_beside_late_write(fh) || one_name())
		return 1;
	msg(img, "");
	CHECK(ask(2, CSV_OP_OPEN) == 0);
	return 0;
}

static int takeover(struct csv_fh fh)
{
	char error[CSV_OWNER_TEXT] = "";

	/* Planned: released, and only node 2's disk is marked for reclaim. */
	msg(fh, "");
	CHECK(ask(1, CSV_OP_CLOSE) == 0);
	CHECK(csv_owner_release(owner, error) == 0);
	csv_owner_free(owner);
	config.prkey = 8;
	CHECK(start(true) == -ESTALE); /* the same term by another incarnation */
	config.prkey = 7;
	term = 2;
	CHECK(start(true) == 0);
	CHECK(greet(1) == 0 && ask(1, CSV_OP_RECLAIM_DONE) == 0 && !r.flags);
	CHECK(ask(1, CSV_OP_GETATTR) == CSV_STATUS_GRACE); /* node 2 has not reclaimed */
	CHECK(greet(2) == 0);
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 6;
	m.flags = CSV_RECLAIM_OPEN | CSV_RECLAIM_X | CSV_RECLAIM_HELD;
	CHECK(ask(2, CSV_OP_RECLAIM) == 0);
	CHECK(ask(2, CSV_OP_RECLAIM_DONE) == 0 && r.flags);
	m.generation = 5;
	CHECK(ask(1, CSV_OP_XOPEN) == -ESTALE);
	/* The owner dies and node 2 is fenced: its layout goes with it. */
	csv_owner_abandon(owner);
	CHECK(ask(1, CSV_OP_PING) == CSV_STATUS_MOVED);
	CHECK(csv_owner_release(owner, error) == 0);
	csv_owner_free(owner);
	term = 3;
	CHECK(start(true) == -EBUSY); /* not released */
	config.members = 1;
	CHECK(start(false) == 0);
	CHECK(greet(1) == 0 && ask(1, CSV_OP_RECLAIM_DONE) == 0 && r.flags);
	msg(fh, "");
	strcpy(m.vm, "vm");
	m.generation = 5;
	CHECK(ask(1, CSV_OP_XOPEN) == -ESTALE); /* the file itself remembers 6 */
	m.generation = 7;
	CHECK(ask(1, CSV_OP_XOPEN) == 0);
	/* A client that does not return is waited for until it is fenced. */
	CHECK(csv_owner_release(owner, error) == 0);
	csv_owner_free(owner);
	return 0;
}

static int line_of(const char *command, char *ret, size_t cap)
{
	FILE *f = popen(command, "r");
	int rc = f && fgets(ret, (int)cap, f) ? 0 : -1;

	if (f)
		pclose(f);
	ret[strcspn(ret, "\n")] = 0;
	return rc;
}

int main(void)
{
	char image[] = "/var/tmp/csv_owner.XXXXXX", command[256], error[CSV_LUN_TEXT_MAX] = "";
	struct csv_term first = {.volume_uuid = {1, 2, 3}, .state = CSV_TERM_RELEASED};
	static uint8_t block[CSV_LUN_BLOCK] __attribute__((aligned(4096)));
	struct csv_lun *lun;
	struct csv_fh fh;
	int fd = mkstemp(image), bad = 77;

	if (geteuid() || fd < 0 || ftruncate(fd, 768 << 20)) {
		printf("SKIP: needs root\n");
		return 77;
	}
	snprintf(command, sizeof(command), "losetup -f --show %s 2>/dev/null", image);
	if (line_of(command, config.device, sizeof(config.device))) {
		printf("SKIP: no loop devices\n");
		unlink(image);
		return 77;
	}
	/* What csv_lun_format() would make, without device-mapper. */
	memcpy(config.uuid, first.volume_uuid, sizeof(config.uuid));
	csv_term_encode(&first, block);
	snprintf(command, sizeof(command), "losetup -f --show -o %llu %s",
		 (unsigned long long)CSV_LUN_DATA_OFF, image);
	if (csv_lun_open(config.device, &lun, error) ||
	    line_of(command, config.data_device, sizeof(config.data_device)) ||
	    posix_memalign(&buf, 4096, CSV_OWNER_BUF)) {
		printf("SKIP: no second loop device %s\n", error);
		goto out;
	}
	bad = csv_lun_block_write(lun, CSV_LUN_BLOCK_TERM, block) ? 1 : 0;
	csv_lun_close(lun);
	snprintf(command, sizeof(command), "mkfs.xfs -q -m reflink=0 %s", config.data_device);
	if (bad || system(command)) {
		printf("SKIP: no XFS\n");
		bad = 77;
		goto out;
	}
	bad = start(true) ? 1
			  : name_space() || image_make(&fh) || layouts(fh) ||
				    deserted(fh) || under_way(fh) || granted(fh) || exclusive(fh) ||
				    takeover(fh);
	printf("%s\n", bad ? "FAIL" : "ok");
out:
	snprintf(command, sizeof(command), "losetup -d %s 2>/dev/null", config.data_device);
	(void)!system(command);
	snprintf(command, sizeof(command), "losetup -d %s", config.device);
	(void)!system(command);
	unlink(image);
	return bad;
}

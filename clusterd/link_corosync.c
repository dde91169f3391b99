/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corosync's thread; see link_corosync.h.
 *
 *   DOWN --open both, join--> UP --corosync gone--> DOWN (after 'down' was posted)
 *
 * Messages are sent in order; when flow control holds one back it stays at the
 * head and is tried again after RETRY_MS.  Messages of an earlier UP are dropped:
 * the log sends again what it still wants after the next configuration.
 */
#include "clusterd/link_corosync.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_types.h"

#define RECONNECT_MS 500
#define RETRY_MS     10
#define IDLE_MS	     1000 /* then votequorum's counts are looked at */
#define QUEUE_MAX    4096u

struct message {
	struct message *next;
	size_t len_bytes;
	uint8_t data[];
};

/* What is posted to the loop; freed there. */
struct notice {
	struct cd_link *link;
	enum { NOTICE_UP, NOTICE_DOWN, NOTICE_DELIVER, NOTICE_CONFCHG, NOTICE_RING, NOTICE_VOTES } kind;
	uint32_t node, pid;
	struct cd_votes votes;
	size_t n, n_left, n_joined, len_bytes;
	uint8_t data[] __attribute__((aligned(8)));
};

/* lock guards the queue and up; group and quorum belong to the thread. */
struct cd_link {
	pthread_mutex_t lock;
	struct message *head, **tail;
	unsigned queued;
	bool up;
	int wake_fd;
	struct cd_post *post;
	const struct cd_link_ops *ops;
	void *arg;
	struct cd_group *group;
	struct cd_quorum *quorum;
	time_t looked_s; /* at the counts, CLOCK_MONOTONIC */
};

static struct notice *notice_new(struct cd_link *link, int kind, size_t len_bytes)
{
	struct notice *notice = calloc(1, sizeof(*notice) + len_bytes);

	if (!notice)
		abort();
	notice->link = link;
	notice->kind = kind;
	notice->len_bytes = len_bytes;
	return notice;
}

static void notice_run(void *arg)
{
	struct notice *notice = arg;
	struct cd_link *link = notice->link;
	const struct cd_member *m = (const struct cd_member *)notice->data;

	switch (notice->kind) {
	case NOTICE_UP:
		link->ops->up(link->arg, notice->node);
		break;
	case NOTICE_DOWN:
		link->ops->down(link->arg);
		break;
	case NOTICE_DELIVER:
		link->ops->deliver(link->arg, notice->node, notice->pid, notice->data,
				   notice->len_bytes);
		break;
	case NOTICE_CONFCHG:
		link->ops->confchg(link->arg, m, notice->n, m + notice->n, notice->n_left,
				   m + notice->n + notice->n_left, notice->n_joined);
		break;
	case NOTICE_RING:
		link->ops->ring(link->arg, (const uint32_t *)notice->data, notice->n);
		break;
	case NOTICE_VOTES:
		link->ops->votes(link->arg, &notice->votes);
		break;
	}
	free(notice);
}

static void on_deliver(void *arg, uint32_t node, uint32_t pid, const void *data, size_t len_bytes)
{
	struct cd_link *link = arg;
	struct notice *notice = notice_new(link, NOTICE_DELIVER, len_bytes);

	notice->node = node;
	notice->pid = pid;
	memcpy(notice->data, data, len_bytes);
	cd_post_call(link->post, notice_run, notice);
}

static void on_confchg(void *arg, const struct cd_member *members, size_t n,
		       const struct cd_member *left, size_t n_left,
		       const struct cd_member *joined, size_t n_joined)
{
	struct cd_link *link = arg;
	struct notice *notice =
		notice_new(link, NOTICE_CONFCHG, (n + n_left + n_joined) * sizeof(*members));
	struct cd_member *m = (struct cd_member *)notice->data;

	memcpy(m, members, n * sizeof(*m));
	memcpy(m + n, left, n_left * sizeof(*m));
	memcpy(m + n + n_left, joined, n_joined * sizeof(*m));
	notice->n = n;
	notice->n_left = n_left;
	notice->n_joined = n_joined;
	cd_post_call(link->post, notice_run, notice);
}

static void on_ring(void *arg, const uint32_t *nodes, size_t n)
{
	struct cd_link *link = arg;
	struct notice *notice = notice_new(link, NOTICE_RING, n * sizeof(*nodes));

	memcpy(notice->data, nodes, n * sizeof(*nodes));
	notice->n = n;
	cd_post_call(link->post, notice_run, notice);
}

static void on_votes(void *arg, const struct cd_votes *votes)
{
	struct cd_link *link = arg;
	struct notice *notice = notice_new(link, NOTICE_VOTES, 0);

	notice->votes = *votes;
	cd_post_call(link->post, notice_run, notice);
}

static const struct cd_group_ops group_ops = { on_deliver, on_confchg, on_ring };

static void queue_drop(struct cd_link *link, bool up)
{
	struct message *msg;

	pthread_mutex_lock(&link->lock);
	while ((msg = link->head)) {
		link->head = msg->next;
		free(msg);
	}
	link->tail = &link->head;
	link->queued = 0;
	link->up = up;
	pthread_mutex_unlock(&link->lock);
}

static void link_close(struct cd_link *link)
{
	cd_quorum_close(link->quorum);
	cd_group_close(link->group);
	link->quorum = NULL;
	link->group = NULL;
}

/*
 * The group's first configuration arrives in dispatch, after 'up' was posted:
 * the loop always hears up, then votes and confchg.
 */
static bool link_open(struct cd_link *link)
{
	struct notice *notice;

	if (cd_group_open(&group_ops, link, &link->group) < 0)
		return false;
	if (cd_quorum_open(on_votes, link, &link->quorum) < 0) {
		link_close(link);
		return false;
	}
	queue_drop(link, true);
	notice = notice_new(link, NOTICE_UP, 0);
	notice->node = cd_group_local(link->group);
	cd_post_call(link->post, notice_run, notice);
	return true;
}

/* 1: sent all, 0: held back by flow control, -EPIPE. */
static int queue_send(struct cd_link *link)
{
	struct message *msg;
	int rc;

	for (;;) {
		pthread_mutex_lock(&link->lock);
		msg = link->head;
		pthread_mutex_unlock(&link->lock);
		if (!msg)
			return 1;
		rc = cd_group_send(link->group, msg->data, msg->len_bytes);
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0 && rc != -EMSGSIZE)
			return -EPIPE;
		pthread_mutex_lock(&link->lock);
		link->head = msg->next;
		if (!link->head)
			link->tail = &link->head;
		link->queued--;
		pthread_mutex_unlock(&link->lock);
		free(msg);
	}
}

/* corosync does not say when expected votes change.  Traffic never keeps us from looking. */
static void look(struct cd_link *link)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec == link->looked_s)
		return;
	link->looked_s = now.tv_sec;
	cd_quorum_look(link->quorum);
}

static int link_serve(struct cd_link *link)
{
	struct pollfd pfd[3] = {
		{ .fd = cd_group_fd(link->group), .events = POLLIN },
		{ .fd = cd_quorum_fd(link->quorum), .events = POLLIN },
		{ .fd = link->wake_fd, .events = POLLIN },
	};
	int n_ready, sent = queue_send(link);
	uint64_t n;

	if (sent < 0)
		return sent;
	n_ready = poll(pfd, CL_ARRAY_LEN(pfd), sent ? IDLE_MS : RETRY_MS);
	if (n_ready < 0)
		return errno == EINTR ? 0 : -errno;
	look(link);
	if (pfd[2].revents && read(link->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return -errno;
	if (pfd[0].revents && cd_group_dispatch(link->group) < 0)
		return -EPIPE;
	if (pfd[1].revents && cd_quorum_dispatch(link->quorum) < 0)
		return -EPIPE;
	return 0;
}

static void *link_thread(void *arg)
{
	struct cd_link *link = arg;

	for (;;) {
		if (!link_open(link)) {
			poll(NULL, 0, RECONNECT_MS);
			continue;
		}
		while (link_serve(link) == 0)
			;
		queue_drop(link, false);
		link_close(link);
		cd_post_call(link->post, notice_run, notice_new(link, NOTICE_DOWN, 0));
		poll(NULL, 0, RECONNECT_MS);
	}
	return NULL;
}

int cd_link_new(struct cd_post *post, const struct cd_link_ops *ops, void *arg,
		struct cd_link **ret_link)
{
	struct cd_link *link = calloc(1, sizeof(*link));
	sigset_t all, old;
	pthread_t thread;
	int err;

	if (!link)
		return -ENOMEM;
	pthread_mutex_init(&link->lock, NULL);
	link->tail = &link->head;
	link->post = post;
	link->ops = ops;
	link->arg = arg;
	link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->wake_fd < 0) {
		free(link);
		return -errno;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&thread, NULL, link_thread, link);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		close(link->wake_fd);
		free(link);
		return -err;
	}
	pthread_detach(thread);
	*ret_link = link;
	return 0;
}

int cd_link_send(struct cd_link *link, const void *data, size_t len_bytes)
{
	struct message *msg = malloc(sizeof(*msg) + len_bytes);
	uint64_t one = 1;
	int rc = 0;

	if (!msg)
		return -ENOMEM;
	msg->next = NULL;
	msg->len_bytes = len_bytes;
	memcpy(msg->data, data, len_bytes);
	pthread_mutex_lock(&link->lock);
	if (!link->up)
		rc = -ENOTCONN;
	else if (link->queued >= QUEUE_MAX)
		rc = -ENOBUFS;
	else {
		*link->tail = msg;
		link->tail = &msg->next;
		link->queued++;
	}
	pthread_mutex_unlock(&link->lock);
	if (rc < 0) {
		free(msg);
		return rc;
	}
	if (write(link->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the one peer among those that connect.
 *
 * Anybody may connect, and who says nothing costs a handshake's whole time-out: so each connection has
 * a thread for its handshake, and the first that proves to be the peer wins.  At most KNOCKS_MAX at once; when
 * all are taken the oldest that had GRACE_MS is dropped for the next, so that silence cannot keep the peer out.
 */
#include "vmm/migration/accept.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_tls.h"
#include "common/cl_types.h"

#define KNOCKS_MAX 8u
#define GRACE_MS   3000u

/* One connection; over is guarded by the hall's lock, tls and error are the main thread's after it. */
struct knock {
	struct hall *hall;
	pthread_t thread;
	int fd; /* -1: free slot */
	uint64_t since_ms;
	bool over;
	struct cl_tls *tls;
	int error;
};

struct hall {
	const struct vmm_door *door;
	pthread_mutex_t lock;
	int over_fd; /* eventfd: a handshake is over */
	struct knock knocks[KNOCKS_MAX];
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static void *knock_main(void *arg)
{
	struct knock *k = arg;
	struct cl_tls *tls = NULL;
	int r = cl_tls_accept(k->hall->door->creds, k->fd, k->hall->door->timeout_ms, &tls);
	uint64_t one = 1;

	pthread_mutex_lock(&k->hall->lock);
	k->tls = tls;
	k->error = r;
	k->over = true;
	pthread_mutex_unlock(&k->hall->lock);
	(void)!write(k->hall->over_fd, &one, sizeof(one));
	return NULL;
}

static void knock_end(struct knock *k)
{
	pthread_join(k->thread, NULL);
	if (k->tls)
		cl_tls_free(k->tls);
	else
		close(k->fd);
	k->tls = NULL;
	k->fd = -1;
}

static struct knock *slot_free(struct hall *hall)
{
	for (unsigned i = 0; i < KNOCKS_MAX; i++)
		if (hall->knocks[i].fd < 0)
			return &hall->knocks[i];
	return NULL;
}

static void knock_new(struct hall *hall, struct knock *k)
{
	int fd = accept4(hall->door->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	*k = (struct knock){ .hall = hall, .fd = fd, .since_ms = now_ms() };
	if (pthread_create(&k->thread, NULL, knock_main, k) == 0)
		return;
	hall->door->refused(hall->door->arg, "a connection was refused: no thread for it");
	close(fd);
	k->fd = -1;
}

/* All slots are taken: the oldest leaves if it had its time, else in how many ms it will have had. */
static int oldest_drop(struct hall *hall)
{
	struct knock *oldest = &hall->knocks[0];
	uint64_t age_ms;

	for (unsigned i = 1; i < KNOCKS_MAX; i++)
		if (hall->knocks[i].since_ms < oldest->since_ms)
			oldest = &hall->knocks[i];
	age_ms = now_ms() - oldest->since_ms;
	if (age_ms < GRACE_MS)
		return (int)(GRACE_MS - age_ms);
	shutdown(oldest->fd, SHUT_RDWR);
	return -1; /* its thread says when */
}

static bool knock_over(struct hall *hall, struct knock *k)
{
	bool over;

	pthread_mutex_lock(&hall->lock);
	over = k->fd >= 0 && k->over;
	pthread_mutex_unlock(&hall->lock);
	return over;
}

/* Handshakes that are over: the peer's session, or NULL and their slots are free. */
static struct cl_tls *look(struct hall *hall)
{
	const struct vmm_door *door = hall->door;
	char text[160];

	for (unsigned i = 0; i < KNOCKS_MAX; i++) {
		struct knock *k = &hall->knocks[i];

		if (!knock_over(hall, k))
			continue;
		if (k->tls && (!door->peer[0] || strcmp(door->peer, cl_tls_peer_name(k->tls)) == 0)) {
			struct cl_tls *tls = k->tls;

			pthread_join(k->thread, NULL);
			k->fd = -1;
			return tls;
		}
		if (k->tls)
			snprintf(text, sizeof(text), "node %s was refused: expected is node %s",
				 cl_tls_peer_name(k->tls), door->peer);
		else
			snprintf(text, sizeof(text), "a connection was refused: TLS: %s",
				 k->error == -EKEYREJECTED ? "its certificate is not of this cluster" :
				 k->error == -EPROTO	   ? "the handshake failed" :
							     strerror(-k->error));
		door->refused(door->arg, text);
		knock_end(k);
	}
	return NULL;
}

struct cl_tls *vmm_accept(const struct vmm_door *door)
{
	struct hall hall = { .door = door, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct pollfd p[3] = { { .fd = door->stop_fd, .events = POLLIN },
			       { .events = POLLIN },
			       { .fd = door->listen_fd, .events = POLLIN } };
	struct cl_tls *tls = NULL;
	uint64_t n;

	for (unsigned i = 0; i < KNOCKS_MAX; i++)
		hall.knocks[i].fd = -1;
	hall.over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hall.over_fd < 0)
		return NULL;
	p[1].fd = hall.over_fd;
	while (!tls) {
		int n_ready = poll(p, CL_ARRAY_LEN(p), -1);

		if (n_ready < 0 && errno != EINTR)
			break;
		if (n_ready <= 0)
			continue;
		if (p[0].revents)
			break;
		if (p[1].revents && read(hall.over_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			break;
		tls = look(&hall);
		if (!tls && p[2].revents) {
			struct knock *k = slot_free(&hall);
			int wait_ms;

			if (k) {
				knock_new(&hall, k);
				continue;
			}
			wait_ms = oldest_drop(&hall);
			if (poll(p, 2, wait_ms) < 0 && errno != EINTR)
				break;
		}
	}
	for (unsigned i = 0; i < KNOCKS_MAX; i++)
		if (hall.knocks[i].fd >= 0) {
			shutdown(hall.knocks[i].fd, SHUT_RDWR);
			knock_end(&hall.knocks[i]);
		}
	close(hall.over_fd);
	pthread_mutex_destroy(&hall.lock);
	return tls;
}

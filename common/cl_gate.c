/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounds at a door; see cl_gate.h. */
#include "common/cl_gate.h"
#include "common/cl_types.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

int cl_gate_init(struct cl_gate *gate, unsigned total, unsigned each, uint32_t grace_ms)
{
	memset(gate, 0, sizeof(*gate));
	pthread_mutex_init(&gate->lock, NULL);
	gate->total = total;
	gate->each = each;
	gate->grace_ms = grace_ms;
	gate->places = calloc(total, sizeof(*gate->places));
	return gate->places ? 0 : -ENOMEM;
}

void cl_gate_fini(struct cl_gate *gate)
{
	free(gate->places);
	pthread_mutex_destroy(&gate->lock);
}

/* Of one origin, or of all. Its own thread hears of it and gives the place back. */
static void oldest_cut(struct cl_gate *gate, bool of_one, uint64_t who, uint64_t now)
{
	struct cl_gate_place *oldest = NULL;

	for (unsigned i = 0; i < gate->total; i++) {
		struct cl_gate_place *p = &gate->places[i];

		if (p->taken && (!of_one || p->who == who) &&
		    (!oldest || p->since_ms < oldest->since_ms))
			oldest = p;
	}
	if (oldest && gate->grace_ms && now - oldest->since_ms >= gate->grace_ms)
		(void)shutdown(oldest->fd, SHUT_RDWR);
}

int cl_gate_enter(struct cl_gate *gate, uint64_t who, int fd)
{
	unsigned free_at = gate->total, same = 0;
	uint64_t now = now_ms();
	int ticket = -EAGAIN;

	pthread_mutex_lock(&gate->lock);
	for (unsigned i = gate->total; i-- > 0;) {
		if (!gate->places[i].taken)
			free_at = i;
		else
			same += gate->places[i].who == who;
	}
	if (same < gate->each && free_at < gate->total) {
		gate->places[free_at] = (struct cl_gate_place){ true, fd, who, now };
		ticket = (int)free_at;
	} else {
		oldest_cut(gate, same >= gate->each, who, now);
	}
	pthread_mutex_unlock(&gate->lock);
	return ticket;
}

void cl_gate_leave(struct cl_gate *gate, int ticket)
{
	if (ticket < 0)
		return;
	pthread_mutex_lock(&gate->lock);
	gate->places[ticket].taken = false;
	pthread_mutex_unlock(&gate->lock);
}

bool cl_gate_say(struct cl_gate *gate, unsigned *ret_more)
{
	uint64_t now = now_ms();
	bool say;

	pthread_mutex_lock(&gate->lock);
	say = !gate->said_ms || now - gate->said_ms >= CL_GATE_SAY_MS;
	if (say) {
		*ret_more = gate->unsaid;
		gate->unsaid = 0;
		gate->said_ms = now;
	} else {
		gate->unsaid++;
	}
	pthread_mutex_unlock(&gate->lock);
	return say;
}

uint64_t cl_gate_address(int fd, char *ret_text, size_t cap_bytes)
{
	struct sockaddr_storage a = { 0 };
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a;
	socklen_t len = sizeof(a);

	snprintf(ret_text, cap_bytes, "?");
	if (getpeername(fd, (struct sockaddr *)&a, &len) < 0)
		return 0;
	if (a.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in4->sin_addr, ret_text, (socklen_t)cap_bytes);
		return cl_hash64(AF_INET, &in4->sin_addr, sizeof(in4->sin_addr));
	}
	if (a.ss_family != AF_INET6)
		return 0;
	inet_ntop(AF_INET6, &in6->sin6_addr, ret_text, (socklen_t)cap_bytes);
	return cl_hash64(AF_INET6, &in6->sin6_addr, 8);
}

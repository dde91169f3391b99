// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's TCP service; see serve.h.  A follower that reads too slowly to
 * keep within the last SERVE_ACKS stamps is disconnected rather than waited for.
 */
#include "tests/lab/guest/serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVE_ACKS  16384u
#define SERVE_CONNS 16u

struct conn {
	int fd; /* -1: free */
	bool following;
	uint64_t cursor; /* next ack to send, counted as acks_count */
	char in[128];
	size_t in_bytes;
	char out[4096];
	size_t out_bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards acks, acks_count */
static struct serve_ack acks[SERVE_ACKS];
static uint64_t acks_count;
static struct conn conns[SERVE_CONNS]; /* the thread's own */
static int listen_fd = -1, wake_fd = -1;

int serve_ack_text(const struct serve_ack *ack, char *out, int cap_bytes)
{
	char boot[33];

	stamp_id_text(ack->stamp.boot_id, boot);
	return snprintf(out, (size_t)cap_bytes, "%llu %llu %s %llu %llu %016llx %016llx",
			(unsigned long long)ack->stamp.seq,
			(unsigned long long)ack->stamp.generation, boot,
			(unsigned long long)ack->stamp.mono_ns,
			(unsigned long long)ack->stamp.wall_ns, (unsigned long long)ack->hash,
			(unsigned long long)ack->stamp.ram_hash);
}

void serve_publish(const struct stamp *stamp, uint64_t hash)
{
	uint64_t one = 1;

	pthread_mutex_lock(&lock);
	acks[acks_count % SERVE_ACKS] = (struct serve_ack){ .stamp = *stamp, .hash = hash };
	acks_count++;
	pthread_mutex_unlock(&lock);
	if (write(wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: the thread has plenty to wake up for */
}

static bool ack_get(uint64_t index, struct serve_ack *ret_ack, uint64_t *ret_count)
{
	bool have;

	pthread_mutex_lock(&lock);
	*ret_count = acks_count;
	have = index < acks_count && acks_count - index <= SERVE_ACKS;
	if (have)
		*ret_ack = acks[index % SERVE_ACKS];
	pthread_mutex_unlock(&lock);
	return have;
}

static void conn_close(struct conn *c)
{
	close(c->fd);
	c->fd = -1;
}

static void conn_say(struct conn *c, const char *text)
{
	size_t len = strlen(text);

	if (c->out_bytes + len > sizeof(c->out))
		return;
	memcpy(c->out + c->out_bytes, text, len);
	c->out_bytes += len;
}

static void conn_command(struct conn *c, const char *line)
{
	struct serve_ack ack;
	uint64_t count;
	char text[384], body[256];
	bool have;

	have = ack_get(0, &ack, &count);
	have = count && ack_get(count - 1, &ack, &count);
	if (!strcmp(line, "stamp")) {
		if (have)
			serve_ack_text(&ack, body, sizeof(body));
		snprintf(text, sizeof(text), "stamp %s\n", have ? body : "none");
	} else if (!strcmp(line, "follow")) {
		c->following = true;
		c->cursor = count;
		snprintf(text, sizeof(text), "following\n");
	} else if (!strcmp(line, "status")) {
		snprintf(text, sizeof(text),
			 "status stamps=%llu generation=%llu ram_bad=%u read_bad=%u io_errors=%u\n",
			 (unsigned long long)count,
			 (unsigned long long)(have ? ack.stamp.generation : 0),
			 have ? ack.stamp.ram_bad : 0, have ? ack.stamp.read_bad : 0,
			 have ? ack.stamp.io_errors : 0);
	} else {
		snprintf(text, sizeof(text), "error: one of stamp, follow, status\n");
	}
	conn_say(c, text);
}

static void conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_bytes, sizeof(c->in) - 1 - c->in_bytes, 0);
	char *end;

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			conn_close(c);
		return;
	}
	c->in_bytes += (size_t)n;
	c->in[c->in_bytes] = '\0';
	while ((end = strchr(c->in, '\n'))) {
		*end = '\0';
		if (end > c->in && end[-1] == '\r')
			end[-1] = '\0';
		conn_command(c, c->in);
		c->in_bytes -= (size_t)(end + 1 - c->in);
		memmove(c->in, end + 1, c->in_bytes + 1);
	}
	if (c->in_bytes == sizeof(c->in) - 1)
		conn_close(c); /* no line is that long */
}

static void conn_fill(struct conn *c)
{
	struct serve_ack ack;
	uint64_t count;
	char body[256];

	while (c->following && sizeof(c->out) - c->out_bytes > sizeof(body)) {
		if (!ack_get(c->cursor, &ack, &count)) {
			if (c->cursor < count)
				conn_close(c); /* it fell behind */
			return;
		}
		conn_say(c, "ack ");
		serve_ack_text(&ack, body, sizeof(body));
		conn_say(c, body);
		conn_say(c, "\n");
		c->cursor++;
	}
}

static void conn_flush(struct conn *c)
{
	while (c->fd >= 0) {
		ssize_t n;

		conn_fill(c);
		if (c->fd < 0 || !c->out_bytes)
			return;
		n = send(c->fd, c->out, c->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				conn_close(c);
			return;
		}
		c->out_bytes -= (size_t)n;
		memmove(c->out, c->out + n, c->out_bytes);
	}
}

static void conn_accept(void)
{
	int one = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (unsigned i = 0; i < SERVE_CONNS; i++)
		if (conns[i].fd < 0) {
			conns[i] = (struct conn){ .fd = fd };
			return;
		}
	close(fd);
}

static void *serve_run(void *arg)
{
	struct pollfd fds[2 + SERVE_CONNS];
	uint64_t drained;

	for (;;) {
		fds[0] = (struct pollfd){ .fd = listen_fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
		for (unsigned i = 0; i < SERVE_CONNS; i++) {
			short want = POLLIN;

			if (conns[i].out_bytes)
				want |= POLLOUT;
			fds[2 + i] = (struct pollfd){ .fd = conns[i].fd, .events = want };
		}
		if (poll(fds, 2 + SERVE_CONNS, -1) < 0)
			continue;
		if (fds[1].revents && read(wake_fd, &drained, sizeof(drained)) < 0)
			continue;
		for (unsigned i = 0; i < SERVE_CONNS; i++) {
			if (conns[i].fd >= 0 && conns[i].fd == fds[2 + i].fd &&
			    (fds[2 + i].revents & (POLLIN | POLLHUP | POLLERR)))
				conn_read(&conns[i]);
			if (conns[i].fd >= 0)
				conn_flush(&conns[i]);
		}
		if (fds[0].revents)
			conn_accept();
	}
	return NULL;
}

int serve_start(unsigned port)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in addr4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int rc, one = 1;
	pthread_t thread;

	for (unsigned i = 0; i < SERVE_CONNS; i++)
		conns[i].fd = -1;
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return -errno;
	listen_fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listen_fd >= 0) {
		setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		rc = bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr));
	} else {
		listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (listen_fd < 0)
			return -errno;
		setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		rc = bind(listen_fd, (struct sockaddr *)&addr4, sizeof(addr4));
	}
	if (rc < 0 || listen(listen_fd, 8) < 0)
		return -errno;
	return -pthread_create(&thread, NULL, serve_run, NULL);
}

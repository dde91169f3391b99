/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ring, clients and log of a byte stream.  See tty.h. */
#include "vmm/tty.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "vmm/io.h"

#define RING_BYTES    (256u * 1024)
#define CLIENTS_MAX   8u
#define PENDING_BYTES 1024u
#define LOG_BYTES_MAX (4u << 20)

struct client {
	struct vmm_tty *tty;
	int fd; /* -1: free */
	struct vmm_io_item *item;
	uint64_t pos; /* of the stream, sent so far */
	uint32_t events;
};

struct vmm_tty {
	struct vmm_io *io;
	int listen_fd;
	struct vmm_io_item *listen_item;
	int log_fd;
	size_t log_bytes;
	size_t (*input)(void *arg, const uint8_t *data, size_t len_bytes);
	void *arg;
	struct client clients[CLIENTS_MAX];
	uint64_t head; /* bytes ever written */
	uint8_t pending[PENDING_BYTES];
	size_t n_pending;
	uint8_t ring[RING_BYTES];
};

static void client_close(struct client *c)
{
	vmm_io_del(c->item);
	close(c->fd);
	c->item = NULL;
	c->fd = -1;
}

/* Listens for input while there is room for it, for output while something is unsent. */
static void client_events(struct client *c, bool blocked)
{
	uint32_t events = (c->tty->n_pending ? 0 : EPOLLIN) | (blocked ? EPOLLOUT : 0);

	if (events != c->events) {
		c->events = events;
		vmm_io_mod(c->item, events);
	}
}

static void client_flush(struct client *c)
{
	struct vmm_tty *s = c->tty;

	if (s->head - c->pos > RING_BYTES)
		c->pos = s->head - RING_BYTES;
	while (c->pos < s->head) {
		size_t at = c->pos % RING_BYTES, len = RING_BYTES - at;
		ssize_t n;

		if (len > s->head - c->pos)
			len = s->head - c->pos;
		n = send(c->fd, s->ring + at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			client_close(c);
			return;
		}
		if (n <= 0)
			break;
		c->pos += (size_t)n;
	}
	client_events(c, c->pos < s->head);
}

static void input_try(struct vmm_tty *s)
{
	size_t n = s->input(s->arg, s->pending, s->n_pending);

	s->n_pending -= n;
	memmove(s->pending, s->pending + n, s->n_pending);
}

void vmm_tty_input_ready(struct vmm_tty *s)
{
	if (!s->n_pending)
		return;
	input_try(s);
	if (s->n_pending)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0)
			client_events(&s->clients[i], s->clients[i].pos < s->head);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	struct vmm_tty *s = c->tty;
	ssize_t n;

	if ((events & EPOLLIN) && s->n_pending == 0) {
		n = recv(c->fd, s->pending, sizeof(s->pending), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			client_close(c);
			return;
		}
		if (n > 0) {
			s->n_pending = (size_t)n;
			input_try(s);
			for (unsigned i = 0; i < CLIENTS_MAX; i++)
				if (s->clients[i].fd >= 0)
					client_events(&s->clients[i],
						      s->clients[i].pos < s->head);
		}
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		client_close(c);
		return;
	}
	client_flush(c);
}

static void on_listen(void *arg, uint32_t events)
{
	struct vmm_tty *s = arg;
	CL_CLEANUP_CLOSE int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (unsigned i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];

		if (c->fd >= 0)
			continue;
		c->events = s->n_pending ? 0 : EPOLLIN;
		if (vmm_io_add(s->io, fd, c->events, on_client, c, &c->item) < 0)
			return;
		c->fd = cl_steal_fd(&fd);
		c->pos = s->head > RING_BYTES ? s->head - RING_BYTES : 0;
		client_flush(c);
	}
}

static void log_write(struct vmm_tty *s, const uint8_t *data, size_t len_bytes)
{
	static const char note[] = "[earlier output dropped]\n";

	if (s->log_fd < 0)
		return;
	if (s->log_bytes + len_bytes > LOG_BYTES_MAX) {
		if (ftruncate(s->log_fd, 0) < 0 || write(s->log_fd, note, sizeof(note) - 1) < 0) {
			close(cl_steal_fd(&s->log_fd));
			return;
		}
		s->log_bytes = sizeof(note) - 1;
	}
	/* A full file system must not stop the guest: the log is best effort. */
	(void)!write(s->log_fd, data, len_bytes);
	s->log_bytes += len_bytes;
}

void vmm_tty_write(struct vmm_tty *s, const uint8_t *data, size_t len_bytes)
{
	log_write(s, data, len_bytes);
	while (len_bytes) {
		size_t at = s->head % RING_BYTES, n = RING_BYTES - at;

		if (n > len_bytes)
			n = len_bytes;
		memcpy(s->ring + at, data, n);
		s->head += n;
		data += n;
		len_bytes -= n;
	}
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0 && !(s->clients[i].events & EPOLLOUT))
			client_flush(&s->clients[i]);
}

int vmm_tty_new(struct vmm_io *io, int listen_fd, int log_fd,
		size_t (*input)(void *arg, const uint8_t *data, size_t len_bytes), void *arg,
		struct vmm_tty **ret_tty)
{
	struct vmm_tty *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(listen_fd);
		if (log_fd >= 0)
			close(log_fd);
		return -ENOMEM;
	}
	s->io = io;
	s->input = input;
	s->arg = arg;
	s->listen_fd = listen_fd;
	s->log_fd = log_fd;
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		s->clients[i].tty = s;
		s->clients[i].fd = -1;
	}
	r = vmm_io_add(io, listen_fd, EPOLLIN, on_listen, s, &s->listen_item);
	if (r < 0) {
		vmm_tty_free(s);
		return r;
	}
	*ret_tty = s;
	return 0;
}

void vmm_tty_free(struct vmm_tty *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0)
			client_close(&s->clients[i]);
	vmm_io_del(s->listen_item);
	close(s->listen_fd);
	if (s->log_fd >= 0)
		close(s->log_fd);
	free(s);
}

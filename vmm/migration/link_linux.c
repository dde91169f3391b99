/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The link to the other vmm: a stream socket, whoever carries its bytes (vmm/tunnel).
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "vmm/migration/link.h"

static int error_of(int err)
{
	return err == EAGAIN ? -ETIMEDOUT : err == ECONNRESET ? -EPIPE : -err;
}

static int stream_write(struct vmm_link *link, const void *buf, size_t len_bytes)
{
	const char *p = buf;

	while (len_bytes) {
		ssize_t n = send(link->fd, p, len_bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_of(errno);
		p += n;
		len_bytes -= (size_t)n;
		link->written_bytes += (size_t)n;
	}
	return 0;
}

static int stream_read(struct vmm_link *link, void *buf, size_t len_bytes)
{
	char *p = buf;

	while (len_bytes) {
		ssize_t n = recv(link->fd, p, len_bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? error_of(errno) : -EPIPE;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

void vmm_link_stream(struct vmm_link *link, int fd)
{
	*link = (struct vmm_link){ .write = stream_write, .read = stream_read, .fd = fd };
}

void vmm_link_timeout_set(int fd, int timeout_ms)
{
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

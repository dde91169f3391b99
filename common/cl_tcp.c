/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP sockets for node-to-node traffic.  Addresses are numeric: no name service
 * is asked, since it may be gone when it matters.
 */
#include "common/cl_cleanup.h"
#include "common/cl_tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/socket.h>

static int resolve(const char *address, unsigned port, struct addrinfo **ret_ai)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	char service[16];

	(void)snprintf(service, sizeof(service), "%u", port);
	return getaddrinfo(address, service, &hints, ret_ai) ? -EINVAL : 0;
}

int cl_tcp_listen(const char *address, unsigned port)
{
	CL_CLEANUP_CLOSE int fd = -1;
	struct addrinfo *ai;
	int one = 1, rc = resolve(address, port, &ai);

	if (rc)
		return rc;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 64) < 0)
		rc = -errno;
	freeaddrinfo(ai);
	return rc ? rc : cl_steal_fd(&fd);
}

static int connect_wait(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0, rc;

	do {
		rc = poll(&pfd, 1, timeout_ms > 0 ? timeout_ms : -1);
	} while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return -ETIMEDOUT;
	if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

int cl_tcp_connect(const char *address, unsigned port, int timeout_ms)
{
	CL_CLEANUP_CLOSE int fd = -1;
	struct addrinfo *ai;
	int one = 1, rc = resolve(address, port, &ai);

	if (rc)
		return rc;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		rc = -errno;
	else if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		rc = errno == EINPROGRESS ? connect_wait(fd, timeout_ms) : -errno;
	freeaddrinfo(ai);
	if (rc)
		return rc;
	if (fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return cl_steal_fd(&fd);
}

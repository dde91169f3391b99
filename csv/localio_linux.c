/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCM_RIGHTS over SOCK_SEQPACKET.  See localio.h.
 */
#include "csv/localio.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int csv_local_send(int sock, const struct csv_local_msg *msg, int fd, int flags)
{
	uint8_t buf[CSV_LOCAL_MAX];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	long len = csv_local_encode(msg, buf, sizeof(buf));
	struct iovec v = {buf, len > 0 ? (size_t)len : 0};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	if (len < 0)
		return (int)len;
	if (fd >= 0) {
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.h), &fd, sizeof(int));
		m.msg_control = &control;
		m.msg_controllen = sizeof(control.space);
	}
	while (sendmsg(sock, &m, flags | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int csv_local_recv(int sock, struct csv_local_msg *ret_msg, int *ret_fd, int flags)
{
	uint8_t buf[CSV_LOCAL_MAX];
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c;
	ssize_t n;
	int rc;

	*ret_fd = -1;
	do
		n = recvmsg(sock, &m, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	rc = m.msg_flags & MSG_TRUNC ? -EBADMSG : csv_local_decode(buf, (size_t)n, ret_msg);
	if (rc && *ret_fd >= 0) {
		close(*ret_fd);
		*ret_fd = -1;
	}
	return rc;
}

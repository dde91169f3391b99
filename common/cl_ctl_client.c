/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client of the control protocol: one outstanding call at a time, events that
 * arrive in between are queued in order.  It never gives a late reply to
 * another call: replies are matched by id and strays are dropped.
 */
#include "common/cl_ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct cl_ctl_client {
	int fd;
	json_int_t next_id;
	json_t *events; /* array, oldest first */
	char *buf;	/* bytes after the last whole line */
	size_t len_bytes, cap_bytes;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int cl_ctl_client_connect(const char *path, struct cl_ctl_client **ret_client)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct cl_ctl_client *client;
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	client = calloc(1, sizeof(*client));
	if (!client || !(client->events = json_array())) {
		free(client);
		close(fd);
		return -ENOMEM;
	}
	client->fd = fd;
	*ret_client = client;
	return 0;
}

void cl_ctl_client_free(struct cl_ctl_client *client)
{
	if (!client)
		return;
	close(client->fd);
	json_decref(client->events);
	free(client->buf);
	free(client);
}

int cl_ctl_client_fd(const struct cl_ctl_client *client)
{
	return client->fd;
}

static int wait_fd(int fd, short events, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = events };
		int64_t left_ms = deadline_ms - now_ms();
		int rc = poll(&pfd, 1, left_ms < 0 ? 0 : (int)left_ms);

		if (rc > 0)
			return 0;
		if (rc == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* fd, unless it is -1, goes with the first byte. */
static ssize_t send_some(struct cl_ctl_client *client, const char *data, size_t len_bytes, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len_bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(client->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_all(struct cl_ctl_client *client, const char *data, size_t len_bytes, int fd,
		    int64_t deadline_ms)
{
	while (len_bytes) {
		ssize_t n = send_some(client, data, len_bytes, fd);
		int rc;

		if (n > 0) {
			fd = -1;
			data += n;
			len_bytes -= (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -EPIPE;
		rc = wait_fd(client->fd, POLLOUT, deadline_ms);
		if (rc)
			return rc;
	}
	return 0;
}

static int grow(struct cl_ctl_client *client)
{
	size_t cap_bytes = client->cap_bytes ? client->cap_bytes * 2 : 4096;
	char *buf;

	if (client->cap_bytes >= CL_CTL_LINE_MAX)
		return -EMSGSIZE;
	buf = realloc(client->buf, cap_bytes);
	if (!buf)
		return -ENOMEM;
	client->buf = buf;
	client->cap_bytes = cap_bytes;
	return 0;
}

/* Next object from the socket: 0 with *ret_msg, or -errno. */
static int read_message(struct cl_ctl_client *client, int64_t deadline_ms, json_t **ret_msg)
{
	for (;;) {
		char *end = client->len_bytes ? memchr(client->buf, '\n', client->len_bytes) : NULL;
		ssize_t n;
		int rc;

		if (end) {
			size_t line = (size_t)(end - client->buf);
			json_t *msg = json_loadb(client->buf, line, JSON_REJECT_DUPLICATES, NULL);

			client->len_bytes -= line + 1;
			memmove(client->buf, end + 1, client->len_bytes);
			if (!json_is_object(msg)) {
				json_decref(msg);
				return -EBADMSG;
			}
			*ret_msg = msg;
			return 0;
		}
		if (client->len_bytes == client->cap_bytes && (rc = grow(client)))
			return rc;
		rc = wait_fd(client->fd, POLLIN, deadline_ms);
		if (rc)
			return rc;
		n = recv(client->fd, client->buf + client->len_bytes,
			 client->cap_bytes - client->len_bytes, 0);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		client->len_bytes += (size_t)n;
	}
}

static int take_reply(json_t *msg, json_t **ret_result, char **ret_error)
{
	const char *error;

	if (json_is_true(json_object_get(msg, "ok"))) {
		json_t *result = json_object_get(msg, "result");

		if (ret_result)
			*ret_result = result ? json_incref(result) : json_null();
		return 0;
	}
	error = json_string_value(json_object_get(msg, "error"));
	if (ret_error)
		*ret_error = strdup(error ? error : "no reason given");
	return -cl_errno_from_name(json_string_value(json_object_get(msg, "code")));
}

int cl_ctl_client_call(struct cl_ctl_client *client, const char *verb, json_t *args,
		       int timeout_ms, json_t **ret_result, char **ret_error)
{
	return cl_ctl_client_call_fd(client, verb, args, -1, timeout_ms, ret_result, ret_error);
}

int cl_ctl_client_call_fd(struct cl_ctl_client *client, const char *verb, json_t *args, int fd,
			  int timeout_ms, json_t **ret_result, char **ret_error)
{
	int64_t deadline_ms = now_ms() + timeout_ms;
	json_int_t id = ++client->next_id;
	char *text;
	int rc;

	if (ret_result)
		*ret_result = NULL;
	if (ret_error)
		*ret_error = NULL;
	if (!args)
		args = json_object();
	json_object_set_new(args, "id", json_integer(id));
	json_object_set_new(args, "do", json_string(verb));
	text = json_dumps(args, JSON_COMPACT);
	json_decref(args);
	if (!text)
		return -ENOMEM;
	rc = send_all(client, text, strlen(text), fd, deadline_ms);
	free(text);
	if (!rc)
		rc = send_all(client, "\n", 1, -1, deadline_ms);
	while (!rc) {
		json_t *msg;

		rc = read_message(client, deadline_ms, &msg);
		if (rc)
			break;
		if (json_object_get(msg, "event")) {
			json_array_append_new(client->events, msg);
			continue;
		}
		if (json_integer_value(json_object_get(msg, "id")) == id) {
			rc = take_reply(msg, ret_result, ret_error);
			json_decref(msg);
			return rc;
		}
		json_decref(msg);
	}
	return rc;
}

json_t *cl_ctl_client_event(struct cl_ctl_client *client, int timeout_ms)
{
	int64_t deadline_ms = now_ms() + timeout_ms;
	json_t *msg;
	int rc;

	if (json_array_size(client->events)) {
		msg = json_incref(json_array_get(client->events, 0));
		json_array_remove(client->events, 0);
		return msg;
	}
	for (;;) {
		rc = read_message(client, deadline_ms, &msg);
		if (rc) {
			errno = -rc;
			return NULL;
		}
		if (json_object_get(msg, "event"))
			return msg;
		json_decref(msg);
	}
}

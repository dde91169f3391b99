/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Server of the control protocol.  All sockets hang on one epoll instance that
 * the caller polls.  It assumes nothing of a client: lines are bounded, output that a
 * client does not read is bounded too (it is disconnected, events included), so
 * a stuck client cannot hold memory or the caller's loop.
 *
 * Replies and events may come from any thread: they append to the connection's
 * output under the lock and try to send at once; what is left goes out when
 * epoll says that there is room.  A reply to a connection that is gone is dropped.
 */
#include "common/cl_ctl.h"
#include "common/cl_cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CONNS_MAX      64
#define OUT_MAX_BYTES  (4u * CL_CTL_LINE_MAX)
#define READ_BYTES     65536
#define EVENTS_A_ROUND 16

struct buffer {
	char *data;
	size_t len_bytes, cap_bytes;
};

struct conn {
	uint64_t id; /* 0: slot free; unique for the life of the server */
	int fd;
	uid_t uid;
	pid_t pid;
	bool dead; /* output overran or failed; closed by the service thread */
	struct buffer in, out;
	int fds[CL_CTL_FDS_MAX]; /* that came with what is in `in`; the service thread's */
	unsigned n_fds;
};

struct cl_ctl_server {
	int epoll_fd, listen_fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": not ours to remove */
	cl_ctl_handler handler;
	void *arg;
	pthread_mutex_t lock; /* guards conns[] against replies from other threads */
	uint64_t next_id;
	struct conn conns[CONNS_MAX];
};

static int buffer_append(struct buffer *b, const void *data, size_t len_bytes, size_t max_bytes)
{
	if (len_bytes > max_bytes || b->len_bytes > max_bytes - len_bytes)
		return -EMSGSIZE;
	if (b->len_bytes + len_bytes > b->cap_bytes) {
		size_t cap_bytes = b->cap_bytes ? b->cap_bytes : 4096;
		char *p;

		while (cap_bytes < b->len_bytes + len_bytes)
			cap_bytes *= 2;
		p = realloc(b->data, cap_bytes);
		if (!p)
			return -ENOMEM;
		b->data = p;
		b->cap_bytes = cap_bytes;
	}
	memcpy(b->data + b->len_bytes, data, len_bytes);
	b->len_bytes += len_bytes;
	return 0;
}

static void buffer_drop(struct buffer *b, size_t len_bytes)
{
	b->len_bytes -= len_bytes;
	memmove(b->data, b->data + len_bytes, b->len_bytes);
}

static struct conn *conn_find(struct cl_ctl_server *server, uint64_t id)
{
	struct conn *conn = &server->conns[id % CONNS_MAX];

	return id && conn->id == id ? conn : NULL;
}

static void fds_close(struct conn *conn)
{
	for (unsigned i = 0; i < conn->n_fds; i++)
		if (conn->fds[i] >= 0)
			close(conn->fds[i]);
	conn->n_fds = 0;
}

int cl_ctl_fd_take(struct cl_ctl_server *server, struct cl_ctl_request req)
{
	struct conn *conn = conn_find(server, req.conn);

	for (unsigned i = 0; conn && i < conn->n_fds; i++)
		if (conn->fds[i] >= 0)
			return cl_steal_fd(&conn->fds[i]);
	return -1;
}

static void conn_close(struct cl_ctl_server *server, struct conn *conn)
{
	fds_close(conn);
	pthread_mutex_lock(&server->lock);
	close(conn->fd);
	free(conn->in.data);
	free(conn->out.data);
	memset(conn, 0, sizeof(*conn));
	pthread_mutex_unlock(&server->lock);
}

static void conn_watch(struct cl_ctl_server *server, struct conn *conn, int op)
{
	struct epoll_event ev = { .data.u64 = conn->id };

	ev.events = EPOLLIN | (conn->out.len_bytes || conn->dead ? EPOLLOUT : 0);
	(void)epoll_ctl(server->epoll_fd, op, conn->fd, &ev);
}

/* Sends what the socket takes.  Called with the lock held. */
static void conn_flush(struct conn *conn)
{
	while (conn->out.len_bytes && !conn->dead) {
		ssize_t n = send(conn->fd, conn->out.data, conn->out.len_bytes,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			buffer_drop(&conn->out, (size_t)n);
		else if (n < 0 && errno == EAGAIN)
			break;
		else if (n < 0 && errno != EINTR)
			conn->dead = true;
	}
}

static void conn_send(struct cl_ctl_server *server, struct conn *conn, const char *text)
{
	if (conn->dead)
		return;
	if (buffer_append(&conn->out, text, strlen(text), OUT_MAX_BYTES) ||
	    buffer_append(&conn->out, "\n", 1, OUT_MAX_BYTES))
		conn->dead = true;
	conn_flush(conn);
	conn_watch(server, conn, EPOLL_CTL_MOD);
}

static int listen_at(const char *path, mode_t mode)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	CL_CLEANUP_CLOSE int fd = -1, probe = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return -errno;
	if (!connect(probe, (struct sockaddr *)&addr, sizeof(addr)))
		return -EADDRINUSE;
	if (errno != ENOENT && unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The mode is set before anybody can connect: fchmod() works on the unbound inode. */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(path, mode) < 0 || listen(fd, 16) < 0)
		return -errno;
	return cl_steal_fd(&fd);
}

int cl_ctl_server_listening(int listen_fd, cl_ctl_handler handler, void *arg,
			    struct cl_ctl_server **ret_server)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0 };
	struct cl_ctl_server *server = calloc(1, sizeof(*server));
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), err;

	if (!server || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev) < 0) {
		err = server ? errno : ENOMEM;
		if (epoll_fd >= 0)
			close(epoll_fd);
		free(server);
		return -err;
	}
	server->listen_fd = listen_fd;
	server->epoll_fd = epoll_fd;
	server->handler = handler;
	server->arg = arg;
	pthread_mutex_init(&server->lock, NULL);
	*ret_server = server;
	return 0;
}

int cl_ctl_server_new(const char *path, mode_t mode, cl_ctl_handler handler, void *arg,
		      struct cl_ctl_server **ret_server)
{
	int fd = listen_at(path, mode), rc;

	if (fd < 0)
		return fd;
	rc = cl_ctl_server_listening(fd, handler, arg, ret_server);
	if (rc) {
		close(fd);
		return rc;
	}
	strcpy((*ret_server)->path, path);
	return 0;
}

void cl_ctl_server_free(struct cl_ctl_server *server)
{
	if (!server)
		return;
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (server->conns[i].id)
			conn_close(server, &server->conns[i]);
	if (server->path[0])
		(void)unlink(server->path);
	close(server->listen_fd);
	close(server->epoll_fd);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

int cl_ctl_server_fd(const struct cl_ctl_server *server)
{
	return server->epoll_fd;
}

static void accept_one(struct cl_ctl_server *server)
{
	CL_CLEANUP_CLOSE int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return;
	for (size_t tries = 0; tries < CONNS_MAX; tries++) {
		uint64_t id = ++server->next_id;
		struct conn *conn = &server->conns[id % CONNS_MAX];

		if (conn->id)
			continue;
		pthread_mutex_lock(&server->lock);
		conn->fd = cl_steal_fd(&fd);
		conn->uid = cred.uid;
		conn->pid = cred.pid;
		conn->id = id;
		conn_watch(server, conn, EPOLL_CTL_ADD);
		pthread_mutex_unlock(&server->lock);
		return;
	}
}

/* One line from a client.  0, or -EBADMSG if the client must go. */
static int handle_line(struct cl_ctl_server *server, struct conn *conn, const char *line,
		       size_t len_bytes)
{
	json_t *msg = json_loadb(line, len_bytes, JSON_REJECT_DUPLICATES, NULL);
	struct cl_ctl_request req = { .conn = conn->id };
	const char *verb = json_string_value(json_object_get(msg, "do"));
	json_t *id = json_object_get(msg, "id");

	if (!verb || !json_is_integer(id)) {
		json_decref(msg);
		return -EBADMSG;
	}
	req.id = json_integer_value(id);
	server->handler(server->arg, req, verb, msg, conn->uid, conn->pid);
	fds_close(conn);
	json_decref(msg);
	return 0;
}

/* More descriptors than a request may have: the kernel closes those that do not fit, we the others. */
static int fds_take(struct conn *conn, struct msghdr *msg)
{
	bool too_many = msg->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (conn->n_fds < CL_CTL_FDS_MAX) {
				conn->fds[conn->n_fds++] = fd;
			} else {
				close(fd);
				too_many = true;
			}
		}
	}
	return too_many ? -EBADMSG : 0;
}

static int conn_input(struct cl_ctl_server *server, struct conn *conn)
{
	char data[READ_BYTES], control[CMSG_SPACE(CL_CTL_FDS_MAX * sizeof(int))];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	char *end;
	int rc;

	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	rc = fds_take(conn, &msg);
	rc = rc ? rc : buffer_append(&conn->in, data, (size_t)n, CL_CTL_LINE_MAX);
	while (!rc && (end = memchr(conn->in.data, '\n', conn->in.len_bytes))) {
		size_t line = (size_t)(end - conn->in.data);

		rc = handle_line(server, conn, conn->in.data, line);
		buffer_drop(&conn->in, line + 1);
	}
	return rc;
}

void cl_ctl_server_service(struct cl_ctl_server *server)
{
	struct epoll_event events[EVENTS_A_ROUND];
	int n = epoll_wait(server->epoll_fd, events, EVENTS_A_ROUND, 0);

	for (int i = 0; i < n; i++) {
		struct conn *conn = conn_find(server, events[i].data.u64);
		bool gone = false;

		if (!events[i].data.u64) {
			accept_one(server);
			continue;
		}
		if (!conn)
			continue;
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			gone = conn_input(server, conn) != 0;
		pthread_mutex_lock(&server->lock);
		conn_flush(conn);
		conn_watch(server, conn, EPOLL_CTL_MOD);
		gone = gone || conn->dead;
		pthread_mutex_unlock(&server->lock);
		if (gone)
			conn_close(server, conn);
	}
}

/* Takes over msg. */
static void send_to(struct cl_ctl_server *server, uint64_t conn_id, json_t *msg)
{
	char *text = json_dumps(msg, JSON_COMPACT);
	struct conn *conn;

	json_decref(msg);
	if (!text)
		return;
	pthread_mutex_lock(&server->lock);
	if (conn_id) {
		conn = conn_find(server, conn_id);
		if (conn)
			conn_send(server, conn, text);
	} else {
		for (size_t i = 0; i < CONNS_MAX; i++)
			if (server->conns[i].id)
				conn_send(server, &server->conns[i], text);
	}
	pthread_mutex_unlock(&server->lock);
	free(text);
}

void cl_ctl_reply(struct cl_ctl_server *server, struct cl_ctl_request req, json_t *result)
{
	send_to(server, req.conn,
		json_pack("{s:I, s:b, s:o}", "id", req.id, "ok", 1, "result",
			  result ? result : json_object()));
}

void cl_ctl_reply_error(struct cl_ctl_server *server, struct cl_ctl_request req, int err,
			const char *format, ...)
{
	char text[1024];
	va_list args;
	json_t *msg;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	msg = json_pack("{s:I, s:b, s:s, s:s}", "id", req.id, "ok", 0, "code", cl_errno_name(err),
			"error", text);
	if (!msg) /* the text was not UTF-8: a name from outside was quoted */
		msg = json_pack("{s:I, s:b, s:s, s:s}", "id", req.id, "ok", 0, "code",
				cl_errno_name(err), "error", "error text is not valid UTF-8");
	send_to(server, req.conn, msg);
}

void cl_ctl_event(struct cl_ctl_server *server, json_t *event)
{
	send_to(server, 0, event);
}

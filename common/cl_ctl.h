/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local control protocol that csvd and vmm speak with clusterd: one JSON
 * object a line over a Unix stream socket (docs/architecture.md, "Control protocol").
 *
 *   request  {"id": 7, "do": "verb", ...arguments}
 *   reply    {"id": 7, "ok": true, "result": {...}}
 *         or {"id": 7, "ok": false, "code": "EBUSY", "error": "one line for people"}
 *   event    {"event": "name", ...}             server to every client
 *
 * A line is at most CL_CTL_LINE_MAX bytes; a client that sends more, or what is
 * not a JSON object, is disconnected.  The server is driven from the caller's
 * poll loop and never blocks; the client is for worker threads and tools and blocks up
 * to its timeout.  Neither is thread-safe: one thread owns each object, but for
 * cl_ctl_reply() and cl_ctl_event(), which may be called from any thread.
 */
#ifndef CL_CTL_H
#define CL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CL_CTL_LINE_MAX (1u << 20)
#define CL_CTL_FDS_MAX	2u /* that come with one request; who sends one has no other request under way */

struct cl_ctl_server;
struct cl_ctl_client;

/*
 * Names one request awaiting its reply.  A request may be answered at once in
 * the handler or later, from any thread; exactly one reply is owed to each.
 */
struct cl_ctl_request {
	uint64_t conn;
	json_int_t id;
};

/*
 * Called for each request, on the thread that runs cl_ctl_server_service().
 * msg is borrowed for the call.  uid and pid are the peer's (SO_PEERCRED).
 */
typedef void (*cl_ctl_handler)(void *arg, struct cl_ctl_request req, const char *verb,
			       const json_t *msg, uid_t uid, pid_t pid);

/*
 * Listens on path with the mode given, replacing a stale socket.  0 or -errno;
 * -EADDRINUSE if another process answers there.
 */
int cl_ctl_server_new(const char *path, mode_t mode, cl_ctl_handler handler, void *arg,
		      struct cl_ctl_server **ret_server);
/* The same on a socket that listens and does not block; taken over on success only.  Its name is the caller's. */
int cl_ctl_server_listening(int listen_fd, cl_ctl_handler handler, void *arg,
			    struct cl_ctl_server **ret_server);
void cl_ctl_server_free(struct cl_ctl_server *server);
/* One epoll fd that becomes readable whenever cl_ctl_server_service() has work. */
int cl_ctl_server_fd(const struct cl_ctl_server *server);
void cl_ctl_server_service(struct cl_ctl_server *server);

/*
 * A descriptor that came with the request, in the order in which they came: the caller's from then on, close-on-exec; -1
 * when there is none (left).  Inside the handler only: what it does not take is closed.
 */
int cl_ctl_fd_take(struct cl_ctl_server *server, struct cl_ctl_request req);
/* Takes over result (may be NULL). */
void cl_ctl_reply(struct cl_ctl_server *server, struct cl_ctl_request req, json_t *result);
/* err is a positive errno; its name becomes "code". */
void cl_ctl_reply_error(struct cl_ctl_server *server, struct cl_ctl_request req, int err,
			const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Takes over event, an object with an "event" member; sends it to every client. */
void cl_ctl_event(struct cl_ctl_server *server, json_t *event);

/* 0 or -errno. */
int cl_ctl_client_connect(const char *path, struct cl_ctl_client **ret_client);
void cl_ctl_client_free(struct cl_ctl_client *client);
int cl_ctl_client_fd(const struct cl_ctl_client *client);
/*
 * Sends {"do": verb, ...args} (takes over args, may be NULL) and waits for its
 * reply; events that arrive meanwhile are kept for cl_ctl_client_event().
 * Returns 0 with *ret_result (new reference, may be a JSON null), the negative
 * errno of the reply with *ret_error (malloc'ed text), -ETIMEDOUT, or -EPIPE.
 * After -ETIMEDOUT the outcome is unknown.
 */
int cl_ctl_client_call(struct cl_ctl_client *client, const char *verb, json_t *args,
		       int timeout_ms, json_t **ret_result, char **ret_error);
/* The same with a descriptor that goes with the request (SCM_RIGHTS); fd is borrowed, -1: none. */
int cl_ctl_client_call_fd(struct cl_ctl_client *client, const char *verb, json_t *args, int fd,
			  int timeout_ms, json_t **ret_result, char **ret_error);
/* Next event (new reference) or NULL with errno ETIMEDOUT / EPIPE. */
json_t *cl_ctl_client_event(struct cl_ctl_client *client, int timeout_ms);

/* "EBUSY" <-> EBUSY for the errnos that we use; EIO / "EIO" where unknown. */
const char *cl_errno_name(int err);
int cl_errno_from_name(const char *name);

#endif

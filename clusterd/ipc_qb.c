/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Server half of ipc_qb.h. */
#include "clusterd/ipc_qb.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_ctl.h"

struct cd_ipc {
	qb_ipcs_service_t *service;
	qb_loop_t *loop;
	cd_ipc_handler handler;
	void *arg;
};

/* One unanswered request.  Holds a reference on its connection. */
struct cd_ipc_call {
	qb_ipcs_connection_t *conn;
};

/* libqb's context of a connection: alive until connection_destroyed. */
struct ipc_conn {
	bool closed;
};

/* libqb's poll handlers carry no context of ours, so the one loop is known here. */
static qb_loop_t *ipc_loop;

static int32_t loop_job_add(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(ipc_loop, p, data, fn);
}

static bool uid_allowed(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/*
 * libqb asks for a place in the loop for each connection, before it has read anything: who would be refused
 * then is refused here, or any user could hold all our descriptors by connecting and saying nothing.
 */
static int32_t loop_dispatch_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
				 qb_ipcs_dispatch_fn_t fn)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && !uid_allowed(peer.uid))
		return -EACCES;
	return qb_loop_poll_add(ipc_loop, p, fd, events, data, fn);
}

static int32_t loop_dispatch_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
				 qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(ipc_loop, p, fd, events, data, fn);
}

static int32_t loop_dispatch_del(int32_t fd)
{
	return qb_loop_poll_del(ipc_loop, fd);
}

static int32_t on_accept(qb_ipcs_connection_t *conn, uid_t uid, gid_t gid)
{
	return uid_allowed(uid) ? 0 : -EACCES;
}

static void on_created(qb_ipcs_connection_t *conn)
{
	qb_ipcs_context_set(conn, calloc(1, sizeof(struct ipc_conn)));
}

static int32_t on_closed(qb_ipcs_connection_t *conn)
{
	struct ipc_conn *ctx = qb_ipcs_context_get(conn);

	if (ctx)
		ctx->closed = true;
	return 0;
}

static void on_destroyed(qb_ipcs_connection_t *conn)
{
	free(qb_ipcs_context_get(conn));
}

static int32_t on_message(qb_ipcs_connection_t *conn, void *data, size_t size)
{
	struct cd_ipc *ipc = qb_ipcs_connection_service_context_get(conn);
	struct qb_ipc_request_header head;
	struct cd_ipc_call *call;
	json_error_t jerr;
	json_t *request;
	size_t len;

	if (size < sizeof(struct cd_ipc_head))
		return -EBADMSG;
	memcpy(&head, data, sizeof(head)); /* the ring does not align what it hands out */
	if (head.size < (int32_t)sizeof(struct cd_ipc_head) || (size_t)head.size > size)
		return -EBADMSG;
	len = (size_t)head.size - sizeof(struct cd_ipc_head);
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	qb_ipcs_connection_ref(conn);
	call->conn = conn;
	if (head.id != CD_IPC_ID || len > CD_IPC_REQUEST_MAX) {
		cd_ipc_reply_error(call, EMSGSIZE, "request of %zu bytes: allowed up to %u", len,
				   CD_IPC_REQUEST_MAX);
		return 0;
	}
	request = json_loadb((const char *)data + sizeof(struct cd_ipc_head), len,
			     JSON_REJECT_DUPLICATES, &jerr);
	if (!json_is_object(request))
		cd_ipc_reply_error(call, EBADMSG, "request is not a JSON object: %.80s",
				   request ? "another JSON value" : jerr.text);
	else
		ipc->handler(ipc->arg, call, request);
	json_decref(request);
	return 0;
}

int cd_ipc_new(qb_loop_t *loop, const char *service, cd_ipc_handler handler, void *arg,
	       struct cd_ipc **ret_ipc)
{
	static struct qb_ipcs_service_handlers handlers = {
		.connection_accept = on_accept,
		.connection_created = on_created,
		.msg_process = on_message,
		.connection_closed = on_closed,
		.connection_destroyed = on_destroyed,
	};
	static struct qb_ipcs_poll_handlers poll_handlers = {
		.job_add = loop_job_add,
		.dispatch_add = loop_dispatch_add,
		.dispatch_mod = loop_dispatch_mod,
		.dispatch_del = loop_dispatch_del,
	};
	struct cd_ipc *ipc = calloc(1, sizeof(*ipc));
	int rc;

	if (!ipc)
		return -ENOMEM;
	ipc->loop = loop;
	ipc->handler = handler;
	ipc->arg = arg;
	ipc_loop = loop;
	ipc->service = qb_ipcs_create(service ? service : CD_IPC_SERVICE, 0, QB_IPC_SHM, &handlers);
	if (!ipc->service) {
		rc = errno ? -errno : -EIO;
		free(ipc);
		return rc;
	}
	qb_ipcs_service_context_set(ipc->service, ipc);
	qb_ipcs_poll_handlers_set(ipc->service, &poll_handlers);
	qb_ipcs_enforce_buffer_size(ipc->service, CD_IPC_MSG_MAX);
	rc = qb_ipcs_run(ipc->service);
	if (rc < 0) {
		/* qb_ipcs_run() dropped the service's reference itself. */
		free(ipc);
		return rc;
	}
	*ret_ipc = ipc;
	return 0;
}

void cd_ipc_free(struct cd_ipc *ipc)
{
	if (!ipc)
		return;
	qb_ipcs_destroy(ipc->service);
	free(ipc);
}

bool cd_ipc_call_alive(const struct cd_ipc_call *call)
{
	const struct ipc_conn *ctx = qb_ipcs_context_get(call->conn);

	return ctx && !ctx->closed;
}

void cd_ipc_reply(struct cd_ipc_call *call, json_t *reply)
{
	CL_CLEANUP_FREE char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	struct cd_ipc_reply_head head = { .qb = { .id = CD_IPC_ID } };
	struct iovec iov[2];
	size_t len;

	json_decref(reply);
	if (cd_ipc_call_alive(call)) {
		if (!text || strlen(text) > CD_IPC_MSG_MAX - 4096) {
			free(text);
			text = strdup("{\"ok\":false,\"code\":\"EMSGSIZE\","
				      "\"error\":\"the answer is too long\"}");
		}
		len = text ? strlen(text) : 0;
		head.qb.size = (int32_t)(sizeof(head) + len);
		iov[0] = (struct iovec){ &head, sizeof(head) };
		iov[1] = (struct iovec){ text, len };
		if (qb_ipcs_response_sendv(call->conn, iov, 2) < 0)
			qb_ipcs_disconnect(call->conn);
	}
	qb_ipcs_connection_unref(call->conn);
	free(call);
}

void cd_ipc_reply_error(struct cd_ipc_call *call, int err, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	cd_ipc_reply(call, json_pack("{s:b s:s s:s#}", "ok", 0, "code", cl_errno_name(err), "error",
				     text, (int)strlen(text)));
}

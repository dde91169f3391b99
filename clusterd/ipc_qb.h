/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local service of clusterd (docs/formats/ipc.md): one JSON object a request, one a
 * reply, over libqb's shared-memory IPC.  Root only.  A request may be answered
 * later; libqb keeps one outstanding request a connection.
 */
#ifndef CD_IPC_QB_H
#define CD_IPC_QB_H

#include <jansson.h>
#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>

#include <stdbool.h>
#include <stdint.h>

#define CD_IPC_SERVICE	 "holdfast"
#define CD_IPC_MSG_MAX	 (1u << 20) /* header and text, both directions */
#define CD_IPC_REQUEST_MAX (CD_IPC_MSG_MAX - 4096u)
#define CD_IPC_ID	 (QB_IPC_MSG_USER_START + 1)

/* A message is this header and then size - sizeof(header) bytes of JSON without a NUL. */
struct cd_ipc_head {
	struct qb_ipc_request_header qb;
};

struct cd_ipc_reply_head {
	struct qb_ipc_response_header qb;
};

struct cd_ipc;
struct cd_ipc_call;

/* request is borrowed for the call.  One cd_ipc_reply() is owed to each call. */
typedef void (*cd_ipc_handler)(void *arg, struct cd_ipc_call *call, const json_t *request);

/* 0 or -errno.  service NULL: CD_IPC_SERVICE. */
int cd_ipc_new(qb_loop_t *loop, const char *service, cd_ipc_handler handler, void *arg,
	       struct cd_ipc **ret_ipc);
void cd_ipc_free(struct cd_ipc *ipc);
/* Takes over reply and call; the client may be gone meanwhile. */
void cd_ipc_reply(struct cd_ipc_call *call, json_t *reply);
/* {"ok":false,"code":name,"error":text}; err is a positive errno. */
void cd_ipc_reply_error(struct cd_ipc_call *call, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
bool cd_ipc_call_alive(const struct cd_ipc_call *call);

/*
 * Client side, for clusterctl and tests.  0 or -errno; -ENOENT: clusterd is not there.  request is borrowed.
 * timeout_ms < 0: for ever, but for the end of the server (-EPIPE).
 */
struct cd_ipc_client;
int cd_ipc_client_connect(const char *service, struct cd_ipc_client **ret_client);
void cd_ipc_client_free(struct cd_ipc_client *client);
int cd_ipc_client_call(struct cd_ipc_client *client, const json_t *request, int timeout_ms,
		       json_t **ret_reply);

#endif

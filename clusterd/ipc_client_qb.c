/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client half of ipc_qb.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clusterd/ipc_qb.h"
#include "common/cl_cleanup.h"

#define SLICE_MS 500

struct cd_ipc_client {
	qb_ipcc_connection_t *conn;
	char *buf;
};

int cd_ipc_client_connect(const char *service, struct cd_ipc_client **ret_client)
{
	struct cd_ipc_client *client = calloc(1, sizeof(*client));
	int rc;

	if (!client)
		return -ENOMEM;
	client->buf = malloc(CD_IPC_MSG_MAX);
	if (!client->buf) {
		free(client);
		return -ENOMEM;
	}
	errno = 0;
	client->conn = qb_ipcc_connect(service ? service : CD_IPC_SERVICE, CD_IPC_MSG_MAX);
	if (!client->conn) {
		rc = errno == EACCES || errno == EPERM ? -EACCES : -ENOENT;
		cd_ipc_client_free(client);
		return rc;
	}
	*ret_client = client;
	return 0;
}

void cd_ipc_client_free(struct cd_ipc_client *client)
{
	if (!client)
		return;
	if (client->conn)
		qb_ipcc_disconnect(client->conn);
	free(client->buf);
	free(client);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

static int reply_wait(struct cd_ipc_client *client, int timeout_ms, ssize_t *ret_len)
{
	long end = now_ms() + timeout_ms;

	for (;;) {
		long left = timeout_ms < 0 ? SLICE_MS : end - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		n = qb_ipcc_recv(client->conn, client->buf, CD_IPC_MSG_MAX,
				 left < SLICE_MS ? (int)left : SLICE_MS);
		if (n >= 0) {
			*ret_len = n;
			return 0;
		}
		if (n != -EAGAIN && n != -ETIMEDOUT && n != -EINTR)
			return -EPIPE;
		if (!qb_ipcc_is_connected(client->conn))
			return -EPIPE;
	}
}

int cd_ipc_client_call(struct cd_ipc_client *client, const json_t *request, int timeout_ms,
		       json_t **ret_reply)
{
	CL_CLEANUP_FREE char *text = json_dumps(request, JSON_COMPACT);
	struct cd_ipc_head head = { .qb = { .id = CD_IPC_ID } };
	const struct qb_ipc_response_header *reply;
	struct iovec iov[2];
	json_error_t jerr;
	ssize_t n;
	int rc;

	if (!text)
		return -ENOMEM;
	if (strlen(text) > CD_IPC_REQUEST_MAX)
		return -EMSGSIZE;
	head.qb.size = (int32_t)(sizeof(head) + strlen(text));
	iov[0] = (struct iovec){ &head, sizeof(head) };
	iov[1] = (struct iovec){ text, strlen(text) };
	n = qb_ipcc_sendv(client->conn, iov, 2);
	if (n < 0)
		return n == -EAGAIN ? -EAGAIN : -EPIPE;
	rc = reply_wait(client, timeout_ms, &n);
	if (rc < 0)
		return rc;
	reply = (const struct qb_ipc_response_header *)client->buf;
	if (n < (ssize_t)sizeof(struct cd_ipc_reply_head) || reply->size > n ||
	    reply->size < (int32_t)sizeof(struct cd_ipc_reply_head))
		return -EBADMSG;
	*ret_reply = json_loadb(client->buf + sizeof(struct cd_ipc_reply_head),
				(size_t)reply->size - sizeof(struct cd_ipc_reply_head), 0, &jerr);
	return json_is_object(*ret_reply) ? 0 : -EBADMSG;
}

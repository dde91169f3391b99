/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The initiator's side of target.h: a transport of scsi3pr, and the record of a guest's write. */
#include "tests/cluster/target.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "scsi3pr/scsi3pr.h"

struct client {
	int fd;
	unsigned nexus;
	struct target_request request;
	struct target_answer answer;
};

const char *target_path(void)
{
	const char *path = getenv("HF_TEST_TARGET");

	return path ? path : "/shared/target.sock";
}

unsigned target_node(void)
{
	const char *text = getenv("HF_TEST_NODE");
	unsigned long node = text ? strtoul(text, NULL, 10) : 0;

	return node >= 1 && node < 32 ? (unsigned)node : 31;
}

static int client_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", target_path());
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd < 0 ? -errno : fd;
}

/* Sends the request and takes its answer: 0, -ENODEV never sent, -ETIMEDOUT. */
static int round_trip(struct client *c, size_t len_bytes, unsigned timeout_ms)
{
	struct pollfd pfd;

	if (c->fd < 0)
		c->fd = client_connect();
	if (c->fd < 0 || send(c->fd, &c->request, len_bytes, MSG_NOSIGNAL) < 0) {
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
		return -ENODEV;
	}
	pfd = (struct pollfd){ .fd = c->fd, .events = POLLIN };
	if (poll(&pfd, 1, (int)timeout_ms) == 1 &&
	    recv(c->fd, &c->answer, sizeof(c->answer), 0) >= (ssize_t)TARGET_HEAD(target_answer))
		return 0;
	/* An answer that comes later must not be taken for another command's. */
	close(c->fd);
	c->fd = -1;
	return -ETIMEDOUT;
}

static void client_execute(void *ctx, struct pr_command *command)
{
	struct client *c = ctx;
	struct target_request *q = &c->request;
	size_t len = TARGET_HEAD(target_request);
	int rc;

	memset(q, 0, len);
	q->nexus = c->nexus;
	q->cdb_bytes = command->cdb_bytes;
	memcpy(q->cdb, command->cdb, sizeof(q->cdb));
	q->to_target = command->to_target;
	q->data_bytes = (uint32_t)command->data_bytes;
	if (command->data_bytes > TARGET_DATA_MAX) {
		command->delivery = PR_NOT_SENT;
		return;
	}
	if (command->to_target) {
		memcpy(q->data, command->data, command->data_bytes);
		len += command->data_bytes;
	}
	rc = round_trip(c, len, command->timeout_ms);
	if (rc < 0) {
		command->delivery = rc == -ENODEV ? PR_NOT_SENT : PR_NO_ANSWER;
		snprintf(command->note, sizeof(command->note), "%s",
			 rc == -ENODEV ? "no connection to the target" : "no answer in time");
		return;
	}
	command->delivery = PR_ANSWERED;
	command->status = (uint8_t)c->answer.status;
	command->sense_bytes = c->answer.sense_bytes;
	memcpy(command->sense, c->answer.sense, sizeof(command->sense));
	if (!command->to_target && c->answer.data_bytes <= command->data_bytes) {
		memcpy(command->data, c->answer.data, c->answer.data_bytes);
		command->transferred = c->answer.data_bytes;
	}
}

static void client_pause(void *ctx, unsigned ms)
{
	poll(NULL, 0, (int)ms);
}

static int client_reset(void *ctx, unsigned timeout_ms)
{
	struct client *c = ctx;
	int rc;

	memset(&c->request, 0, TARGET_HEAD(target_request));
	c->request.nexus = c->nexus;
	c->request.cdb[0] = 0xff;
	rc = round_trip(c, TARGET_HEAD(target_request), timeout_ms);
	return rc == -ENODEV ? -EIO : rc;
}

static void client_close(void *ctx)
{
	struct client *c = ctx;

	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

int target_open(unsigned nexus, const struct pr_transport **ret_transport, void **ret_ctx, char *error)
{
	static const struct pr_transport transport = { client_execute, client_pause, client_reset,
						       client_close };
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->nexus = nexus;
	c->fd = client_connect();
	if (c->fd < 0) {
		int rc = c->fd;

		snprintf(error, SCSI3PR_TEXT_MAX, "%.200s: %s", target_path(), strerror(-rc));
		free(c);
		return rc;
	}
	*ret_transport = &transport;
	*ret_ctx = c;
	return 0;
}

int target_record_write(struct scsi3pr_dev **dev, const char *object, uint64_t generation,
			const char *instance, unsigned timeout_ms)
{
	struct pr_command command = { .to_target = true };
	char record[512] = "";

	if (!*dev) {
		const struct pr_transport *transport;
		char error[SCSI3PR_TEXT_MAX];
		void *ctx;
		int rc = target_open(target_node(), &transport, &ctx, error);

		if (rc < 0)
			return rc;
		*dev = calloc(1, sizeof(**dev));
		if (!*dev)
			abort();
		pr_dev_init(*dev, transport, ctx, "/dev/sda", timeout_ms);
	}
	snprintf(record, sizeof(record), "%s %llu %s", object, (unsigned long long)generation,
		 instance);
	command.data = record;
	command.data_bytes = sizeof(record);
	command.timeout_ms = timeout_ms;
	command.cdb_bytes = pr_write10_encode(0, 1, command.cdb);
	return pr_dev_execute(*dev, &command, "WRITE");
}

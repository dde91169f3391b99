/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The target: target SOCKET LOG.  One thread, one command at a time. */
#include "tests/cluster/target.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/contract/pr_model.h"

#define CLIENTS_MAX 512

struct served {
	struct model_lun lun;
	struct pr_model_nexus nexus[MODEL_LUN_NEXUSES];
	struct scsi3pr_dev dev[MODEL_LUN_NEXUSES];
	uint32_t drop, silent;
	FILE *log;
};

static void write_note(struct served *s, const struct target_request *q, uint8_t status)
{
	struct timespec ts;
	char text[512];

	snprintf(text, sizeof(text), "%.*s", (int)(q->data_bytes < 511 ? q->data_bytes : 511),
		 (const char *)q->data);
	text[strcspn(text, "\n")] = '\0';
	clock_gettime(CLOCK_MONOTONIC, &ts);
	fprintf(s->log, "%lld %u %s %s\n", ts.tv_sec * 1000000000LL + ts.tv_nsec, q->nexus,
		status == PR_STATUS_GOOD     ? "written" :
		status == PR_STATUS_CONFLICT ? "conflict" :
					       "attention",
		text);
	fflush(s->log);
}

/* True if an answer is to be sent. */
static bool command_run(struct served *s, struct target_request *q, struct target_answer *a)
{
	struct pr_command c = { .cdb_bytes = q->cdb_bytes,
				.to_target = q->to_target,
				.data = q->to_target ? q->data : a->data,
				.data_bytes = q->data_bytes };
	uint32_t bit;

	memset(a, 0, TARGET_HEAD(target_answer));
	if (q->nexus == TARGET_CONTROL) {
		s->drop = q->drop;
		s->silent = q->silent;
		return true;
	}
	if (q->nexus >= MODEL_LUN_NEXUSES)
		return false;
	bit = 1u << q->nexus;
	if (s->drop & bit)
		return false;
	memcpy(c.cdb, q->cdb, sizeof(c.cdb));
	s->dev[q->nexus].transport->execute(s->dev[q->nexus].ctx, &c);
	if (q->cdb[0] == 0x2a)
		write_note(s, q, c.status);
	a->status = c.status;
	a->sense_bytes = (uint32_t)c.sense_bytes;
	memcpy(a->sense, c.sense, sizeof(a->sense));
	a->data_bytes = q->to_target ? 0 : (uint32_t)c.transferred;
	return !(s->silent & bit);
}

/* LOGICAL UNIT RESET has no CDB; 0xff stands for it on this wire. */
static bool reset_run(struct served *s, const struct target_request *q, struct target_answer *a)
{
	memset(a, 0, TARGET_HEAD(target_answer));
	if (q->nexus >= MODEL_LUN_NEXUSES || s->drop & 1u << q->nexus)
		return false;
	s->dev[q->nexus].transport->reset(s->dev[q->nexus].ctx, 0);
	return !(s->silent & 1u << q->nexus);
}

static void client_serve(struct served *s, struct pollfd *pfd)
{
	static struct target_request q;
	static struct target_answer a;
	ssize_t n = recv(pfd->fd, &q, sizeof(q), 0);
	bool answer;

	if (n <= 0) {
		close(pfd->fd);
		pfd->fd = -1;
		return;
	}
	if ((size_t)n < TARGET_HEAD(target_request) || q.data_bytes > TARGET_DATA_MAX ||
	    (q.to_target && (size_t)n < TARGET_HEAD(target_request) + q.data_bytes))
		return;
	answer = q.cdb[0] == 0xff ? reset_run(s, &q, &a) : command_run(s, &q, &a);
	/* One who does not take his answers loses them: nobody else waits for him. */
	if (answer && send(pfd->fd, &a, TARGET_HEAD(target_answer) + a.data_bytes,
			   MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

int target_serve(const char *socket_path, const char *log_path)
{
	static struct pollfd fds[CLIENTS_MAX + 1];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct served *s = calloc(1, sizeof(*s));
	nfds_t n = 1;

	if (!s || strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	s->log = fopen(log_path, "ae");
	if (!s->log)
		return -errno;
	model_lun_init(&s->lun);
	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++) {
		s->nexus[i] = (struct pr_model_nexus){ .lun = &s->lun, .nexus = i };
		pr_model_open(&s->dev[i], &s->nexus[i], "model");
	}
	strcpy(address.sun_path, socket_path);
	unlink(socket_path);
	fds[0] = (struct pollfd){ .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
				  .events = POLLIN };
	if (fds[0].fd < 0 || bind(fds[0].fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fds[0].fd, 128) < 0)
		return -errno;
	for (;;) {
		if (poll(fds, n, -1) < 0)
			return -errno;
		for (nfds_t i = n; i-- > 1;) {
			if (fds[i].revents)
				client_serve(s, &fds[i]);
			if (fds[i].fd < 0)
				fds[i] = fds[--n];
		}
		if (fds[0].revents && n <= CLIENTS_MAX) {
			int fd = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0)
				fds[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		}
	}
}

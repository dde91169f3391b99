/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libiscsi as a transport: an own session, thus an own I_T nexus, to one LUN.
 *
 * Decides that a lost session stays lost (csv.md D1): automatic reconnection would send commands in
 * flight again, over another nexus that is not registered.  Whoever wants to go on opens a new
 * device and is admitted anew.  A command whose session went away is "no answer", never "failed".
 */
#include "scsi3pr/pr_open.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INITIATOR_DEFAULT "iqn.2026-11.org.holdfast:scsi3pr"

struct session {
	struct iscsi_context *iscsi;
	int lun;
	bool lost;
};

static void note(struct pr_command *command, const char *text)
{
	size_t n = strcspn(text, "\r\n");

	snprintf(command->note, sizeof(command->note), "%.*s",
		 (int)(n < sizeof(command->note) ? n : sizeof(command->note) - 1), text);
}

static void sense_copy(struct pr_command *command, const struct scsi_task *task)
{
	/* libiscsi keeps only what it decoded: give it back in descriptor format. */
	bool deferred = task->sense.error_type == 0x71 || task->sense.error_type == 0x73;

	command->sense[0] = deferred ? 0x73 : 0x72;
	command->sense[1] = (uint8_t)task->sense.key & 0xf;
	command->sense[2] = (uint8_t)(task->sense.ascq >> 8);
	command->sense[3] = (uint8_t)task->sense.ascq;
	command->sense_bytes = 8;
	memset(command->sense + 4, 0, 4);
}

static void session_execute(void *ctx, struct pr_command *command)
{
	struct session *session = ctx;
	struct iscsi_data out = { .size = command->data_bytes, .data = command->data };
	int direction = command->data_bytes == 0 ? SCSI_XFER_NONE
			: command->to_target	 ? SCSI_XFER_WRITE
						 : SCSI_XFER_READ;
	struct scsi_task *task;

	if (session->lost) {
		command->delivery = PR_NOT_SENT;
		note(command, "the iSCSI session is gone");
		return;
	}
	command->delivery = PR_NO_ANSWER;
	task = scsi_create_task((int)command->cdb_bytes, command->cdb, direction,
				(int)command->data_bytes);
	if (!task) {
		command->delivery = PR_NOT_SENT;
		note(command, "out of memory");
		return;
	}
	iscsi_set_timeout(session->iscsi, (int)((command->timeout_ms + 999) / 1000));
	if (!iscsi_scsi_command_sync(session->iscsi, session->lun, task,
				     command->to_target && command->data_bytes ? &out : NULL)) {
		session->lost = true;
		note(command, iscsi_get_error(session->iscsi));
		scsi_free_scsi_task(task);
		return;
	}
	if (task->status < 0 || task->status > 0xff) {
		session->lost = true;
		note(command, task->status == SCSI_STATUS_TIMEOUT ? "time-out"
								  : "the iSCSI session was lost");
		scsi_free_scsi_task(task);
		return;
	}
	command->delivery = PR_ANSWERED;
	command->status = (uint8_t)task->status;
	if (command->status == PR_STATUS_CHECK) {
		sense_copy(command, task);
	} else if (command->to_target) {
		command->transferred = command->data_bytes;
	} else if (task->datain.data && task->datain.size > 0) {
		size_t n = (size_t)task->datain.size;

		command->transferred = n < command->data_bytes ? n : command->data_bytes;
		memcpy(command->data, task->datain.data, command->transferred);
	}
	scsi_free_scsi_task(task);
}

static void session_pause(void *ctx, unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static int session_reset(void *ctx, unsigned timeout_ms)
{
	struct session *session = ctx;
	int ret;

	if (session->lost)
		return -ENODEV;
	iscsi_set_timeout(session->iscsi, (int)((timeout_ms + 999) / 1000));
	ret = iscsi_task_mgmt_lun_reset_sync(session->iscsi, (uint32_t)session->lun);
	if (ret == 0)
		return 0;
	return ret == ISCSI_TMR_TMF_NOT_SUPPORTED ? -EOPNOTSUPP : -ETIMEDOUT;
}

static void session_close(void *ctx)
{
	struct session *session = ctx;

	if (session->iscsi) {
		if (!session->lost) {
			iscsi_set_timeout(session->iscsi, 2);
			(void)iscsi_logout_sync(session->iscsi);
		}
		iscsi_destroy_context(session->iscsi);
	}
	free(session);
}

static const struct pr_transport iscsi_transport = {
	.execute = session_execute,
	.pause = session_pause,
	.reset = session_reset,
	.close = session_close,
};

/*
 * Cuts "?initiator=IQN&isid=HEX12" off url.  The ISID's six bytes are those of the "random" or
 * "OUI" formats (RFC 7143 11.12.5); only the random format is offered: 24 bits and a qualifier.
 */
static int query_cut(char *url, char *ret_initiator, size_t cap_bytes, uint64_t *ret_isid)
{
	char *query = strchr(url, '?'), *save = NULL;

	*ret_isid = 0;
	if (!query)
		return 0;
	*query++ = '\0';
	for (char *p = strtok_r(query, "&", &save); p; p = strtok_r(NULL, "&", &save)) {
		if (strncmp(p, "initiator=", 10) == 0 && p[10] != '\0' &&
		    strlen(p + 10) < cap_bytes) {
			strcpy(ret_initiator, p + 10);
		} else if (strncmp(p, "isid=", 5) == 0) {
			char *end;

			errno = 0;
			*ret_isid = strtoull(p + 5, &end, 16);
			if (errno || *end || end == p + 5 || *ret_isid >> 48 || *ret_isid == 0)
				return -EINVAL;
		} else {
			return -EINVAL;
		}
	}
	return 0;
}

int pr_iscsi_open(const char *url, unsigned timeout_ms, const struct pr_transport **ret_transport,
		  void **ret_ctx, char *error)
{
	char initiator[224] = INITIATOR_DEFAULT, plain[512];
	struct iscsi_url *parsed = NULL;
	struct session *session;
	uint64_t isid;
	int ret = -EINVAL;

	if (strlen(url) >= sizeof(plain)) {
		snprintf(error, SCSI3PR_TEXT_MAX, "the URL is longer than %zu bytes",
			 sizeof(plain) - 1);
		return -EINVAL;
	}
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	strcpy(plain, url);
	if (query_cut(plain, initiator, sizeof(initiator), &isid) < 0) {
		snprintf(error, SCSI3PR_TEXT_MAX,
			 "%.200s: only ?initiator=IQN and isid=HEX are known", url);
		goto out;
	}
	session->iscsi = iscsi_create_context(initiator);
	if (!session->iscsi) {
		snprintf(error, SCSI3PR_TEXT_MAX, "libiscsi refuses the initiator name");
		goto out;
	}
	parsed = iscsi_parse_full_url(session->iscsi, plain);
	if (!parsed) {
		snprintf(error, SCSI3PR_TEXT_MAX,
			 "%.200s: not a URL of the form iscsi://ADDRESS[:PORT]/IQN/LUN", url);
		goto out;
	}
	session->lun = parsed->lun;
	iscsi_set_targetname(session->iscsi, parsed->target);
	iscsi_set_session_type(session->iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(session->iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
	if (isid)
		iscsi_set_isid_random(session->iscsi, (uint32_t)(isid >> 16) & 0xffffff,
				      (uint32_t)isid & 0xffff);
	iscsi_set_noautoreconnect(session->iscsi, 1);
	iscsi_set_timeout(session->iscsi, (int)((timeout_ms + 999) / 1000));
	/* Not iscsi_full_connect_sync: it sends TEST UNIT READY and eats unit attentions unseen. */
	if (iscsi_connect_sync(session->iscsi, parsed->portal) != 0 ||
	    iscsi_login_sync(session->iscsi) != 0) {
		const char *text = iscsi_get_error(session->iscsi);

		snprintf(error, SCSI3PR_TEXT_MAX, "%.100s: %.*s", url, (int)strcspn(text, "\r\n"),
			 text);
		session->lost = true;
		ret = -ENOTCONN;
		goto out;
	}
	*ret_ctx = session;
	*ret_transport = &iscsi_transport;
	session = NULL;
	ret = 0;
out:
	if (parsed)
		iscsi_destroy_url(parsed);
	if (session)
		session_close(session);
	return ret;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a local client may send: JSON objects (one a line), each answered exactly once; what is proposed can be encoded, and
 * applying it breaks nothing.
 *
 * fuzz-sources: clusterd/[a-z]*_jansson.c clusterd/paths_linux.c clusterd/check_linux.c clusterd/core/[a-z]*.c clusterd/log/[a-z]*.c common/cl_log.c common/cl_errno.c common/cl_types.c common/cl_wire.c
 * fuzz-flags: -DHF_LIBEXECDIR="/x" -DHF_SBINDIR="/x" -ljansson
 */
#include "clusterd/daemon.h"
#include "clusterd/luns_scsi3pr.h"
#include "clusterd/monitor_vmm.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/totem_cmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cd cd;
static unsigned answers;

/* ---- the daemon around the requests ---- */

struct cd_ipc_call {
	int unused;
};

void cd_ipc_reply(struct cd_ipc_call *call, json_t *reply)
{
	char *text = json_dumps(reply, 0);

	if (!text)
		abort();
	free(text);
	json_decref(reply);
	answers++;
}

void cd_ipc_reply_error(struct cd_ipc_call *call, int err, const char *format, ...)
{
	if (err <= 0)
		abort();
	answers++;
}

bool cd_ipc_call_alive(const struct cd_ipc_call *call)
{
	return true;
}

const struct core_state *cd_state(const struct cd *d)
{
	return &d->replica->st;
}

struct cd_store_counts cd_store_counts_get(struct cd_store *store)
{
	return (struct cd_store_counts){ 0 };
}

struct core_totem cd_totem_read(void)
{
	return (struct core_totem){ 0 };
}

const char *cd_monitor_frozen(struct cd *d, const char *vm)
{
	return NULL;
}

const char *cd_monitor_stalled(struct cd *d, const char *vm)
{
	return NULL;
}

uint64_t cd_now_ms(void)
{
	return 1000;
}

void cd_pki_random(void *data, size_t len_bytes)
{
	memset(data, 0x5a, len_bytes);
}

void cd_pool_submit(struct cd_pool *pool, struct cd_job *job)
{
	job->run(job);
	job->done(job);
}

int cd_lun_check(const char *id, bool force, uint64_t own_key, struct cd_lun_check *ret_check,
		 char *error, size_t cap_bytes)
{
	ret_check->size_bytes = 1ull << 40;
	return 0;
}

void cd_luns_list(struct cd *d, struct cd_ipc_call *call)
{
	cd_ipc_reply(call, json_object());
}

void cd_cluster_create(struct cd *d, struct cd_ipc_call *call, const json_t *request)
{
	cd_ipc_reply(call, json_object());
}

void cd_cluster_join(struct cd *d, struct cd_ipc_call *call, const json_t *request)
{
	cd_ipc_reply(call, json_object());
}

void cd_cluster_token(struct cd *d, struct cd_ipc_call *call, const json_t *request)
{
	cd_ipc_reply(call, json_object());
}

void cd_drive_command(struct cd *d, const struct core_command *cmd, unsigned timeout_ms,
		      void (*answer)(struct cd *d, void *arg, int err, const struct core_answer *answer),
		      void *arg)
{
	static struct core_command scratch;
	static uint8_t bytes[LOG_ENTRY_MAX];
	struct core_answer said;
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	if (len < 0) {
		answer(d, arg, -EMSGSIZE, NULL);
		return;
	}
	if (core_command_decode(&scratch, bytes, (size_t)len))
		abort();
	core_apply(&d->replica->st, d->replica->st.applied_seq + 1, bytes, (size_t)len, &scratch, &said);
	answer(d, arg, said.err, &said);
}

/* ---- */

static void start(void)
{
	static struct core_command cmd, scratch;
	static uint8_t bytes[LOG_ENTRY_MAX];
	struct core_answer said;
	long len;

	if (!cd.replica)
		cd.replica = calloc(1, sizeof(*cd.replica));
	core_state_init(&cd.replica->st);
	for (unsigned i = 0; i < CD_WAITERS_MAX; i++)
		cd.waiters[i].call = NULL;
	cd.member = cd.link_up = true;
	cd.votes.quorate = true;
	cd.self.id = 1;
	strcpy(cd.self.name, "n1");
	memset(&cmd, 0, offsetof(struct core_command, report));
	cmd.kind = CORE_CMD_INIT;
	cmd.node = 1;
	strcpy(cmd.name, "fuzz");
	strcpy(cmd.target, "n1");
	len = core_command_encode(&cmd, bytes, sizeof(bytes));
	core_apply(&cd.replica->st, 1, bytes, (size_t)len, &scratch, &said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned waiting;

	start();
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		json_t *request = json_loadb((const char *)data, len, JSON_REJECT_DUPLICATES, NULL);

		answers = waiting = 0;
		if (json_is_object(request)) {
			static struct cd_ipc_call call;

			for (unsigned i = 0; i < CD_WAITERS_MAX; i++)
				waiting -= cd.waiters[i].call != NULL;
			cd_request(&cd, &call, request);
			for (unsigned i = 0; i < CD_WAITERS_MAX; i++)
				waiting += cd.waiters[i].call != NULL;
			if (answers + waiting != 1)
				abort();
		}
		json_decref(request);
		data += end ? len + 1 : len;
		size -= end ? len + 1 : len;
	}
	return 0;
}

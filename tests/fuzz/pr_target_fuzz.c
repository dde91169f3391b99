/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole target that answers what it likes, status, sense and data: fencing is never proven by
 * a target that did not say GOOD to PREEMPT AND ABORT, and every call ends.
 *
 * fuzz-sources: scsi3pr/pr_code.c scsi3pr/pr_sense.c scsi3pr/pr_vpd.c
 * fuzz-sources: scsi3pr/pr_dev.c scsi3pr/pr_fence.c
 */
#include "scsi3pr/pr_dev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct target {
	const uint8_t *data;
	size_t len;
	bool preempted; /* PREEMPT AND ABORT was answered GOOD */
};

static uint8_t next(struct target *t)
{
	if (t->len == 0)
		return 0;
	t->len--;
	return *t->data++;
}

static void execute(void *ctx, struct pr_command *c)
{
	static const uint8_t statuses[] = { 0, 0, 0, 0, 0x02, 0x02, 0x18, 0x08, 0x40, 0x55 };
	struct target *t = ctx;
	uint8_t choice = next(t);

	c->delivery = choice % 16 == 15	  ? PR_NO_ANSWER
		      : choice % 16 == 14 ? PR_NOT_SENT
					  : PR_ANSWERED;
	c->status = statuses[choice / 16 % sizeof(statuses)];
	if (c->status == PR_STATUS_CHECK) {
		c->sense_bytes = next(t) % (PR_SENSE_MAX + 1);
		for (size_t i = 0; i < c->sense_bytes; i++)
			c->sense[i] = next(t);
	}
	if (!c->to_target && c->data_bytes > 0) {
		size_t n = next(t) * 2u;

		c->transferred = n < c->data_bytes ? n : c->data_bytes;
		for (size_t i = 0; i < c->transferred; i++)
			((uint8_t *)c->data)[i] = next(t);
	}
	if (c->cdb[0] == 0x5f && (c->cdb[1] & 0x1f) == PR_OUT_PREEMPT_AND_ABORT &&
	    c->delivery == PR_ANSWERED && c->status == PR_STATUS_GOOD)
		t->preempted = true;
	/* NO SENSE and RECOVERED ERROR are GOOD too. */
	if (c->cdb[0] == 0x5f && c->delivery == PR_ANSWERED && c->status == PR_STATUS_CHECK) {
		struct pr_sense sense;

		pr_sense_decode(c->sense, c->sense_bytes, &sense);
		t->preempted |= sense.valid && !sense.deferred && sense.key <= 1;
	}
}

static void pause_none(void *ctx, unsigned ms)
{
}

static int reset(void *ctx, unsigned timeout_ms)
{
	struct target *t = ctx;

	return next(t) & 1 ? -ETIMEDOUT : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct pr_transport transport = { execute, pause_none, reset, NULL };
	static struct scsi3pr_dev dev;
	static struct scsi3pr_full_status status;
	struct target target = { data, len, false };
	struct scsi3pr_fence fence;
	struct scsi3pr_check check;
	struct scsi3pr_lun lun;
	unsigned type;

	pr_dev_init(&dev, &transport, &target, "fuzz", 1);
	scsi3pr_fence(&dev, 0x0101010101010101, 0x0202020202020202, &fence);
	if (fence.proof == SCSI3PR_FENCED && !target.preempted)
		abort();
	scsi3pr_check(&dev, 0x0101010101010101, &check);
	(void)scsi3pr_identify(&dev, &lun);
	(void)scsi3pr_full_status_read(&dev, &status);
	(void)scsi3pr_register(&dev, 1, true);
	(void)scsi3pr_reserve(&dev, 1, 0, &type);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decodes CDBs for the model of a LUN.  Knows only the commands that scsi3pr sends.
 */
#include "tests/contract/pr_model.h"

#include <errno.h>
#include <string.h>

#define BLOCKS	    2048u
#define BLOCK_BYTES 512u

static void sense_set(struct pr_command *c, uint8_t key, uint8_t asc, uint8_t ascq)
{
	static const uint8_t fixed[18] = { 0x70, [7] = 10 };

	memcpy(c->sense, fixed, sizeof(fixed));
	c->sense[2] = key;
	c->sense[12] = asc;
	c->sense[13] = ascq;
	c->sense_bytes = sizeof(fixed);
	c->status = PR_STATUS_CHECK;
}

static void status_set(struct pr_command *c, enum model_lun_status status)
{
	if (status == MODEL_LUN_CONFLICT)
		c->status = PR_STATUS_CONFLICT;
	else if (status == MODEL_LUN_REFUSED)
		sense_set(c, 0x5, 0x24, 0x00);
	else
		c->status = PR_STATUS_GOOD;
}

static void answer(struct pr_command *c, const uint8_t *data, size_t n)
{
	size_t allowed = c->data_bytes;

	c->transferred = n < allowed ? n : allowed;
	memcpy(c->data, data, c->transferred);
}

static void execute_in(const struct model_lun *lun, struct pr_command *c)
{
	uint8_t data[8 + 8 * MODEL_LUN_NEXUSES] = { 0 };
	size_t n = 8;

	pr_be32_write(data, lun->generation);
	switch (c->cdb[1] & 0x1f) {
	case PR_IN_READ_KEYS:
		for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++)
			if (lun->registered[i]) {
				pr_be64_write(data + n, lun->key[i]);
				n += 8;
			}
		pr_be32_write(data + 4, (uint32_t)n - 8);
		break;
	case PR_IN_READ_RESERVATION:
		if (lun->held) {
			n = 24;
			pr_be32_write(data + 4, 16);
			if (lun->type < 7)
				pr_be64_write(data + 8, lun->key[lun->holder]);
			data[21] = lun->type;
		}
		break;
	case PR_IN_REPORT_CAPABILITIES:
		pr_be32_write(data, 0x00081180);
		data[2] |= lun->no_aptpl ? 0 : 1;
		data[3] |= lun->aptpl ? 1 : 0;
		data[4] = 0xea;
		data[5] = 0x01;
		break;
	default:
		sense_set(c, 0x5, 0x24, 0x00);
		return;
	}
	answer(c, data, n);
}

static void execute_out(struct model_lun *lun, unsigned nexus, struct pr_command *c)
{
	struct pr_out_list list;
	unsigned type = c->cdb[2] & 0xf;

	if (pr_out_list_decode(c->data, c->data_bytes, &list) < 0) {
		sense_set(c, 0x5, 0x1a, 0x00);
		return;
	}
	switch (c->cdb[1] & 0x1f) {
	case PR_OUT_REGISTER:
		status_set(c, model_lun_register(lun, nexus, list.key, list.action_key, false,
						 list.aptpl));
		break;
	case PR_OUT_REGISTER_AND_IGNORE:
		status_set(c, model_lun_register(lun, nexus, 0, list.action_key, true, list.aptpl));
		break;
	case PR_OUT_RESERVE:
		status_set(c, model_lun_reserve(lun, nexus, list.key, type));
		break;
	case PR_OUT_RELEASE:
		status_set(c, model_lun_release(lun, nexus, list.key, type));
		break;
	case PR_OUT_CLEAR:
		status_set(c, model_lun_clear(lun, nexus, list.key));
		break;
	case PR_OUT_PREEMPT:
	case PR_OUT_PREEMPT_AND_ABORT:
		status_set(c,
			   model_lun_preempt(lun, nexus, list.key, list.action_key, type,
					     (c->cdb[1] & 0x1f) == PR_OUT_PREEMPT_AND_ABORT, NULL));
		break;
	default:
		sense_set(c, 0x5, 0x24, 0x00);
	}
}

static void carry_out(struct pr_model_nexus *m, struct pr_command *c)
{
	static const uint8_t zeroes[BLOCK_BYTES];
	uint8_t capacity[32] = { [6] = 0x07, [7] = 0xff, [10] = BLOCK_BYTES >> 8 };
	unsigned attention = model_lun_attention_take(m->lun, m->nexus);

	if (attention) {
		sense_set(c, 0x6, attention == MODEL_LUN_UA_RESET ? 0x29 : 0x2a,
			  attention == MODEL_LUN_UA_RESERVATIONS    ? 0x03
			  : attention == MODEL_LUN_UA_RELEASED	    ? 0x04
			  : attention == MODEL_LUN_UA_REGISTRATIONS ? 0x05
								    : 0x00);
		return;
	}
	c->status = PR_STATUS_GOOD;
	switch (c->cdb[0]) {
	case 0x5e:
		execute_in(m->lun, c);
		break;
	case 0x5f:
		execute_out(m->lun, m->nexus, c);
		break;
	case 0x9e:
		if (model_lun_may_read(m->lun, m->nexus))
			answer(c, capacity, sizeof(capacity));
		else
			c->status = PR_STATUS_CONFLICT;
		break;
	case 0x28:
		if (model_lun_may_read(m->lun, m->nexus))
			answer(c, zeroes, sizeof(zeroes));
		else
			c->status = PR_STATUS_CONFLICT;
		break;
	case 0x2a:
		if (!m->lies && !model_lun_may_write(m->lun, m->nexus))
			c->status = PR_STATUS_CONFLICT;
		break;
	default:
		sense_set(c, 0x5, 0x20, 0x00);
	}
}

static void model_execute(void *ctx, struct pr_command *c)
{
	struct pr_model_nexus *m = ctx;
	bool lost = m->lose_at > 0 && --m->lose_at == 0;

	c->delivery = lost ? PR_NO_ANSWER : PR_ANSWERED;
	if (m->busy && m->pauses % 2 == 0)
		c->status = PR_STATUS_BUSY;
	else if (!lost || m->lose_reply)
		carry_out(m, c);
}

static void model_pause(void *ctx, unsigned ms)
{
	struct pr_model_nexus *m = ctx;

	m->pauses++;
}

static int model_reset(void *ctx, unsigned timeout_ms)
{
	struct pr_model_nexus *m = ctx;
	bool lost = m->lose_at > 0 && --m->lose_at == 0;

	if (!lost || m->lose_reply)
		model_lun_reset(m->lun, m->nexus);
	return lost ? -ETIMEDOUT : 0;
}

static void model_close(void *ctx)
{
}

void pr_model_open(struct scsi3pr_dev *dev, struct pr_model_nexus *nexus, const char *name)
{
	static const struct pr_transport transport = { model_execute, model_pause, model_reset,
						       model_close };

	pr_dev_init(dev, &transport, nexus, name, 1000);
}

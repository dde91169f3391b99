/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of scsi3pr.h over any transport.  Decides what is sent again: only what the target
 * itself said it had not carried out (unit attention, busy).  A command without an answer is
 * UNKNOWN and is never repeated here.  Pure: time passes only in the transport.
 */
#include "scsi3pr/pr_dev.h"
#include "scsi3pr/pr_vpd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Several nexuses and several events may each leave a unit attention, and a target may queue them;
 * one that never stops reporting is broken.
 */
#define ATTENTION_TRIES 16u
#define BUSY_TRIES	8u
#define BUSY_PAUSE_MS	250u

void pr_dev_init(struct scsi3pr_dev *dev, const struct pr_transport *transport, void *ctx,
		 const char *name, unsigned timeout_ms)
{
	memset(dev, 0, sizeof(*dev));
	dev->transport = transport;
	dev->ctx = ctx;
	dev->timeout_ms = timeout_ms ? timeout_ms : SCSI3PR_TIMEOUT_MS;
	snprintf(dev->name, sizeof(dev->name), "%s", name);
}

void scsi3pr_timeout_set(struct scsi3pr_dev *dev, unsigned timeout_ms)
{
	dev->timeout_ms = timeout_ms ? timeout_ms : SCSI3PR_TIMEOUT_MS;
}

const char *scsi3pr_name(const struct scsi3pr_dev *dev)
{
	return dev->name;
}

const char *scsi3pr_error(const struct scsi3pr_dev *dev)
{
	return dev->error;
}

__attribute__((format(printf, 2, 3))) static void error_set(struct scsi3pr_dev *dev,
							    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(dev->error, sizeof(dev->error), format, ap);
	va_end(ap);
}

unsigned scsi3pr_attentions(struct scsi3pr_dev *dev)
{
	unsigned attentions = dev->attentions;

	dev->attentions = 0;
	return attentions;
}

enum cl_outcome scsi3pr_outcome(int ret)
{
	if (ret == 0)
		return CL_DONE;
	return ret == -ETIMEDOUT ? CL_UNKNOWN : CL_FAILED;
}

static int class_error(enum pr_class class)
{
	switch (class) {
	case PR_CLASS_GOOD:
		return 0;
	case PR_CLASS_CONFLICT:
		return -EBADE;
	case PR_CLASS_UNSUPPORTED:
		return -EOPNOTSUPP;
	case PR_CLASS_BUSY:
	case PR_CLASS_RETRY:
		return -EBUSY;
	case PR_CLASS_REFUSED:
	case PR_CLASS_MEDIA:
		return -EIO;
	case PR_CLASS_PATH:
		return -ENODEV;
	case PR_CLASS_UNKNOWN:
		break;
	}
	return -ETIMEDOUT;
}

static void status_format(struct scsi3pr_dev *dev, const struct pr_command *command,
			  const char *what, enum pr_class class)
{
	char text[96];

	if (command->status == PR_STATUS_CHECK)
		pr_sense_format(&dev->sense, text, sizeof(text));
	else if (command->status == PR_STATUS_CONFLICT)
		snprintf(text, sizeof(text), "RESERVATION CONFLICT");
	else
		snprintf(text, sizeof(text), "status 0x%02x", command->status);
	error_set(dev, "%s: %s: %s%s", dev->name, what, text,
		  class == PR_CLASS_UNKNOWN ? " (outcome unknown)" : "");
}

int pr_dev_execute(struct scsi3pr_dev *dev, struct pr_command *command, const char *what)
{
	unsigned attentions = 0, busy = 0;
	enum pr_class class;

	dev->error[0] = '\0';
	for (;;) {
		command->delivery = PR_NO_ANSWER;
		command->status = 0;
		command->sense_bytes = 0;
		command->transferred = 0;
		command->note[0] = '\0';
		dev->sense = (struct pr_sense){ 0 };
		dev->transport->execute(dev->ctx, command);
		if (command->delivery != PR_ANSWERED) {
			bool unsent = command->delivery == PR_NOT_SENT;

			error_set(dev, "%s: %s: %s (%s)", dev->name, what,
				  unsent ? "not sent" : "no answer, outcome unknown",
				  command->note[0] ? command->note : "no reason given");
			return unsent ? -ENODEV : -ETIMEDOUT;
		}
		if (command->status == PR_STATUS_CHECK)
			pr_sense_decode(command->sense, command->sense_bytes, &dev->sense);
		class = pr_status_classify(command->status, &dev->sense);
		if (class == PR_CLASS_RETRY) {
			dev->attentions |= pr_sense_attention(&dev->sense);
			if (++attentions < ATTENTION_TRIES)
				continue;
		} else if (class == PR_CLASS_BUSY) {
			if (++busy < BUSY_TRIES) {
				dev->transport->pause(dev->ctx, BUSY_PAUSE_MS);
				continue;
			}
		}
		break;
	}
	if (class != PR_CLASS_GOOD)
		status_format(dev, command, what, class);
	return class_error(class);
}

int pr_dev_reset(struct scsi3pr_dev *dev)
{
	int ret;

	dev->error[0] = '\0';
	ret = dev->transport->reset(dev->ctx, dev->timeout_ms);
	if (ret < 0)
		error_set(dev, "%s: LOGICAL UNIT RESET: %s", dev->name,
			  ret == -EOPNOTSUPP ? "refused" : "not confirmed");
	return ret;
}

static int nonsense(struct scsi3pr_dev *dev, int ret, const char *what, size_t len_bytes)
{
	if (ret == -EMSGSIZE)
		error_set(dev, "%s: %s: more entries than %u, or than the %zu bytes that came",
			  dev->name, what, SCSI3PR_KEYS_MAX, len_bytes);
	else if (ret < 0)
		error_set(dev, "%s: %s: the target's answer of %zu bytes is malformed", dev->name,
			  what, len_bytes);
	return ret;
}

static int pr_in(struct scsi3pr_dev *dev, enum pr_in_action action, size_t cap_bytes,
		 const char *what, size_t *ret_len)
{
	struct pr_command command = {
		.data = dev->answer,
		.data_bytes = cap_bytes,
		.timeout_ms = dev->timeout_ms,
	};
	int ret;

	memset(dev->answer, 0, cap_bytes);
	command.cdb_bytes = pr_in_encode(action, (uint16_t)cap_bytes, command.cdb);
	ret = pr_dev_execute(dev, &command, what);
	*ret_len = command.transferred < cap_bytes ? command.transferred : cap_bytes;
	return ret;
}

int scsi3pr_keys_read(struct scsi3pr_dev *dev, struct scsi3pr_keys *ret_keys)
{
	size_t len;
	int ret = pr_in(dev, PR_IN_READ_KEYS, PR_KEYS_BYTES, "READ KEYS", &len);

	ret_keys->n = 0;
	if (ret < 0)
		return ret;
	return nonsense(dev, pr_keys_decode(dev->answer, len, ret_keys), "READ KEYS", len);
}

int scsi3pr_reservation_read(struct scsi3pr_dev *dev, struct scsi3pr_reservation *ret_reservation)
{
	size_t len;
	int ret = pr_in(dev, PR_IN_READ_RESERVATION, 64, "READ RESERVATION", &len);

	*ret_reservation = (struct scsi3pr_reservation){ 0 };
	if (ret < 0)
		return ret;
	return nonsense(dev, pr_reservation_decode(dev->answer, len, ret_reservation),
			"READ RESERVATION", len);
}

int scsi3pr_capabilities_read(struct scsi3pr_dev *dev, struct scsi3pr_capabilities *ret_caps)
{
	size_t len;
	int ret = pr_in(dev, PR_IN_REPORT_CAPABILITIES, 8, "REPORT CAPABILITIES", &len);

	*ret_caps = (struct scsi3pr_capabilities){ 0 };
	if (ret < 0)
		return ret;
	return nonsense(dev, pr_capabilities_decode(dev->answer, len, ret_caps),
			"REPORT CAPABILITIES", len);
}

int scsi3pr_full_status_read(struct scsi3pr_dev *dev, struct scsi3pr_full_status *ret_status)
{
	size_t len;
	int ret = pr_in(dev, PR_IN_READ_FULL_STATUS, PR_FULL_BYTES, "READ FULL STATUS", &len);

	ret_status->n = 0;
	if (ret < 0)
		return ret;
	return nonsense(dev, pr_full_status_decode(dev->answer, len, ret_status),
			"READ FULL STATUS", len);
}

int pr_dev_out(struct scsi3pr_dev *dev, enum pr_out_action action, unsigned type,
	       const struct pr_out_list *list)
{
	uint8_t buf[PR_OUT_LIST_BYTES];
	struct pr_command command = {
		.to_target = true,
		.data = buf,
		.data_bytes = sizeof(buf),
		.timeout_ms = dev->timeout_ms,
	};

	pr_out_list_encode(list, buf);
	command.cdb_bytes = pr_out_encode(action, 0, type, sizeof(buf), command.cdb);
	return pr_dev_execute(dev, &command, pr_out_action_name(action));
}

static int fail(struct scsi3pr_dev *dev, int ret, const char *text)
{
	error_set(dev, "%s: %s", dev->name, text);
	return ret;
}

int scsi3pr_register(struct scsi3pr_dev *dev, uint64_t key, bool aptpl)
{
	const struct pr_out_list list = { .action_key = key, .aptpl = aptpl };
	int ret;

	if (key == 0)
		return fail(dev, -EINVAL, "register: key 0 is not a key");
	ret = pr_dev_out(dev, PR_OUT_REGISTER_AND_IGNORE, 0, &list);
	if (ret < 0)
		return ret;
	ret = scsi3pr_keys_read(dev, &dev->keys);
	if (ret < 0)
		return ret;
	if (!scsi3pr_keys_have(&dev->keys, key))
		return fail(dev, -EBADE, "register: GOOD, but the key is not among READ KEYS");
	return 0;
}

int scsi3pr_register_exact(struct scsi3pr_dev *dev, uint64_t key, uint64_t new_key, bool aptpl)
{
	const struct pr_out_list list = { .key = key, .action_key = new_key, .aptpl = aptpl };

	return pr_dev_out(dev, PR_OUT_REGISTER, 0, &list);
}

int scsi3pr_unregister(struct scsi3pr_dev *dev, uint64_t key)
{
	int ret = scsi3pr_register_exact(dev, key, 0, true);

	/* The last APTPL counts for the whole LUN (SPC-4 5.13.5): 0 would make it forget every
	 * node's key. */
	return ret == -EOPNOTSUPP ? scsi3pr_register_exact(dev, key, 0, false) : ret;
}

static bool all_registrants(unsigned type)
{
	return type == SCSI3PR_EXCLUSIVE_ACCESS_AR || type == SCSI3PR_WRITE_EXCLUSIVE_AR;
}

static int reserve_one(struct scsi3pr_dev *dev, uint64_t key, unsigned type)
{
	const struct pr_out_list list = { .key = key };
	struct scsi3pr_reservation now;
	int ret = pr_dev_out(dev, PR_OUT_RESERVE, type, &list);

	if (ret < 0)
		return ret;
	ret = scsi3pr_reservation_read(dev, &now);
	if (ret < 0)
		return ret;
	if (!now.held || now.type != type)
		return fail(dev, -EBADE, "reserve: GOOD, but READ RESERVATION says otherwise");
	return 0;
}

int scsi3pr_reserve(struct scsi3pr_dev *dev, uint64_t key, unsigned type, unsigned *ret_type)
{
	struct scsi3pr_reservation now;
	unsigned got = type ? type : SCSI3PR_EXCLUSIVE_ACCESS_AR;
	int ret;

	if (type && scsi3pr_type_name(type)[0] == 'u')
		return fail(dev, -EINVAL, "reserve: no such reservation type");
	ret = scsi3pr_keys_read(dev, &dev->keys);
	if (ret < 0)
		return ret;
	if (!scsi3pr_keys_have(&dev->keys, key))
		return fail(dev, -EBADE, "reserve: own key is not registered");
	ret = scsi3pr_reservation_read(dev, &now);
	if (ret < 0)
		return ret;
	if (now.held) {
		bool shared = all_registrants(now.type) && got == now.type;

		if (!shared && !(now.key == key && now.type == type)) {
			error_set(
				dev,
				"%s: reserve: already reserved, type %u (%s) by key 0x%016" PRIx64,
				dev->name, now.type, scsi3pr_type_name(now.type), now.key);
			return -EBADE;
		}
		got = now.type;
	} else {
		ret = reserve_one(dev, key, got);
		if (ret == -EBADE) {
			/* Two nodes may reserve at once; the other's is as good, if it is ours in
			 * type. */
			ret = scsi3pr_reservation_read(dev, &now);
			if (ret == 0 && !(now.held && all_registrants(now.type) && got == now.type))
				ret = fail(dev, -EBADE, "reserve: RESERVATION CONFLICT");
			got = now.type;
		}
		if (ret < 0)
			return ret;
	}
	if (ret_type)
		*ret_type = got;
	return 0;
}

int scsi3pr_release(struct scsi3pr_dev *dev, uint64_t key, unsigned type)
{
	const struct pr_out_list list = { .key = key };

	return pr_dev_out(dev, PR_OUT_RELEASE, type, &list);
}

int scsi3pr_preempt(struct scsi3pr_dev *dev, uint64_t key, uint64_t victim_key, unsigned type,
		    bool abort_tasks)
{
	const struct pr_out_list list = { .key = key, .action_key = victim_key };

	/* With key 0 an all-registrants reservation would lose everybody (SPC-4 5.13.11.2.4.2). */
	if (victim_key == 0)
		return fail(dev, -EINVAL, "preempt: victim key 0 would preempt every node");
	return pr_dev_out(dev, abort_tasks ? PR_OUT_PREEMPT_AND_ABORT : PR_OUT_PREEMPT, type,
			  &list);
}

int scsi3pr_clear(struct scsi3pr_dev *dev, uint64_t key)
{
	const struct pr_out_list list = { .key = key };

	return pr_dev_out(dev, PR_OUT_CLEAR, 0, &list);
}

static int inquiry(struct scsi3pr_dev *dev, bool vpd, uint8_t page, uint16_t cap_bytes,
		   size_t *ret_len)
{
	struct pr_command command = {
		.data = dev->answer,
		.data_bytes = cap_bytes,
		.timeout_ms = dev->timeout_ms,
	};
	int ret;

	memset(dev->answer, 0, cap_bytes);
	command.cdb_bytes = pr_inquiry_encode(vpd, page, cap_bytes, command.cdb);
	ret = pr_dev_execute(dev, &command, vpd ? "INQUIRY VPD 0x83" : "INQUIRY");
	*ret_len = command.transferred < cap_bytes ? command.transferred : cap_bytes;
	return ret;
}

static int capacity(struct scsi3pr_dev *dev, uint64_t *ret_blocks)
{
	struct pr_command command = {
		.data = dev->answer,
		.data_bytes = 32,
		.timeout_ms = dev->timeout_ms,
	};
	uint32_t block_bytes;
	int ret;

	memset(dev->answer, 0, command.data_bytes);
	command.cdb_bytes = pr_read_capacity16_encode(32, command.cdb);
	ret = pr_dev_execute(dev, &command, "READ CAPACITY(16)");
	if (ret < 0)
		return ret;
	ret = pr_capacity16_decode(dev->answer, command.transferred, ret_blocks, &block_bytes);
	if (ret < 0)
		return nonsense(dev, ret, "READ CAPACITY(16)", command.transferred);
	dev->block_bytes = block_bytes;
	return 0;
}

int scsi3pr_identify(struct scsi3pr_dev *dev, struct scsi3pr_lun *ret_lun)
{
	uint64_t blocks;
	uint8_t type;
	size_t len;
	int ret;

	memset(ret_lun, 0, sizeof(*ret_lun));
	ret = inquiry(dev, false, 0, 96, &len);
	if (ret < 0)
		return ret;
	ret = pr_inquiry_decode(dev->answer, len, &type, ret_lun->vendor, ret_lun->product);
	if (ret < 0)
		return nonsense(dev, ret, "INQUIRY", len);
	if (type != 0)
		return fail(dev, -EOPNOTSUPP, "not a disk (INQUIRY device type is not 0)");
	ret = inquiry(dev, true, PR_VPD_PAGE_ID, PR_VPD_BYTES_MAX, &len);
	if (ret == 0) {
		ret = pr_vpd_id_decode(dev->answer, len, ret_lun->id);
		if (ret == -EBADMSG)
			return nonsense(dev, ret, "INQUIRY VPD 0x83", len);
	} else if (ret != -EOPNOTSUPP) {
		return ret;
	}
	ret = capacity(dev, &blocks);
	if (ret == -EBADE) { /* reserved by others, type 3, 6 or 8: size unknown */
		blocks = 0;
		ret = 0;
	}
	if (ret < 0)
		return ret;
	ret_lun->block_bytes = dev->block_bytes;
	ret_lun->size_bytes = blocks * dev->block_bytes;
	ret_lun->n_paths = 1;
	snprintf(ret_lun->path[0], sizeof(ret_lun->path[0]), "%.*s",
		 (int)sizeof(ret_lun->path[0]) - 1, dev->name);
	return 0;
}

int pr_dev_read_block0(struct scsi3pr_dev *dev)
{
	struct pr_command command = { .data = dev->answer, .timeout_ms = dev->timeout_ms };
	uint64_t blocks;
	int ret;

	if (dev->block_bytes == 0) {
		ret = capacity(dev, &blocks);
		if (ret < 0)
			return ret;
	}
	if (dev->block_bytes > sizeof(dev->answer))
		return fail(dev, -EOPNOTSUPP, "logical blocks are larger than 32 KiB");
	command.data_bytes = dev->block_bytes;
	command.cdb_bytes = pr_read10_encode(0, 1, command.cdb);
	return pr_dev_execute(dev, &command, "READ");
}

int pr_dev_write_block(struct scsi3pr_dev *dev, uint32_t lba, uint8_t value)
{
	struct pr_command command = {
		.to_target = true,
		.data = dev->answer,
		.timeout_ms = dev->timeout_ms,
	};
	uint64_t blocks;
	int ret;

	if (dev->block_bytes == 0) {
		ret = capacity(dev, &blocks);
		if (ret < 0)
			return ret;
	}
	if (dev->block_bytes > sizeof(dev->answer))
		return fail(dev, -EOPNOTSUPP, "logical blocks are larger than 32 KiB");
	memset(dev->answer, value, dev->block_bytes);
	command.data_bytes = dev->block_bytes;
	command.cdb_bytes = pr_write10_encode(lba, 1, command.cdb);
	return pr_dev_execute(dev, &command, "WRITE");
}

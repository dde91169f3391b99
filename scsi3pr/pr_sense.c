/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sense data to a class, by tables.  Decides whether a command may be sent again and whether its
 * outcome is known; never guesses: what is in no table is UNKNOWN.
 */
#include "scsi3pr/pr_sense.h"
#include "scsi3pr/scsi3pr.h"

#include <stdio.h>

#define CODE_ANY 0xffu

/* Sense keys, SPC-4 4.5.6 */
enum {
	KEY_NO_SENSE = 0x0,
	KEY_RECOVERED = 0x1,
	KEY_NOT_READY = 0x2,
	KEY_MEDIUM = 0x3,
	KEY_HARDWARE = 0x4,
	KEY_ILLEGAL = 0x5,
	KEY_ATTENTION = 0x6,
	KEY_PROTECT = 0x7,
	KEY_ABORTED = 0xb,
};

static const struct {
	uint8_t key, asc, ascq;
	enum pr_class class;
} classes[] = {
	{ KEY_NO_SENSE, CODE_ANY, CODE_ANY, PR_CLASS_GOOD },
	{ KEY_RECOVERED, CODE_ANY, CODE_ANY, PR_CLASS_GOOD },
	{ KEY_NOT_READY, 0x04, 0x0b, PR_CLASS_PATH }, /* target port in standby state */
	{ KEY_NOT_READY, 0x04, 0x0c, PR_CLASS_PATH }, /* target port in unavailable state */
	{ KEY_NOT_READY, 0x3a, CODE_ANY, PR_CLASS_MEDIA },
	{ KEY_NOT_READY, CODE_ANY, CODE_ANY, PR_CLASS_BUSY },
	{ KEY_MEDIUM, CODE_ANY, CODE_ANY, PR_CLASS_MEDIA },
	{ KEY_HARDWARE, CODE_ANY, CODE_ANY, PR_CLASS_MEDIA },
	{ KEY_ILLEGAL, 0x25, 0x00, PR_CLASS_PATH }, /* logical unit not supported */
	{ KEY_ILLEGAL, 0x26, 0x04,
	  PR_CLASS_REFUSED }, /* invalid release of persistent reservation */
	{ KEY_ILLEGAL, 0x55, CODE_ANY,
	  PR_CLASS_REFUSED }, /* insufficient (registration) resources */
	{ KEY_ILLEGAL, CODE_ANY, CODE_ANY, PR_CLASS_UNSUPPORTED },
	{ KEY_ATTENTION, CODE_ANY, CODE_ANY, PR_CLASS_RETRY },
	{ KEY_PROTECT, CODE_ANY, CODE_ANY, PR_CLASS_MEDIA },
};

static const struct {
	uint8_t asc, ascq;
	const char *text;
} codes[] = {
	{ 0x04, 0x0a, "asymmetric access state transition" },
	{ 0x04, 0x0b, "target port in standby" },
	{ 0x04, 0x0c, "target port unavailable" },
	{ 0x04, CODE_ANY, "logical unit not ready" },
	{ 0x1a, 0x00, "parameter list length error" },
	{ 0x1d, 0x00, "miscompare during verify" },
	{ 0x20, 0x00, "invalid command operation code" },
	{ 0x21, 0x00, "logical block address out of range" },
	{ 0x24, 0x00, "invalid field in CDB" },
	{ 0x25, 0x00, "logical unit not supported" },
	{ 0x26, 0x00, "invalid field in parameter list" },
	{ 0x26, 0x04, "invalid release of persistent reservation" },
	{ 0x27, CODE_ANY, "write protected" },
	{ 0x29, CODE_ANY, "power on, reset or nexus loss" },
	{ 0x2a, 0x03, "reservations preempted" },
	{ 0x2a, 0x04, "reservations released" },
	{ 0x2a, 0x05, "registrations preempted" },
	{ 0x2a, 0x06, "asymmetric access state changed" },
	{ 0x2a, 0x09, "capacity data has changed" },
	{ 0x2f, 0x00, "commands cleared by another initiator" },
	{ 0x3a, CODE_ANY, "medium not present" },
	{ 0x3f, 0x0e, "reported LUNs data has changed" },
	{ 0x55, 0x04, "insufficient registration resources" },
};

const char *pr_class_name(enum pr_class c)
{
	static const char *const names[] = { "good",	"retry", "busy", "conflict", "unsupported",
					     "refused", "media", "path", "unknown" };

	return (unsigned)c < CL_ARRAY_LEN(names) ? names[c] : "unknown";
}

void pr_sense_decode(const uint8_t *sense, size_t len_bytes, struct pr_sense *ret_sense)
{
	*ret_sense = (struct pr_sense){ 0 };
	if (len_bytes < 1)
		return;
	switch (sense[0] & 0x7f) {
	case 0x70:
	case 0x71:
		if (len_bytes < 3)
			return;
		ret_sense->key = sense[2] & 0xf;
		/* ADDITIONAL SENSE LENGTH may say that there are no codes. */
		if (len_bytes >= 14 && sense[7] >= 6) {
			ret_sense->asc = sense[12];
			ret_sense->ascq = sense[13];
		}
		break;
	case 0x72:
	case 0x73:
		if (len_bytes < 4)
			return;
		ret_sense->key = sense[1] & 0xf;
		ret_sense->asc = sense[2];
		ret_sense->ascq = sense[3];
		break;
	default:
		return;
	}
	ret_sense->deferred = sense[0] & 1;
	ret_sense->valid = true;
}

enum pr_class pr_status_classify(uint8_t status, const struct pr_sense *sense)
{
	switch (status) {
	case PR_STATUS_GOOD:
		return PR_CLASS_GOOD;
	case PR_STATUS_CONFLICT:
		return PR_CLASS_CONFLICT;
	case PR_STATUS_BUSY:
	case PR_STATUS_FULL:
		return PR_CLASS_BUSY;
	case PR_STATUS_CHECK:
		break;
	default: /* TASK ABORTED, ACA ACTIVE and what is reserved */
		return PR_CLASS_UNKNOWN;
	}
	if (!sense->valid)
		return PR_CLASS_UNKNOWN;
	/* SPC-4 4.5.7: a deferred error belongs to an earlier command; this one was not started. */
	if (sense->deferred)
		return PR_CLASS_RETRY;
	for (size_t i = 0; i < CL_ARRAY_LEN(classes); i++)
		if (classes[i].key == sense->key &&
		    (classes[i].asc == CODE_ANY || classes[i].asc == sense->asc) &&
		    (classes[i].ascq == CODE_ANY || classes[i].ascq == sense->ascq))
			return classes[i].class;
	return PR_CLASS_UNKNOWN;
}

unsigned pr_sense_attention(const struct pr_sense *sense)
{
	if (!sense->valid || sense->deferred || sense->key != KEY_ATTENTION)
		return 0;
	if (sense->asc == 0x29)
		return SCSI3PR_UA_RESET;
	if (sense->asc == 0x2a && (sense->ascq == 0x03 || sense->ascq == 0x05))
		return SCSI3PR_UA_PREEMPTED;
	if (sense->asc == 0x2a && sense->ascq == 0x04)
		return SCSI3PR_UA_RELEASED;
	return SCSI3PR_UA_OTHER;
}

void pr_sense_format(const struct pr_sense *sense, char *out, size_t cap_bytes)
{
	static const char *const keys[16] = {
		"NO SENSE",	  "RECOVERED ERROR", "NOT READY",      "MEDIUM ERROR",
		"HARDWARE ERROR", "ILLEGAL REQUEST", "UNIT ATTENTION", "DATA PROTECT",
		"BLANK CHECK",	  "VENDOR SPECIFIC", "COPY ABORTED",   "ABORTED COMMAND",
		"SENSE KEY 0xc",  "VOLUME OVERFLOW", "MISCOMPARE",     "COMPLETED",
	};
	const char *text = "";

	if (!sense->valid) {
		snprintf(out, cap_bytes, "no sense data");
		return;
	}
	for (size_t i = 0; i < CL_ARRAY_LEN(codes); i++)
		if (codes[i].asc == sense->asc &&
		    (codes[i].ascq == CODE_ANY || codes[i].ascq == sense->ascq)) {
			text = codes[i].text;
			break;
		}
	snprintf(out, cap_bytes, "%s%s %02x/%02x%s%s", sense->deferred ? "deferred " : "",
		 keys[sense->key & 0xf], sense->asc, sense->ascq, *text ? " " : "", text);
}

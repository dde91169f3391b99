/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a SCSI status and its sense data mean to a caller who must know whether a command was
 * carried out.  Pure.  The doubtful case is always PR_CLASS_UNKNOWN.
 */
#ifndef SCSI3PR_PR_SENSE_H
#define SCSI3PR_PR_SENSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PR_STATUS_GOOD	   0x00u
#define PR_STATUS_CHECK	   0x02u
#define PR_STATUS_BUSY	   0x08u
#define PR_STATUS_CONFLICT 0x18u
#define PR_STATUS_FULL	   0x28u
#define PR_STATUS_ABORTED  0x40u
#define PR_SENSE_MAX	   96u

enum pr_class {
	PR_CLASS_GOOD = 0,
	PR_CLASS_RETRY,	      /* unit attention or deferred error: not carried out, send it again */
	PR_CLASS_BUSY,	      /* not carried out; send it again after a pause */
	PR_CLASS_CONFLICT,    /* RESERVATION CONFLICT */
	PR_CLASS_UNSUPPORTED, /* ILLEGAL REQUEST: the target does not know it */
	PR_CLASS_REFUSED,     /* understood and refused, for good */
	PR_CLASS_MEDIA,	      /* medium or hardware error, write protected */
	PR_CLASS_PATH,	      /* this path does not lead there (standby, no such LUN) */
	PR_CLASS_UNKNOWN,     /* may have been carried out */
};

const char *pr_class_name(enum pr_class c);

struct pr_sense {
	bool valid;
	bool deferred;
	uint8_t key, asc, ascq;
};

/* Fixed and descriptor format (SPC-4 4.5.2, 4.5.3). valid is false where the bytes are neither. */
void pr_sense_decode(const uint8_t *sense, size_t len_bytes, struct pr_sense *ret_sense);
enum pr_class pr_status_classify(uint8_t status, const struct pr_sense *sense);
/* SCSI3PR_UA_* of a unit attention, else 0. */
unsigned pr_sense_attention(const struct pr_sense *sense);
/* "UNIT ATTENTION 2a/05 registrations preempted" into out. */
void pr_sense_format(const struct pr_sense *sense, char *out, size_t cap_bytes);

#endif

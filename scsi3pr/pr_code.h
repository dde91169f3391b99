/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PERSISTENT RESERVE IN and OUT as bytes (SPC-4 6.15, 6.16; tables by name), and the few other
 * commands that go with them.  Pure.  Decoders believe nothing of a target: what does not fit
 * is -EBADMSG and the output is not to be used.
 */
#ifndef SCSI3PR_PR_CODE_H
#define SCSI3PR_PR_CODE_H

#include "scsi3pr/scsi3pr.h"

#define PR_CDB_MAX	  16u
#define PR_OUT_LIST_BYTES 24u /* the basic parameter list, SPC-4 6.16.3 */
#define PR_HEADER_BYTES	  8u
#define PR_KEYS_BYTES	  (PR_HEADER_BYTES + 8u * SCSI3PR_KEYS_MAX)
#define PR_FULL_BYTES	  32768u

enum pr_in_action {
	PR_IN_READ_KEYS = 0,
	PR_IN_READ_RESERVATION = 1,
	PR_IN_REPORT_CAPABILITIES = 2,
	PR_IN_READ_FULL_STATUS = 3,
};

enum pr_out_action {
	PR_OUT_REGISTER = 0,
	PR_OUT_RESERVE = 1,
	PR_OUT_RELEASE = 2,
	PR_OUT_CLEAR = 3,
	PR_OUT_PREEMPT = 4,
	PR_OUT_PREEMPT_AND_ABORT = 5,
	PR_OUT_REGISTER_AND_IGNORE = 6,
};

struct pr_out_list {
	uint64_t key;	     /* RESERVATION KEY: our own */
	uint64_t action_key; /* SERVICE ACTION RESERVATION KEY: new or victim's */
	bool specify_initiators, all_ports, aptpl;
};

/* Encoders return the CDB's length. */
unsigned pr_in_encode(enum pr_in_action action, uint16_t allocation_bytes, uint8_t cdb[PR_CDB_MAX]);
unsigned pr_out_encode(enum pr_out_action action, unsigned scope, unsigned type,
		       uint32_t list_bytes, uint8_t cdb[PR_CDB_MAX]);
void pr_out_list_encode(const struct pr_out_list *list, uint8_t buf[PR_OUT_LIST_BYTES]);
/* For the model and the tests: the other direction. 0 or -EBADMSG. */
int pr_out_list_decode(const uint8_t *buf, size_t len_bytes, struct pr_out_list *ret_list);
unsigned pr_inquiry_encode(bool vpd, uint8_t page, uint16_t allocation_bytes,
			   uint8_t cdb[PR_CDB_MAX]);
unsigned pr_read_capacity16_encode(uint32_t allocation_bytes, uint8_t cdb[PR_CDB_MAX]);
unsigned pr_read10_encode(uint32_t lba, uint16_t blocks, uint8_t cdb[PR_CDB_MAX]);
unsigned pr_write10_encode(uint32_t lba, uint16_t blocks, uint8_t cdb[PR_CDB_MAX]);

const char *pr_out_action_name(unsigned action);

/* len_bytes is what the target transferred.  -EMSGSIZE: it has more than was transferred. */
int pr_keys_decode(const uint8_t *buf, size_t len_bytes, struct scsi3pr_keys *ret_keys);
int pr_reservation_decode(const uint8_t *buf, size_t len_bytes,
			  struct scsi3pr_reservation *ret_reservation);
int pr_capabilities_decode(const uint8_t *buf, size_t len_bytes,
			   struct scsi3pr_capabilities *ret_caps);
/* More nexuses than fit is not an error here: ret_status->truncated. */
int pr_full_status_decode(const uint8_t *buf, size_t len_bytes,
			  struct scsi3pr_full_status *ret_status);
int pr_capacity16_decode(const uint8_t *buf, size_t len_bytes, uint64_t *ret_blocks,
			 uint32_t *ret_block_bytes);

/* Big-endian fields, as all of SCSI has them. */
static inline uint16_t pr_be16_read(const uint8_t *p)
{
	return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t pr_be32_read(const uint8_t *p)
{
	return ((uint32_t)pr_be16_read(p) << 16) | pr_be16_read(p + 2);
}

static inline uint64_t pr_be64_read(const uint8_t *p)
{
	return ((uint64_t)pr_be32_read(p) << 32) | pr_be32_read(p + 4);
}

static inline void pr_be16_write(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void pr_be32_write(uint8_t *p, uint32_t v)
{
	pr_be16_write(p, (uint16_t)(v >> 16));
	pr_be16_write(p + 2, (uint16_t)v);
}

static inline void pr_be64_write(uint8_t *p, uint64_t v)
{
	pr_be32_write(p, (uint32_t)(v >> 32));
	pr_be32_write(p + 4, (uint32_t)v);
}

#endif

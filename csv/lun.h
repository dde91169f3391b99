/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk format of a volume's LUN (docs/formats/lun.md): GPT, metadata partition, data
 * partition.  lunfmt.c codes the records and is pure; lunfmt_linux.c does the I/O and blocks.
 * clusterd formats (`volume add`); csvd's owner swaps the term record.
 *
 * A record that does not decode is -EBADMSG and nothing of it is believed; a block of zeroes is
 * -ENODATA.
 */
#ifndef CSV_LUN_H
#define CSV_LUN_H

#include "common/cl_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_LUN_BLOCK		      4096u /* bytes of a metadata block */
#define CSV_LUN_META_OFF	      (1ull << 20)
#define CSV_LUN_META_BYTES	      (16ull << 20)
#define CSV_LUN_DATA_OFF	      (CSV_LUN_META_OFF + CSV_LUN_META_BYTES)
#define CSV_LUN_DATA_ALIGN	      (1ull << 20)
#define CSV_LUN_SIZE_MIN	      (512ull << 20) /* smaller: -ENOSPC */
#define CSV_LUN_BLOCK_SUPER	      0u
#define CSV_LUN_BLOCK_TERM	      1u
#define CSV_LUN_BLOCK_HEARTBEAT(node) (16u + (node)-1u) /* node 1..16 */
#define CSV_LUN_BLOCK_MAILBOX(node)   (32u + (node)-1u)
#define CSV_LUN_TEXT_MAX	      256u
#define CSV_LUN_UUID_TEXT	      37u

struct csv_super {
	uint8_t cluster_uuid[CL_UUID_BYTES];
	uint8_t volume_uuid[CL_UUID_BYTES]; /* the UUID of its XFS too */
	char name[CL_NAME_MAX];
	uint64_t data_off; /* bytes from the start of the LUN */
	uint64_t data_bytes;
	uint64_t created_ms; /* Unix time, for people */
};

enum csv_term_state {
	CSV_TERM_RELEASED = 1, /* cleanly unmounted */
	CSV_TERM_GRACE = 2,    /* mounted, clients of the former owner reclaim */
	CSV_TERM_ACTIVE = 3,
};

/* Who owns the volume.  Written only by compare and write against what the writer last saw. */
struct csv_term {
	uint8_t volume_uuid[CL_UUID_BYTES];
	uint64_t term;
	uint32_t owner;	    /* node id; 0 before the first owner */
	uint64_t owner_key; /* its PR key, which holds its incarnation */
	enum csv_term_state state;
	uint32_t clients;  /* bit n-1: node n has, or may have, layouts or opens */
	uint64_t sequence; /* one up at each write, so that no two records are alike */
};

const char *csv_term_state_name(enum csv_term_state state);

/* ---- pure (libcsv's archive): buf is one block of CSV_LUN_BLOCK bytes ---- */
void csv_super_encode(const struct csv_super *super, uint8_t *buf);
int csv_super_decode(const uint8_t *buf, struct csv_super *ret_super);
void csv_term_encode(const struct csv_term *term, uint8_t *buf);
int csv_term_decode(const uint8_t *buf, struct csv_term *ret_term);
bool csv_term_equal(const struct csv_term *a, const struct csv_term *b);
/* The text form of a UUID, lower case, into CSV_LUN_UUID_TEXT bytes; and back, 0 or -EINVAL. */
void csv_uuid_format(const uint8_t uuid[CL_UUID_BYTES], char *ret_text);
int csv_uuid_parse(const char *text, uint8_t ret_uuid[CL_UUID_BYTES]);
/* Where the data partition ends for a LUN of that size. 0 or -ENOSPC. */
int csv_lun_layout(uint64_t lun_bytes, uint64_t *ret_data_off, uint64_t *ret_data_bytes);

/* ---- I/O (lunfmt_linux.c): blocking ---- */
struct csv_lun; /* an open LUN; one thread at a time */

/* device is a whole disk. error (CSV_LUN_TEXT_MAX bytes, may be NULL) gets one line for people. */
int csv_lun_open(const char *device, struct csv_lun **ret_lun, char *error);
void csv_lun_close(struct csv_lun *lun);

struct csv_lun_probe {
	uint64_t size_bytes;
	uint32_t block_bytes; /* logical block size */
	bool too_small;
	bool has_data; /* found says what */
	bool is_ours;  /* super is valid */
	bool in_use;   /* mounted or claimed on this node */
	struct csv_super super;
	char found[CSV_LUN_TEXT_MAX]; /* "xfs file system 'backup'", "gpt partition table", ... or
					 "" */
};

int csv_lun_probe(struct csv_lun *lun, struct csv_lun_probe *ret_probe, char *error);

struct csv_lun_format {
	uint8_t cluster_uuid[CL_UUID_BYTES];
	uint8_t volume_uuid[CL_UUID_BYTES];
	const char *name;
	bool force; /* overwrite what is there; never a LUN in use here */
};

/*
 * Writes GPT, superblock, first term record (term 0, RELEASED), cleared heartbeat and mailbox
 * blocks, and the XFS by mkfs.xfs; reads all of it back.  The caller holds the reservation.
 * -ENOSPC too small, -EEXIST data found and no force, -EBUSY in use here, -EBADE reserved by
 * others. The superblock is written last: a format cut short is not a volume.
 */
int csv_lun_format(struct csv_lun *lun, const struct csv_lun_format *format, char *error);

int csv_lun_super_read(struct csv_lun *lun, struct csv_super *ret_super);
int csv_lun_term_read(struct csv_lun *lun, struct csv_term *ret_term);
/*
 * Replaces the term record if it still is `expect`: atomically with COMPARE AND WRITE where the
 * target has it (ret_atomic true), else by read, compare, write, read back, which is safe only
 * because the log lets one node at a time try and the others' keys were preempted.  next->sequence
 * is set to expect->sequence + 1. -ESTALE with *ret_seen if the record is another; -EBADE fenced;
 * -ETIMEDOUT unknown: read it again.
 */
int csv_lun_term_swap(struct csv_lun *lun, const struct csv_term *expect, struct csv_term *next,
		      struct csv_term *ret_seen, bool *ret_atomic);

/* One metadata block, O_DIRECT. block < CSV_LUN_META_BYTES / CSV_LUN_BLOCK, else -EINVAL. */
int csv_lun_block_read(struct csv_lun *lun, unsigned block, uint8_t *ret_buf);
int csv_lun_block_write(struct csv_lun *lun, unsigned block, const uint8_t *buf);

#endif

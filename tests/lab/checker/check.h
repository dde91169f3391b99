/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The judge of the test guest's disk: given every slot of the ring and what a
 * client outside the cluster was told, did ever two run at once, and was anything
 * acknowledged lost?  It knows nothing of the product.
 *
 * Pure: no I/O, no allocation.
 */
#ifndef LAB_CHECK_H
#define LAB_CHECK_H

#include "tests/lab/guest/stamp.h"

enum check_kind {
	CHECK_BLOCK,	   /* a slot holds what is neither a whole stamp nor empty */
	CHECK_SLOT,	   /* a stamp lies in another stamp's slot */
	CHECK_DISK,	   /* a stamp of another disk */
	CHECK_GAP,	   /* a stamp before the newest is not there */
	CHECK_CHAIN,	   /* a stamp does not hold the hash of the one before: two writers */
	CHECK_ACK_LOST,	   /* acknowledged, not there */
	CHECK_ACK_CHANGED, /* acknowledged, but another stamp lies there: two writers */
	CHECK_GENERATION,  /* a generation went down */
	CHECK_BOOT,	   /* a boot without a new generation, or an older boot came back */
	CHECK_CLOCK,	   /* the guest's monotonic clock went back within one boot */
	CHECK_RAM,	   /* memory was not what the guest left in it */
	CHECK_READ_BACK,   /* the guest read something else than it wrote */
	CHECK_IO_ERROR,	   /* the guest's disk reported an error */
	CHECK_KINDS,
};

enum check_slot_state { CHECK_SLOT_EMPTY, CHECK_SLOT_STAMP, CHECK_SLOT_BAD };

struct check_slot {
	enum check_slot_state state;
	struct stamp stamp;
	uint64_t hash;
};

struct check_ack {
	uint64_t seq, hash;
};

#define CHECK_SEGMENTS 128u

struct check_finding {
	uint64_t seq, seen, expected;
};

/* Consecutive stamps of one boot and one generation. */
struct check_segment {
	uint8_t boot_id[STAMP_ID_BYTES];
	uint64_t generation, first_seq, last_seq;
	uint64_t first_wall_ns, last_wall_ns, largest_gap_ns; /* of the monotonic clock */
};

struct check_input {
	const struct check_slot *slots; /* borrowed */
	uint64_t slots_count;
	const uint8_t *disk_id; /* of the superblock */
	const struct check_ack *acks;
	size_t acks_count;
	unsigned skip; /* 1u << kind: for the tests that prove that each check is needed */
};

struct check_result {
	uint64_t counts[CHECK_KINDS]; /* findings of each kind; all 0 is the good verdict */
	struct check_finding first[CHECK_KINDS]; /* of each kind */
	uint64_t first_seq, last_seq; /* of the window that the ring still holds; 0: empty */
	uint64_t acks_checked, acks_outside; /* outside: older than the window */
	struct check_segment segments[CHECK_SEGMENTS];
	size_t segments_count; /* the first CHECK_SEGMENTS are kept */
	size_t boots;
};

bool check_run(const struct check_input *in, struct check_result *ret_result);
const char *check_kind_name(enum check_kind kind);
const char *check_kind_text(enum check_kind kind);

#endif

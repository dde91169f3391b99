/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stamps that the test guest writes to its disk, and the superblock before
 * them.  Shared by the guest (tests/lab/guest) and by the checker that judges
 * it (tests/lab/checker); nothing of the product uses it.
 *
 * Disk: bytes 0..4095 superblock, then slots of 512 bytes.  Stamp number s (from 1)
 * lies in slot (s - 1) % slots.  Each stamp holds the hash of the whole stamp
 * before it, so two writers cannot both continue one chain.
 *
 * Pure: no I/O, no allocation.
 */
#ifndef LAB_STAMP_H
#define LAB_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_BYTES	  512u
#define STAMP_SUPER_BYTES 4096u
#define STAMP_ID_BYTES	  16u

struct stamp {
	uint64_t generation;
	uint64_t seq; /* from 1, never repeats in one disk's life */
	uint64_t mono_ns;
	uint64_t wall_ns;
	uint64_t prev_hash; /* stamp_hash() of stamp seq - 1; 0 for the first */
	uint64_t ram_hash;  /* constant for one boot while memory is intact */
	uint32_t ram_bad;   /* memory mismatches that the guest saw since it booted */
	uint32_t read_bad;  /* reads of its own stamps that gave something else */
	uint32_t io_errors; /* errors that the disk reported to the guest */
	uint8_t boot_id[STAMP_ID_BYTES];
	uint8_t disk_id[STAMP_ID_BYTES];
};

struct stamp_super {
	uint64_t slots;
	uint8_t disk_id[STAMP_ID_BYTES];
};

/* All STAMP_BYTES of out are written. */
void stamp_encode(const struct stamp *s, uint8_t out[STAMP_BYTES]);
/* 0, -ENODATA if every byte is zero (never written), -EBADMSG if it is no whole stamp. */
int stamp_decode(const uint8_t in[STAMP_BYTES], struct stamp *ret_stamp);
uint64_t stamp_hash(const uint8_t in[STAMP_BYTES]);

void stamp_super_encode(const struct stamp_super *s, uint8_t out[STAMP_SUPER_BYTES]);
/* 0, -ENODATA if every byte is zero, -EBADMSG. */
int stamp_super_decode(const uint8_t in[STAMP_SUPER_BYTES], struct stamp_super *ret_super);
/* Slots that fit on a disk of that size, 0 if none. */
uint64_t stamp_slots_of(uint64_t disk_bytes);
uint64_t stamp_slot_offset(uint64_t slot);

/* 32 lower-case hex digits and a NUL. */
void stamp_id_text(const uint8_t id[STAMP_ID_BYTES], char out[33]);
bool stamp_id_parse(const char *text, uint8_t ret_id[STAMP_ID_BYTES]);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's disk as a ring of stamps: finds where the chain ended, appends,
 * reads back.  One thread.
 */
#ifndef LAB_RING_H
#define LAB_RING_H

#include "tests/lab/guest/stamp.h"

#define RING_RECENT 4096u

struct ring {
	int fd;
	uint8_t *block; /* STAMP_SUPER_BYTES, aligned for O_DIRECT */
	uint64_t slots;
	uint8_t disk_id[STAMP_ID_BYTES];
	uint64_t last_seq;  /* 0: no stamp yet */
	uint64_t last_hash; /* of stamp last_seq */
	uint64_t last_generation;
	uint64_t first_seq;	      /* first that this process wrote */
	uint64_t recent[RING_RECENT]; /* hash of stamp s at s % RING_RECENT */
	uint32_t io_errors, read_bad;
	uint64_t rng;
};

/*
 * Opens the disk (O_DIRECT | O_DSYNC), writes the superblock if the disk is all
 * new (with disk_id, for the first most_bytes; 0: all), and finds the last stamp.
 * 0 or -errno; -EBADMSG if the disk holds something else.
 */
int ring_open(struct ring *ring, const char *path, uint64_t most_bytes,
	      const uint8_t disk_id[STAMP_ID_BYTES]);
/*
 * Gives s its number, disk and hash of the one before, writes it and returns
 * when the disk has it; an error of the disk is counted, told on stderr and tried
 * again for ever.  Returns the stamp's hash.
 */
uint64_t ring_append(struct ring *ring, struct stamp *s);
/* Reads one of the recent stamps of this process and compares; counts in read_bad. */
void ring_read_back(struct ring *ring);

#endif

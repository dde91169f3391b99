// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ring of stamps on a raw disk; see ring.h.
 *
 * Assumes that it is the only writer: whether that was true is for the checker
 * to say.  Never caches: O_DIRECT reads, and writes that are flushed.
 */
#include "tests/lab/guest/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int block_read(struct ring *ring, uint64_t offset, size_t len_bytes)
{
	ssize_t n = pread(ring->fd, ring->block, len_bytes, (off_t)offset);

	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EIO;
}

static int block_write(struct ring *ring, uint64_t offset, size_t len_bytes)
{
	ssize_t n = pwrite(ring->fd, ring->block, len_bytes, (off_t)offset);

	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EIO;
}

static int super_load(struct ring *ring, uint64_t most_bytes,
		      const uint8_t disk_id[STAMP_ID_BYTES])
{
	struct stamp_super super;
	off_t size = lseek(ring->fd, 0, SEEK_END);
	int rc;

	if (size < 0)
		return -errno;
	if (stamp_slots_of((uint64_t)size) < 16)
		return -ENOSPC;
	rc = block_read(ring, 0, STAMP_SUPER_BYTES);
	if (rc < 0)
		return rc;
	rc = stamp_super_decode(ring->block, &super);
	if (rc == -ENODATA) {
		super.slots = stamp_slots_of(most_bytes && most_bytes < (uint64_t)size ?
						     most_bytes : (uint64_t)size);
		memcpy(super.disk_id, disk_id, STAMP_ID_BYTES);
		stamp_super_encode(&super, ring->block);
		rc = block_write(ring, 0, STAMP_SUPER_BYTES);
	}
	if (rc < 0)
		return rc;
	if (super.slots > stamp_slots_of((uint64_t)size))
		return -EBADMSG;
	ring->slots = super.slots;
	memcpy(ring->disk_id, super.disk_id, STAMP_ID_BYTES);
	return 0;
}

/* The stamp in slot, 0 if none is there. */
static int seq_at(struct ring *ring, uint64_t slot, uint64_t *ret_seq)
{
	struct stamp s;
	int rc = block_read(ring, stamp_slot_offset(slot), STAMP_BYTES);

	if (rc < 0)
		return rc;
	*ret_seq = stamp_decode(ring->block, &s) == 0 ? s.seq : 0;
	return 0;
}

/*
 * Stamps are written in order, so the slots 0..i hold first, first + 1, ... up to
 * the newest and something older (or nothing) after it: a binary search.
 */
static int last_find(struct ring *ring)
{
	uint64_t first, seq, lo = 0, hi = ring->slots;
	struct stamp s;
	int rc = seq_at(ring, 0, &first);

	if (rc < 0 || !first)
		return rc;
	while (hi - lo > 1) {
		uint64_t mid = lo + (hi - lo) / 2;

		rc = seq_at(ring, mid, &seq);
		if (rc < 0)
			return rc;
		if (seq == first + mid)
			lo = mid;
		else
			hi = mid;
	}
	rc = block_read(ring, stamp_slot_offset(lo), STAMP_BYTES);
	if (rc < 0)
		return rc;
	rc = stamp_decode(ring->block, &s);
	if (rc < 0)
		return rc;
	ring->last_seq = s.seq;
	ring->last_generation = s.generation;
	ring->last_hash = stamp_hash(ring->block);
	return 0;
}

int ring_open(struct ring *ring, const char *path, uint64_t most_bytes,
	      const uint8_t disk_id[STAMP_ID_BYTES])
{
	int rc;

	memset(ring, 0, sizeof(*ring));
	memcpy(&ring->rng, disk_id, sizeof(ring->rng));
	ring->block = aligned_alloc(4096, STAMP_SUPER_BYTES);
	if (!ring->block)
		return -ENOMEM;
	ring->fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	if (ring->fd < 0) {
		rc = -errno;
		goto out_block;
	}
	rc = super_load(ring, most_bytes, disk_id);
	if (rc == 0)
		rc = last_find(ring);
	if (rc < 0)
		goto out_fd;
	ring->first_seq = ring->last_seq + 1;
	return 0;
out_fd:
	close(ring->fd);
out_block:
	free(ring->block);
	ring->block = NULL;
	return rc;
}

uint64_t ring_append(struct ring *ring, struct stamp *s)
{
	uint64_t slot = ring->last_seq % ring->slots;
	int rc;

	s->seq = ring->last_seq + 1;
	s->prev_hash = ring->last_hash;
	memcpy(s->disk_id, ring->disk_id, STAMP_ID_BYTES);
	for (;;) {
		s->io_errors = ring->io_errors;
		stamp_encode(s, ring->block);
		rc = block_write(ring, stamp_slot_offset(slot), STAMP_BYTES);
		if (rc == 0)
			break;
		if (!ring->io_errors++)
			fprintf(stderr, "stamper: disk write failed: %s\n", strerror(-rc));
		usleep(100000);
	}
	ring->last_seq = s->seq;
	ring->last_hash = stamp_hash(ring->block);
	ring->last_generation = s->generation;
	ring->recent[s->seq % RING_RECENT] = ring->last_hash;
	return ring->last_hash;
}

void ring_read_back(struct ring *ring)
{
	uint64_t span = ring->last_seq + 1 - ring->first_seq, seq;
	int rc;

	if (span == 0)
		return;
	if (span > RING_RECENT)
		span = RING_RECENT;
	if (span > ring->slots)
		span = ring->slots;
	ring->rng = ring->rng * 6364136223846793005ull + 1442695040888963407ull;
	seq = ring->last_seq - (ring->rng >> 33) % span;
	rc = block_read(ring, stamp_slot_offset((seq - 1) % ring->slots), STAMP_BYTES);
	if (rc < 0) {
		if (!ring->io_errors++)
			fprintf(stderr, "stamper: disk read failed: %s\n", strerror(-rc));
		return;
	}
	if (stamp_hash(ring->block) == ring->recent[seq % RING_RECENT])
		return;
	if (!ring->read_bad++)
		fprintf(stderr, "stamper: stamp %llu is not what was written\n",
			(unsigned long long)seq);
}

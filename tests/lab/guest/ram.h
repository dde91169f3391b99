/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A memory pattern that changes all the time and whose hash must not: pages of
 * known content change places in pairs, each is checked before it is moved and
 * all are checked in turn.  The sum of the pages' hashes stays the same however
 * they lie, so a page that a migration lost, or brought old, shows.
 *
 * Pure: the caller gives the memory.
 */
#ifndef LAB_RAM_H
#define LAB_RAM_H

#include <stddef.h>
#include <stdint.h>

#define RAM_PAGE_WORDS 512u

struct ram {
	uint64_t *words; /* pages * RAM_PAGE_WORDS */
	uint64_t *seen;	 /* one a page: its hash when last looked at */
	size_t pages;
	size_t sweep; /* next page to check in turn */
	uint64_t sum; /* of seen[] */
	uint64_t rng;
	uint32_t bad; /* pages found to differ from what was left there */
};

/* words and seen are borrowed for the object's life; pages must be at least 2. */
void ram_init(struct ram *ram, uint64_t *words, uint64_t *seen, size_t pages, uint64_t seed);
/* Moves 2 * swaps pages and checks checks more. */
void ram_step(struct ram *ram, unsigned swaps, unsigned checks);

#endif

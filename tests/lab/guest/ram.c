// SPDX-License-Identifier: GPL-2.0-or-later
/* The moving memory pattern; see ram.h. */
#include "tests/lab/guest/ram.h"

#include <string.h>

static uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t page_hash(const uint64_t *page)
{
	uint64_t h = 0x9e3779b97f4a7c15ull;

	for (unsigned i = 0; i < RAM_PAGE_WORDS; i++)
		h = (h ^ page[i]) * 0x100000001b3ull;
	return mix64(h);
}

static uint64_t *page_at(struct ram *ram, size_t i)
{
	return ram->words + i * RAM_PAGE_WORDS;
}

void ram_init(struct ram *ram, uint64_t *words, uint64_t *seen, size_t pages, uint64_t seed)
{
	*ram = (struct ram){ .words = words, .seen = seen, .pages = pages, .rng = seed | 1 };
	for (size_t p = 0; p < pages; p++) {
		uint64_t *page = page_at(ram, p);

		for (unsigned i = 0; i < RAM_PAGE_WORDS; i++)
			page[i] = mix64(seed + p * RAM_PAGE_WORDS + i);
		seen[p] = page_hash(page);
		ram->sum += seen[p];
	}
}

/* A difference stays in the sum, so that it shows in every later stamp. */
static void page_check(struct ram *ram, size_t p)
{
	uint64_t h = page_hash(page_at(ram, p));

	if (h == ram->seen[p])
		return;
	ram->bad++;
	ram->sum += h - ram->seen[p];
	ram->seen[p] = h;
}

static size_t page_pick(struct ram *ram)
{
	ram->rng += 0x9e3779b97f4a7c15ull;
	return mix64(ram->rng) % ram->pages;
}

void ram_step(struct ram *ram, unsigned swaps, unsigned checks)
{
	uint64_t hold[RAM_PAGE_WORDS], h;

	for (unsigned i = 0; i < swaps; i++) {
		size_t a = page_pick(ram), b = page_pick(ram);

		page_check(ram, a);
		page_check(ram, b);
		memcpy(hold, page_at(ram, a), sizeof(hold));
		memmove(page_at(ram, a), page_at(ram, b), sizeof(hold));
		memcpy(page_at(ram, b), hold, sizeof(hold));
		h = ram->seen[a];
		ram->seen[a] = ram->seen[b];
		ram->seen[b] = h;
	}
	for (unsigned i = 0; i < checks; i++) {
		page_check(ram, ram->sweep);
		ram->sweep = (ram->sweep + 1) % ram->pages;
	}
}

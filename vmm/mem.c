/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bounds-checked access to guest RAM and the bitmap of what devices wrote.
 * Assumes that the mapping outlives every pointer handed out; never trusts an
 * address or length.
 */
#include "vmm/mem.h"

#include <errno.h>
#include <string.h>

#include "vmm/layout.h"

void vmm_mem_init(struct vmm_mem *mem, uint8_t *host, uint64_t total_bytes, uint64_t *dirty)
{
	uint64_t low = total_bytes < VMM_GPA_HOLE ? total_bytes : VMM_GPA_HOLE;

	memset(mem, 0, sizeof(*mem));
	mem->total_bytes = total_bytes;
	mem->dirty = dirty;
	mem->regions[0] = (struct vmm_mem_region){ .gpa = 0, .len_bytes = low, .host = host };
	mem->n_regions = 1;
	if (total_bytes > low) {
		mem->regions[1] = (struct vmm_mem_region){ .gpa = VMM_GPA_HOLE_END,
							   .len_bytes = total_bytes - low,
							   .file_offset = low,
							   .host = host + low };
		mem->n_regions = 2;
	}
}

uint64_t vmm_mem_max_bytes(unsigned address_bits)
{
	uint64_t end = address_bits >= 64 ? UINT64_MAX : 1ull << address_bits;

	if (end <= VMM_GPA_HOLE_END)
		return end < VMM_GPA_HOLE ? end : VMM_GPA_HOLE;
	return end - (VMM_GPA_HOLE_END - VMM_GPA_HOLE);
}

/* The number of KiB on the line that begins with that. */
static bool meminfo_get(const char *text, const char *name, uint64_t *ret_kib)
{
	size_t len = strlen(name);
	uint64_t v = 0;
	bool digits = false;

	while (strncmp(text, name, len) != 0) {
		text = strchr(text, '\n');
		if (!text)
			return false;
		text++;
	}
	for (text += len; *text == ' ' || *text == '\t'; text++)
		;
	for (; *text >= '0' && *text <= '9' && v < UINT64_MAX / 100; text++) {
		v = v * 10 + (uint64_t)(*text - '0');
		digits = true;
	}
	*ret_kib = v;
	return digits;
}

bool vmm_meminfo_available(const char *text, uint64_t *ret_kib)
{
	uint64_t memory, swap = 0;

	if (!meminfo_get(text, "MemAvailable:", &memory))
		return false;
	(void)meminfo_get(text, "SwapFree:", &swap);
	*ret_kib = memory + swap;
	return true;
}

size_t vmm_mem_dirty_words(uint64_t total_bytes)
{
	return (size_t)((total_bytes / VMM_PAGE_SIZE + 63) / 64);
}

static const struct vmm_mem_region *region_find(const struct vmm_mem *mem, uint64_t gpa,
						uint64_t len_bytes)
{
	for (unsigned i = 0; i < mem->n_regions; i++) {
		const struct vmm_mem_region *r = &mem->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa <= r->len_bytes &&
		    len_bytes <= r->len_bytes - (gpa - r->gpa))
			return r;
	}
	return NULL;
}

static void region_dirty(const struct vmm_mem *mem, const struct vmm_mem_region *r, uint64_t gpa,
			 uint64_t len_bytes)
{
	uint64_t first, last;

	if (!mem->dirty || len_bytes == 0)
		return;
	first = (r->file_offset + (gpa - r->gpa)) / VMM_PAGE_SIZE;
	last = (r->file_offset + (gpa - r->gpa) + len_bytes - 1) / VMM_PAGE_SIZE;
	for (uint64_t page = first; page <= last; page++) {
		uint64_t bit = 1ull << (page % 64), *word = &mem->dirty[page / 64];

		/* Most pages are dirty already: avoid the locked write. */
		if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit))
			__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
	}
}

const void *vmm_mem_ptr(const struct vmm_mem *mem, uint64_t gpa, uint64_t len_bytes)
{
	const struct vmm_mem_region *r = region_find(mem, gpa, len_bytes);

	return r ? r->host + (gpa - r->gpa) : NULL;
}

void *vmm_mem_ptr_w(const struct vmm_mem *mem, uint64_t gpa, uint64_t len_bytes)
{
	const struct vmm_mem_region *r = region_find(mem, gpa, len_bytes);

	if (!r)
		return NULL;
	region_dirty(mem, r, gpa, len_bytes);
	return r->host + (gpa - r->gpa);
}

void vmm_mem_dirty(const struct vmm_mem *mem, uint64_t gpa, uint64_t len_bytes)
{
	const struct vmm_mem_region *r = region_find(mem, gpa, len_bytes);

	if (r)
		region_dirty(mem, r, gpa, len_bytes);
}

int vmm_mem_read(const struct vmm_mem *mem, uint64_t gpa, void *out, uint64_t len_bytes)
{
	const void *p = vmm_mem_ptr(mem, gpa, len_bytes);

	if (!p)
		return -EFAULT;
	memcpy(out, p, len_bytes);
	return 0;
}

int vmm_mem_write(const struct vmm_mem *mem, uint64_t gpa, const void *in, uint64_t len_bytes)
{
	const struct vmm_mem_region *r = region_find(mem, gpa, len_bytes);

	if (!r)
		return -EFAULT;
	memcpy(r->host + (gpa - r->gpa), in, len_bytes);
	/* After the data: a page taken clean before this is taken dirty later. */
	region_dirty(mem, r, gpa, len_bytes);
	return 0;
}

uint64_t vmm_mem_dirty_take(const struct vmm_mem *mem, size_t i)
{
	if (!mem->dirty || !__atomic_load_n(&mem->dirty[i], __ATOMIC_RELAXED))
		return 0;
	return __atomic_exchange_n(&mem->dirty[i], 0, __ATOMIC_SEQ_CST);
}

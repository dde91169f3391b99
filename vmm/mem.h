/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as everything but the vCPUs sees it: one accessor, checked
 * against the ends of RAM.  A range that is not wholly inside one region is
 * refused, whatever the guest asked for.
 *
 * Every write by a device is marked in an atomic bitmap of pages beside KVM's own
 * dirty log (which sees only the vCPUs); migration takes the union.  The bitmap's index
 * is the page's offset in the memfd, where low and high RAM lie one after the other.
 *
 * Pure: the caller maps the memory and gives the bitmap.  Thread-safe.
 */
#ifndef VMM_MEM_H
#define VMM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_MEM_REGIONS_MAX 2u

struct vmm_mem_region {
	uint64_t gpa;
	uint64_t len_bytes;
	uint64_t file_offset; /* in the memfd */
	uint8_t *host;
};

struct vmm_mem {
	struct vmm_mem_region regions[VMM_MEM_REGIONS_MAX];
	unsigned n_regions;
	uint64_t total_bytes;
	uint64_t *dirty; /* one bit a page, vmm_mem_dirty_words() words; NULL = not kept */
};

/* Lays low and high RAM out over one mapping of total_bytes (page-aligned) at host. */
void vmm_mem_init(struct vmm_mem *mem, uint8_t *host, uint64_t total_bytes, uint64_t *dirty);
/* The most memory whose last byte (above the hole for devices) has an address of so many bits. */
uint64_t vmm_mem_max_bytes(unsigned address_bits);
/* KiB of memory and swap that can be had, of the text of /proc/meminfo; false: it does not say. */
bool vmm_meminfo_available(const char *text, uint64_t *ret_kib);
size_t vmm_mem_dirty_words(uint64_t total_bytes);

/* Borrowed for the life of the VM; NULL if [gpa, gpa + len_bytes) is not all RAM. */
const void *vmm_mem_ptr(const struct vmm_mem *mem, uint64_t gpa, uint64_t len_bytes);
/*
 * For writing.  Marks the range dirty now; who writes later than this call (asynchronous I/O)
 * marks it once more with vmm_mem_dirty() when the data is there.
 */
void *vmm_mem_ptr_w(const struct vmm_mem *mem, uint64_t gpa, uint64_t len_bytes);
void vmm_mem_dirty(const struct vmm_mem *mem, uint64_t gpa, uint64_t len_bytes);
/* 0 or -EFAULT, and then nothing was copied. */
int vmm_mem_read(const struct vmm_mem *mem, uint64_t gpa, void *out, uint64_t len_bytes);
int vmm_mem_write(const struct vmm_mem *mem, uint64_t gpa, const void *in, uint64_t len_bytes);
/* Takes and clears word i of the bitmap. */
uint64_t vmm_mem_dirty_take(const struct vmm_mem *mem, size_t i);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Linux x86 boot protocol, 64-bit entry (Documentation/arch/x86/boot.rst):
 * is this file a kernel that we can start, where does it go, and the low memory
 * that it finds (zero page, page tables, GDT).  Pure: no files; nothing in the image is trusted.
 */
#ifndef VMM_BZIMAGE_H
#define VMM_BZIMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/mem.h"

#define VMM_BZIMAGE_HEAD 4096u /* of the file is enough to judge it */

struct vmm_bzimage {
	uint8_t setup[256]; /* setup header, file offset 0x1f1 on */
	unsigned setup_len;
	uint64_t payload_offset; /* the protected-mode kernel in the file */
	uint64_t payload_bytes;
	uint64_t pref_address;
	uint64_t init_size;
	uint64_t initrd_last; /* highest address an initrd may use */
	uint32_t cmdline_max; /* without the NUL */
};

struct vmm_boot_plan {
	uint64_t kernel_gpa;
	uint64_t entry_gpa;
	uint64_t initrd_gpa;
	uint64_t initrd_bytes;
	uint64_t cmdline_gpa;
	uint64_t rsdp_gpa;
};

#define VMM_BOOT_SEED_BYTES 32u

/* 0, or -EINVAL with *ret_why: what is missing, a constant text. */
int vmm_bzimage_parse(const uint8_t *head, size_t head_bytes, uint64_t file_bytes,
		      struct vmm_bzimage *ret_image, const char **ret_why);
/* Places kernel and initrd (0 bytes: none) in RAM. 0, or -ENOMEM with *ret_need_bytes of RAM. */
int vmm_boot_plan_make(const struct vmm_bzimage *image, const struct vmm_mem *mem,
		       uint64_t initrd_bytes, struct vmm_boot_plan *ret_plan,
		       uint64_t *ret_need_bytes);
/*
 * Writes zero page, command line (with its NUL, at most VMM_CMDLINE_MAX), random seed, page tables and
 * GDT.  0 or -EINVAL if the command line is too long for this kernel.
 */
int vmm_boot_lowmem_write(const struct vmm_bzimage *image, const struct vmm_boot_plan *plan,
			  const struct vmm_mem *mem, const char *cmdline,
			  const uint8_t seed[VMM_BOOT_SEED_BYTES]);

/* GDT selectors of the protocol. */
#define VMM_BOOT_CS 0x10u
#define VMM_BOOT_DS 0x18u

#endif

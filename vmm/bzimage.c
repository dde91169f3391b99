/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bzImage header, placement and zero page.  See bzimage.h. */
#include "vmm/bzimage.h"

#include <errno.h>
#include <string.h>

#include "vmm/layout.h"

/* Offsets in the file and in struct boot_params. */
#define OFF_SETUP	   0x1f1u
#define OFF_BOOT_FLAG	   0x1feu
#define OFF_JUMP_LEN	   0x201u
#define OFF_MAGIC	   0x202u
#define OFF_VERSION	   0x206u
#define OFF_LOADER	   0x210u
#define OFF_LOADFLAGS	   0x211u
#define OFF_RAMDISK_IMAGE  0x218u
#define OFF_RAMDISK_SIZE   0x21cu
#define OFF_CMDLINE_PTR	   0x228u
#define OFF_INITRD_MAX	   0x22cu
#define OFF_RELOCATABLE	   0x234u
#define OFF_XLOADFLAGS	   0x236u
#define OFF_CMDLINE_SIZE   0x238u
#define OFF_SETUP_DATA	   0x250u
#define OFF_PREF_ADDRESS   0x258u
#define OFF_INIT_SIZE	   0x260u
#define OFF_ACPI_RSDP	   0x070u
#define OFF_E820_ENTRIES   0x1e8u
#define OFF_E820_TABLE	   0x2d0u
#define E820_ENTRY_BYTES   20u
#define E820_RAM	   1u
#define E820_RESERVED	   2u
#define VERSION_MIN	   0x020cu /* 2.12 has xloadflags */
#define LOADED_HIGH	   0x01u
#define XLF_KERNEL_64	   0x0001u
#define LOADER_UNKNOWN	   0xffu
#define SETUP_RNG_SEED	   9u
#define GPA_SETUP_DATA	   0x1f000u

#define MIB (1ull << 20)

static uint64_t get(const uint8_t *p, unsigned len_bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len_bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void put(uint8_t *p, uint64_t v, unsigned len_bytes)
{
	for (unsigned i = 0; i < len_bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static int refuse(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EINVAL;
}

int vmm_bzimage_parse(const uint8_t *head, size_t head_bytes, uint64_t file_bytes,
		      struct vmm_bzimage *ret_image, const char **ret_why)
{
	struct vmm_bzimage *im = ret_image;
	unsigned sectors;

	if (head_bytes >= 4 && !memcmp(head, "\177ELF", 4))
		return refuse(ret_why, "this is an ELF file (a vmlinux?), not a bzImage");
	if (head_bytes < 0x268 + 8)
		return refuse(ret_why, "too short for a bzImage header");
	if (get(head + OFF_BOOT_FLAG, 2) != 0xaa55)
		return refuse(ret_why, "no boot signature 0xaa55 at 0x1fe");
	if (memcmp(head + OFF_MAGIC, "HdrS", 4) != 0)
		return refuse(ret_why, "no \"HdrS\" at 0x202");
	if (get(head + OFF_VERSION, 2) < VERSION_MIN)
		return refuse(ret_why, "boot protocol older than 2.12 (Linux 3.8)");
	if (!(get(head + OFF_XLOADFLAGS, 2) & XLF_KERNEL_64))
		return refuse(ret_why, "no 64-bit entry point (a 32-bit kernel?)");
	if (!(head[OFF_LOADFLAGS] & LOADED_HIGH) || !head[OFF_RELOCATABLE])
		return refuse(ret_why, "not a relocatable bzImage");
	sectors = head[OFF_SETUP] ? head[OFF_SETUP] : 4;
	memset(im, 0, sizeof(*im));
	im->payload_offset = (sectors + 1ull) * 512;
	if (im->payload_offset + 512 > file_bytes)
		return refuse(ret_why, "truncated: it ends inside the setup code");
	im->payload_bytes = file_bytes - im->payload_offset;
	/* syssize counts 16-byte units of the protected-mode part. */
	if (get(head + 0x1f4, 4) * 16 > im->payload_bytes + 15)
		return refuse(ret_why, "truncated: shorter than its header says");
	im->setup_len = OFF_MAGIC + head[OFF_JUMP_LEN] - OFF_SETUP;
	if (im->setup_len > sizeof(im->setup))
		im->setup_len = sizeof(im->setup);
	memcpy(im->setup, head + OFF_SETUP, im->setup_len);
	im->pref_address = get(head + OFF_PREF_ADDRESS, 8);
	im->init_size = get(head + OFF_INIT_SIZE, 4);
	im->initrd_last = get(head + OFF_INITRD_MAX, 4);
	im->cmdline_max = (uint32_t)get(head + OFF_CMDLINE_SIZE, 4);
	if (im->pref_address < MIB || im->pref_address > VMM_GPA_HOLE ||
	    im->init_size < im->payload_bytes)
		return refuse(ret_why, "its header asks for an impossible load address or size");
	return 0;
}

int vmm_boot_plan_make(const struct vmm_bzimage *image, const struct vmm_mem *mem,
		       uint64_t initrd_bytes, struct vmm_boot_plan *ret_plan,
		       uint64_t *ret_need_bytes)
{
	uint64_t low = mem->regions[0].len_bytes, top = low;
	uint64_t kernel_end = image->pref_address + image->init_size;
	uint64_t initrd_pages = (initrd_bytes + VMM_PAGE_SIZE - 1) & ~(VMM_PAGE_SIZE - 1ull);

	if (VMM_GPA_HIGH_LOAD + image->init_size > kernel_end)
		kernel_end = VMM_GPA_HIGH_LOAD + image->init_size;
	if (top > image->initrd_last + 1)
		top = image->initrd_last + 1;
	top &= ~(VMM_PAGE_SIZE - 1ull);
	*ret_need_bytes = kernel_end + initrd_pages;
	if (initrd_bytes > VMM_GPA_HOLE || kernel_end > top || initrd_pages > top - kernel_end)
		return -ENOMEM;
	memset(ret_plan, 0, sizeof(*ret_plan));
	ret_plan->kernel_gpa = VMM_GPA_HIGH_LOAD;
	ret_plan->entry_gpa = ret_plan->kernel_gpa + 0x200;
	ret_plan->initrd_gpa = initrd_bytes ? top - initrd_pages : 0;
	ret_plan->initrd_bytes = initrd_bytes;
	ret_plan->cmdline_gpa = VMM_GPA_CMDLINE;
	ret_plan->rsdp_gpa = VMM_GPA_ACPI;
	return 0;
}

static void e820_add(uint8_t *page, uint64_t gpa, uint64_t len_bytes, uint32_t type)
{
	uint8_t *e = page + OFF_E820_TABLE + E820_ENTRY_BYTES * page[OFF_E820_ENTRIES];

	put(e, gpa, 8);
	put(e + 8, len_bytes, 8);
	put(e + 16, type, 4);
	page[OFF_E820_ENTRIES]++;
}

static void e820_write(uint8_t *page, const struct vmm_mem *mem)
{
	e820_add(page, 0, VMM_GPA_EBDA, E820_RAM);
	e820_add(page, VMM_GPA_EBDA, VMM_GPA_HIGH_LOAD - VMM_GPA_EBDA, E820_RESERVED);
	e820_add(page, VMM_GPA_HIGH_LOAD, mem->regions[0].len_bytes - VMM_GPA_HIGH_LOAD, E820_RAM);
	if (mem->n_regions > 1)
		e820_add(page, mem->regions[1].gpa, mem->regions[1].len_bytes, E820_RAM);
}

static int tables_write(const struct vmm_mem *mem)
{
	/* Null, null, 64-bit code, data. */
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };
	uint8_t *p = vmm_mem_ptr_w(mem, VMM_GPA_PAGETABLES, 6 * VMM_PAGE_SIZE);

	if (!p || vmm_mem_write(mem, VMM_GPA_GDT, gdt, sizeof(gdt)) < 0)
		return -EFAULT;
	/* PML4, PDPT, four page directories of 2 MiB pages: the first 4 GiB as they are. */
	memset(p, 0, 6 * VMM_PAGE_SIZE);
	put(p, (VMM_GPA_PAGETABLES + VMM_PAGE_SIZE) | 3, 8);
	for (unsigned i = 0; i < 4; i++)
		put(p + VMM_PAGE_SIZE + 8 * i, (VMM_GPA_PAGETABLES + (2 + i) * VMM_PAGE_SIZE) | 3, 8);
	for (uint64_t i = 0; i < 2048; i++)
		put(p + 2 * VMM_PAGE_SIZE + 8 * i, i << 21 | 0x83, 8);
	return 0;
}

static int seed_write(const struct vmm_mem *mem, const uint8_t *seed)
{
	uint8_t data[16 + VMM_BOOT_SEED_BYTES] = { 0 };

	put(data + 8, SETUP_RNG_SEED, 4);
	put(data + 12, VMM_BOOT_SEED_BYTES, 4);
	memcpy(data + 16, seed, VMM_BOOT_SEED_BYTES);
	return vmm_mem_write(mem, GPA_SETUP_DATA, data, sizeof(data));
}

int vmm_boot_lowmem_write(const struct vmm_bzimage *image, const struct vmm_boot_plan *plan,
			  const struct vmm_mem *mem, const char *cmdline,
			  const uint8_t seed[VMM_BOOT_SEED_BYTES])
{
	uint8_t page[VMM_PAGE_SIZE];
	size_t len = strlen(cmdline);

	if (len >= VMM_CMDLINE_MAX || len > image->cmdline_max)
		return -EINVAL;
	memset(page, 0, sizeof(page));
	memcpy(page + OFF_SETUP, image->setup, image->setup_len);
	page[OFF_LOADER] = LOADER_UNKNOWN;
	put(page + OFF_RAMDISK_IMAGE, plan->initrd_gpa, 4);
	put(page + OFF_RAMDISK_SIZE, plan->initrd_bytes, 4);
	put(page + OFF_CMDLINE_PTR, plan->cmdline_gpa, 4);
	put(page + OFF_SETUP_DATA, GPA_SETUP_DATA, 8);
	put(page + OFF_ACPI_RSDP, plan->rsdp_gpa, 8);
	e820_write(page, mem);
	if (tables_write(mem) < 0 || seed_write(mem, seed) < 0 ||
	    vmm_mem_write(mem, plan->cmdline_gpa, cmdline, len + 1) < 0 ||
	    vmm_mem_write(mem, VMM_GPA_BOOTPARAMS, page, sizeof(page)) < 0)
		return -EFAULT;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Puts a kernel, its initrd, command line and ACPI tables into guest memory and points the boot
 * processor at it (64-bit boot protocol).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "vmm/acpi.h"
#include "vmm/bzimage.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"
#include "vmm/vmm.h"

#define CR0_BOOT 0x80000031u /* PG, NE, ET, PE */
#define CR4_PAE	 0x20u
#define EFER_LM	 0x500u /* LME, LMA */

static int file_open(const char *what, const char *path, uint64_t *ret_bytes, char **ret_error)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return vmm_error(ret_error, errno, "%s %s: %s", what, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vmm_error(ret_error, EINVAL, "%s %s: not a regular file", what, path);
	*ret_bytes = (uint64_t)st.st_size;
	return cl_steal_fd(&fd);
}

static int file_load(const char *what, const char *path, int fd, uint64_t offset, uint64_t len_bytes,
		     const struct vmm_mem *mem, uint64_t gpa, char **ret_error)
{
	uint8_t *to = vmm_mem_ptr_w(mem, gpa, len_bytes);

	if (!to)
		return vmm_error(ret_error, ENOMEM, "%s %s: does not fit", what, path);
	while (len_bytes) {
		ssize_t n = pread(fd, to, len_bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return vmm_error(ret_error, EIO, "%s %s: %s", what, path,
					 n < 0 ? strerror(errno) : "became shorter");
		to += n;
		offset += (uint64_t)n;
		len_bytes -= (uint64_t)n;
	}
	return 0;
}

static int registers_set(struct vmm *vm, const struct vmm_boot_plan *plan, char **ret_error)
{
	int fd = vm->vcpus[0].fd;
	struct kvm_segment code = { .limit = 0xffffffff, .selector = VMM_BOOT_CS, .type = 0xb,
				    .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = VMM_BOOT_DS, .type = 3,
				    .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = plan->entry_gpa, .rsi = VMM_GPA_BOOTPARAMS,
				 .rsp = VMM_GPA_STACK, .rbp = VMM_GPA_STACK, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return vmm_error(ret_error, errno, "KVM_GET_SREGS: %s", strerror(errno));
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = VMM_GPA_GDT;
	sregs.gdt.limit = 31;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_BOOT;
	sregs.cr3 = VMM_GPA_PAGETABLES;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LM;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return vmm_error(ret_error, errno, "registers of the boot processor: %s",
				 strerror(errno));
	return 0;
}

static int kernel_judge(const char *path, int fd, uint64_t file_bytes, struct vmm_bzimage *ret_image,
			char **ret_error)
{
	uint8_t head[VMM_BZIMAGE_HEAD];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	const char *why;

	if (n < 0)
		return vmm_error(ret_error, errno, "kernel %s: %s", path, strerror(errno));
	if (vmm_bzimage_parse(head, (size_t)n, file_bytes, ret_image, &why) < 0)
		return vmm_error(ret_error, EINVAL,
				 "kernel %s: %s; allowed: a 64-bit Linux bzImage", path, why);
	return 0;
}

static int tables_load(struct vmm *vm, const struct vmm_bzimage *image,
		       const struct vmm_boot_plan *plan, char **ret_error)
{
	uint8_t seed[VMM_BOOT_SEED_BYTES];
	void *acpi = vmm_mem_ptr_w(&vm->mem, VMM_GPA_ACPI, VMM_ACPI_MAX);
	int r;

	(void)!getrandom(seed, sizeof(seed), 0);
	r = vmm_boot_lowmem_write(image, plan, &vm->mem, vm->config->append, seed);
	if (r == -EINVAL)
		return vmm_error(ret_error, EINVAL,
				 "append: %zu bytes; this kernel allows at most %u",
				 strlen(vm->config->append), image->cmdline_max);
	if (r < 0 || !acpi || vmm_acpi_build(acpi, VMM_ACPI_MAX, VMM_GPA_ACPI, vm->n_vcpus) < 0)
		return vmm_error(ret_error, EIO, "tables: do not fit");
	return 0;
}

int vmm_boot_load(struct vmm *vm, char **ret_error)
{
	const struct vmm_config *c = vm->config;
	CL_CLEANUP_CLOSE int kernel = -1;
	CL_CLEANUP_CLOSE int initrd = -1;
	uint64_t kernel_bytes, initrd_bytes = 0, need;
	struct vmm_bzimage image;
	struct vmm_boot_plan plan;
	int r;

	kernel = file_open("kernel", c->kernel, &kernel_bytes, ret_error);
	if (kernel < 0)
		return kernel;
	r = kernel_judge(c->kernel, kernel, kernel_bytes, &image, ret_error);
	if (r < 0)
		return r;
	if (c->initrd[0]) {
		initrd = file_open("initrd", c->initrd, &initrd_bytes, ret_error);
		if (initrd < 0)
			return initrd;
		if (!initrd_bytes)
			return vmm_error(ret_error, EINVAL,
					 "initrd %s: 0 bytes; allowed: a file that is not empty, "
					 "or no initrd",
					 c->initrd);
	}
	if (vmm_boot_plan_make(&image, &vm->mem, initrd_bytes, &plan, &need) < 0)
		return vmm_error(ret_error, ENOMEM,
				 "memory_mib: %u; kernel and initrd need at least %llu",
				 c->memory_mib, (unsigned long long)(need >> 20) + 1);
	r = file_load("kernel", c->kernel, kernel, image.payload_offset, image.payload_bytes,
		      &vm->mem, plan.kernel_gpa, ret_error);
	if (r == 0 && initrd_bytes)
		r = file_load("initrd", c->initrd, initrd, 0, initrd_bytes, &vm->mem,
			      plan.initrd_gpa, ret_error);
	if (r == 0)
		r = tables_load(vm, &image, &plan, ret_error);
	return r < 0 ? r : registers_set(vm, &plan, ret_error);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk back end: a plain file or a block device, opened with O_DIRECT.  It takes no lock: who
 * may open it is decided above.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "vmm/disk_uring.h"
#include "vmm/text.h"

struct file_disk {
	struct vmm_udisk u; /* first */
	char path[PATH_MAX];
};

static int size_get(int fd, const char *path, struct vmm_disk *disk, char **ret_error)
{
	struct stat st;
	uint64_t size;
	int sector = 512;

	if (fstat(fd, &st) < 0)
		return vmm_error(ret_error, errno, "disk %s: %s", path, strerror(errno));
	size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, &size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
			return vmm_error(ret_error, errno, "disk %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		return vmm_error(ret_error, EINVAL,
				 "disk %s: neither a regular file nor a block device", path);
	}
	if (size == 0 || size % 512)
		return vmm_error(ret_error, EINVAL,
				 "disk %s: size %llu bytes; allowed: a multiple of 512 above 0", path,
				 (unsigned long long)size);
	if (disk->size_bytes && disk->size_bytes != size)
		return vmm_error(ret_error, EINVAL, "disk %s: size changed from %llu to %llu bytes",
				 path, (unsigned long long)disk->size_bytes,
				 (unsigned long long)size);
	disk->size_bytes = size;
	disk->align_bytes = (unsigned)sector;
	return 0;
}

static int fd_open(struct file_disk *f, char **ret_error)
{
	CL_CLEANUP_CLOSE int fd = open(f->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == EINVAL)
		return vmm_error(ret_error, EINVAL,
				 "disk %s: its file system has no direct I/O (O_DIRECT)", f->path);
	if (fd < 0)
		return vmm_error(ret_error, errno, "disk %s: %s", f->path, strerror(errno));
	r = size_get(fd, f->path, &f->u.disk, ret_error);
	if (r == 0)
		f->u.fd = cl_steal_fd(&fd);
	return r;
}

/* The file itself was opened at the start, with the rights that the process had then. */
static int file_open(struct vmm_disk *disk, uint64_t generation, char **ret_error)
{
	struct file_disk *f = (struct file_disk *)disk;

	if (disk->state == VMM_DISK_FENCED)
		return vmm_error(ret_error, EBADE, "disk %s: fenced", f->path);
	vmm_udisk_opened(&f->u, generation);
	return 0;
}

static void file_close(struct vmm_disk *disk)
{
	vmm_udisk_closed((struct vmm_udisk *)disk);
}

static void file_free(struct vmm_disk *disk)
{
	struct file_disk *f = (struct file_disk *)disk;

	if (f->u.fd >= 0)
		close(f->u.fd);
	free(f);
}

static const struct vmm_disk_ops file_ops = {
	.open = file_open,
	.submit = vmm_udisk_submit,
	.close = file_close,
	.free = file_free,
};

int vmm_disk_file_new(struct vmm_uring *ring, const char *path,
		      void (*on_fenced)(struct vmm_udisk *d), void *arg, struct vmm_disk **ret_disk,
		      char **ret_error)
{
	struct file_disk *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return vmm_error(ret_error, ENOMEM, "disk %s: out of memory", path);
	vmm_udisk_init(&f->u, &file_ops, ring, on_fenced, arg);
	strncpy(f->path, path, sizeof(f->path) - 1);
	r = fd_open(f, ret_error);
	if (r < 0)
		free(f);
	else
		*ret_disk = &f->u.disk;
	return r;
}

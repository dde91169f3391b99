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

#define ALIGN_MAX 4096u

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000u
#endif

struct file_disk {
	struct vmm_udisk u; /* first */
	char path[PATH_MAX];
	/* What it is, whatever its path says. */
	bool device;
	dev_t dev;
	ino_t ino;
};

/* Does direct I/O of that length work at all?  1, 0 or -errno. */
static int probe(int fd, unsigned len_bytes)
{
	void *buf = NULL;
	ssize_t n;
	int r;

	if (posix_memalign(&buf, ALIGN_MAX, ALIGN_MAX))
		return -ENOMEM;
	do
		n = pread(fd, buf, len_bytes, 0);
	while (n < 0 && errno == EINTR);
	r = n >= 0 ? 1 : errno == EINVAL ? 0 : -errno;
	free(buf);
	return r;
}

/*
 * What a regular file's direct I/O takes depends on the device under its file system.  The kernel
 * may tell (6.1); its word, or 512, is tried, and so is what is coarser.
 */
static int file_align_get(int fd, const char *path, struct vmm_udisk *u, char **ret_error)
{
	unsigned align = 512;
	struct statx sx = { 0 };
	int r = 0;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN)) {
		if (!sx.stx_dio_offset_align || sx.stx_dio_offset_align > ALIGN_MAX ||
		    sx.stx_dio_mem_align > ALIGN_MAX)
			return vmm_error(
				ret_error, EINVAL,
				"disk %s: direct I/O in units of %u bytes; allowed: at most %u",
				path, sx.stx_dio_offset_align, ALIGN_MAX);
		if (sx.stx_dio_offset_align > align)
			align = sx.stx_dio_offset_align;
		if (sx.stx_dio_mem_align > u->mem_align_bytes)
			u->mem_align_bytes = sx.stx_dio_mem_align;
	}
	for (; align <= ALIGN_MAX; align *= 2) {
		r = probe(fd, align);
		if (r)
			break;
	}
	if (r < 0)
		return vmm_error(ret_error, -r, "disk %s: its first sectors: %s", path,
				 strerror(-r));
	if (r == 0)
		return vmm_error(ret_error, EINVAL, "disk %s: no direct I/O of %u bytes or less",
				 path, ALIGN_MAX);
	/* A guest knows blocks of 512 and of 4096 bytes. */
	u->disk.align_bytes = align > 512 ? ALIGN_MAX : 512;
	return 0;
}

static int device_get(int fd, const char *path, struct vmm_udisk *u, uint64_t *ret_size,
		      char **ret_error)
{
	int sector = 0, readonly = 0;

	if (ioctl(fd, BLKGETSIZE64, ret_size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0 ||
	    ioctl(fd, BLKROGET, &readonly) < 0)
		return vmm_error(ret_error, errno, "disk %s: %s", path, strerror(errno));
	if (sector < 512 || (unsigned)sector > ALIGN_MAX)
		return vmm_error(ret_error, EINVAL,
				 "disk %s: blocks of %d bytes; allowed: 512 to %u", path, sector,
				 ALIGN_MAX);
	/* Linux opens it for writing all the same. */
	if (readonly && !u->disk.readonly)
		return vmm_error(
			ret_error, EROFS,
			"disk %s: the device is read-only; allowed: with \"readonly\": true", path);
	u->disk.align_bytes = sector > 512 ? ALIGN_MAX : 512;
	return 0;
}

static int facts_get(int fd, struct file_disk *f, char **ret_error)
{
	struct vmm_disk *disk = &f->u.disk;
	struct stat st;
	uint64_t size;
	int r;

	if (fstat(fd, &st) < 0)
		return vmm_error(ret_error, errno, "disk %s: %s", f->path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return vmm_error(ret_error, EINVAL,
				 "disk %s: neither a regular file nor a block device", f->path);
	size = (uint64_t)st.st_size;
	r = S_ISBLK(st.st_mode) ? device_get(fd, f->path, &f->u, &size, ret_error)
				: file_align_get(fd, f->path, &f->u, ret_error);
	if (r < 0)
		return r;
	if (size == 0 || size % disk->align_bytes)
		return vmm_error(ret_error, EINVAL,
				 "disk %s: size %llu bytes; allowed: a multiple of %u above 0",
				 f->path, (unsigned long long)size, disk->align_bytes);
	disk->size_bytes = size;
	f->device = S_ISBLK(st.st_mode);
	f->dev = f->device ? st.st_rdev : st.st_dev;
	f->ino = f->device ? 0 : st.st_ino;
	return 0;
}

static int fd_open(struct file_disk *f, char **ret_error)
{
	int mode = f->u.disk.readonly ? O_RDONLY : O_RDWR;
	CL_CLEANUP_CLOSE int fd = open(f->path, mode | O_DIRECT | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == EINVAL)
		return vmm_error(ret_error, EINVAL,
				 "disk %s: its file system has no direct I/O (O_DIRECT)", f->path);
	if (fd < 0)
		return vmm_error(ret_error, errno, "disk %s: %s", f->path, strerror(errno));
	r = facts_get(fd, f, ret_error);
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

bool vmm_disk_file_same(const struct vmm_disk *a, const struct vmm_disk *b)
{
	const struct file_disk *fa = (const struct file_disk *)a, *fb = (const struct file_disk *)b;

	return a->ops == &file_ops && b->ops == &file_ops && fa->device == fb->device &&
	       fa->dev == fb->dev && fa->ino == fb->ino;
}

int vmm_disk_file_new(struct vmm_uring *ring, const char *path, bool readonly,
		      void (*on_fenced)(struct vmm_udisk *d), void *arg, struct vmm_disk **ret_disk,
		      char **ret_error)
{
	struct file_disk *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return vmm_error(ret_error, ENOMEM, "disk %s: out of memory", path);
	vmm_udisk_init(&f->u, &file_ops, ring, on_fenced, arg);
	f->u.disk.readonly = readonly;
	strncpy(f->path, path, sizeof(f->path) - 1);
	r = fd_open(f, ret_error);
	if (r < 0)
		free(f);
	else
		*ret_disk = &f->u.disk;
	return r;
}

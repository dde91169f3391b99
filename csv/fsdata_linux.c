/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File data and maps on the owner's XFS.
 *
 * Other nodes write straight to the LUN, so the owner's page cache may lie (rule C2).  Data
 * therefore moves by O_DIRECT; only a partial block at or beyond the end of the file, which no
 * layout ever covers, goes through the page cache, is made durable at once and is dropped from it.
 */
#include "csv/fs.h"
#include "csv/fs_priv.h"

#include "common/cl_cleanup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define GENERATION_XATTR "trusted.holdfast.generation"

struct csv_fs_file {
	int direct;   /* O_RDWR | O_DIRECT */
	int buffered; /* O_RDWR */
};

int csv_fs_file_open(struct csv_fs *fs, struct csv_fh fh, struct csv_fs_file **ret_file)
{
	struct csv_fs_file *f;
	struct stat st;
	int rc;

	/* Not O_RDWR before its type is known: opening a device or fifo would do things. */
	{
		CL_CLEANUP_CLOSE int fd = csv_fs_fd(fs, fh, O_PATH | O_NOFOLLOW);

		if (fd < 0)
			return fd;
		if (fstat(fd, &st))
			return -errno;
		if (!S_ISREG(st.st_mode))
			return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->buffered = csv_fs_fd(fs, fh, O_RDWR);
	f->direct = csv_fs_fd(fs, fh, O_RDWR | O_DIRECT);
	if (f->buffered < 0 || f->direct < 0) {
		rc = f->buffered < 0 ? f->buffered : f->direct;
		csv_fs_file_close(f);
		return rc;
	}
	*ret_file = f;
	return 0;
}

void csv_fs_file_close(struct csv_fs_file *file)
{
	if (!file)
		return;
	if (file->direct >= 0)
		close(file->direct);
	if (file->buffered >= 0)
		close(file->buffered);
	free(file);
}

static uint64_t block_down(uint64_t v)
{
	return v / CSV_FS_BLOCK * CSV_FS_BLOCK;
}

static uint64_t block_up(uint64_t v)
{
	return block_down(v + CSV_FS_BLOCK - 1);
}

static int read_full(int fd, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
		if (n == 0 || n % CSV_FS_BLOCK)
			break; /* the end of the file */
	}
	*ret_len = done;
	return 0;
}

static int write_full(int fd, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		struct iovec v = { (char *)buf + done, len - done };
		ssize_t n = pwritev2(fd, &v, 1, (off_t)(off + done), RWF_DSYNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Drops cached pages of the range and makes sure that they are gone (the advice alone does not). */
static int cache_drop(struct csv_fs_file *f, uint64_t off, uint64_t len)
{
	char byte;
	struct iovec v = { &byte, 1 };

	for (int i = 0; i < 100; i++) {
		ssize_t n;

		(void)posix_fadvise(f->buffered, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
		n = preadv2(f->buffered, &v, 1, (off_t)block_down(off), RWF_NOWAIT);
		if (n <= 0)
			return 0; /* EAGAIN: not in the cache; 0: beyond the end */
		usleep(1000);
	}
	return -EBUSY;
}

int csv_fs_read(struct csv_fs_file *file, uint64_t off, size_t len, void *buf,
		const void **ret_data, size_t *ret_len)
{
	uint64_t start = block_down(off);
	size_t lead = (size_t)(off - start);
	size_t got;
	int rc;

	if (off + len < off || off + len > INT64_MAX)
		return -EINVAL;
	rc = read_full(file->direct, buf, (size_t)(block_up(off + len) - start), start, &got);
	if (rc)
		return rc;
	*ret_data = (char *)buf + lead;
	*ret_len = got <= lead ? 0 : got - lead < len ? got - lead : len;
	return 0;
}

/* One block or less that is not a whole block. */
static int write_partial(struct csv_fs_file *f, uint64_t off, const void *data, size_t len,
			 uint64_t size)
{
	uint64_t start = block_down(off);
	CL_CLEANUP_FREE void *block = NULL;
	size_t got;
	int rc;

	if (start + CSV_FS_BLOCK > size) {
		rc = cache_drop(f, start, CSV_FS_BLOCK);
		if (!rc)
			rc = write_full(f->buffered, data, len, off);
		return rc ? rc : cache_drop(f, start, CSV_FS_BLOCK);
	}
	if (posix_memalign(&block, CSV_FS_BLOCK, CSV_FS_BLOCK))
		return -ENOMEM;
	rc = read_full(f->direct, block, CSV_FS_BLOCK, start, &got);
	if (rc)
		return rc;
	if (got != CSV_FS_BLOCK)
		return -EIO;
	memcpy((char *)block + (off - start), data, len);
	return write_full(f->direct, block, CSV_FS_BLOCK, start);
}

int csv_fs_write(struct csv_fs_file *file, uint64_t off, const void *data, size_t len,
		 bool *ret_map_changed)
{
	CL_CLEANUP_FREE void *copy = NULL;
	uint64_t size, before;
	struct stat st;
	int rc = 0;

	if (off + len < off || off + len > INT64_MAX)
		return -EFBIG;
	if (fstat(file->direct, &st))
		return -errno;
	before = (uint64_t)st.st_blocks;
	size = (uint64_t)st.st_size;
	while (len && !rc) {
		size_t lead = (size_t)(off % CSV_FS_BLOCK);
		size_t n;

		if (lead || len < CSV_FS_BLOCK) {
			n = CSV_FS_BLOCK - lead < len ? CSV_FS_BLOCK - lead : len;
			rc = write_partial(file, off, data, n, size);
		} else {
			n = len - len % CSV_FS_BLOCK;
			if ((uintptr_t)data % 512) {
				if (posix_memalign(&copy, CSV_FS_BLOCK, n))
					return -ENOMEM;
				memcpy(copy, data, n);
				rc = write_full(file->direct, copy, n, off);
				free(copy);
				copy = NULL;
			} else {
				rc = write_full(file->direct, data, n, off);
			}
		}
		off += n;
		data = (const char *)data + n;
		len -= n;
		if (off > size)
			size = off;
	}
	if (fstat(file->direct, &st))
		return -errno;
	*ret_map_changed = (uint64_t)st.st_blocks != before;
	return rc;
}

int csv_fs_truncate(struct csv_fs_file *file, uint64_t size)
{
	int rc;

	if (fsync(file->buffered))
		return -errno;
	rc = cache_drop(file, block_down(size), CSV_FS_BLOCK);
	if (rc)
		return rc;
	if (ftruncate(file->buffered, (off_t)size) || fsync(file->buffered))
		return -errno;
	return cache_drop(file, block_down(size), CSV_FS_BLOCK);
}

int csv_fs_fallocate(struct csv_fs_file *file, int mode, uint64_t off, uint64_t len)
{
	if (fsync(file->buffered))
		return -errno;
	(void)posix_fadvise(file->buffered, 0, 0, POSIX_FADV_DONTNEED);
	if (fallocate(file->buffered, mode, (off_t)off, (off_t)len) || fsync(file->buffered))
		return -errno;
	(void)posix_fadvise(file->buffered, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

int csv_fs_zero(struct csv_fs_file *file, uint64_t off, uint64_t len)
{
	static const char zeros[1u << 20] __attribute__((aligned(CSV_FS_BLOCK)));
	int rc = 0;

	if ((off | len) % 512)
		return -EINVAL;
	while (len && !rc) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);
		ssize_t done = pwrite(file->direct, zeros, n, (off_t)off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		off += (uint64_t)done;
		len -= (uint64_t)done;
	}
	return rc;
}

int csv_fs_fsync(struct csv_fs_file *file)
{
	return fsync(file->direct) ? -errno : 0;
}

int csv_fs_touch(struct csv_fs_file *file)
{
	return futimens(file->buffered, NULL) ? -errno : 0;
}

int csv_fs_size(struct csv_fs_file *file, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(file->direct, &st))
		return -errno;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

/* "GENERATION VM", or "GENERATION" by a release that did not know whose. */
int csv_fs_record_get(struct csv_fs_file *file, struct csv_xrecord *ret_record)
{
	char text[32 + CL_NAME_MAX], *end;
	ssize_t n = fgetxattr(file->buffered, GENERATION_XATTR, text, sizeof(text) - 1);

	memset(ret_record, 0, sizeof(*ret_record));
	if (n < 0)
		return errno == ENODATA ? 0 : -errno;
	text[n] = 0;
	errno = 0;
	ret_record->generation = strtoull(text, &end, 10);
	if (end == text || errno || (*end && (*end != ' ' || !cl_name_valid(end + 1))))
		return -EBADMSG;
	if (*end)
		snprintf(ret_record->vm, sizeof(ret_record->vm), "%s", end + 1);
	return 0;
}

int csv_fs_record_set(struct csv_fs_file *file, const struct csv_xrecord *record)
{
	char text[32 + CL_NAME_MAX];
	int n;

	if (!record) {
		if (!fremovexattr(file->buffered, GENERATION_XATTR) || errno == ENODATA)
			return 0;
		return -errno;
	}
	n = snprintf(text, sizeof(text), "%llu%s%s", (unsigned long long)record->generation,
		     record->vm[0] ? " " : "", record->vm);
	return fsetxattr(file->buffered, GENERATION_XATTR, text, (size_t)n, 0) ? -errno : 0;
}

/* ---- FIEMAP ---- */

#define MAP_BATCH 256u
#define BAD_FOR_DIRECT                                                                             \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                  \
	 FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |    \
	 FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED)

static int map_once(int fd, uint64_t limit, struct csv_wire_extent *out, size_t cap, size_t *ret_n)
{
	CL_CLEANUP_FREE struct fiemap *m =
		calloc(1, sizeof(*m) + MAP_BATCH * sizeof(struct fiemap_extent));
	uint64_t at = 0;
	size_t n = 0;
	bool last = false;

	if (!m)
		return -ENOMEM;
	while (at < limit && !last) {
		m->fm_start = at;
		m->fm_length = limit - at;
		m->fm_flags = FIEMAP_FLAG_SYNC;
		m->fm_extent_count = MAP_BATCH;
		m->fm_mapped_extents = 0;
		if (ioctl(fd, FS_IOC_FIEMAP, m))
			return -errno;
		if (!m->fm_mapped_extents)
			break;
		for (unsigned i = 0; i < m->fm_mapped_extents; i++) {
			const struct fiemap_extent *e = &m->fm_extents[i];
			uint64_t len = e->fe_length;

			last = e->fe_flags & FIEMAP_EXTENT_LAST;
			at = e->fe_logical + e->fe_length;
			if (e->fe_flags & BAD_FOR_DIRECT || e->fe_logical >= limit)
				continue;
			if ((e->fe_logical | e->fe_physical | e->fe_length) % CSV_FS_BLOCK)
				continue;
			if (e->fe_logical + len > limit)
				len = limit - e->fe_logical;
			if (n && out[n - 1].file_off + out[n - 1].len == e->fe_logical &&
			    out[n - 1].dev_off + out[n - 1].len == e->fe_physical) {
				out[n - 1].len += len;
				continue;
			}
			if (n == cap)
				return -E2BIG;
			out[n++] = (struct csv_wire_extent){ e->fe_logical, e->fe_physical, len };
		}
	}
	*ret_n = n;
	return 0;
}

int csv_fs_map(struct csv_fs_file *file, struct csv_wire_extent *ret_extents, size_t cap,
	       size_t *ret_n, uint64_t *ret_size, bool *ret_whole)
{
	CL_CLEANUP_FREE struct csv_wire_extent *again = calloc(cap, sizeof(*again));
	uint64_t covered = 0, limit;
	struct fsxattr fsx;
	struct stat st;
	size_t n2;
	int rc;

	if (!again)
		return -ENOMEM;
	/* A realtime file's addresses are on another device (B8). */
	if (!ioctl(file->direct, FS_IOC_FSGETXATTR, &fsx) && (fsx.fsx_xflags & FS_XFLAG_REALTIME))
		return -ENXIO;
	for (int i = 0; i < 5; i++) {
		if (fsync(file->direct) || fstat(file->direct, &st))
			return -errno;
		(void)posix_fadvise(file->buffered, 0, 0, POSIX_FADV_DONTNEED);
		limit = block_down((uint64_t)st.st_size);
		rc = map_once(file->direct, limit, ret_extents, cap, ret_n);
		if (!rc)
			rc = map_once(file->direct, limit, again, cap, &n2);
		if (rc)
			return rc;
		if (*ret_n != n2 || memcmp(ret_extents, again, n2 * sizeof(*again)))
			continue;
		for (size_t k = 0; k < n2 && ret_extents[k].file_off == covered; k++)
			covered += ret_extents[k].len;
		*ret_size = (uint64_t)st.st_size;
		*ret_whole = st.st_size && covered == (uint64_t)st.st_size;
		return 0;
	}
	return -EAGAIN;
}

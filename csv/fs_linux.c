/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner's mount and its name space, by file handles (open_by_handle_at).  Decides nothing
 * about who may do what.  Assumes CAP_DAC_READ_SEARCH.  See fs.h.
 */
#include "csv/fs.h"
#include "csv/fs_priv.h"

#include "common/cl_cleanup.h"
#include "common/cl_wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* exportfs handle types: 32-bit inode + generation, and XFS's 64-bit form. */
#define HANDLE_INO32_GEN 1
#define HANDLE_INO64_GEN 0x81

struct handle {
	struct file_handle h;
	unsigned char bytes[MAX_HANDLE_SZ];
};

static int fh_of(int fd, struct csv_fh *ret_fh, int *ret_type)
{
	struct handle b = {.h.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;

	if (name_to_handle_at(fd, "", &b.h, &mount_id, AT_EMPTY_PATH))
		return -errno;
	if (b.h.handle_type == HANDLE_INO64_GEN && b.h.handle_bytes == 12) {
		memcpy(&ret_fh->ino, b.h.f_handle, 8);
		memcpy(&ret_fh->gen, b.h.f_handle + 8, 4);
	} else if (b.h.handle_type == HANDLE_INO32_GEN && b.h.handle_bytes == 8) {
		uint32_t ino;

		memcpy(&ino, b.h.f_handle, 4);
		memcpy(&ret_fh->gen, b.h.f_handle + 4, 4);
		ret_fh->ino = ino;
	} else {
		return -EOPNOTSUPP;
	}
	if (ret_type)
		*ret_type = b.h.handle_type;
	return 0;
}

int csv_fs_fd(struct csv_fs *fs, struct csv_fh fh, int flags)
{
	struct handle b = {0};
	int fd;

	/* Inode 0 stands for the root, before a client knows its handle. */
	if (!fh.ino)
		fh = fs->root_fh;
	b.h.handle_type = fs->handle_type;
	if (fs->handle_type == HANDLE_INO64_GEN) {
		b.h.handle_bytes = 12;
		memcpy(b.h.f_handle, &fh.ino, 8);
		memcpy(b.h.f_handle + 8, &fh.gen, 4);
	} else {
		uint32_t ino = (uint32_t)fh.ino;

		b.h.handle_bytes = 8;
		memcpy(b.h.f_handle, &ino, 4);
		memcpy(b.h.f_handle + 4, &fh.gen, 4);
	}
	fd = open_by_handle_at(fs->root, &b.h, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int attr_of(int fd, struct csv_attr *ret_attr)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st))
		return -errno;
	rc = fh_of(fd, &ret_attr->fh, NULL);
	if (rc)
		return rc;
	ret_attr->mode = st.st_mode;
	ret_attr->nlink = (uint32_t)st.st_nlink;
	ret_attr->uid = st.st_uid;
	ret_attr->gid = st.st_gid;
	ret_attr->rdev = st.st_rdev;
	ret_attr->size = (uint64_t)st.st_size;
	ret_attr->blocks = (uint64_t)st.st_blocks;
	ret_attr->atime_ns = st.st_atim.tv_sec * 1000000000ll + st.st_atim.tv_nsec;
	ret_attr->mtime_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	ret_attr->ctime_ns = st.st_ctim.tv_sec * 1000000000ll + st.st_ctim.tv_nsec;
	return 0;
}

static int fs_wrap(int root, const char *device, struct csv_fs **ret_fs)
{
	struct csv_fs *fs = calloc(1, sizeof(*fs));
	int rc;

	if (!fs) {
		close(root);
		return -ENOMEM;
	}
	fs->root = root;
	fs->orphan = -1;
	snprintf(fs->device, sizeof(fs->device), "%s", device);
	rc = fh_of(root, &fs->root_fh, &fs->handle_type);
	if (rc) {
		close(root);
		free(fs);
		return rc;
	}
	*ret_fs = fs;
	return 0;
}

/* What the kernel says of a mount that it refused. */
static void mount_message(int ctx, char *error, const char *what, int err)
{
	char text[CSV_FS_TEXT - 64];
	ssize_t n = read(ctx, text, sizeof(text) - 1);

	if (n > 2) {
		text[n] = 0;
		text[strcspn(text, "\n")] = 0;
		snprintf(error, CSV_FS_TEXT, "%s: %s", what, text + 2);
	} else {
		snprintf(error, CSV_FS_TEXT, "%s: %s", what, strerror(err));
	}
}

int csv_fs_mount(const char *device, struct csv_fs **ret_fs, char *error)
{
	static const char *const flags[] = {"wsync", "nouuid"};
	CL_CLEANUP_CLOSE int ctx = -1;
	CL_CLEANUP_CLOSE int mnt = -1;
	int root, rc;

	ctx = fsopen("xfs", FSOPEN_CLOEXEC);
	if (ctx < 0) {
		rc = -errno;
		snprintf(error, CSV_FS_TEXT, "the kernel has no XFS: %s", strerror(-rc));
		return rc;
	}
	for (size_t i = 0; i < CL_ARRAY_LEN(flags); i++)
		if (fsconfig(ctx, FSCONFIG_SET_FLAG, flags[i], NULL, 0))
			goto refused;
	if (fsconfig(ctx, FSCONFIG_SET_STRING, "source", device, 0) ||
	    fsconfig(ctx, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		goto refused;
	mnt = fsmount(ctx, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
	if (mnt < 0)
		goto refused;
	/* The fd of fsmount is O_PATH and holds the mount; a real one of the root keeps it too. */
	root = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		goto refused;
	rc = fs_wrap(root, device, ret_fs);
	if (rc)
		snprintf(error, CSV_FS_TEXT, "file handles of %s: %s", device, strerror(-rc));
	return rc;
refused:
	rc = -errno;
	mount_message(ctx, error, device, -rc);
	return rc;
}

int csv_fs_open_dir(const char *path, struct csv_fs **ret_fs)
{
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? -errno : fs_wrap(root, "", ret_fs);
}

int csv_fs_sync(struct csv_fs *fs)
{
	return syncfs(fs->root) ? -errno : 0;
}

int csv_fs_umount(struct csv_fs *fs, int timeout_ms)
{
	struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	char device[sizeof(fs->device)];

	(void)csv_fs_sync(fs);
	memcpy(device, fs->device, sizeof(device));
	if (fs->orphan >= 0)
		close(fs->orphan);
	close(fs->root);
	free(fs);
	if (!device[0])
		return 0;
	for (int waited_ms = 0;; waited_ms += 10) {
		int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);

		if (fd >= 0) {
			close(fd);
			return 0;
		}
		if (errno != EBUSY)
			return -errno;
		if (waited_ms >= timeout_ms)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
}

int csv_fs_root(struct csv_fs *fs, struct csv_attr *ret_attr)
{
	return attr_of(fs->root, ret_attr);
}

int csv_fs_lookup(struct csv_fs *fs, struct csv_fh dir, const char *name, struct csv_attr *ret_attr)
{
	CL_CLEANUP_CLOSE int dfd = csv_fs_fd(fs, dir, O_PATH);
	CL_CLEANUP_CLOSE int fd = -1;

	if (dfd < 0)
		return dfd;
	fd = openat(dfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : attr_of(fd, ret_attr);
}

int csv_fs_resolve(struct csv_fs *fs, const char *path, struct csv_attr *ret_attr)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	CL_CLEANUP_CLOSE int fd = -1;

	while (*path == '/')
		path++;
	fd = (int)syscall(SYS_openat2, fs->root, *path ? path : ".", &how, sizeof(how));
	return fd < 0 ? -errno : attr_of(fd, ret_attr);
}

int csv_fs_getattr(struct csv_fs *fs, struct csv_fh fh, struct csv_attr *ret_attr)
{
	CL_CLEANUP_CLOSE int fd = csv_fs_fd(fs, fh, O_PATH);

	return fd < 0 ? fd : attr_of(fd, ret_attr);
}

int csv_fs_setattr(struct csv_fs *fs, struct csv_fh fh, const struct csv_attr *a, uint32_t valid)
{
	CL_CLEANUP_CLOSE int fd = csv_fs_fd(fs, fh, O_PATH);
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
	char path[64];

	if (fd < 0)
		return fd;
	if (valid & (CSV_SET_UID | CSV_SET_GID)) {
		uid_t uid = valid & CSV_SET_UID ? a->uid : (uid_t)-1;
		gid_t gid = valid & CSV_SET_GID ? a->gid : (gid_t)-1;

		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
			return -errno;
	}
	/* These have no form for an O_PATH fd; its link in /proc is the inode itself. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if ((valid & CSV_SET_MODE) && chmod(path, a->mode & 07777))
		return -errno;
	if (valid & CSV_SET_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	else if (valid & CSV_SET_ATIME)
		times[0] = (struct timespec){a->atime_ns / 1000000000, a->atime_ns % 1000000000};
	if (valid & CSV_SET_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	else if (valid & CSV_SET_MTIME)
		times[1] = (struct timespec){a->mtime_ns / 1000000000, a->mtime_ns % 1000000000};
	if ((times[0].tv_nsec != UTIME_OMIT || times[1].tv_nsec != UTIME_OMIT) &&
	    utimensat(AT_FDCWD, path, times, 0))
		return -errno;
	return 0;
}

int csv_fs_readlink(struct csv_fs *fs, struct csv_fh fh, char *ret_text, size_t cap_bytes)
{
	CL_CLEANUP_CLOSE int fd = csv_fs_fd(fs, fh, O_PATH | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", ret_text, cap_bytes - 1);
	if (n < 0)
		return -errno;
	ret_text[n] = 0;
	return 0;
}

int csv_fs_readdir(struct csv_fs *fs, struct csv_fh fh, uint64_t cookie, void *buf, size_t cap_bytes,
		   size_t *ret_len, bool *ret_eof)
{
	CL_CLEANUP_CLOSE int fd = csv_fs_fd(fs, fh, O_RDONLY | O_DIRECTORY);
	char raw[16384] __attribute__((aligned(8)));
	struct cl_writer w;

	*ret_len = 0;
	*ret_eof = false;
	if (fd < 0)
		return fd;
	if (cookie && lseek(fd, (off_t)cookie, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		ssize_t n = getdents64(fd, raw, sizeof(raw));

		if (n < 0)
			return -errno;
		if (n == 0) {
			*ret_eof = true;
			return 0;
		}
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(raw + at);
			long len;

			cl_writer_init(&w, (char *)buf + *ret_len, cap_bytes - *ret_len);
			cl_write_u64(&w, d->d_ino);
			cl_write_u64(&w, (uint64_t)d->d_off);
			cl_write_u8(&w, d->d_type);
			cl_write_str(&w, d->d_name);
			len = cl_writer_done(&w);
			if (len < 0)
				return *ret_len ? 0 : -EINVAL;
			*ret_len += (size_t)len;
			at += d->d_reclen;
		}
	}
}

int csv_fs_statfs(struct csv_fs *fs, struct csv_statfs *ret)
{
	struct statvfs s;

	if (fstatvfs(fs->root, &s))
		return -errno;
	*ret = (struct csv_statfs){s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree};
	return 0;
}

/* Gives a new entry to who asked for it; in a set-gid folder the group stays the folder's. */
static int entry_give(int dfd, const char *name, uid_t uid, gid_t gid, struct csv_attr *ret_attr)
{
	CL_CLEANUP_CLOSE int fd = openat(dfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(dfd, &st))
		return -errno;
	if (fchownat(fd, "", uid, st.st_mode & S_ISGID ? (gid_t)-1 : gid, AT_EMPTY_PATH))
		return -errno;
	return attr_of(fd, ret_attr);
}

int csv_fs_make(struct csv_fs *fs, struct csv_fh dir, const char *name, mode_t mode, uid_t uid,
		gid_t gid, dev_t rdev, struct csv_attr *ret_attr)
{
	CL_CLEANUP_CLOSE int dfd = csv_fs_fd(fs, dir, O_RDONLY | O_DIRECTORY);

	if (dfd < 0)
		return dfd;
	if (S_ISDIR(mode) ? mkdirat(dfd, name, mode & 07777) : mknodat(dfd, name, mode, rdev))
		return -errno;
	return entry_give(dfd, name, uid, gid, ret_attr);
}

int csv_fs_symlink(struct csv_fs *fs, struct csv_fh dir, const char *name, const char *target,
		   uid_t uid, gid_t gid, struct csv_attr *ret_attr)
{
	CL_CLEANUP_CLOSE int dfd = csv_fs_fd(fs, dir, O_RDONLY | O_DIRECTORY);

	if (dfd < 0)
		return dfd;
	if (symlinkat(target, dfd, name))
		return -errno;
	return entry_give(dfd, name, uid, gid, ret_attr);
}

int csv_fs_link(struct csv_fs *fs, struct csv_fh fh, struct csv_fh dir, const char *name,
		struct csv_attr *ret_attr)
{
	CL_CLEANUP_CLOSE int fd = csv_fs_fd(fs, fh, O_PATH | O_NOFOLLOW);
	CL_CLEANUP_CLOSE int dfd = csv_fs_fd(fs, dir, O_RDONLY | O_DIRECTORY);

	if (fd < 0 || dfd < 0)
		return fd < 0 ? fd : dfd;
	if (linkat(fd, "", dfd, name, AT_EMPTY_PATH))
		return -errno;
	return attr_of(fd, ret_attr);
}

int csv_fs_unlink(struct csv_fs *fs, struct csv_fh dir, const char *name, bool directory)
{
	CL_CLEANUP_CLOSE int dfd = csv_fs_fd(fs, dir, O_RDONLY | O_DIRECTORY);

	if (dfd < 0)
		return dfd;
	return unlinkat(dfd, name, directory ? AT_REMOVEDIR : 0) ? -errno : 0;
}

int csv_fs_rename(struct csv_fs *fs, struct csv_fh from, const char *name, struct csv_fh to,
		  const char *name2, unsigned flags)
{
	CL_CLEANUP_CLOSE int a = csv_fs_fd(fs, from, O_RDONLY | O_DIRECTORY);
	CL_CLEANUP_CLOSE int b = csv_fs_fd(fs, to, O_RDONLY | O_DIRECTORY);

	if (a < 0 || b < 0)
		return a < 0 ? a : b;
	return renameat2(a, name, b, name2, flags) ? -errno : 0;
}

/* ---- the hidden folder ---- */

static int orphan_dir(struct csv_fs *fs)
{
	CL_CLEANUP_CLOSE int top = -1;

	if (fs->orphan >= 0)
		return 0;
	if (mkdirat(fs->root, ".holdfast", 0755) && errno != EEXIST)
		return -errno;
	top = openat(fs->root, ".holdfast", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return -errno;
	if (mkdirat(top, "orphan", 0700) && errno != EEXIST)
		return -errno;
	fs->orphan = openat(top, "orphan", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fs->orphan < 0 ? -errno : 0;
}

static void orphan_name(struct csv_fh fh, char name[64])
{
	snprintf(name, 64, "%llx.%x", (unsigned long long)fh.ino, fh.gen);
}

int csv_fs_orphan_add(struct csv_fs *fs, struct csv_fh fh)
{
	CL_CLEANUP_CLOSE int fd = -1;
	char name[64];
	int rc = orphan_dir(fs);

	if (rc)
		return rc;
	fd = csv_fs_fd(fs, fh, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	orphan_name(fh, name);
	if (linkat(fd, "", fs->orphan, name, AT_EMPTY_PATH) && errno != EEXIST)
		return -errno;
	return 0;
}

int csv_fs_orphan_delete(struct csv_fs *fs, struct csv_fh fh)
{
	char name[64];
	int rc = orphan_dir(fs);

	if (rc)
		return rc;
	orphan_name(fh, name);
	return unlinkat(fs->orphan, name, 0) ? -errno : 0;
}

int csv_fs_orphan_each(struct csv_fs *fs, void (*fn)(void *arg, struct csv_fh fh), void *arg)
{
	int rc = orphan_dir(fs);
	const struct dirent *d;
	DIR *dir;
	int fd;

	if (rc)
		return rc;
	fd = openat(fs->orphan, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while ((d = readdir(dir))) {
		unsigned long long ino;
		unsigned gen;
		char name[64];

		if (sscanf(d->d_name, "%llx.%x", &ino, &gen) != 2)
			continue;
		orphan_name((struct csv_fh){ino, gen}, name);
		if (!strcmp(name, d->d_name))
			fn(arg, (struct csv_fh){ino, gen});
	}
	closedir(dir);
	return 0;
}

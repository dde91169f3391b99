/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner's XFS: mounted where nobody but this process can reach it (a detached mount: in no
 * mount namespace at all), used by inode handle and never by path.
 *
 * Name space operations take the caller's credentials as data: csvd runs as root, the FUSE front checks permissions.
 * Mounted with wsync, so that what is answered survives the owner.  Every call blocks, any thread may call;
 * the caller keeps writes of one file that are not block-aligned, and changes of its size, apart.
 *
 * 0 or -errno; -ESTALE: no such inode (any more).
 */
#ifndef CSV_FS_H
#define CSV_FS_H

#include "csv/layout.h"
#include "csv/proto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CSV_FS_BLOCK 4096u
#define CSV_FS_TEXT  256u

struct csv_fs;
struct csv_fs_file; /* an open regular file of the owner */

/* device is a block device with XFS. error gets one line for people (CSV_FS_TEXT bytes). */
int csv_fs_mount(const char *device, struct csv_fs **ret_fs, char *error);
/* For tests: a directory of a mounted file system that has file handles. */
int csv_fs_open_dir(const char *path, struct csv_fs **ret_fs);
/*
 * Syncs, lets go of the mount and waits until the kernel has let go of the device (it can be opened
 * exclusively): only then is the volume unmounted. -EBUSY if it has not within timeout_ms; fs is gone in any case.
 */
int csv_fs_umount(struct csv_fs *fs, int timeout_ms);
int csv_fs_sync(struct csv_fs *fs);

int csv_fs_root(struct csv_fs *fs, struct csv_attr *ret_attr);
int csv_fs_lookup(struct csv_fs *fs, struct csv_fh dir, const char *name, struct csv_attr *ret_attr);
/* Walks a relative path without links and without leaving the volume. */
int csv_fs_resolve(struct csv_fs *fs, const char *path, struct csv_attr *ret_attr);
int csv_fs_getattr(struct csv_fs *fs, struct csv_fh fh, struct csv_attr *ret_attr);
/* All but CSV_SET_SIZE. */
int csv_fs_setattr(struct csv_fs *fs, struct csv_fh fh, const struct csv_attr *attr, uint32_t valid);
int csv_fs_readlink(struct csv_fs *fs, struct csv_fh fh, char *ret_text, size_t cap_bytes);
/*
 * Entries from cookie on as {u64 ino, u64 next cookie, u8 d_type, str name}, little-endian; bytes
 * in *ret_len; *ret_eof if there are no more.
 */
int csv_fs_readdir(struct csv_fs *fs, struct csv_fh fh, uint64_t cookie, void *buf, size_t cap_bytes,
		   size_t *ret_len, bool *ret_eof);
int csv_fs_statfs(struct csv_fs *fs, struct csv_statfs *ret_statfs);
/* mode with its type: regular, fifo, socket, device, or directory. */
int csv_fs_make(struct csv_fs *fs, struct csv_fh dir, const char *name, mode_t mode, uid_t uid,
		gid_t gid, dev_t rdev, struct csv_attr *ret_attr);
int csv_fs_symlink(struct csv_fs *fs, struct csv_fh dir, const char *name, const char *target,
		   uid_t uid, gid_t gid, struct csv_attr *ret_attr);
int csv_fs_link(struct csv_fs *fs, struct csv_fh fh, struct csv_fh dir, const char *name,
		struct csv_attr *ret_attr);
int csv_fs_unlink(struct csv_fs *fs, struct csv_fh dir, const char *name, bool directory);
int csv_fs_rename(struct csv_fs *fs, struct csv_fh from, const char *name, struct csv_fh to,
		  const char *name2, unsigned flags);

/* The hidden folder .holdfast/orphan: made at need; a link there keeps an unlinked file's inode. */
int csv_fs_orphan_add(struct csv_fs *fs, struct csv_fh fh);
int csv_fs_orphan_delete(struct csv_fs *fs, struct csv_fh fh);
/* Calls fn for each; fn may delete it. */
int csv_fs_orphan_each(struct csv_fs *fs, void (*fn)(void *arg, struct csv_fh fh), void *arg);

/* ---- data (fsdata_linux.c) ---- */
int csv_fs_file_open(struct csv_fs *fs, struct csv_fh fh, struct csv_fs_file **ret_file);
void csv_fs_file_close(struct csv_fs_file *file);
/* off and len any; buf aligned to CSV_FS_BLOCK with CSV_FS_BLOCK * 2 to spare. *ret_data points into it. */
int csv_fs_read(struct csv_fs_file *file, uint64_t off, size_t len, void *buf, const void **ret_data,
		size_t *ret_len);
/* Durable when it returns. *ret_map_changed: blocks may have been allocated. */
int csv_fs_write(struct csv_fs_file *file, uint64_t off, const void *data, size_t len,
		 bool *ret_map_changed);
int csv_fs_truncate(struct csv_fs_file *file, uint64_t size);
int csv_fs_fallocate(struct csv_fs_file *file, int mode, uint64_t off, uint64_t len);
int csv_fs_zero(struct csv_fs_file *file, uint64_t off, uint64_t len);
int csv_fs_fsync(struct csv_fs_file *file);
int csv_fs_touch(struct csv_fs_file *file);
int csv_fs_size(struct csv_fs_file *file, uint64_t *ret_size);
/* What the file remembers; all zero if nothing. -EBADMSG: what it has is no record. */
int csv_fs_record_get(struct csv_fs_file *file, struct csv_xrecord *ret_record);
/* NULL: it forgets. */
int csv_fs_record_set(struct csv_fs_file *file, const struct csv_xrecord *record);
/*
 * The extents that may be used directly: fsync, drop of cached pages, FIEMAP twice with the same
 * answer (rules B7, B8, B9).  Only written, unshared, aligned ones below the size's last whole
 * block. *ret_whole: they cover the file up to its size without a hole.  -E2BIG more than cap.
 */
int csv_fs_map(struct csv_fs_file *file, struct csv_wire_extent *ret_extents, size_t cap,
	       size_t *ret_n, uint64_t *ret_size, bool *ret_whole);

#endif

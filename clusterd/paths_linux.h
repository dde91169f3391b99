/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are on a node (docs/architecture.md, "Paths"), and whole-file
 * reads and atomic writes.  HOLDFAST_RUN_DIR, HOLDFAST_STATE_DIR,
 * HOLDFAST_STORAGE_DIR and HOLDFAST_COROSYNC_DIR move the folders for tests, HOLDFAST_LIBEXEC_DIR the programs.
 */
#ifndef CD_PATHS_LINUX_H
#define CD_PATHS_LINUX_H

#include <stddef.h>
#include <sys/types.h>

#define CD_PATH_MAX 512u

enum cd_dir { CD_DIR_RUN, CD_DIR_STATE, CD_DIR_STORAGE, CD_DIR_COROSYNC };

/* Borrowed for the life of the program. */
const char *cd_path_dir(enum cd_dir dir);
/* DIR/format...; aborts if longer than cap_bytes (names are bounded by cl_name_valid). */
void cd_path(char *out, size_t cap_bytes, enum cd_dir dir, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* vmm or csvd: from HOLDFAST_LIBEXEC_DIR if that is set, else where it was installed. */
void cd_path_program(char *out, size_t cap_bytes, const char *name);
/* mkdir -p with the mode for what it makes; 0 or -errno. */
int cd_path_mkdirs(const char *path, mode_t mode);

/* Whole file with a NUL after it, at most max_bytes (-EFBIG).  0 or -errno; caller frees. */
int cd_file_read(const char *path, size_t max_bytes, char **ret_data, size_t *ret_len);
/* tmp file, fsync, rename, fsync of the folder.  0 or -errno. */
int cd_file_write(const char *path, mode_t mode, const void *data, size_t len_bytes);

#endif

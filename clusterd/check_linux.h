/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of what an operator names, on this node: kernels, files, bridges, paths.  Workers only. */
#ifndef CD_CHECK_LINUX_H
#define CD_CHECK_LINUX_H

#include <stdbool.h>
#include <stddef.h>

/* 0 or -errno with one line in error. */
int cd_check_file(const char *path, const char *what, char *error, size_t cap_bytes);
/* A Linux bzImage with the 64-bit entry (Documentation/arch/x86/boot.rst). */
int cd_check_kernel(const char *path, char *error, size_t cap_bytes);
int cd_check_bridge(const char *name, char *error, size_t cap_bytes);
/*
 * No user of this node was given the number in file (/etc/subuid, /etc/subgid: lines "user:first:count"); a line that
 * cannot be understood, or a file that cannot be read, is no permission.  A missing file gives nothing to anybody.
 */
int cd_check_uid(unsigned uid, const char *file, char *error, size_t cap_bytes);
/* A relative path without "..", ".", empty parts or control bytes, not below .holdfast. */
bool cd_check_path_valid(const char *path);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by fs_linux.c and fsdata_linux.c only.
 */
#ifndef CSV_FS_PRIV_H
#define CSV_FS_PRIV_H

#include "csv/fs.h"

struct csv_fs {
	int root;     /* fd of the root directory */
	int orphan;   /* fd of the hidden folder, -1 until it is needed */
	int handle_type;
	char device[128]; /* "" when it is not our mount */
	struct csv_fh root_fh;
};

/* An fd of the inode. */
int csv_fs_fd(struct csv_fs *fs, struct csv_fh fh, int flags);

#endif

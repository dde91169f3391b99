/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by disk_dm.c (prepare, activate, close), diskevent_dm.c (recall, reclaim, down, redirect),
 * diskadopt_dm.c (what outlives a csvd or a vmm) and disksock_linux.c (who asks for it) only.
 */
#ifndef CSV_DISK_PRIV_H
#define CSV_DISK_PRIV_H

#include "csv/vol.h"

/* Of no list any more; its device and its node are the caller's affair. */
void csv_disk_free(struct csv_disk *disk);
/* Gives back one of disk->users. */
void csv_disk_put(struct csv_disk *disk);
/* An fd of the file under the mount, or -errno. */
int csv_disk_redirected_open(struct csv_disk *disk);

/* Once more, where csv_map_down() failed before and the disk was not activated since. */
void csv_disk_cut_again(struct csv_disk *disk);

#endif

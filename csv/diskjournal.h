/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One small JSON file a disk in $RUN/csvd/, named after its device, so that a csvd that starts after one was killed
 * knows what the devices it finds are for.  Lives as long as the node is up (/run).
 */
#ifndef CSV_DISKJOURNAL_H
#define CSV_DISKJOURNAL_H

#include "csv/vol.h"

struct csv_diskjournal {
	char map[CSV_MAP_NAME_MAX];
	char volume[CL_NAME_MAX];
	char path[CSV_RPC_TEXT_MAX];
	char vm[CL_NAME_MAX];
	char secret[CSV_SECRET_MAX];
	struct csv_fh fh;
	uint64_t generation;
};

/* Nothing without a device. 0 or -errno. */
int csv_diskjournal_write(const struct csv_disk *disk);
void csv_diskjournal_remove_name(struct csvd *d, const char *map);
/* fn may remove the one it is given. A file that does not parse is skipped with a warning. */
void csv_diskjournal_each(struct csvd *d, void (*fn)(void *arg, const struct csv_diskjournal *j),
			  void *arg);

#endif

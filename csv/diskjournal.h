/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One small JSON file an active disk in $RUN/csvd/, so that a csvd that starts after one was killed knows what the
 * devices it finds are for, and which VM goes on without a device, redirected.  Lives as long as the node is up (/run).
 */
#ifndef CSV_DISKJOURNAL_H
#define CSV_DISKJOURNAL_H

#include "csv/vol.h"

struct csv_diskjournal {
	char name[CSV_MAP_NAME_MAX]; /* of the entry */
	char map[CSV_MAP_NAME_MAX];  /* "": it had no device */
	char volume[CL_NAME_MAX];
	char path[CSV_RPC_TEXT_MAX];
	char vm[CL_NAME_MAX];
	char secret[CSV_SECRET_MAX];
	struct csv_fh fh;
	uint64_t generation;
	uint64_t size;
	pid_t pid; /* 0: not known */
	uint64_t pid_start;
};

/* 0 or -errno: then the disk must not be used, for nobody after us would know of it. disk->journal names it. */
int csv_diskjournal_write(const struct csv_disk *disk);
void csv_diskjournal_remove_name(struct csvd *d, const char *name);
/*
 * 0 when fn saw every entry and returned 0 for each; else the first error, and what is left is not known.  fn may
 * remove the one it is given.  A file that can be read but does not parse is skipped with a warning.
 */
int csv_diskjournal_each(struct csvd *d, int (*fn)(void *arg, const struct csv_diskjournal *j),
			 void *arg);

/* When the process began (clock ticks since boot); 0: not known. */
uint64_t csv_proc_start(pid_t pid);
/* 1: that process is there, *ret_pidfd (may be NULL) is its own; 0: it is gone; -errno: not known. */
int csv_proc_look(pid_t pid, uint64_t start, int *ret_pidfd);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-mapper for a host that has none: linked into a test it takes the place of open("/dev/mapper/control") and of
 * ioctl() on what that gave.  What is above, map_dm.c included, is what ships.  Each command makes one real system call
 * first (an ioctl that /dev/null refuses), so that strace can let it fail as it can let the kernel's.
 * tests/contract/csv_map_contract.c asks the real one for the same answers.
 */
#ifndef TESTS_FAKE_DM_H
#define TESTS_FAKE_DM_H

#include <stdbool.h>
#include <stdint.h>

struct fake_dm_dev {
	bool used, suspended;
	char name[128], uuid[129]; /* uuid with its prefix */
	char table[16], next[16];  /* target type, "" none; next: loaded, not yet in place */
	uint64_t sectors, next_sectors;
	int open_count;
	bool deferred;
};

#define FAKE_DM_DEVS 16u
extern struct fake_dm_dev fake_dm[FAKE_DM_DEVS];

/* Every call of the command (DM_DEV_SUSPEND, ...; 0: of all) fails with err; 0: none fails. */
void fake_dm_fail(unsigned long command, int err);
void fake_dm_clear(void);
struct fake_dm_dev *fake_dm_find(const char *name);
/* A device in use: linear, active. */
struct fake_dm_dev *fake_dm_add(const char *name, const char *uuid, int open_count);
/* Something may be written through it. */
bool fake_dm_writes(const char *name);

#endif

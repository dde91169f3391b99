/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fenced node: whoever meets the conflict first, an I/O of the front or the watch's `down`, the VM hears of it and every
 * device gets an error table.  csvd's shipped objects over fake_dm.h; the LUN is a pread() that fails.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "csv/disk_priv.h"
#include "csv/libcsv.h"
#include "tests/unit/csv/fake_dm.h"
#include "tests/unit/unit.h"

#define DATA_FD 1000

static struct csvd d;
static struct csv_vol vol;
static struct csv_node *node;
static struct csv_disk *disk;
static unsigned fenced;

uint64_t csvd_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

ssize_t fake_pread(int fd, void *buf, size_t len, off_t off) __asm__("pread");

ssize_t fake_pread(int fd, void *buf, size_t len, off_t off)
{
	if (fd != DATA_FD)
		return syscall(SYS_pread64, fd, buf, len, off);
	errno = EBADE;
	return -1;
}

static void on_event(void *arg, struct csv_disk *of, int event, int fd, int mode)
{
	fenced += event == CSV_EVENT_FENCED;
}

/* The worlds of before: a thread of their `down` may still look at them. */
struct csv_disk *kept_disks[8];
struct csv_node *kept_nodes[8];
unsigned worlds;

static void world(void)
{
	struct csv_fh fh = { .ino = 0x84, .gen = 1 };

	fake_dm_clear();
	memset(&vol, 0, sizeof(vol));
	fenced = 0;
	vol.d = &d;
	d.node = 1;
	d.patience_ms = 1;
	strcpy(vol.name, "vol");
	strcpy(vol.data_name, "hf-vol-data");
	vol.data_fd = DATA_FD;
	pthread_mutex_init(&vol.admin, NULL);
	pthread_rwlock_init(&vol.owner_lock, NULL);
	pthread_mutex_init(&vol.lock, NULL);
	pthread_cond_init(&vol.cond, NULL);
	csv_state_init(&vol.state, 0);
	fake_dm_add("hf-vol-data", "HF-data-vol", 1);
	fake_dm_add("hf-vol-83-1-1", "HF-disk-x", 1);
	disk = calloc(1, sizeof(*disk));
	disk->v = &vol;
	disk->pidfd = -1;
	pthread_mutex_init(&disk->dm, NULL);
	strcpy(disk->map, "hf-vol-83-1-1");
	disk->active = disk->held = true;
	disk->notify = on_event;
	vol.disks = disk;
	node = csv_node_get(&vol, fh, 1);
	node->extents = calloc(1, sizeof(*node->extents));
	*node->extents = (struct csv_wire_extent){ .file_off = 0, .dev_off = 0, .len = 1 << 20 };
	node->n_extents = 1;
	node->has_layout = true;
	kept_disks[worlds % 8] = disk;
	kept_nodes[worlds++ % 8] = node;
}

static bool all_down(void)
{
	for (int i = 0; i < 30000; i++) {
		if (!strcmp(fake_dm_find("hf-vol-data")->table, "error") &&
		    !strcmp(fake_dm_find("hf-vol-83-1-1")->table, "error"))
			return true;
		usleep(1000);
	}
	return false;
}

static void front_first(void)
{
	const void *data;

	world();
	/* The front falls back to the owner, which a volume that is down does not ask. */
	CU_ASSERT(csv_node_read(&vol, node, 0, 4096, &data) < 0);
	CU_ASSERT_TRUE(vol.state.down);
	CU_ASSERT_TRUE(all_down());
	CU_ASSERT_EQUAL(fenced, 1);
	csvd_down(&vol, "this node was fenced");
	CU_ASSERT_EQUAL(fenced, 1); /* once */
}

static void watch_after_state(void)
{
	world();
	csv_vol_input(&vol, CSV_IN_DOWN, 0, 0, "reservation conflict");
	csvd_down(&vol, "this node was fenced");
	CU_ASSERT_TRUE(all_down());
	CU_ASSERT_EQUAL(fenced, 1);
}

/* What device-mapper refuses is tried again; until then the disk counts as one that may write. */
static void tried_again(void)
{
	world();
	d.vols = &vol;
	fake_dm_fail(0, ENOMEM);
	csvd_down(&vol, "this node was fenced");
	for (int i = 0; i < 30000 && (disk->users || !vol.data_cut_again); i++)
		usleep(1000);
	CU_ASSERT_TRUE(disk->active);
	fake_dm_fail(0, 0);
	csvd_tick(&d);
	CU_ASSERT_TRUE(all_down());
	d.vols = NULL;
}

UNIT_MAIN("csv down", { "the front meets the conflict first", front_first },
	  { "the state says down already", watch_after_state }, { "tried again", tried_again })

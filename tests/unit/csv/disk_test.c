/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks of VMs when device-mapper, the journal or /proc cannot be asked: an error is never "suspended", "idle" or "no
 * such disk".  The owner is a stub; device-mapper is fake_dm.h under the shipped map_dm.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "csv/disk_priv.h"
#include "csv/diskjournal.h"
#include "csv/libcsv.h"
#include "tests/unit/csv/fake_dm.h"
#include "tests/unit/unit.h"

#define MAP "hf-vol-83-1-1"

static char run_dir[] = "/tmp/hf-disk-XXXXXX";
static struct csvd d;
static struct csv_vol vol;
static struct csv_node file;
static unsigned asked[64]; /* of the owner, by operation */
static bool whole;	   /* the owner gives a layout */
static int reclaim_rc;
static unsigned events;

/* ---- what is around ---- */

uint64_t csvd_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

int csv_call(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *m, struct csv_rpc_msg *r)
{
	static struct csv_wire_extent e = { .file_off = 0, .dev_off = 1 << 20, .len = 1 << 20 };
	static uint8_t data[256];

	memset(r, 0, sizeof(*r));
	asked[op]++;
	if (op == CSV_OP_RECLAIM)
		return reclaim_rc;
	if (op != CSV_OP_XOPEN)
		return 0;
	r->seq = 5;
	if (whole) {
		r->flags = CSV_LAYOUT_WHOLE;
		r->version = 3;
		r->data = data;
		r->data_bytes = (uint32_t)csv_extents_encode(&e, 1, data, sizeof(data));
	}
	return 0;
}

int csv_call_timeout(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *m,
		     struct csv_rpc_msg *r, int timeout_ms)
{
	return csv_call(v, op, m, r);
}

struct csv_node *csv_node_get(struct csv_vol *v, struct csv_fh fh, uint64_t n)
{
	return &file;
}

int csv_node_open(struct csv_vol *v, struct csv_node *n, bool opened)
{
	return 0;
}

void csv_node_close(struct csv_vol *v, struct csv_node *n)
{
}

void csv_node_forget(struct csv_vol *v, struct csv_node *n, uint64_t lookups)
{
}

struct csv_vol *csvd_vol_find(struct csvd *from, const char *name)
{
	return &vol;
}

struct csv_vol *csvd_vol_next(struct csvd *from, const struct csv_vol *v)
{
	return v ? NULL : &vol;
}

static void on_event(void *arg, struct csv_disk *disk, int event, int fd, int mode)
{
	events++;
}

/* ---- a volume with one disk ---- */

static void world(void)
{
	char path[128];

	while (vol.disks) {
		struct csv_disk *k = vol.disks;

		vol.disks = k->next;
		csv_disk_free(k);
	}
	fake_dm_clear();
	memset(asked, 0, sizeof(asked));
	events = 0;
	reclaim_rc = 0;
	whole = true;
	if (!d.run_dir[0]) {
		if (!mkdtemp(run_dir))
			abort();
		snprintf(d.run_dir, sizeof(d.run_dir), "%s", run_dir);
		pthread_mutex_init(&vol.lock, NULL);
		pthread_cond_init(&vol.cond, NULL);
	}
	snprintf(path, sizeof(path), "rm -rf %s/csvd; mkdir -p %s/csvd", run_dir, run_dir);
	if (system(path))
		abort();
	d.patience_ms = 1;
	vol.d = &d;
	vol.link = 1;
	vol.downed = false;
	snprintf(vol.name, sizeof(vol.name), "vol");
	snprintf(vol.path, sizeof(vol.path), "%s/storage/vol", run_dir);
	vol.backing = (struct csv_map_backing){ "/fake/lun", 1 << 20, 64 << 20 };
	file.fh = (struct csv_fh){ .ino = 0x83, .gen = 1 };
}

static struct csv_disk *disk_new(bool with_map)
{
	struct csv_disk *k = calloc(1, sizeof(*k));

	k->v = &vol;
	k->node = &file;
	k->pidfd = -1;
	k->pid = getpid();
	k->pid_start = csv_proc_start(k->pid);
	pthread_mutex_init(&k->dm, NULL);
	strcpy(k->path, "web.img");
	strcpy(k->vm, "web");
	strcpy(k->secret, "00112233445566778899aabbccddeeff");
	strcpy(k->journal, MAP);
	k->generation = 7;
	k->seq = 1;
	k->active = true;
	k->held = with_map;
	k->mode = with_map ? CSV_DISK_DIRECT : CSV_DISK_REDIRECTED;
	k->notify = on_event;
	if (with_map) {
		strcpy(k->map, MAP);
		fake_dm_add(MAP, "HF-disk-00000000-0000-0000-0000-000000000000-83-1-1", 1);
	}
	k->next = vol.disks;
	vol.disks = k;
	return k;
}

static bool entry_exists(void)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/csvd/%s.json", run_dir, MAP);
	return access(path, F_OK) == 0;
}

static void wait_event(void)
{
	for (int i = 0; i < 30000 && !events; i++)
		usleep(1000);
}

/* ---- recall ---- */

static void recall_answered(void)
{
	struct csv_disk *k;

	world();
	k = disk_new(true);
	CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 2), 1);
	wait_event();
	CU_ASSERT_EQUAL(events, 1);
	CU_ASSERT_FALSE(k->active);
	CU_ASSERT_STRING_EQUAL(fake_dm_find(MAP)->table, "error");
	CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 3), 0); /* it has nothing any more */
}

static void recall_not_answered(void)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM, EIO, EACCES, EBUSY };
	struct csv_disk *k;

	for (unsigned i = 0; i < CL_ARRAY_LEN(errors); i++) {
		world();
		k = disk_new(true);
		fake_dm_fail(0, errors[i]);
		CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 2), -errors[i]);
		CU_ASSERT_TRUE(k->active && k->held);
		CU_ASSERT_EQUAL(events, 0);
		/* Asked again after the connection was made anew: now it can be done. */
		fake_dm_fail(0, 0);
		CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 2), 1);
		CU_ASSERT_FALSE(fake_dm_writes(MAP));
		wait_event();
	}
}

/* A suspend that fails is made good by an error table; a device that is gone is no error. */
static void recall_other_ways(void)
{
	world();
	disk_new(true);
	fake_dm_fail(DM_DEV_SUSPEND, ENOMEM);
	CU_ASSERT(csv_disks_recall(&vol, file.fh, 2) < 0);
	world();
	disk_new(true);
	fake_dm_find(MAP)->used = false;
	CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 2), 1);
	wait_event();
	world();
	disk_new(false);
	CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 2), 1);
	wait_event();
}

/* poc2: no descriptor is left in the process. */
static void recall_without_fds(void)
{
	struct rlimit was, few = { 3, 3 };

	world();
	disk_new(true);
	CU_ASSERT_EQUAL(csv_map_init(), 0);
	getrlimit(RLIMIT_NOFILE, &was);
	few.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_NOFILE, &few);
	CU_ASSERT(open("/dev/null", O_RDONLY) < 0);
	CU_ASSERT_EQUAL(csv_disks_recall(&vol, file.fh, 2), 1);
	CU_ASSERT_FALSE(fake_dm_writes(MAP));
	setrlimit(RLIMIT_NOFILE, &was);
	wait_event();
}

/* ---- reclaim, redirect ---- */

static void reclaim_refused(void)
{
	struct csv_disk *k;

	world();
	k = disk_new(true);
	reclaim_rc = -ESTALE;
	fake_dm_fail(0, ENOMEM);
	CU_ASSERT(csv_disks_reclaim(&vol, csv_call) < 0); /* or the owner would hear RECLAIM_DONE */
	CU_ASSERT_TRUE(k->active);
	fake_dm_fail(0, 0);
	vol.link++;
	CU_ASSERT_EQUAL(csv_disks_reclaim(&vol, csv_call), 0);
	CU_ASSERT_FALSE(k->active);
	CU_ASSERT_FALSE(fake_dm_writes(MAP));
}

static void redirect_not_told(void)
{
	struct csv_disk *k;

	world();
	k = disk_new(true);
	fake_dm_fail(0, EMFILE);
	csv_disks_redirect(&vol, true);
	CU_ASSERT_EQUAL(asked[CSV_OP_LAYOUTRETURN], 0);
	CU_ASSERT_TRUE(k->held && k->mode == CSV_DISK_DIRECT);
	fake_dm_fail(0, 0);
	csv_disks_redirect(&vol, true);
	CU_ASSERT_EQUAL(asked[CSV_OP_LAYOUTRETURN], 1);
	CU_ASSERT_STRING_EQUAL(fake_dm_find(MAP)->table, "error");
}

/* ---- activate, close ---- */

static void activate_needs_the_journal(void)
{
	char path[200];
	struct csv_disk *k;
	int fd = -1;

	world();
	k = disk_new(false);
	k->active = false;
	snprintf(path, sizeof(path), "%s/csvd", run_dir);
	CU_ASSERT_EQUAL(rmdir(path), 0);
	CU_ASSERT(csv_disk_activate_srv(k, 8, 0, &fd) < 0);
	CU_ASSERT_EQUAL(asked[CSV_OP_XOPEN], 0);
	/* An entry that cannot be written when the device is made: the device goes. */
	world();
	k = disk_new(false);
	k->active = false;
	snprintf(path, sizeof(path), "%s/csvd/%s.json.new", run_dir, MAP);
	CU_ASSERT_EQUAL(csv_diskjournal_write(k), 0);
	CU_ASSERT_TRUE(entry_exists());
	mkdir(path, 0700);
	CU_ASSERT(csv_disk_activate_srv(k, 8, 0, &fd) < 0);
	CU_ASSERT_EQUAL(fake_dm_find(MAP), NULL);
}

static void close_keeps_what_stays(void)
{
	struct csv_disk *k;

	world();
	k = disk_new(true);
	CU_ASSERT_EQUAL(csv_diskjournal_write(k), 0);
	fake_dm_fail(0, EIO);
	csv_disk_close_srv(k);
	CU_ASSERT_EQUAL(asked[CSV_OP_XCLOSE], 0);
	CU_ASSERT_TRUE(entry_exists());
	CU_ASSERT_PTR_EQUAL(vol.disks, k);
	fake_dm_fail(0, 0);
	csv_disk_close_srv(k);
	CU_ASSERT_EQUAL(asked[CSV_OP_XCLOSE], 1);
	CU_ASSERT_FALSE(entry_exists());
}

static void tidy_closes_no_live_disk(void)
{
	struct csv_disk *k;

	world();
	k = disk_new(true);
	k->pid = 0; /* of an older csvd: the device alone tells */
	k->adopted = true;
	fake_dm_fail(0, ENFILE);
	csv_disks_tidy(&d);
	CU_ASSERT_TRUE(k->adopted);
	fake_dm_fail(0, 0);
	csv_disks_tidy(&d); /* open */
	CU_ASSERT_TRUE(k->adopted);
	/* Redirected: as long as its process lives. */
	world();
	k = disk_new(false);
	k->adopted = true;
	csv_disks_tidy(&d);
	CU_ASSERT_TRUE(k->adopted);
	CU_ASSERT_EQUAL(asked[CSV_OP_XCLOSE], 0);
}

/* ---- adoption ---- */

static void journal_of(bool with_map)
{
	struct csv_disk *k;

	world();
	k = disk_new(with_map);
	CU_ASSERT_EQUAL(csv_diskjournal_write(k), 0);
	vol.disks = NULL;
	csv_disk_free(k);
}

static void adopt_direct(void)
{
	char error[CSVD_TEXT];

	journal_of(true);
	CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), 0);
	CU_ASSERT_FATAL(vol.disks != NULL);
	CU_ASSERT_TRUE(vol.disks->held && vol.disks->active && vol.disks->mode == CSV_DISK_DIRECT);
	CU_ASSERT_EQUAL(vol.disks->generation, 7);
}

static void adopt_cannot_look(void)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM, EIO, EACCES };
	char error[CSVD_TEXT], path[200];

	for (unsigned i = 0; i < CL_ARRAY_LEN(errors); i++) {
		journal_of(true);
		fake_dm_fail(0, errors[i]);
		CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), -errors[i]);
		CU_ASSERT_TRUE(entry_exists());
		CU_ASSERT_TRUE(fake_dm_writes(MAP));
		CU_ASSERT(error[0] != 0);
	}
	journal_of(true);
	snprintf(path, sizeof(path), "%s/csvd", run_dir);
	CU_ASSERT_EQUAL(system("true"), 0);
	snprintf(d.run_dir, sizeof(d.run_dir), "%s/no", run_dir);
	CU_ASSERT(csv_disks_adopt(&vol, error) < 0);
	snprintf(d.run_dir, sizeof(d.run_dir), "%s", run_dir);
}

/* `redirect on`, then csvd is killed: the process lives, the device is an error table or there is none. */
static void adopt_redirected(void)
{
	char error[CSVD_TEXT];

	journal_of(false);
	CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), 0);
	CU_ASSERT_FATAL(vol.disks != NULL);
	CU_ASSERT_TRUE(vol.disks->active && !vol.disks->held);
	CU_ASSERT_EQUAL(vol.disks->mode, CSV_DISK_REDIRECTED);
	CU_ASSERT_PTR_EQUAL(csv_disk_claim(&d, "vol", "web.img", "web",
					   "00112233445566778899aabbccddeeff"), vol.disks);
	journal_of(true);
	strcpy(fake_dm_find(MAP)->table, "error");
	CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), 0);
	CU_ASSERT_FATAL(vol.disks != NULL);
	CU_ASSERT_TRUE(vol.disks->active && !vol.disks->held);
	CU_ASSERT_EQUAL(vol.disks->mode, CSV_DISK_REDIRECTED);
}

static void adopt_drops_the_dead(void)
{
	char error[CSVD_TEXT];
	struct csv_disk *k;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	world();
	k = disk_new(false);
	k->pid = pid;
	waitpid(pid, NULL, 0);
	k->pid_start = 1;
	CU_ASSERT_EQUAL(csv_diskjournal_write(k), 0);
	vol.disks = NULL;
	csv_disk_free(k);
	CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), 0);
	CU_ASSERT_EQUAL(vol.disks, NULL);
	CU_ASSERT_FALSE(entry_exists());
	/* Another process with its number. */
	CU_ASSERT_EQUAL(csv_proc_look(getpid(), csv_proc_start(getpid()) + 1, NULL), 0);
	CU_ASSERT_EQUAL(csv_proc_look(getpid(), csv_proc_start(getpid()), NULL), 1);
	CU_ASSERT_EQUAL(csv_proc_look(0, 0, NULL), -ENODATA);
}

static void strays(void)
{
	static const char uuid[] = "HF-disk-00000000-0000-0000-0000-000000000000-99-1-1";
	char error[CSVD_TEXT];

	world();
	fake_dm_add("hf-vol-99-1-1", uuid, 1);
	fake_dm_add("hf-vol-98-1-1", "HF-disk-00000000-0000-0000-0000-000000000001-98-1-1", 1);
	fake_dm_add("hf-vol-data", "HF-data-vol", 1);
	CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), 0);
	CU_ASSERT_FALSE(fake_dm_writes("hf-vol-99-1-1"));
	CU_ASSERT_TRUE(fake_dm_writes("hf-vol-98-1-1")); /* another volume's */
	CU_ASSERT_TRUE(fake_dm_writes("hf-vol-data"));
	world();
	fake_dm_add("hf-vol-99-1-1", uuid, 1);
	fake_dm_fail(DM_DEV_REMOVE, EIO);
	CU_ASSERT_EQUAL(csv_disks_adopt(&vol, error), -EIO);
}

static void end(void)
{
	char command[100];

	world();
	snprintf(command, sizeof(command), "rm -rf %s", run_dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN("csv disks, what cannot be asked", { "recall is answered", recall_answered },
	  { "recall is not answered", recall_not_answered }, { "recall, other ways", recall_other_ways },
	  { "recall without descriptors", recall_without_fds }, { "reclaim refused", reclaim_refused },
	  { "redirect", redirect_not_told }, { "activate", activate_needs_the_journal },
	  { "close", close_keeps_what_stays }, { "tidy", tidy_closes_no_live_disk },
	  { "adopt direct", adopt_direct }, { "adopt, cannot look", adopt_cannot_look },
	  { "adopt redirected", adopt_redirected }, { "adopt, the dead", adopt_drops_the_dead },
	  { "strays", strays }, { "end", end })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that outlive a csvd or a vmm: devices of a csvd that was killed are taken over from the journal and kept for
 * who proves by the secret that they are its own; what nobody uses any more is closed.
 */
#include "csv/disk_priv.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "csv/libcsv.h"

#include "csv/diskjournal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned csv_disks_users(struct csv_vol *v, char *ret_text, size_t cap_bytes)
{
	size_t at = 0;
	unsigned n = 0;

	ret_text[0] = 0;
	pthread_mutex_lock(&v->lock);
	for (const struct csv_disk *k = v->disks; k; k = k->next) {
		n++;
		if (at < cap_bytes)
			at += (size_t)snprintf(ret_text + at, cap_bytes - at, "%sVM %s",
					       at ? ", " : "", k->vm);
	}
	pthread_mutex_unlock(&v->lock);
	return n;
}

json_t *csv_disks_status(struct csv_vol *v)
{
	static const char *const modes[] = {"prepared", "direct", "redirected"};
	json_t *list = json_array();

	pthread_mutex_lock(&v->lock);
	for (const struct csv_disk *k = v->disks; k; k = k->next)
		json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:s,s:b,s:s}", "path", k->path,
						      "vm", k->vm, "generation",
						      (json_int_t)k->generation, "mode",
						      modes[k->mode], "active", k->active, "map",
						      k->map));
	pthread_mutex_unlock(&v->lock);
	return list;
}

struct adoption {
	struct csv_vol *v;
	char *error; /* CSVD_TEXT */
};

static int adopt_fail(const struct adoption *a, int rc, const char *what, const char *name)
{
	snprintf(a->error, CSVD_TEXT, "%s %.300s: %s", what, name, strerror(-rc));
	return rc;
}

/* What nobody uses: its device goes, and then its entry. */
static int adopt_drop(const struct adoption *a, const struct csv_diskjournal *j)
{
	int rc = j->map[0] ? csv_map_remove(j->map, true) : 0;

	if (rc && rc != -ENXIO)
		return adopt_fail(a, rc, "device", j->map);
	csv_diskjournal_remove_name(a->v->d, j->name);
	return 0;
}

static struct csv_disk *adopted_new(struct csv_vol *v, const struct csv_diskjournal *j)
{
	struct csv_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return NULL;
	disk->v = v;
	disk->pidfd = -1;
	pthread_mutex_init(&disk->dm, NULL);
	snprintf(disk->path, sizeof(disk->path), "%s", j->path);
	snprintf(disk->vm, sizeof(disk->vm), "%s", j->vm);
	snprintf(disk->secret, sizeof(disk->secret), "%s", j->secret);
	snprintf(disk->journal, sizeof(disk->journal), "%s", j->name);
	disk->generation = j->generation;
	disk->pid = j->pid;
	disk->pid_start = j->pid_start;
	disk->active = disk->adopted = true;
	disk->mode = CSV_DISK_REDIRECTED;
	disk->node = csv_node_get(v, j->fh, 1);
	if (!disk->node) {
		csv_disk_free(disk);
		return NULL;
	}
	return disk;
}

/*
 * A device that can be used is one in use while somebody has it open, whatever became of the process in the journal.
 * Without one (none was made, or its table is "error") the disk is redirected, and in use while the process lives.
 * Whether the generation may go on is the owner's to say, when it is reclaimed.
 */
static int adopt_one(void *arg, const struct csv_diskjournal *j)
{
	const struct adoption *a = arg;
	struct csv_map_info info = {0};
	struct csv_vol *v = a->v;
	struct csv_disk *disk;
	int rc, pidfd = -1;
	bool direct;

	if (strcmp(j->volume, v->name))
		return 0;
	rc = j->map[0] ? csv_map_info(j->map, &info) : -ENXIO;
	if (rc && rc != -ENXIO)
		return adopt_fail(a, rc, "device", j->map);
	direct = !rc && !info.is_down;
	rc = csv_proc_look(j->pid, j->pid_start, &pidfd);
	if (rc == -ENODATA)
		rc = 0; /* an entry of an older csvd, which knew no disks without a device */
	if (rc < 0)
		return adopt_fail(a, rc, "the process of VM", j->vm);
	if (direct ? !info.open_count : !rc) {
		if (pidfd >= 0)
			close(pidfd);
		return adopt_drop(a, j);
	}
	disk = adopted_new(v, j);
	if (!disk) {
		if (pidfd >= 0)
			close(pidfd);
		return adopt_fail(a, -ENOMEM, "disk", j->path);
	}
	disk->pidfd = pidfd;
	disk->size = direct ? info.size_bytes : j->size;
	if (direct) {
		snprintf(disk->map, sizeof(disk->map), "%s", j->map);
		disk->held = true;
		disk->mode = CSV_DISK_DIRECT;
	} else if (info.name[0]) {
		snprintf(disk->map, sizeof(disk->map), "%s", j->map);
	}
	pthread_mutex_lock(&v->lock);
	disk->node->opens++;
	disk->node->opened = true;
	v->n_opens++;
	disk->next = v->disks;
	v->disks = disk;
	pthread_mutex_unlock(&v->lock);
	cl_notice("volume %s: %s of VM %s is taken over from the csvd before, %s", v->name, disk->path,
		  disk->vm, direct ? "direct" : "redirected");
	return 0;
}

static bool map_known(const struct csv_vol *v, const char *map)
{
	for (const struct csv_disk *k = v->disks; k; k = k->next)
		if (!strcmp(k->map, map))
			return true;
	return false;
}

/* A disk's device that no entry tells of, open or not: nobody reclaims it, so nothing may be written by it. */
static int strays_down(const struct adoption *a)
{
	CL_CLEANUP_FREE struct csv_map_info *list = NULL;
	char uuid[CSV_LUN_UUID_TEXT], prefix[CSV_LUN_UUID_TEXT + 8];
	struct csv_vol *v = a->v;
	size_t n = 0;
	int rc = csv_map_list(&list, &n);

	if (rc)
		return adopt_fail(a, rc, "devices of volume", v->name);
	csv_uuid_format(v->uuid, uuid);
	snprintf(prefix, sizeof(prefix), "disk-%s-", uuid);
	for (size_t i = 0; i < n; i++) {
		if (strncmp(list[i].uuid, prefix, strlen(prefix)) || map_known(v, list[i].name))
			continue;
		cl_warning("volume %s: device %s is in no journal: put down", v->name, list[i].name);
		rc = csv_map_remove(list[i].name, true);
		if (rc && rc != -ENXIO)
			return adopt_fail(a, rc, "device", list[i].name);
	}
	return 0;
}

int csv_disks_adopt(struct csv_vol *v, char *error)
{
	struct adoption a = {v, error};
	int rc;

	error[0] = 0;
	rc = csv_diskjournal_each(v->d, adopt_one, &a);
	if (rc && !error[0])
		(void)adopt_fail(&a, rc, "journal of disks in", v->d->run_dir);
	return rc ? rc : strays_down(&a);
}

void csv_disks_free(struct csv_vol *v)
{
	struct csv_disk *k;

	while ((k = v->disks)) {
		v->disks = k->next;
		csv_disk_free(k);
	}
}

struct csv_disk *csv_disk_claim(struct csvd *d, const char *volume, const char *path,
				const char *vm, const char *secret)
{
	struct csv_vol *v = csvd_vol_find(d, volume);
	struct csv_disk *k;

	if (!v)
		return NULL;
	pthread_mutex_lock(&v->lock);
	for (k = v->disks; k; k = k->next)
		if (k->adopted && !strcmp(k->path, path) && !strcmp(k->vm, vm) &&
		    !strcmp(k->secret, secret))
			break;
	if (k)
		k->adopted = false;
	pthread_mutex_unlock(&v->lock);
	return k;
}

bool csv_disk_secret_known(struct csvd *d, const char *vm, const char *secret)
{
	bool known = false;

	if (!secret[0])
		return false;
	pthread_mutex_lock(&d->lock);
	for (struct csv_vol *v = d->vols; v && !known; v = v->next) {
		pthread_mutex_lock(&v->lock);
		for (const struct csv_disk *k = v->disks; k && !known; k = k->next)
			known = !strcmp(k->vm, vm) && !strcmp(k->secret, secret);
		pthread_mutex_unlock(&v->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return known;
}

void csv_disk_unclaim(struct csv_disk *disk)
{
	pthread_mutex_lock(&disk->v->lock);
	disk->notify = NULL;
	disk->adopted = true;
	pthread_mutex_unlock(&disk->v->lock);
}

/* Its process is gone, as far as that is known; who cannot be asked for is not gone. */
static bool process_gone(const struct csv_disk *k)
{
	struct pollfd p = {.fd = k->pidfd, .events = POLLIN};
	int rc;

	if (k->pidfd >= 0)
		return poll(&p, 1, 0) == 1;
	rc = csv_proc_look(k->pid, k->pid_start, NULL);
	/* An entry of an older csvd: its device alone tells. */
	return rc == 0 || (rc == -ENODATA && k->map[0]);
}

/* Under vol->lock: nobody can do I/O on it any more. */
static bool disk_idle(const struct csv_disk *k)
{
	struct csv_map_info info;
	int rc;

	if (!k->adopted || !process_gone(k))
		return false;
	rc = k->map[0] ? csv_map_info(k->map, &info) : -ENXIO;
	return rc == -ENXIO || (!rc && !info.open_count);
}

static struct csv_disk *cut_find(struct csv_vol *v)
{
	struct csv_disk *k;

	pthread_mutex_lock(&v->lock);
	for (k = v->disks; k && !k->cut; k = k->next)
		;
	if (k)
		k->users++;
	pthread_mutex_unlock(&v->lock);
	return k;
}

static void *close_main(void *arg)
{
	csv_disk_close_srv(arg);
	return NULL;
}

void csv_disks_tidy(struct csvd *d)
{
	pthread_t t;

	for (struct csv_vol *v = csvd_vol_next(d, NULL); v; v = csvd_vol_next(d, v)) {
		struct csv_disk *idle = NULL, *cut = cut_find(v);

		if (cut) {
			csv_disk_cut_again(cut);
			csv_disk_put(cut);
		}
		pthread_mutex_lock(&v->lock);
		for (struct csv_disk *k = v->disks; k && !idle; k = k->next)
			if (disk_idle(k))
				idle = k;
		if (idle)
			idle->adopted = false;
		pthread_mutex_unlock(&v->lock);
		/* Its owner may be away for long: nobody else waits for that. */
		if (idle && pthread_create(&t, NULL, close_main, idle))
			csv_disk_unclaim(idle);
		else if (idle)
			pthread_detach(t);
	}
}

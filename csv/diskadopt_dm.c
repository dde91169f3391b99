/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that outlive a csvd or a vmm: devices of a csvd that was killed are taken over from the journal and kept for
 * who proves by the secret that they are its own; what nobody uses any more is closed.
 */
#include "csv/disk_priv.h"

#include "common/cl_log.h"
#include "csv/libcsv.h"

#include "csv/diskjournal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void adopt_one(void *arg, const struct csv_diskjournal *j)
{
	struct csv_vol *v = arg;
	struct csv_map_info info;
	struct csv_disk *disk;

	if (strcmp(j->volume, v->name))
		return;
	if (csv_map_info(j->map, &info) || !info.open_count || info.is_down) {
		(void)csv_map_remove(j->map, true);
		csv_diskjournal_remove_name(v->d, j->map);
		return;
	}
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return;
	disk->v = v;
	disk->pidfd = -1;
	pthread_mutex_init(&disk->dm, NULL);
	snprintf(disk->path, sizeof(disk->path), "%s", j->path);
	snprintf(disk->vm, sizeof(disk->vm), "%s", j->vm);
	snprintf(disk->secret, sizeof(disk->secret), "%s", j->secret);
	snprintf(disk->map, sizeof(disk->map), "%s", j->map);
	disk->size = info.size_bytes;
	disk->generation = j->generation;
	disk->active = disk->held = disk->adopted = true;
	disk->mode = CSV_DISK_DIRECT;
	disk->node = csv_node_get(v, j->fh, 1);
	if (!disk->node) {
		csv_disk_free(disk);
		return;
	}
	pthread_mutex_lock(&v->lock);
	disk->node->opens++;
	disk->node->opened = true;
	v->n_opens++;
	disk->next = v->disks;
	v->disks = disk;
	pthread_mutex_unlock(&v->lock);
	cl_notice("volume %s: %s of VM %s is taken over from the csvd before", v->name, disk->path,
		  disk->vm);
}

void csv_disks_adopt(struct csv_vol *v)
{
	csv_diskjournal_each(v->d, adopt_one, v);
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

/* Under vol->lock: nobody can do I/O on it any more. */
static bool disk_idle(const struct csv_disk *k)
{
	struct pollfd p = {.fd = k->pidfd, .events = POLLIN};
	struct csv_map_info info;

	if (!k->adopted || (k->pidfd >= 0 && poll(&p, 1, 0) != 1))
		return false;
	return !k->map[0] || csv_map_info(k->map, &info) || !info.open_count;
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
		struct csv_disk *idle = NULL;

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

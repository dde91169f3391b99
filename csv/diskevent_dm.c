/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to disks of VMs that are active: the owner recalls one or changes, the volume goes
 * down or is redirected.  The VM hears of it from here; who decides is the owner or clusterd.  Assumes that a
 * suspend may wait long for I/O in flight: never called with vol->lock held.
 */
#include "csv/disk_priv.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "csv/libcsv.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void notify(struct csv_disk *disk, enum csv_event event, int fd)
{
	csv_disk_notify fn;
	void *arg;

	pthread_mutex_lock(&disk->v->lock);
	fn = disk->notify;
	arg = disk->notify_arg;
	if (fn)
		fn(arg, disk, event, fd, disk->mode);
	pthread_mutex_unlock(&disk->v->lock);
}

/* Suspended (its I/O in flight has ended), then an error table so that nothing hangs on it. */
static void cut_off(struct csv_disk *disk)
{
	pthread_mutex_lock(&disk->dm);
	if (disk->map[0]) {
		(void)csv_map_suspend(disk->map);
		(void)csv_map_down(disk->map);
		disk->version = 0;
	}
	pthread_mutex_unlock(&disk->dm);
}

/* After the recall is answered: what waits in the suspended device fails, and the VM hears why. */
static void *displaced_main(void *arg)
{
	struct csv_disk *disk = arg;
	struct csv_vol *v = disk->v;

	cl_notice("volume %s: %s of VM %s, generation %llu, was given to a higher generation",
		  v->name, disk->path, disk->vm, (unsigned long long)disk->generation);
	pthread_mutex_lock(&disk->dm);
	if (!disk->active && disk->map[0]) {
		(void)csv_map_down(disk->map);
		disk->version = 0;
	}
	pthread_mutex_unlock(&disk->dm);
	if (!disk->active)
		notify(disk, CSV_EVENT_DISPLACED, -1);
	csv_disk_put(disk);
	return NULL;
}

bool csv_disks_recall(struct csv_vol *v, struct csv_fh fh, uint64_t seq)
{
	struct csv_disk *hit = NULL;
	pthread_t t;

	pthread_mutex_lock(&v->lock);
	for (struct csv_disk *k = v->disks; k; k = k->next) {
		if (!csv_fh_equal(k->node->fh, fh))
			continue;
		if (seq > k->recall_seq)
			k->recall_seq = seq;
		if (k->active && k->seq < seq)
			hit = k; /* one at most: the owner admits one */
	}
	if (hit) {
		hit->active = false;
		hit->users++;
	}
	pthread_mutex_unlock(&v->lock);
	if (!hit)
		return false;
	/* Its I/O in flight has ended and no more starts: that is what the owner waits for. */
	pthread_mutex_lock(&hit->dm);
	if (hit->map[0])
		(void)csv_map_suspend(hit->map);
	pthread_mutex_unlock(&hit->dm);
	pthread_mutex_lock(&v->lock);
	hit->held = false;
	hit->mode = CSV_DISK_NONE;
	pthread_mutex_unlock(&v->lock);
	if (pthread_create(&t, NULL, displaced_main, hit))
		(void)displaced_main(hit);
	else
		pthread_detach(t);
	return true;
}

/* Under vol->lock: one that this connection has not told the owner of, held. */
static struct csv_disk *untold(struct csv_vol *v)
{
	for (struct csv_disk *k = v->disks; k; k = k->next) {
		if (k->told_link == v->link)
			continue;
		k->told_link = v->link;
		/* Numbers of a new owner start anew, and so do the versions of its maps. */
		k->recall_seq = 0;
		k->version = 0;
		if (!k->active)
			continue;
		k->users++;
		return k;
	}
	return NULL;
}

static int reclaim_one(struct csv_vol *v, struct csv_disk *k, struct csv_rpc_msg *m, csv_caller call)
{
	struct csv_rpc_msg *r = m + 1;
	int rc;

	m->fh = k->node->fh;
	m->generation = k->generation;
	m->flags = CSV_RECLAIM_OPEN | CSV_RECLAIM_X | (k->held ? CSV_RECLAIM_HELD : 0);
	snprintf(m->vm, sizeof(m->vm), "%s", k->vm);
	rc = call(v, CSV_OP_RECLAIM, m, r);
	if (rc == -ENOTCONN)
		return rc;
	pthread_mutex_lock(&v->lock);
	if (!rc) {
		k->seq = r->seq;
		k->version = r->version;
	} else {
		k->active = k->held = false;
		k->mode = CSV_DISK_NONE;
	}
	pthread_mutex_unlock(&v->lock);
	if (rc) {
		cl_error("volume %s: the owner does not take back %s of VM %s: %s", v->name,
			 k->path, k->vm, strerror(-rc));
		cut_off(k);
		notify(k, CSV_EVENT_DISPLACED, -1);
	}
	return 0;
}

int csv_disks_reclaim(struct csv_vol *v, csv_caller call)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_disk *k;
	int rc = m ? 0 : -ENOMEM;

	while (!rc) {
		pthread_mutex_lock(&v->lock);
		k = untold(v);
		pthread_mutex_unlock(&v->lock);
		if (!k)
			break;
		rc = reclaim_one(v, k, m, call);
		csv_disk_put(k);
	}
	return rc;
}

static void *down_thread(void *arg)
{
	char *map = arg;

	(void)csv_map_down(map);
	free(map);
	return NULL;
}

void csv_disks_down(struct csv_vol *v)
{
	struct csv_disk *k;
	pthread_t t;

	/* The VM is told first: it stops on its own; then the devices, none waiting for another. */
	pthread_mutex_lock(&v->lock);
	for (k = v->disks; k; k = k->next) {
		char *map;

		if (k->notify)
			k->notify(k->notify_arg, k, CSV_EVENT_FENCED, -1, k->mode);
		k->active = k->held = false;
		map = k->map[0] ? strdup(k->map) : NULL;
		if (!map)
			continue;
		if (pthread_create(&t, NULL, down_thread, map))
			(void)down_thread(map);
		else
			pthread_detach(t);
	}
	pthread_mutex_unlock(&v->lock);
}

static void redirect_one(struct csv_disk *disk, bool on)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	CL_CLEANUP_CLOSE int fd = -1;
	struct csv_vol *v = disk->v;

	if (!m)
		return;
	if (!on) {
		if (!csv_disk_activate_srv(disk, disk->generation, 0, &fd))
			notify(disk, CSV_EVENT_CHANGED, fd);
		return;
	}
	/* In flight ends, the owner is told, then what waits in the device fails and is issued again. */
	pthread_mutex_lock(&disk->dm);
	if (disk->map[0])
		(void)csv_map_suspend(disk->map);
	pthread_mutex_unlock(&disk->dm);
	m->fh = disk->node->fh;
	m->seq = disk->seq;
	m->flags = CSV_IO_WROTE;
	(void)csv_call(v, CSV_OP_LAYOUTRETURN, m, m + 1);
	pthread_mutex_lock(&v->lock);
	disk->held = false;
	disk->mode = CSV_DISK_REDIRECTED;
	pthread_mutex_unlock(&v->lock);
	fd = csv_disk_redirected_open(disk);
	notify(disk, CSV_EVENT_CHANGED, fd);
	cut_off(disk);
}

void csv_disks_redirect(struct csv_vol *v, bool on)
{
	struct csv_disk *list[256];
	unsigned n = 0;

	pthread_mutex_lock(&v->lock);
	for (struct csv_disk *k = v->disks; k && n < CL_ARRAY_LEN(list); k = k->next)
		if (k->active && k->held == on) {
			k->users++;
			list[n++] = k;
		}
	pthread_mutex_unlock(&v->lock);
	for (unsigned i = 0; i < n; i++) {
		redirect_one(list[i], on);
		csv_disk_put(list[i]);
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to disks of VMs that are active: the owner recalls one or changes, the volume goes
 * down or is redirected.  The VM hears of it from here; who decides is the owner or clusterd.  Assumes that a
 * suspend may wait long for I/O in flight: never called with vol->lock held.
 *
 * The owner is told that a device was cut off only when device-mapper has said so.  An error says nothing: the disk
 * stays active in our books, nothing is answered, and it is tried again.
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
#include <unistd.h>

/* The owner waits for 60 s; below that, so that a later recall does not queue behind an old one. */
#define PATIENCE_MS 50000u
#define NAP_US	    100000u

/* Whether to tell the device once more. */
static bool patience(const struct csv_disk *disk, uint64_t since_ms)
{
	uint32_t ms = disk->v->d->patience_ms;

	if (csvd_now_ms() - since_ms >= (ms ? ms : PATIENCE_MS))
		return false;
	usleep(NAP_US);
	return true;
}

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

/*
 * An error table, so that nothing hangs on it.  What fails here is made good by csv_disks_tidy(): the caller has
 * seen csv_map_stop() or asks for nothing more than that.
 */
static int cut_off_locked(struct csv_disk *disk)
{
	int rc;

	if (!disk->map[0])
		return 0;
	rc = csv_map_stop(disk->map);
	if (!rc)
		rc = csv_map_down(disk->map);
	rc = rc == -ENXIO ? 0 : rc;
	disk->version = 0;
	disk->cut = rc != 0;
	if (rc)
		cl_error("volume %s: device %s of VM %s cannot be cut off: %s", disk->v->name,
			 disk->map, disk->vm, strerror(-rc));
	return rc;
}

static int cut_off(struct csv_disk *disk)
{
	int rc;

	pthread_mutex_lock(&disk->dm);
	rc = cut_off_locked(disk);
	pthread_mutex_unlock(&disk->dm);
	return rc;
}

static void inactive_set(struct csv_disk *disk)
{
	pthread_mutex_lock(&disk->v->lock);
	disk->active = disk->held = false;
	pthread_mutex_unlock(&disk->v->lock);
}

void csv_disk_cut_again(struct csv_disk *disk)
{
	struct csv_vol *v = disk->v;
	bool downed;

	pthread_mutex_lock(&v->lock);
	downed = v->downed;
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_lock(&disk->dm);
	if (disk->cut && (downed || !disk->held) && !cut_off_locked(disk) && downed)
		inactive_set(disk);
	pthread_mutex_unlock(&disk->dm);
}

/* After the recall is answered: what waits in the suspended device fails, and the VM hears why. */
static void *displaced_main(void *arg)
{
	struct csv_disk *disk = arg;
	struct csv_vol *v = disk->v;

	cl_notice("volume %s: %s of VM %s, generation %llu, was given to a higher generation",
		  v->name, disk->path, disk->vm, (unsigned long long)disk->generation);
	if (!disk->active) {
		(void)cut_off(disk);
		notify(disk, CSV_EVENT_DISPLACED, -1);
	}
	csv_disk_put(disk);
	return NULL;
}

/* Under vol->lock: the active disk with that file and an older layout; one at most, for the owner admits one. */
static struct csv_disk *recalled_find(struct csv_vol *v, struct csv_fh fh, uint64_t seq)
{
	struct csv_disk *hit = NULL;

	for (struct csv_disk *k = v->disks; k; k = k->next) {
		if (!csv_fh_equal(k->node->fh, fh))
			continue;
		if (seq > k->recall_seq)
			k->recall_seq = seq;
		if (k->active && k->seq < seq)
			hit = k;
	}
	return hit;
}

/* Its I/O in flight has ended and no more starts: that is what the owner waits for.  Tried for as long as it waits. */
static int recall_stop(struct csv_disk *disk)
{
	uint64_t since_ms = csvd_now_ms();
	int rc;

	do {
		pthread_mutex_lock(&disk->dm);
		rc = disk->map[0] ? csv_map_stop(disk->map) : 0;
		pthread_mutex_unlock(&disk->dm);
	} while (rc && patience(disk, since_ms));
	if (rc)
		cl_error("volume %s: device %s of VM %s can neither be suspended nor put down: %s; the recall "
			 "of the owner is not answered", disk->v->name, disk->map, disk->vm,
			 strerror(-rc));
	return rc;
}

int csv_disks_recall(struct csv_vol *v, struct csv_fh fh, uint64_t seq)
{
	struct csv_disk *hit;
	bool mine = false;
	pthread_t t;
	int rc;

	pthread_mutex_lock(&v->lock);
	hit = recalled_find(v, fh, seq);
	if (hit)
		hit->users++;
	pthread_mutex_unlock(&v->lock);
	if (!hit)
		return 0;
	rc = recall_stop(hit);
	pthread_mutex_lock(&v->lock);
	if (!rc && hit->active && hit->seq < seq) {
		mine = true; /* and not another recall's of the same disk */
		hit->active = hit->held = false;
		hit->mode = CSV_DISK_NONE;
	}
	pthread_mutex_unlock(&v->lock);
	if (!mine)
		csv_disk_put(hit);
	else if (pthread_create(&t, NULL, displaced_main, hit))
		(void)displaced_main(hit);
	else
		pthread_detach(t);
	return rc ? rc : 1;
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
	}
	pthread_mutex_unlock(&v->lock);
	if (!rc)
		return 0;
	cl_error("volume %s: the owner does not take back %s of VM %s: %s", v->name, k->path, k->vm,
		 strerror(-rc));
	/* While it may still write the owner does not hear that all is told. */
	rc = cut_off(k);
	if (rc)
		return rc;
	pthread_mutex_lock(&v->lock);
	k->active = k->held = false;
	k->mode = CSV_DISK_NONE;
	pthread_mutex_unlock(&v->lock);
	notify(k, CSV_EVENT_DISPLACED, -1);
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

/* The VM was told and ends on its own; this is the second line.  Until it is so the disk counts as active. */
static void *down_thread(void *arg)
{
	struct csv_disk *disk = arg;
	uint64_t since_ms = csvd_now_ms();
	int rc;

	do {
		pthread_mutex_lock(&disk->dm);
		rc = disk->map[0] ? csv_map_down(disk->map) : 0;
		rc = rc == -ENXIO ? 0 : rc;
		disk->cut = rc != 0; /* by csv_disks_tidy(), when patience ends here */
		pthread_mutex_unlock(&disk->dm);
	} while (rc && patience(disk, since_ms));
	if (!rc)
		inactive_set(disk);
	else
		cl_error("volume %s: device %s cannot be put down: %s", disk->v->name, disk->map,
			 strerror(-rc));
	csv_disk_put(disk);
	return NULL;
}

void csv_disks_down(struct csv_vol *v)
{
	struct csv_disk *k, *next;
	pthread_t t;

	/* The VM is told first: it stops on its own; then the devices, none waiting for another. */
	pthread_mutex_lock(&v->lock);
	for (k = v->disks; k; k = k->next) {
		if (k->notify)
			k->notify(k->notify_arg, k, CSV_EVENT_FENCED, -1, k->mode);
		k->users++;
	}
	for (k = v->disks; k; k = next) {
		next = k->next;
		if (pthread_create(&t, NULL, down_thread, k) == 0) {
			pthread_detach(t);
			continue;
		}
		pthread_mutex_unlock(&v->lock);
		(void)down_thread(k);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
}

static void redirect_one(struct csv_disk *disk, bool on)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	CL_CLEANUP_CLOSE int fd = -1;
	struct csv_vol *v = disk->v;
	int rc;

	if (!m)
		return;
	if (!on) {
		if (!csv_disk_activate_srv(disk, disk->generation, 0, &fd))
			notify(disk, CSV_EVENT_CHANGED, fd);
		return;
	}
	/* In flight ends, the owner is told, then what waits in the device fails and is issued again. */
	pthread_mutex_lock(&disk->dm);
	rc = disk->map[0] ? csv_map_stop(disk->map) : 0;
	pthread_mutex_unlock(&disk->dm);
	if (rc) {
		cl_error("volume %s: device %s of VM %s cannot be suspended: %s; the disk stays direct",
			 v->name, disk->map, disk->vm, strerror(-rc));
		return;
	}
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
	(void)cut_off(disk); /* again by csv_disks_tidy() */
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks of VMs: a device-mapper device of exactly the file's extents, active only while the owner
 * has admitted this VM's generation.
 *
 *   prepare   the owner opens and maps the file; the device is made and left suspended
 *   activate  the owner admits the generation (and has cut off a lower one); the device is resumed
 *   recalled  the device is suspended, which ends its I/O in flight, and becomes an error table
 *
 * The device is not touched when the owner changes: nobody can change the map of a file while no owner serves, and the
 * next one first hears from every client what it holds (docs/decisions/csv-io-through-owner-change.md).
 */
#include "csv/vol.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "csv/libcsv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv/diskjournal.h"

#define BLOCK	  4096u
#define EXTENTS_MAX CSV_RPC_EXTENTS_MAX

static unsigned map_serial;

struct extents {
	struct csv_extent *e;
	size_t n;
};

static int extents_get(const struct csv_vol *v, const struct csv_rpc_msg *r, struct extents *ret)
{
	struct csv_wire_extent *w = calloc(EXTENTS_MAX, sizeof(*w));
	long n;

	ret->e = NULL;
	ret->n = 0;
	if (!w)
		return -ENOMEM;
	n = csv_extents_decode(r->data, r->data_bytes, BLOCK, w, EXTENTS_MAX);
	if (n > 0)
		ret->e = calloc((size_t)n, sizeof(*ret->e));
	if (n > 0 && !ret->e)
		n = -ENOMEM;
	for (long i = 0; i < n; i++) {
		ret->e[i] = (struct csv_extent){w[i].file_off, w[i].dev_off, w[i].len};
		if (w[i].dev_off + w[i].len > v->backing.size_bytes)
			n = -EBADMSG;
	}
	free(w);
	if (n < 0) {
		free(ret->e);
		ret->e = NULL;
		return (int)n;
	}
	ret->n = (size_t)n;
	return 0;
}

static void map_drop(struct csv_disk *disk)
{
	if (!disk->map[0])
		return;
	(void)csv_map_remove(disk->map, true);
	disk->map[0] = 0;
	disk->version = 0;
}

/* Under disk->dm: the device with these extents, suspended. */
static int map_make(struct csv_disk *disk, const struct extents *x)
{
	struct csv_vol *v = disk->v;
	char uuid[CSV_MAP_UUID_MAX - 8], vol[CSV_LUN_UUID_TEXT];
	int rc;

	if (disk->map[0]) {
		rc = csv_map_suspend(disk->map);
		if (!rc)
			rc = csv_map_replace(disk->map, &v->backing, x->e, x->n, false);
		return rc;
	}
	csv_uuid_format(v->uuid, vol);
	pthread_mutex_lock(&v->lock);
	map_serial++;
	snprintf(disk->map, sizeof(disk->map), "hf-%s-%llx-%llx-%u", v->name,
		 (unsigned long long)disk->node->fh.ino,
		 (unsigned long long)(v->d->instance & 0xffffff), map_serial);
	snprintf(uuid, sizeof(uuid), "disk-%s-%s", vol, disk->map + 3 + strlen(v->name) + 1);
	pthread_mutex_unlock(&v->lock);
	rc = csv_map_create(disk->map, uuid, &v->backing, x->e, x->n, false, NULL);
	if (rc) {
		disk->map[0] = 0;
		return rc;
	}
	rc = csv_map_suspend(disk->map);
	if (rc)
		map_drop(disk);
	return rc;
}

static void disk_free(struct csv_disk *disk)
{
	if (disk->pidfd >= 0)
		close(disk->pidfd);
	pthread_mutex_destroy(&disk->dm);
	free(disk);
}

static void disk_put(struct csv_disk *disk)
{
	pthread_mutex_lock(&disk->v->lock);
	disk->users--;
	pthread_cond_broadcast(&disk->v->cond);
	pthread_mutex_unlock(&disk->v->lock);
}

int csv_disk_prepare_srv(struct csv_vol *v, const char *path, const char *vm, const char *secret,
			 int timeout_ms, struct csv_disk **ret_disk)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_disk *disk = calloc(1, sizeof(*disk));
	struct csv_rpc_msg *r = m + 1;
	struct extents x;
	int rc;

	if (!m || !disk) {
		free(disk);
		return -ENOMEM;
	}
	disk->v = v;
	disk->pidfd = -1;
	pthread_mutex_init(&disk->dm, NULL);
	snprintf(disk->path, sizeof(disk->path), "%s", path);
	snprintf(disk->vm, sizeof(disk->vm), "%s", vm);
	snprintf(disk->secret, sizeof(disk->secret), "%s", secret);
	snprintf(m->text, sizeof(m->text), "%s", path);
	rc = csv_call_timeout(v, CSV_OP_RESOLVE, m, r, timeout_ms);
	if (rc)
		goto fail;
	disk->node = csv_node_get(v, r->attr.fh, 1);
	if (!disk->node) {
		rc = -ENOMEM;
		goto fail;
	}
	rc = csv_node_open(v, disk->node, false);
	if (rc) {
		csv_node_forget(v, disk->node, 1);
		goto fail;
	}
	m->fh = disk->node->fh;
	rc = csv_call_timeout(v, CSV_OP_PREPARE, m, r, timeout_ms);
	if (!rc && r->attr.size % 512)
		rc = -EINVAL;
	if (!rc && (r->flags & CSV_LAYOUT_WHOLE) && csv_state_direct(&v->state) &&
	    !extents_get(v, r, &x)) {
		disk->version = r->version;
		rc = map_make(disk, &x);
		free(x.e);
	}
	if (rc) {
		map_drop(disk);
		csv_node_close(v, disk->node);
		csv_node_forget(v, disk->node, 1);
		goto fail;
	}
	disk->size = r->attr.size;
	pthread_mutex_lock(&v->lock);
	disk->next = v->disks;
	v->disks = disk;
	pthread_mutex_unlock(&v->lock);
	*ret_disk = disk;
	return 0;
fail:
	disk_free(disk);
	return rc;
}

static int redirected_open(struct csv_disk *disk)
{
	char path[CSVD_PATH + CL_NAME_MAX + CSV_RPC_TEXT_MAX + 1];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", disk->v->path, disk->path);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* The owner's answer to XOPEN becomes a device that can be used, or none. */
static int xopen_apply(struct csv_disk *disk, const struct csv_rpc_msg *r, bool *ret_direct)
{
	struct csv_vol *v = disk->v;
	bool direct = false, recalled;
	struct extents x;
	int rc = 0;

	pthread_mutex_lock(&disk->dm);
	if (r->flags & CSV_LAYOUT_SAME) {
		direct = disk->map[0] != 0;
		if (disk->version != r->version)
			rc = -EAGAIN; /* the device was cut off meanwhile: its map is wanted anew */
	} else if (r->flags & CSV_LAYOUT_WHOLE) {
		rc = extents_get(v, r, &x);
		if (!rc)
			rc = map_make(disk, &x);
		free(x.e);
		direct = !rc;
		disk->version = direct ? r->version : 0;
	}
	pthread_mutex_lock(&v->lock);
	recalled = disk->recall_seq > r->seq;
	direct = direct && !recalled && !v->state.redirect && !v->state.path_lost;
	disk->seq = r->seq;
	disk->active = !recalled;
	disk->held = direct;
	disk->mode = direct ? CSV_DISK_DIRECT : CSV_DISK_REDIRECTED;
	pthread_mutex_unlock(&v->lock);
	if (!rc && recalled)
		rc = -ESTALE;
	if (!rc && v->state.down)
		rc = -EIO;
	if (!rc && direct)
		rc = csv_map_resume(disk->map);
	pthread_mutex_unlock(&disk->dm);
	*ret_direct = direct;
	return rc;
}

int csv_disk_activate_srv(struct csv_disk *disk, uint64_t generation, int timeout_ms, int *ret_fd)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_rpc_msg *r = m + 1;
	struct csv_vol *v = disk->v;
	bool direct;
	int fd, rc;

	if (!m)
		return -ENOMEM;
	m->fh = disk->node->fh;
	m->generation = generation;
	m->version = disk->map[0] ? disk->version : 0;
	snprintf(m->vm, sizeof(m->vm), "%s", disk->vm);
	/* In the journal before the device can be used: a later csvd must know what it finds. */
	disk->generation = generation;
	rc = csv_diskjournal_write(disk);
	if (rc)
		return rc;
	rc = csv_call_timeout(v, CSV_OP_XOPEN, m, r, timeout_ms);
	if (rc)
		return rc;
	rc = xopen_apply(disk, r, &direct);
	if (rc == -EAGAIN) {
		m->version = 0;
		rc = csv_call_timeout(v, CSV_OP_XOPEN, m, r, timeout_ms);
		if (!rc)
			rc = xopen_apply(disk, r, &direct);
	}
	if (rc)
		return rc;
	if (!direct) {
		/* The owner lets this node write through it only when no layout is out. */
		m->seq = r->seq;
		m->flags = 0;
		(void)csv_call_timeout(v, CSV_OP_LAYOUTRETURN, m, r, timeout_ms);
	} else {
		(void)csv_diskjournal_write(disk);
	}
	fd = direct ? csv_map_open(disk->map, O_RDWR | O_DIRECT | O_CLOEXEC)
		    : redirected_open(disk);
	if (fd < 0)
		return fd;
	cl_notice("volume %s: %s is open for VM %s, generation %llu, %s", v->name, disk->path,
		  disk->vm, (unsigned long long)generation, direct ? "direct" : "redirected");
	*ret_fd = fd;
	return 0;
}

void csv_disk_close_srv(struct csv_disk *disk)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_vol *v = disk->v;
	char map[CSV_MAP_NAME_MAX];
	struct csv_disk **at;
	bool active;

	pthread_mutex_lock(&v->lock);
	for (at = &v->disks; *at && *at != disk; at = &(*at)->next)
		;
	if (*at)
		*at = disk->next;
	while (disk->users)
		pthread_cond_wait(&v->cond, &v->lock);
	active = disk->active;
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_lock(&disk->dm);
	memcpy(map, disk->map, sizeof(map));
	map_drop(disk);
	pthread_mutex_unlock(&disk->dm);
	if (active && m) {
		m->fh = disk->node->fh;
		m->generation = disk->generation;
		m->flags = CSV_IO_WROTE;
		(void)csv_call(v, CSV_OP_XCLOSE, m, m + 1);
	}
	if (map[0])
		csv_diskjournal_remove_name(v->d, map);
	csv_node_close(v, disk->node);
	csv_node_forget(v, disk->node, 1);
	disk_free(disk);
}

/* ---- what happens to active disks ---- */

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
	disk_put(disk);
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
		disk_put(k);
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
	fd = redirected_open(disk);
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
		disk_put(list[i]);
	}
}

/* ---- status, restart ---- */

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
		disk_free(disk);
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

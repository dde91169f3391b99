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
#include "csv/disk_priv.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "csv/libcsv.h"

#include <errno.h>
#include <fcntl.h>
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

static void name_make(const struct csv_disk *disk, char ret[CSV_MAP_NAME_MAX])
{
	struct csv_vol *v = disk->v;

	pthread_mutex_lock(&v->lock);
	map_serial++;
	snprintf(ret, CSV_MAP_NAME_MAX, "hf-%s-%llx-%llx-%u", v->name,
		 (unsigned long long)disk->node->fh.ino,
		 (unsigned long long)(v->d->instance & 0xffffff), map_serial);
	pthread_mutex_unlock(&v->lock);
}

/* Under disk->dm: the device with these extents, suspended. */
static int map_make(struct csv_disk *disk, const struct extents *x)
{
	struct csv_vol *v = disk->v;
	char uuid[CSV_MAP_UUID_MAX - 8], vol[CSV_LUN_UUID_TEXT];
	int rc;

	disk->cut = false;
	if (disk->map[0]) {
		rc = csv_map_suspend(disk->map);
		if (!rc)
			rc = csv_map_replace(disk->map, &v->backing, x->e, x->n, false);
		return rc;
	}
	csv_uuid_format(v->uuid, vol);
	name_make(disk, disk->map);
	snprintf(uuid, sizeof(uuid), "disk-%s-%s", vol, disk->map + 3 + strlen(v->name) + 1);
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

void csv_disk_free(struct csv_disk *disk)
{
	if (disk->pidfd >= 0)
		close(disk->pidfd);
	pthread_mutex_destroy(&disk->dm);
	free(disk);
}

void csv_disk_put(struct csv_disk *disk)
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
	csv_disk_free(disk);
	return rc;
}

int csv_disk_redirected_open(struct csv_disk *disk)
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
	bool direct = false, made, recalled, down;
	struct extents x;
	int rc = 0;

	pthread_mutex_lock(&disk->dm);
	if (r->flags & CSV_LAYOUT_SAME) {
		direct = disk->map[0] != 0;
		if (disk->version != r->version)
			rc = -EAGAIN; /* the device was cut off meanwhile: its map is wanted anew */
	} else if (r->flags & CSV_LAYOUT_WHOLE) {
		rc = extents_get(v, r, &x);
		made = !disk->map[0];
		if (!rc)
			rc = map_make(disk, &x);
		free(x.e);
		/* In the journal before it can be used: a later csvd must know what it finds. */
		if (!rc && made)
			rc = csv_diskjournal_write(disk);
		if (rc && made)
			map_drop(disk);
		direct = !rc;
		disk->version = direct ? r->version : 0;
	}
	pthread_mutex_lock(&v->lock);
	recalled = disk->recall_seq > r->seq;
	down = v->downed || v->state.down;
	direct = direct && !recalled && !down && !v->state.redirect && !v->state.path_lost;
	disk->seq = r->seq;
	disk->active = !recalled;
	disk->held = direct;
	disk->mode = direct ? CSV_DISK_DIRECT : CSV_DISK_REDIRECTED;
	pthread_mutex_unlock(&v->lock);
	if (!rc && recalled)
		rc = -ESTALE;
	/* csvd_down() looks at the devices after it has said that it begins: one of both sees this one. */
	if (down) {
		rc = -EIO;
		if (disk->map[0])
			(void)csv_map_down(disk->map);
	}
	if (!rc && direct)
		rc = csv_map_resume(disk->map);
	pthread_mutex_unlock(&disk->dm);
	*ret_direct = direct;
	return rc;
}

/* Whose disk it is and what its highest generation: the start that is refused has to say so. */
static void refused_ask(struct csv_disk *disk, const struct csv_rpc_msg *m, struct csv_rpc_msg *r,
			int timeout_ms)
{
	if (csv_call_timeout(disk->v, CSV_OP_XWHOSE, m, r, timeout_ms))
		return;
	disk->refused.generation = r->generation;
	snprintf(disk->refused.vm, sizeof(disk->refused.vm), "%s", r->vm);
	cl_notice("volume %s: %s is not given to VM %s, generation %llu: it is the disk of VM %s, "
		  "generation %llu", disk->v->name, disk->path, disk->vm,
		  (unsigned long long)m->generation, r->vm, (unsigned long long)r->generation);
}

int csv_disk_activate_srv(struct csv_disk *disk, uint64_t generation, int timeout_ms, int *ret_fd)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_rpc_msg *r = m + 1;
	uint64_t began_ms = csvd_now_ms(), asked_ms, admitted_ms;
	struct csv_vol *v = disk->v;
	bool direct;
	int fd, rc;

	if (!m)
		return -ENOMEM;
	memset(&disk->refused, 0, sizeof(disk->refused));
	m->fh = disk->node->fh;
	m->generation = generation;
	m->version = disk->map[0] ? disk->version : 0;
	snprintf(m->vm, sizeof(m->vm), "%s", disk->vm);
	/* With or without a device: a later csvd must know whose disk this is. */
	disk->generation = generation;
	if (!disk->journal[0])
		name_make(disk, disk->journal);
	rc = csv_diskjournal_write(disk);
	if (rc)
		return rc;
	asked_ms = csvd_now_ms();
	rc = csv_call_timeout(v, CSV_OP_XOPEN, m, r, timeout_ms);
	if (rc == -ESTALE || rc == -ETXTBSY)
		refused_ask(disk, m, r, timeout_ms);
	if (rc)
		return rc;
	admitted_ms = csvd_now_ms();
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
	}
	fd = direct ? csv_map_open(disk->map, O_RDWR | O_DIRECT | O_CLOEXEC)
		    : csv_disk_redirected_open(disk);
	if (fd < 0)
		return fd;
	cl_notice("volume %s: %s is open for VM %s, generation %llu, %s: journal %llu ms, owner %llu ms, "
		  "device %llu ms", v->name, disk->path, disk->vm, (unsigned long long)generation,
		  direct ? "direct" : "redirected", (unsigned long long)(asked_ms - began_ms),
		  (unsigned long long)(admitted_ms - asked_ms),
		  (unsigned long long)(csvd_now_ms() - admitted_ms));
	*ret_fd = fd;
	return 0;
}

/* Off the list, and nobody works on it any more. */
static void disk_unlink(struct csv_disk *disk)
{
	struct csv_vol *v = disk->v;
	struct csv_disk **at;

	pthread_mutex_lock(&v->lock);
	for (at = &v->disks; *at && *at != disk; at = &(*at)->next)
		;
	if (*at)
		*at = disk->next;
	while (disk->users)
		pthread_cond_wait(&v->cond, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

/* Its device is gone or cannot write any more; else the disk is kept, and csv_disks_tidy() comes back to it. */
static bool device_end(struct csv_disk *disk)
{
	struct csv_vol *v = disk->v;
	int rc;

	pthread_mutex_lock(&disk->dm);
	rc = disk->map[0] ? csv_map_remove(disk->map, true) : 0;
	if (rc && rc != -ENXIO)
		rc = csv_map_stop(disk->map);
	if (!rc || rc == -ENXIO) {
		disk->map[0] = 0;
		disk->version = 0;
		rc = 0;
	}
	pthread_mutex_unlock(&disk->dm);
	if (!rc)
		return true;
	cl_error("volume %s: device %s of VM %s stays: %s", v->name, disk->map, disk->vm,
		 strerror(-rc));
	pthread_mutex_lock(&v->lock);
	disk->next = v->disks;
	v->disks = disk;
	disk->adopted = true;
	pthread_mutex_unlock(&v->lock);
	return false;
}

void csv_disk_close_srv(struct csv_disk *disk)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(2, sizeof(*m));
	struct csv_vol *v = disk->v;

	disk_unlink(disk);
	if (!device_end(disk))
		return;
	if (disk->active && m) {
		m->fh = disk->node->fh;
		m->generation = disk->generation;
		m->flags = CSV_IO_WROTE;
		(void)csv_call(v, CSV_OP_XCLOSE, m, m + 1);
	}
	if (disk->journal[0])
		csv_diskjournal_remove_name(v->d, disk->journal);
	csv_node_close(v, disk->node);
	csv_node_forget(v, disk->node, 1);
	csv_disk_free(disk);
}

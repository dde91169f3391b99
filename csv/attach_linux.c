/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a volume on this node: attach, own, release, down, detach.  Verbs of one volume come one at
 * a time (vol->admin), but for down, which waits for nobody.
 */
#include "csv/vol.h"

#include "common/cl_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct csv_vol *csvd_vol_find(struct csvd *d, const char *name)
{
	struct csv_vol *v;

	pthread_mutex_lock(&d->lock);
	for (v = d->vols; v && strcmp(v->name, name); v = v->next)
		;
	pthread_mutex_unlock(&d->lock);
	return v;
}

struct csv_vol *csvd_vol_next(struct csvd *d, const struct csv_vol *v)
{
	struct csv_vol *next;

	pthread_mutex_lock(&d->lock);
	next = v ? v->next : d->vols;
	pthread_mutex_unlock(&d->lock);
	return next;
}

/* The LUN's superblock must name the volume; gives where its data lies. */
static int backing_find(struct csv_vol *v, char *error)
{
	struct csv_super super;
	struct csv_lun *lun;
	int rc = csv_lun_open(v->device, &lun, error);

	if (rc)
		return rc;
	rc = csv_lun_super_read(lun, &super);
	csv_lun_close(lun);
	if (rc) {
		snprintf(error, CSVD_TEXT, "%s: no Holdfast volume there: %s", v->device,
			 strerror(-rc));
		return rc;
	}
	if (memcmp(super.volume_uuid, v->uuid, CL_UUID_BYTES)) {
		snprintf(error, CSVD_TEXT, "%s holds another volume ('%s')", v->device, super.name);
		return -EBADMSG;
	}
	v->backing = (struct csv_map_backing){v->device, super.data_off, super.data_bytes};
	return 0;
}

static int data_open(struct csv_vol *v, char *error)
{
	struct csv_map_info info;
	int rc;

	snprintf(v->data_name, sizeof(v->data_name), "hf-%s-data", v->name);
	rc = csv_map_info(v->data_name, &info);
	if (!rc && info.is_down)
		(void)csv_map_remove(v->data_name, false); /* or else the next line says why not */
	rc = csv_map_create_data(v->name, &v->backing, &v->data_dev);
	if (rc) {
		snprintf(error, CSVD_TEXT, "device-mapper device %s: %s", v->data_name,
			 strerror(-rc));
		return rc;
	}
	v->data_fd = csv_map_open(v->data_name, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (v->data_fd < 0) {
		snprintf(error, CSVD_TEXT, "%s: %s", v->data_name, strerror(-v->data_fd));
		return v->data_fd;
	}
	return 0;
}

static struct csv_vol *vol_new(struct csvd *d, const struct csv_attach *a)
{
	struct csv_vol *v = calloc(1, sizeof(*v));
	pthread_condattr_t attr;

	if (!v)
		return NULL;
	v->d = d;
	v->data_fd = -1;
	v->prkey = a->prkey;
	snprintf(v->name, sizeof(v->name), "%s", a->volume);
	snprintf(v->lun, sizeof(v->lun), "%s", a->lun);
	snprintf(v->device, sizeof(v->device), "%s", a->device);
	snprintf(v->path, sizeof(v->path), "%s/%s", d->storage_dir, a->volume);
	pthread_mutex_init(&v->admin, NULL);
	pthread_rwlock_init(&v->owner_lock, NULL);
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->cond, &attr);
	csv_state_init(&v->state, csvd_now_ms());
	return v;
}

int csvd_attach(struct csvd *d, const struct csv_attach *a, char *error)
{
	uint8_t uuid[CL_UUID_BYTES];
	struct csv_vol *v;
	int rc;

	if (!cl_name_valid(a->volume) || csv_uuid_parse(a->uuid, uuid)) {
		snprintf(error, CSVD_TEXT, "attach: volume name or uuid is not valid");
		return -EINVAL;
	}
	v = csvd_vol_find(d, a->volume);
	if (v) {
		if (!memcmp(v->uuid, uuid, sizeof(uuid)) && !strcmp(v->device, a->device) &&
		    v->prkey == a->prkey && !v->state.down)
			return 0;
		snprintf(error, CSVD_TEXT, "volume %s is attached already%s", a->volume,
			 v->state.down ? " and down: detach it first" : " with other arguments");
		return -EEXIST;
	}
	v = vol_new(d, a);
	if (!v)
		return -ENOMEM;
	memcpy(v->uuid, uuid, sizeof(uuid));
	rc = backing_find(v, error);
	if (!rc)
		rc = data_open(v, error);
	if (rc)
		goto fail;
	rc = csv_disks_adopt(v, error);
	if (!rc)
		rc = csv_front_mount(v, error);
	if (!rc)
		rc = csv_link_start(v);
	if (rc)
		goto fail;
	pthread_mutex_lock(&d->lock);
	v->next = d->vols;
	d->vols = v;
	pthread_mutex_unlock(&d->lock);
	csv_space_start(v);
	cl_notice("volume %s: attached, %s", v->name, v->device);
	return 0;
fail:
	(void)csv_front_umount(v, true);
	csv_disks_free(v);
	csv_nodes_free(v);
	if (v->data_fd >= 0)
		close(v->data_fd);
	free(v->grants);
	free(v);
	return rc;
}

/* ---- who keeps a mount busy ---- */

static bool points_into(const char *link, const char *path)
{
	char to[CSVD_PATH * 2];
	ssize_t n = readlink(link, to, sizeof(to) - 1);
	size_t len = strlen(path);

	if (n < 0)
		return false;
	to[n] = 0;
	return !strncmp(to, path, len) && (!to[len] || to[len] == '/');
}

static bool process_uses(const char *pid, const char *path)
{
	char link[300];
	const struct dirent *e;
	bool uses = false;
	DIR *dir;

	snprintf(link, sizeof(link), "/proc/%.20s/cwd", pid);
	if (points_into(link, path))
		return true;
	snprintf(link, sizeof(link), "/proc/%.20s/root", pid);
	if (points_into(link, path))
		return true;
	snprintf(link, sizeof(link), "/proc/%.20s/fd", pid);
	dir = opendir(link);
	while (dir && !uses && (e = readdir(dir))) {
		snprintf(link, sizeof(link), "/proc/%.20s/fd/%.20s", pid, e->d_name);
		uses = e->d_name[0] != '.' && points_into(link, path);
	}
	if (dir)
		closedir(dir);
	return uses;
}

static void users_find(const char *path, char *ret_text, size_t cap)
{
	const struct dirent *e;
	DIR *dir = opendir("/proc");
	size_t at = 0;

	ret_text[0] = 0;
	while (dir && at < cap && (e = readdir(dir))) {
		char file[64], name[32] = "?";
		FILE *f;

		if (e->d_name[0] < '1' || e->d_name[0] > '9' || !process_uses(e->d_name, path))
			continue;
		snprintf(file, sizeof(file), "/proc/%.20s/comm", e->d_name);
		f = fopen(file, "re");
		if (f) {
			if (fgets(name, sizeof(name), f))
				name[strcspn(name, "\n")] = 0;
			fclose(f);
		}
		at += (size_t)snprintf(ret_text + at, cap - at, "%s%s (%.20s)", at ? ", " : "", name,
				       e->d_name);
	}
	if (dir)
		closedir(dir);
}

static void vol_unlink(struct csv_vol *v)
{
	struct csv_vol **at;

	pthread_mutex_lock(&v->d->lock);
	for (at = &v->d->vols; *at && *at != v; at = &(*at)->next)
		;
	if (*at)
		*at = v->next;
	pthread_mutex_unlock(&v->d->lock);
}

int csvd_detach(struct csv_vol *v, bool force, char *error)
{
	char users[CSVD_TEXT - 128];
	int rc = 0;

	pthread_mutex_lock(&v->admin);
	if (v->owner) {
		snprintf(error, CSVD_TEXT, "volume %s is owned by this node: release it first",
			 v->name);
		rc = -EBUSY;
	} else if (csv_disks_users(v, users, sizeof(users)) && !force) {
		snprintf(error, CSVD_TEXT, "volume %s is in use by %s", v->name, users);
		rc = -EBUSY;
	}
	if (!rc && csv_front_umount(v, false)) {
		users_find(v->path, users, sizeof(users));
		if (!force) {
			snprintf(error, CSVD_TEXT, "%s is in use by %s", v->path,
				 users[0] ? users : "someone");
			rc = -EBUSY;
		}
	}
	if (rc) {
		pthread_mutex_unlock(&v->admin);
		return rc;
	}
	if (force)
		csvd_down(v, "detached by force");
	vol_unlink(v);
	csv_link_stop(v);
	if (v->mounted)
		(void)csv_front_umount(v, true);
	close(v->data_fd);
	v->data_fd = -1;
	(void)csv_map_remove(v->data_name, force);
	pthread_mutex_unlock(&v->admin);
	cl_notice("volume %s: detached", v->name);
	/* Not freed: a thread of the control or the RPC server may still hold the pointer. */
	return 0;
}

/* ---- the owner role ---- */

static void owner_changed(void *arg, const char *trouble)
{
	struct csv_vol *v = arg;

	if (trouble)
		csvd_down(v, trouble);
	else
		cl_notice("volume %s: grace is over", v->name);
}

static void owner_unanswered(void *arg, uint32_t nodes, struct csv_fh fh)
{
	struct csv_vol *v = arg;
	json_t *list = json_array();
	char names[CSVD_TEXT] = "", text[CSVD_TEXT + 96];
	size_t at = 0;

	pthread_mutex_lock(&v->d->lock);
	for (uint32_t n = 1; n <= CL_NODES_MAX; n++) {
		if (!(nodes & 1u << (n - 1)))
			continue;
		json_array_append_new(list, json_integer((json_int_t)n));
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", at ? ", " : "",
				       v->d->members[n - 1].name);
	}
	pthread_mutex_unlock(&v->d->lock);
	snprintf(text, sizeof(text), "%s did not return a layout of inode %llx; an operation failed",
		 names, (unsigned long long)fh.ino);
	cl_warning("volume %s: %s", v->name, text);
	if (v->d->ctl)
		cl_ctl_event(v->d->ctl, json_pack("{s:s,s:s,s:o,s:I,s:s}", "event",
						  "recall-unanswered", "volume", v->name, "nodes",
						  list, "inode", (json_int_t)fh.ino, "reason",
						  text));
	else
		json_decref(list);
}

int csvd_grants(struct csv_vol *v, struct csv_grants *grants)
{
	struct csv_grants *old;
	int rc = 0;

	pthread_rwlock_rdlock(&v->owner_lock);
	if (v->owner)
		rc = csv_owner_grants_set(v->owner, grants);
	pthread_rwlock_unlock(&v->owner_lock);
	pthread_mutex_lock(&v->lock);
	old = v->grants;
	if (old && old->seq > grants->seq)
		old = grants;
	else
		v->grants = grants;
	pthread_mutex_unlock(&v->lock);
	free(old);
	return rc;
}

/* Before anybody can ask the owner.  It looks at the file system: not under the volume's lock. */
static int grants_give(struct csv_vol *v, struct csv_owner *o)
{
	struct csv_grants *copy = NULL;
	size_t bytes;
	bool some;
	int rc;

	pthread_mutex_lock(&v->lock);
	some = v->grants != NULL;
	bytes = some ? sizeof(*copy) + v->grants->count * sizeof(v->grants->vms[0]) : 0;
	copy = some ? malloc(bytes) : NULL;
	if (copy)
		memcpy(copy, v->grants, bytes);
	pthread_mutex_unlock(&v->lock);
	rc = copy ? csv_owner_grants_set(o, copy) : some ? -ENOMEM : 0;
	free(copy);
	return rc;
}

int csvd_own(struct csv_vol *v, uint64_t term, uint32_t members, bool fresh, char *error)
{
	struct csv_owner_config *c;
	struct csv_owner *o;
	int rc = 0;

	pthread_mutex_lock(&v->admin);
	if (v->owner) {
		if (v->state.term != term) {
			snprintf(error, CSVD_TEXT, "volume %s is owned by this node in term %llu",
				 v->name, (unsigned long long)v->state.term);
			rc = -EBUSY;
		}
		goto out;
	}
	if (v->state.down) {
		snprintf(error, CSVD_TEXT, "volume %s is down on this node: %s", v->name,
			 v->state.reason);
		rc = -ESHUTDOWN;
		goto out;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		rc = -ENOMEM;
		goto out;
	}
	memcpy(c->volume, v->name, sizeof(c->volume));
	memcpy(c->uuid, v->uuid, sizeof(c->uuid));
	memcpy(c->device, v->device, sizeof(c->device));
	snprintf(c->data_device, sizeof(c->data_device), "/dev/dm-%u", minor(v->data_dev));
	c->node = v->d->node;
	c->prkey = v->prkey;
	c->term = term;
	c->members = members;
	c->fresh = fresh;
	c->changed = owner_changed;
	c->unanswered = owner_unanswered;
	c->arg = v;
	rc = csv_owner_start(c, &o, error);
	free(c);
	if (rc)
		goto out;
	rc = grants_give(v, o);
	if (rc) {
		(void)csv_owner_release(o, error);
		csv_owner_free(o);
		snprintf(error, CSVD_TEXT, "no memory for the table of VMs");
		goto out;
	}
	pthread_rwlock_wrlock(&v->owner_lock);
	v->owner = o;
	pthread_rwlock_unlock(&v->owner_lock);
	csv_vol_owner_set(v, v->d->node, term, v->d->address);
out:
	pthread_mutex_unlock(&v->admin);
	return rc;
}

static int owner_end(struct csv_vol *v, char *error)
{
	struct csv_owner *o = v->owner;
	int rc = csv_owner_release(o, error);

	pthread_rwlock_wrlock(&v->owner_lock);
	v->owner = NULL;
	pthread_rwlock_unlock(&v->owner_lock);
	csv_owner_free(o);
	return rc;
}

int csvd_release(struct csv_vol *v, uint64_t term, char *error)
{
	int rc = 0;

	pthread_mutex_lock(&v->admin);
	if (!v->owner || v->state.term != term) {
		snprintf(error, CSVD_TEXT, "volume %s is not owned by this node in term %llu",
			 v->name, (unsigned long long)term);
		rc = -ENOENT;
	} else {
		csv_vol_input(v, CSV_IN_RELEASE, 1, 0, NULL);
		rc = owner_end(v, error);
		/* The next owner is heard of by the verb `owner`. */
		csv_vol_owner_set(v, 0, term, "");
		csv_vol_input(v, CSV_IN_RELEASE, 0, 0, NULL);
	}
	pthread_mutex_unlock(&v->admin);
	return rc;
}

static void *down_main(void *arg)
{
	struct csv_vol *v = arg;
	char error[CSVD_TEXT] = "";

	pthread_mutex_lock(&v->admin);
	if (v->owner)
		(void)owner_end(v, error);
	pthread_mutex_unlock(&v->admin);
	return NULL;
}

/* What fails is tried again by csvd_tick(). */
static void *data_down_main(void *arg)
{
	struct csv_vol *v = arg;
	int rc = csv_map_down(v->data_name);

	if (!rc || rc == -ENXIO)
		return NULL;
	cl_error("volume %s: device %s cannot be put down: %s", v->name, v->data_name,
		 strerror(-rc));
	pthread_mutex_lock(&v->lock);
	v->data_cut_again = true;
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

/* In a thread: it may wait for what is in flight. */
static void data_down(struct csv_vol *v)
{
	pthread_t t;

	if (!pthread_create(&t, NULL, data_down_main, v)) {
		pthread_detach(t);
		return;
	}
	pthread_mutex_lock(&v->lock);
	v->data_cut_again = true;
	pthread_mutex_unlock(&v->lock);
}

void csvd_down(struct csv_vol *v, const char *reason)
{
	pthread_t t;
	bool again;

	/* Not the volume's state: an I/O of the front may have met the conflict first and said so there. */
	pthread_mutex_lock(&v->lock);
	again = v->downed;
	v->downed = true;
	pthread_mutex_unlock(&v->lock);
	if (again)
		return;
	/* The VMs first, then every way to the LUN, then what hangs on them. */
	csv_disks_down(v);
	data_down(v);
	csv_vol_input(v, CSV_IN_DOWN, 0, 0, reason);
	pthread_rwlock_rdlock(&v->owner_lock);
	if (v->owner)
		csv_owner_abandon(v->owner);
	pthread_rwlock_unlock(&v->owner_lock);
	if (!pthread_create(&t, NULL, down_main, v))
		pthread_detach(t);
}

struct down_order {
	struct csv_vol *v;
	char reason[CSV_REASON_MAX];
};

static void *down_order_main(void *arg)
{
	struct down_order *order = arg;

	csvd_down(order->v, order->reason);
	free(order);
	return NULL;
}

void csvd_down_start(struct csv_vol *v, const char *reason)
{
	struct down_order *order;
	pthread_t t;
	bool again;

	pthread_mutex_lock(&v->lock);
	again = v->downed;
	pthread_mutex_unlock(&v->lock);
	order = again ? NULL : calloc(1, sizeof(*order));
	if (!order)
		return; /* the next I/O that fails, or the watch, comes back to it */
	order->v = v;
	snprintf(order->reason, sizeof(order->reason), "%s", reason);
	if (pthread_create(&t, NULL, down_order_main, order))
		free(order);
	else
		pthread_detach(t);
}

void csvd_tick(struct csvd *d)
{
	csv_disks_tidy(d);
	for (struct csv_vol *v = csvd_vol_next(d, NULL); v; v = csvd_vol_next(d, v)) {
		bool cut;

		pthread_mutex_lock(&v->lock);
		cut = v->data_cut_again;
		v->data_cut_again = false;
		pthread_mutex_unlock(&v->lock);
		if (cut)
			data_down(v);
		if (!v->state.path_lost || v->state.down)
			continue;
		/* Under type 8 a read answers only a registered node: the path and the key are back. */
		if (pread(v->data_fd, csv_thread_buf(2), 4096, 0) == 4096)
			csv_vol_input(v, CSV_IN_PATH, 1, 0, NULL);
	}
}

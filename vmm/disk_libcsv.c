/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks on cluster shared volumes.  libcsv is used by one thread at a time: the I/O thread, when its
 * fd is readable, or a worker inside open or close, which keeps the I/O thread's hands off
 * meanwhile (busy).  Its events arrive on whichever thread is in the library; they are noted
 * under dev_lock and acted upon by the I/O thread.
 *
 * A request that failed is held: the event that follows says whether the path changed (issue it
 * again), this node was fenced (stop), or, if none comes within PATIENCE_MS, that the disk
 * itself failed (tell the guest).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cl_log.h"
#include "csv/libcsv.h"
#include "vmm/disk_csv.h"
#include "vmm/machine.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

#define OPEN_TIMEOUT_MS 60000
#define PATIENCE_MS	30000u
#define TICK_MS		250

struct csv_vdisk {
	struct vmm_udisk u; /* first */
	struct vmm_csv *csv;
	struct csv_disk *handle; /* NULL until the first open */
	bool changed;		 /* the library told so since the last reissue */
	char volume[CL_NAME_MAX];
	char path[PATH_MAX];
};

struct vmm_csv {
	struct vmm *vm;
	struct csv_client *client;
	void (*on_fenced)(struct vmm_udisk *d);
	struct vmm_io_item *item;
	struct vmm_io_item *tick_item;
	int tick_fd;
	bool ticking;
	bool busy; /* dev_lock: a worker is in the library */
	struct csv_vdisk *disks[VMM_DISKS_MAX];
	unsigned n_disks;
};

/* dev_lock held. */
static void tick_set(struct vmm_csv *csv, bool on)
{
	struct itimerspec t = { 0 };

	if (on == csv->ticking)
		return;
	csv->ticking = on;
	if (on)
		t.it_value.tv_nsec = t.it_interval.tv_nsec = TICK_MS * 1000000L;
	(void)timerfd_settime(csv->tick_fd, 0, &t, NULL);
}

/* dev_lock held: after anything in the library, the disks' fds are what it says. */
static void fds_take(struct vmm_csv *csv, bool reissue)
{
	for (unsigned i = 0; i < csv->n_disks; i++) {
		struct csv_vdisk *d = csv->disks[i];
		int fd = d->handle ? csv_disk_fd(d->handle) : -1;

		d->u.fd = fd;
		if (reissue && fd >= 0 && d->u.held && d->changed) {
			d->changed = false;
			vmm_udisk_reissue(&d->u);
		}
	}
}

/* Of a VM that moved away this is the end that it waited for; of any other it is an accident. */
static void displaced(struct csv_vdisk *d)
{
	enum vmm_state state = vmm_state_get(d->csv->vm);
	bool moved = state == VMM_SWITCHED || state == VMM_SAVED;

	if (moved)
		cl_notice("disk %s/%s: the VM runs elsewhere with a higher generation; ending",
			  d->volume, d->path);
	else
		cl_error("disk %s/%s: a higher generation of this VM has it; stopping", d->volume,
			 d->path);
	vmm_stop(d->csv->vm, moved ? VMM_EXIT_QUIT : VMM_EXIT_FENCED);
}

static void on_event(void *arg, struct csv_disk *handle, enum csv_event event)
{
	struct csv_vdisk *d = csv_disk_data(handle);

	if (!d)
		return;
	switch (event) {
	case CSV_EVENT_CHANGED:
		d->changed = true;
		d->u.fd = csv_disk_fd(handle);
		break;
	case CSV_EVENT_FENCED:
		d->u.disk.state = VMM_DISK_FENCED;
		d->u.on_fenced(&d->u);
		break;
	case CSV_EVENT_DISPLACED:
		d->u.disk.state = VMM_DISK_FENCED;
		displaced(d);
		break;
	}
}

static void service(struct vmm_csv *csv)
{
	if (csv->busy)
		return;
	if (csv->n_disks)
		vmm_udisk_flush(&csv->disks[0]->u);
	csv_client_service(csv->client);
	fds_take(csv, true);
}

static void on_readable(void *arg, uint32_t events)
{
	service(arg);
}

static void on_tick(void *arg, uint32_t events)
{
	struct vmm_csv *csv = arg;
	uint64_t count;
	bool held = false;

	(void)!read(csv->tick_fd, &count, sizeof(count));
	service(csv);
	for (unsigned i = 0; i < csv->n_disks; i++) {
		struct csv_vdisk *d = csv->disks[i];

		if (d->u.held && !d->u.disk.no_space &&
		    vmm_now_ms() - d->u.held_since_ms > PATIENCE_MS) {
			cl_warning("disk %s/%s: I/O failed and its volume says nothing", d->volume,
				   d->path);
			vmm_udisk_fail(&d->u, -EIO);
		}
		held = held || d->u.held;
	}
	tick_set(csv, held);
}

/* I/O thread. */
static void on_io_error(struct vmm_udisk *u, int res)
{
	struct csv_vdisk *d = (struct csv_vdisk *)u;

	cl_warning("disk %s/%s: %s; waiting to hear from its volume", d->volume, d->path,
		   strerror(-res));
	tick_set(d->csv, true);
	service(d->csv);
}

/* Keeps the I/O thread out of the library. */
static void library_take(struct vmm_csv *csv)
{
	pthread_mutex_lock(&csv->vm->dev_lock);
	csv->busy = true;
	vmm_io_mod(csv->item, 0);
	pthread_mutex_unlock(&csv->vm->dev_lock);
}

static void library_give(struct vmm_csv *csv)
{
	pthread_mutex_lock(&csv->vm->dev_lock);
	csv->busy = false;
	fds_take(csv, false);
	vmm_io_mod(csv->item, EPOLLIN);
	pthread_mutex_unlock(&csv->vm->dev_lock);
}

static int volume_error(const struct csv_vdisk *d, int r, uint64_t generation, char **ret_error)
{
	const char *why = r == -ESTALE	  ? "a higher generation has or had it" :
			  r == -ETIMEDOUT ? "its former opener could not be cut off in time" :
			  r == -EAGAIN	  ? "the volume has no owner now" :
			  r == -ENODEV	  ? "the volume is down on this node" :
			  r == -EINVAL	  ? "not a regular file, or its size is no multiple of 512" :
					    strerror(-r);

	const char *vm = "";
	uint64_t floor = d->handle ? csv_disk_generation_floor(d->handle, &vm) : 0;

	if (r == -ETXTBSY && vm[0])
		return vmm_error(ret_error, -r, "disk %s of volume %s is the disk of VM %s", d->path,
				 d->volume, vm);
	/* clusterd takes the number from this line and goes above it. */
	if (r == -ESTALE && floor)
		return vmm_error(ret_error, -r,
				 "disk %s of volume %s, generation %llu: a higher generation has or "
				 "had it: generation_floor=%llu",
				 d->path, d->volume, (unsigned long long)generation,
				 (unsigned long long)floor);
	return vmm_error(ret_error, -r, "disk %s of volume %s, generation %llu: %s", d->path,
			 d->volume, (unsigned long long)generation, why);
}

/* Inside library_take(). */
static int prepared(struct csv_vdisk *d)
{
	int r = 0;

	if (!d->handle) {
		r = csv_disk_prepare(d->csv->client, d->volume, d->path, OPEN_TIMEOUT_MS, &d->handle);
		if (r == 0)
			csv_disk_data_set(d->handle, d);
	}
	return r;
}

/* Size and block size, after a prepare or an open.  A size that is no multiple could not be laid on
 * the LUN. */
static int geometry_take(struct csv_vdisk *d, char **ret_error)
{
	struct vmm_disk *disk = &d->u.disk;
	uint64_t size = csv_disk_size(d->handle);
	uint32_t block = csv_disk_block(d->handle);

	if (block != 512 && block != 4096)
		return vmm_error(ret_error, EINVAL,
				 "disk %s of volume %s: its LUN has blocks of %u bytes; allowed: "
				 "512 or 4096",
				 d->path, d->volume, block);
	if (!size || size % block)
		return vmm_error(
			ret_error, EINVAL,
			"disk %s of volume %s: size %llu bytes; allowed: a multiple of %u above 0",
			d->path, d->volume, (unsigned long long)size, block);
	if (disk->size_bytes && disk->size_bytes != size)
		return vmm_error(ret_error, EINVAL, "disk %s of volume %s: size changed", d->path,
				 d->volume);
	disk->size_bytes = size;
	disk->align_bytes = block;
	return 0;
}

static int csv_open(struct vmm_disk *disk, uint64_t generation, char **ret_error)
{
	struct csv_vdisk *d = (struct csv_vdisk *)disk;
	int r;

	if (disk->state == VMM_DISK_FENCED)
		return vmm_error(ret_error, EBADE, "disk %s of volume %s: fenced", d->path, d->volume);
	library_take(d->csv);
	r = prepared(d);
	if (r == 0)
		r = csv_disk_activate(d->handle, generation, OPEN_TIMEOUT_MS);
	library_give(d->csv);
	if (r < 0)
		return volume_error(d, r, generation, ret_error);
	r = geometry_take(d, ret_error);
	if (r == 0)
		vmm_udisk_opened(&d->u, generation);
	return r;
}

static int csv_prepare(struct vmm_disk *disk, char **ret_error)
{
	struct csv_vdisk *d = (struct csv_vdisk *)disk;
	int r;

	library_take(d->csv);
	r = prepared(d);
	library_give(d->csv);
	if (r < 0)
		return volume_error(d, r, 0, ret_error);
	return geometry_take(d, ret_error);
}

static void csv_close(struct vmm_disk *disk)
{
	struct csv_vdisk *d = (struct csv_vdisk *)disk;

	library_take(d->csv);
	csv_disk_close(d->handle);
	d->handle = NULL;
	library_give(d->csv);
	vmm_udisk_closed(&d->u);
}

static void csv_free(struct vmm_disk *disk)
{
	struct csv_vdisk *d = (struct csv_vdisk *)disk;

	csv_disk_close(d->handle);
	for (unsigned i = 0; i < d->csv->n_disks; i++)
		if (d->csv->disks[i] == d)
			d->csv->disks[i] = d->csv->disks[--d->csv->n_disks];
	free(d);
}

static const struct vmm_disk_ops csv_ops = {
	.open = csv_open,
	.prepare = csv_prepare,
	.submit = vmm_udisk_submit,
	.close = csv_close,
	.free = csv_free,
};

int vmm_disk_csv_new(struct vmm_csv *csv, struct vmm_uring *ring, const char *volume,
		     const char *path, bool readonly, struct vmm_disk **ret_disk, char **ret_error)
{
	struct csv_vdisk *d = calloc(1, sizeof(*d));

	if (!d)
		return vmm_error(ret_error, ENOMEM, "disk %s: out of memory", path);
	vmm_udisk_init(&d->u, &csv_ops, ring, csv->on_fenced, csv->vm);
	d->u.disk.readonly = readonly;
	d->u.hold_errors = true;
	d->u.on_error = on_io_error;
	d->csv = csv;
	strncpy(d->volume, volume, sizeof(d->volume) - 1);
	strncpy(d->path, path, sizeof(d->path) - 1);
	csv->disks[csv->n_disks++] = d;
	*ret_disk = &d->u.disk;
	return 0;
}

int vmm_csv_new(struct vmm *vm, void (*on_fenced)(struct vmm_udisk *d), struct vmm_csv **ret_csv,
		char **ret_error)
{
	struct vmm_csv *csv = calloc(1, sizeof(*csv));
	int r;

	if (!csv)
		return vmm_error(ret_error, ENOMEM, "volumes: out of memory");
	csv->vm = vm;
	csv->on_fenced = on_fenced;
	csv->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = csv->tick_fd < 0 ? -errno :
			       csv_client_new(NULL, vm->config->name, on_event, csv, &csv->client);
	if (r < 0) {
		vmm_error(ret_error, -r, "connect to csvd: %s", strerror(-r));
		vmm_csv_free(csv);
		return r;
	}
	r = vmm_io_add(vm->io, csv_client_fd(csv->client), EPOLLIN, on_readable, csv, &csv->item);
	if (r == 0)
		r = vmm_io_add(vm->io, csv->tick_fd, EPOLLIN, on_tick, csv, &csv->tick_item);
	if (r < 0) {
		vmm_error(ret_error, -r, "volumes: %s", strerror(-r));
		vmm_csv_free(csv);
		return r;
	}
	*ret_csv = csv;
	return 0;
}

void vmm_csv_free(struct vmm_csv *csv)
{
	if (!csv)
		return;
	vmm_io_del(csv->item);
	vmm_io_del(csv->tick_item);
	csv_client_free(csv->client);
	if (csv->tick_fd >= 0)
		close(csv->tick_fd);
	free(csv);
}

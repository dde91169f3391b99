/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-mapper by its ioctl (linux/dm-ioctl.h).  libdevmapper is not used: it keeps lists without
 * a lock, and a suspend, which may wait long for I/O in flight, must not hold up the other volumes'
 * threads.  The control device is opened once and kept: to cut a device off must not need a descriptor that
 * the process may have run out of.
 *
 * Decides nothing about who may have which extent.  Never touches a device whose uuid is
 * not ours.  Assumes devtmpfs for /dev/mapper/control, as every Debian kernel has it.
 */
#include "csv/map.h"

#include "common/cl_cleanup.h"
#include "common/cl_types.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL	   "/dev/mapper/control"
#define SECTOR	   512u
#define PARAMS_MAX 48u /* "major:minor sector" with its NUL */
#define ANSWER_MAX (64u << 20)

/* The ioctl's buffer: header, then data. Freed by request_free. */
struct request {
	struct dm_ioctl *io;
	size_t len_bytes;
};

static void request_free(struct request *request)
{
	free(request->io);
	request->io = NULL;
}
#define CLEANUP_REQUEST __attribute__((cleanup(request_free)))

static int request_init(struct request *request, const char *name, size_t data_bytes,
			uint32_t flags)
{
	request->len_bytes = sizeof(*request->io) + data_bytes;
	request->io = calloc(1, request->len_bytes);
	if (!request->io)
		return -ENOMEM;
	request->io->version[0] = DM_VERSION_MAJOR;
	request->io->data_size = (uint32_t)request->len_bytes;
	request->io->data_start = sizeof(*request->io);
	request->io->flags = flags;
	if (name) {
		if (strlen(name) >= sizeof(request->io->name) || strchr(name, '/'))
			return -EINVAL;
		strcpy(request->io->name, name);
	}
	return 0;
}

/* Of the process, for as long as it lives; -1: not open yet. */
static atomic_int control = -1;
static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;

static int control_try(void)
{
	int fd = open(CONTROL, O_RDWR | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

/* ENXIO means "no such device" to callers: a node without device-mapper is another matter. */
static int control_open(void)
{
	static char *const argv[] = { "modprobe", "dm_mod", NULL };
	int fd = control_try();
	pid_t pid;

	if (fd != -ENOENT && fd != -ENODEV && fd != -ENXIO)
		return fd;
	if (posix_spawn(&pid, "/sbin/modprobe", NULL, NULL, argv, NULL) == 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	fd = control_try();
	return fd == -ENOENT || fd == -ENODEV || fd == -ENXIO ? -EOPNOTSUPP : fd;
}

static int control_get(void)
{
	int fd = atomic_load(&control);

	if (fd >= 0)
		return fd;
	pthread_mutex_lock(&control_lock);
	fd = atomic_load(&control);
	if (fd < 0) {
		fd = control_open();
		if (fd >= 0)
			atomic_store(&control, fd);
	}
	pthread_mutex_unlock(&control_lock);
	return fd;
}

int csv_map_init(void)
{
	int fd = control_get();

	return fd < 0 ? fd : 0;
}

static int dm_call(unsigned long command, struct request *request)
{
	int fd = control_get();

	if (fd < 0)
		return fd;
	for (;;) {
		if (ioctl(fd, command, request->io) == 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

/* For a command that needs no data. */
static int dm_simple(unsigned long command, const char *name, uint32_t flags)
{
	CLEANUP_REQUEST struct request request = { 0 };
	int ret = request_init(&request, name, 0, flags);

	return ret < 0 ? ret : dm_call(command, &request);
}

/* For a command whose answer may be of any length: asks again with more room. name may be NULL. */
static int dm_answer(unsigned long command, const char *name, uint32_t flags,
		     struct request *ret_request)
{
	size_t data_bytes = 16384;

	for (;;) {
		int ret = request_init(ret_request, name, data_bytes, flags);

		if (ret == 0)
			ret = dm_call(command, ret_request);
		if (ret < 0)
			return ret;
		if (!(ret_request->io->flags & DM_BUFFER_FULL_FLAG))
			return 0;
		request_free(ret_request);
		data_bytes *= 4;
		if (data_bytes > ANSWER_MAX)
			return -EMSGSIZE;
	}
}

/* NOFLUSH: asking must not wait for I/O. */
static int table_read(const char *name, struct request *ret_request)
{
	return dm_answer(DM_TABLE_STATUS, name, DM_STATUS_TABLE_FLAG | DM_NOFLUSH_FLAG, ret_request);
}

static bool uuid_ours(const char *uuid)
{
	return strncmp(uuid, CSV_MAP_UUID_PREFIX, sizeof(CSV_MAP_UUID_PREFIX) - 1) == 0;
}

static const struct dm_target_spec *first_target(const struct request *table)
{
	if (table->io->target_count == 0 ||
	    table->io->data_start + sizeof(struct dm_target_spec) > table->len_bytes)
		return NULL;
	return (const struct dm_target_spec *)((const char *)table->io + table->io->data_start);
}

int csv_map_info(const char *name, struct csv_map_info *ret_info)
{
	CLEANUP_REQUEST struct request status = { 0 };
	const struct dm_target_spec *spec;
	const struct dm_ioctl *io;
	int ret = table_read(name, &status);

	memset(ret_info, 0, sizeof(*ret_info));
	if (ret < 0)
		return ret;
	io = status.io;
	if (!uuid_ours(io->uuid))
		return -EPERM;
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", io->name);
	snprintf(ret_info->uuid, sizeof(ret_info->uuid), "%s",
		 io->uuid + sizeof(CSV_MAP_UUID_PREFIX) - 1);
	ret_info->dev = makedev(major(io->dev), minor(io->dev));
	ret_info->open_count = io->open_count;
	ret_info->suspended = io->flags & DM_SUSPEND_FLAG;
	ret_info->read_only = io->flags & DM_READONLY_FLAG;
	spec = first_target(&status);
	if (!spec)
		return 0;
	ret_info->is_down = strcmp(spec->target_type, "error") == 0;
	for (uint32_t i = 0; i < io->target_count; i++) {
		size_t at = (size_t)((const char *)spec - (const char *)io);

		if (at + sizeof(*spec) > status.len_bytes)
			return -EBADMSG;
		ret_info->size_bytes += spec->length * SECTOR;
		/* In answers, next counts from data_start. */
		spec = (const struct dm_target_spec *)((const char *)io + io->data_start +
						       spec->next);
	}
	return 0;
}

static bool extents_valid(const struct csv_map_backing *backing, const struct csv_extent *extents,
			  size_t n)
{
	uint64_t pos = 0;

	if (n == 0 || n > CSV_MAP_EXTENTS_MAX || backing->base_bytes % SECTOR != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct csv_extent *e = &extents[i];

		if (e->file_off != pos || e->len == 0 || (e->len | e->dev_off) % SECTOR != 0 ||
		    e->dev_off > backing->size_bytes || e->len > backing->size_bytes - e->dev_off ||
		    backing->base_bytes > UINT64_MAX - e->dev_off || e->len > UINT64_MAX - pos)
			return false;
		pos += e->len;
	}
	return true;
}

static struct dm_target_spec *target_append(struct request *request, size_t *pos, uint64_t start,
					    uint64_t sectors, const char *type, const char *params)
{
	struct dm_target_spec *spec = (struct dm_target_spec *)((char *)request->io + *pos);
	size_t len = (sizeof(*spec) + strlen(params) + 1 + 7) & ~(size_t)7;

	spec->sector_start = start;
	spec->length = sectors;
	spec->next = (uint32_t)len;
	snprintf(spec->target_type, sizeof(spec->target_type), "%s", type);
	strcpy((char *)(spec + 1), params);
	*pos += len;
	request->io->target_count++;
	return spec;
}

static int backing_params(const struct csv_map_backing *backing, uint64_t dev_off, char *out)
{
	struct stat st;

	if (stat(backing->device, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	snprintf(out, PARAMS_MAX, "%u:%u %llu", major(st.st_rdev), minor(st.st_rdev),
		 (unsigned long long)((backing->base_bytes + dev_off) / SECTOR));
	return 0;
}

/* Loads the inactive table; the next resume puts it in place. */
static int linear_load(const char *name, const struct csv_map_backing *backing,
		       const struct csv_extent *extents, size_t n, bool read_only)
{
	CLEANUP_REQUEST struct request request = { 0 };
	size_t pos = sizeof(struct dm_ioctl);
	char params[PARAMS_MAX];
	int ret;

	if (!extents_valid(backing, extents, n))
		return -EINVAL;
	ret = request_init(&request, name, n * (sizeof(struct dm_target_spec) + PARAMS_MAX + 8),
			   read_only ? DM_READONLY_FLAG : 0);
	for (size_t i = 0; i < n && ret == 0;) {
		uint64_t len = extents[i].len;
		size_t next = i + 1;

		/* Neighbours on the disk too become one target. */
		while (next < n && extents[next].dev_off == extents[i].dev_off + len)
			len += extents[next++].len;
		ret = backing_params(backing, extents[i].dev_off, params);
		if (ret == 0)
			target_append(&request, &pos, extents[i].file_off / SECTOR, len / SECTOR,
				      "linear", params);
		i = next;
	}
	return ret < 0 ? ret : dm_call(DM_TABLE_LOAD, &request);
}

static int error_load(const char *name, uint64_t size_bytes)
{
	CLEANUP_REQUEST struct request request = { 0 };
	size_t pos = sizeof(struct dm_ioctl);
	int ret = request_init(&request, name, sizeof(struct dm_target_spec) + 16, 0);

	if (ret < 0)
		return ret;
	target_append(&request, &pos, 0, size_bytes / SECTOR, "error", "");
	return dm_call(DM_TABLE_LOAD, &request);
}

int csv_map_create(const char *name, const char *uuid, const struct csv_map_backing *backing,
		   const struct csv_extent *extents, size_t n_extents, bool read_only,
		   dev_t *ret_dev)
{
	CLEANUP_REQUEST struct request request = { 0 };
	int ret = request_init(&request, name, 0, 0);

	if (ret < 0)
		return ret;
	if (snprintf(request.io->uuid, sizeof(request.io->uuid), "%s%s", CSV_MAP_UUID_PREFIX,
		     uuid) >= (int)sizeof(request.io->uuid))
		return -EINVAL;
	if (!extents_valid(backing, extents, n_extents))
		return -EINVAL;
	ret = dm_call(DM_DEV_CREATE, &request);
	if (ret < 0)
		return ret == -EBUSY ? -EEXIST : ret;
	ret = linear_load(name, backing, extents, n_extents, read_only);
	if (ret == 0)
		ret = dm_simple(DM_DEV_SUSPEND, name, 0);
	if (ret < 0) {
		(void)dm_simple(DM_DEV_REMOVE, name, 0);
		return ret;
	}
	if (ret_dev)
		*ret_dev = makedev(major(request.io->dev), minor(request.io->dev));
	return 0;
}

/* 1: the device's table is the whole data partition of backing; 0: another; -errno: not known. */
static int table_is(const char *name, const struct csv_map_backing *backing)
{
	CLEANUP_REQUEST struct request table = { 0 };
	const struct dm_target_spec *spec;
	char params[PARAMS_MAX];
	int ret = table_read(name, &table);

	if (ret == 0)
		ret = backing_params(backing, 0, params);
	if (ret < 0)
		return ret;
	spec = table.io->target_count == 1 ? first_target(&table) : NULL;
	return spec && strcmp(spec->target_type, "linear") == 0 &&
	       spec->length == backing->size_bytes / SECTOR &&
	       strcmp((const char *)(spec + 1), params) == 0;
}

int csv_map_create_data(const char *volume, const struct csv_map_backing *backing, dev_t *ret_dev)
{
	const struct csv_extent whole = { .len = backing->size_bytes };
	char name[CSV_MAP_NAME_MAX], uuid[CSV_MAP_NAME_MAX];
	struct csv_map_info info;
	int ret;

	if (!cl_name_valid(volume))
		return -EINVAL;
	snprintf(name, sizeof(name), "hf-%s-data", volume);
	snprintf(uuid, sizeof(uuid), "data-%s", volume);
	ret = csv_map_info(name, &info);
	if (ret == 0) {
		ret = table_is(name, backing);
		if (ret < 0)
			return ret;
		if (ret) {
			if (ret_dev)
				*ret_dev = info.dev;
			return csv_map_resume(name);
		}
		ret = csv_map_remove(name, false);
		if (ret < 0)
			return ret;
	} else if (ret != -ENXIO) {
		return ret;
	}
	return csv_map_create(name, uuid, backing, &whole, 1, false, ret_dev);
}

static int ours(const char *name, struct csv_map_info *ret_info)
{
	struct csv_map_info scratch;

	return csv_map_info(name, ret_info ? ret_info : &scratch);
}

int csv_map_suspend(const char *name)
{
	struct csv_map_info info;
	int ret = ours(name, &info);

	if (ret < 0 || info.suspended)
		return ret;
	/* Without NOFLUSH: the answer comes when the last I/O in flight has ended. */
	return dm_simple(DM_DEV_SUSPEND, name, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG);
}

int csv_map_resume(const char *name)
{
	struct csv_map_info info;
	int ret = ours(name, &info);

	if (ret < 0 || !info.suspended)
		return ret;
	return dm_simple(DM_DEV_SUSPEND, name, 0);
}

/*
 * The kernel swaps tables at resume only: on a suspended device the new one waits for
 * csv_map_resume(), and no I/O gets through meanwhile.
 */
int csv_map_replace(const char *name, const struct csv_map_backing *backing,
		    const struct csv_extent *extents, size_t n_extents, bool read_only)
{
	struct csv_map_info info;
	int ret = ours(name, &info);

	if (ret == 0)
		ret = linear_load(name, backing, extents, n_extents, read_only);
	if (ret < 0 || info.suspended)
		return ret;
	ret = dm_simple(DM_DEV_SUSPEND, name, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG);
	if (ret == 0)
		ret = dm_simple(DM_DEV_SUSPEND, name, 0);
	if (ret < 0)
		(void)dm_simple(DM_TABLE_CLEAR, name, 0);
	return ret;
}

int csv_map_down(const char *name)
{
	struct csv_map_info info;
	int ret = ours(name, &info);

	if (ret < 0)
		return ret;
	if (info.is_down && !info.suspended)
		return 0;
	ret = error_load(name, info.size_bytes ? info.size_bytes : SECTOR);
	if (ret < 0)
		return ret;
	if (!info.suspended)
		ret = dm_simple(DM_DEV_SUSPEND, name,
				DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG);
	if (ret == 0)
		ret = dm_simple(DM_DEV_SUSPEND, name, 0);
	return ret;
}

/* Down waits for what is in flight, too (NOFLUSH only leaves the queue where it is). */
int csv_map_stop(const char *name)
{
	int ret = csv_map_suspend(name);

	if (ret < 0 && ret != -ENXIO)
		ret = csv_map_down(name);
	return ret == -ENXIO ? 0 : ret;
}

int csv_map_remove(const char *name, bool force)
{
	int ret = ours(name, NULL);

	if (ret < 0)
		return ret;
	ret = dm_simple(DM_DEV_REMOVE, name, 0);
	if (ret != -EBUSY || !force)
		return ret;
	ret = csv_map_down(name);
	if (ret < 0)
		return ret;
	return dm_simple(DM_DEV_REMOVE, name, DM_DEFERRED_REMOVE);
}

static int node_open(const char *path, dev_t dev, int flags)
{
	CL_CLEANUP_CLOSE int fd = open(path, flags | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || st.st_rdev != dev)
		return -ENXIO;
	return cl_steal_fd(&fd);
}

int csv_map_open(const char *name, int flags)
{
	char path[64];
	struct csv_map_info info;
	int ret = ours(name, &info);

	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), "/dev/dm-%u", minor(info.dev));
	ret = node_open(path, info.dev, flags);
	if (ret != -ENOENT && ret != -ENXIO)
		return ret;
	/* No devtmpfs, or a stale node: one of our own, gone as soon as it is open. */
	snprintf(path, sizeof(path), "/dev/.hf-%d-%u", getpid(), minor(info.dev));
	if (mknod(path, S_IFBLK | 0600, info.dev) < 0)
		return -errno;
	ret = node_open(path, info.dev, flags);
	(void)unlink(path);
	return ret;
}

int csv_map_list(struct csv_map_info **ret_infos, size_t *ret_n)
{
	CLEANUP_REQUEST struct request request = { 0 };
	CL_CLEANUP_FREE struct csv_map_info *infos = NULL;
	size_t n = 0, pos;
	int ret = dm_answer(DM_LIST_DEVICES, NULL, 0, &request);

	if (ret < 0)
		return ret;
	for (pos = request.io->data_start;
	     pos + sizeof(struct dm_name_list) <= request.io->data_size;) {
		const struct dm_name_list *entry =
			(const struct dm_name_list *)((const char *)request.io + pos);
		struct csv_map_info *more;

		if (entry->dev == 0)
			break;
		more = reallocarray(infos, n + 1, sizeof(*infos));
		if (!more)
			return -ENOMEM;
		infos = more;
		ret = csv_map_info(entry->name, &infos[n]);
		if (ret == 0)
			n++;
		else if (ret != -ENXIO && ret != -EPERM) /* gone meanwhile; not ours */
			return ret;
		if (entry->next == 0)
			break;
		pos += entry->next;
	}
	*ret_infos = cl_steal_ptr(infos);
	*ret_n = n;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device-mapper devices over a LUN: the partition that the owner mounts (hf-VOLUME-data)
 * and the files laid out for this node.  The kernel keeps the bounds: who holds the fd of such a
 * device can reach exactly these extents and no other block of the LUN.
 *
 * Every device has a name of our own and a uuid that starts with "HF-"; a device without that
 * prefix is never touched.  No udev is needed or waited for.
 *
 * Every call blocks (suspend: until I/O in flight has ended) and takes no lock of its own: calls
 * for different devices may run in different threads, one device belongs to one thread at a
 * time.  A caller that needs a bound runs the call in a worker.
 *
 * Returns 0 or -errno: -EINVAL an extent is not on a sector boundary, not in file order or out of
 * range; -EEXIST, -ENXIO (no such device), -EBUSY (open elsewhere), -EPERM (not ours).  Only 0 and -ENXIO say
 * what is there; after any other error nothing is known (docs/decisions/could-not-look.md).
 */
#ifndef CSV_MAP_H
#define CSV_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CSV_MAP_NAME_MAX    128u
#define CSV_MAP_UUID_MAX    129u
#define CSV_MAP_UUID_PREFIX "HF-"
#define CSV_MAP_EXTENTS_MAX 65536u

/* Bytes.  dev_off counts from the start of the data partition. */
struct csv_extent {
	uint64_t file_off;
	uint64_t dev_off;
	uint64_t len;
};

/* The LUN as this node sees it: the path ("/dev/sda" or a multipath device) and where its data
 * partition lies. */
struct csv_map_backing {
	const char *device;
	uint64_t base_bytes;
	uint64_t size_bytes; /* of the data partition: extents beyond are refused */
};

/*
 * Opens device-mapper's control device, which is kept while the process lives: once it is open no call needs a
 * descriptor, csv_map_open() excepted.  Every other call does it too where it was not done.  -EOPNOTSUPP: the
 * node has no device-mapper.
 */
int csv_map_init(void);

/*
 * Creates an active linear device of the extents, which must be sorted by file_off, start at 0 and
 * leave no hole.  uuid (without prefix) is what the caller finds it by after a restart.
 * ret_dev may be NULL.
 */
int csv_map_create(const char *name, const char *uuid, const struct csv_map_backing *backing,
		   const struct csv_extent *extents, size_t n_extents, bool read_only,
		   dev_t *ret_dev);
/* The whole data partition as "hf-VOLUME-data"; an own device of that name and table is reused. */
int csv_map_create_data(const char *volume, const struct csv_map_backing *backing, dev_t *ret_dev);

/* Waits until every I/O in flight has ended; new I/O blocks. Already suspended: 0. */
int csv_map_suspend(const char *name);
/*
 * Nothing reaches the LUN through it any more and nothing is under way: suspended, or, where that fails, an error
 * table (csv_map_down), or there is no such device.  0, or -errno: it may still write.
 */
int csv_map_stop(const char *name);
/* New I/O flows again. Not suspended: 0. */
int csv_map_resume(const char *name);
/* New table for the same device. On a suspended device it takes effect at csv_map_resume(). */
int csv_map_replace(const char *name, const struct csv_map_backing *backing,
		    const struct csv_extent *extents, size_t n_extents, bool read_only);
/*
 * Every I/O from now on, queued I/O included, fails with EIO at once ("error" target of the
 * same size, active).  Does not freeze or flush a mounted file system.
 */
int csv_map_down(const char *name);
/* Removes it. A device still open is -EBUSY; with force its table becomes "error" and it goes at
 * the last close. */
int csv_map_remove(const char *name, bool force);

/*
 * An fd of the device node, O_CLOEXEC | flags (O_RDWR | O_DIRECT, ...), or -errno.  Verified to be
 * the device of that name; the node is made if /dev has none.
 */
int csv_map_open(const char *name, int flags);

struct csv_map_info {
	char name[CSV_MAP_NAME_MAX];
	char uuid[CSV_MAP_UUID_MAX]; /* without the prefix */
	dev_t dev;
	uint64_t size_bytes;
	int open_count;
	bool suspended;
	bool read_only;
	bool is_down; /* its table is "error" */
};

/* -ENXIO if there is no such device, -EPERM if it is not ours. */
int csv_map_info(const char *name, struct csv_map_info *ret_info);
/* Every one of our devices, or an error; malloc'ed array that the caller frees. */
int csv_map_list(struct csv_map_info **ret_infos, size_t *ret_n);

#endif

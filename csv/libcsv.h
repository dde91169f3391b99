/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcsv: what a vmm uses to reach its disks on cluster shared volumes.  It speaks with the csvd
 * of its node over /run/holdfast/csv.sock (docs/formats/csv-local.md) and is handed a file
 * descriptor a disk: a device-mapper device of exactly the file's extents, or, when the file cannot be laid out,
 * the file itself under /clusterstorage.
 *
 *   open    = prepare + activate.
 *   prepare   looks the file up, lets the owner flush and map it and builds the device, which
 *             cannot be used yet.  Needs no generation; disturbs no other user of the disk.  A migration's destination does
 *             this while memory is being copied.
 *   activate  names the generation.  The owner admits one exclusive opener, of the highest
 *             generation: a lower one elsewhere is cut off first (its I/O in flight ends, later I/O
 *             fails), a lower one than was seen is refused with -ESTALE.  A few ms of work after a prepare.
 *
 * I/O is done on csv_disk_fd() with O_DIRECT rules: offset, length and memory in multiples of
 * csv_disk_block() bytes (4096 is faster).  A device keeps working while the volume changes its owner; I/O may then wait,
 * it is not failed.
 *
 * Errors of I/O on the fd:
 *   EBADE   reservation conflict: this node was fenced.  Stop the VM at once.
 *   other   keep the buffer, call csv_client_service() until the disk's event says what is: CHANGED: issue the
 *           I/O again on the new fd; FENCED or DISPLACED: stop.  An error with no event within
 *           the caller's patience is an error of the disk.
 *
 * The library starts no thread and blocks only in prepare, activate, open and close.  One thread at
 * a time uses a client and its disks; csv_disk_fd() may be read by any thread that the caller tells of
 * changes itself.  Before it drops privileges the vmm makes the client: csvd accepts root only, and a client it knows
 * when that one reconnects (after a restart of csvd) with the secret it was given.
 */
#ifndef CSV_LIBCSV_H
#define CSV_LIBCSV_H

#include <stdbool.h>
#include <stdint.h>

struct csv_client;
struct csv_disk;

enum csv_disk_mode {
	CSV_DISK_NONE = 0,	 /* prepared, not active */
	CSV_DISK_DIRECT = 1,	 /* straight to the LUN */
	CSV_DISK_REDIRECTED = 2, /* through the file under /clusterstorage, by the owner */
};

enum csv_event {
	/* csv_disk_fd() is another fd (the old one is closed by csv_client_service()). */
	CSV_EVENT_CHANGED = 1,
	/* This node may no longer write: stop the VM at once. */
	CSV_EVENT_FENCED = 2,
	/* A higher generation has the disk: this VM must not run any more. */
	CSV_EVENT_DISPLACED = 3,
};

/* Called from csv_client_service() and from blocking calls, on their thread. arg is the client's. */
typedef void (*csv_event_fn)(void *arg, struct csv_disk *disk, enum csv_event event);

/*
 * Connects. sock_path NULL = $HOLDFAST_RUN_DIR/csv.sock or /run/holdfast/csv.sock; vm is the VM's
 * name. 0 or -errno (-ECONNREFUSED, -ENOENT: no csvd; -EPROTO: another version).
 */
int csv_client_new(const char *sock_path, const char *vm, csv_event_fn fn, void *arg,
		   struct csv_client **ret_client);
/* Closes disks that are still open too. */
void csv_client_free(struct csv_client *client);
/*
 * An fd to poll for POLLIN (an epoll fd: it stays the same across reconnects).
 * csv_client_service() then handles what is there and never blocks.
 */
int csv_client_fd(const struct csv_client *client);
void csv_client_service(struct csv_client *client);

/*
 * 0 or -errno: -ENOENT no such volume or file; -EISDIR, -EINVAL not a regular file or its size is
 * not a multiple of 512; -EAGAIN the volume has no owner now and timeout_ms passed; -ENODEV the volume is down here.
 */
int csv_disk_prepare(struct csv_client *client, const char *volume, const char *path,
		     int timeout_ms, struct csv_disk **ret_disk);
/*
 * -ESTALE a higher generation, or the same one on another node, has or had the disk;
 * -ETXTBSY it is the disk of another VM;
 * -ETIMEDOUT the former opener could not be cut off in time (nothing changed);
 * otherwise as prepare.  May be called again with the same or a higher generation.
 */
int csv_disk_activate(struct csv_disk *disk, uint64_t generation, int timeout_ms);
/*
 * After a csv_disk_activate() that was refused so: the highest generation that the disk has had (a start needs a
 * higher one), 0 if it is not known, and the VM whose disk it is, "" if that is not.  Borrowed.
 */
uint64_t csv_disk_generation_floor(const struct csv_disk *disk, const char **ret_vm);
int csv_disk_open(struct csv_client *client, const char *volume, const char *path,
		  uint64_t generation, int timeout_ms, struct csv_disk **ret_disk);
/* Flushes nothing: the caller has. Gives the disk back to the owner. NULL is fine. */
void csv_disk_close(struct csv_disk *disk);

/* Borrowed; -1 until active. Valid until the event that says otherwise. */
int csv_disk_fd(const struct csv_disk *disk);
uint64_t csv_disk_size(const struct csv_disk *disk); /* bytes */
/* The logical block size of the volume's LUN, 512 or 4096, known from prepare on: what I/O must be a multiple of. */
uint32_t csv_disk_block(const struct csv_disk *disk);
enum csv_disk_mode csv_disk_mode_get(const struct csv_disk *disk);
/* The caller's own pointer. */
void csv_disk_data_set(struct csv_disk *disk, void *data);
void *csv_disk_data(const struct csv_disk *disk);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a block device needs of its disk.  Requests are asynchronous: submit()
 * returns at once, done() is called later on the I/O thread with vmm.dev_lock
 * held, never from inside submit().  A back end that has lost its right to write
 * completes nothing any more and stops the VM (fenced).
 *
 * A request and what its iov points to belong to the back end until done(); the back end
 * may issue it again if the path under it changes.
 */
#ifndef VMM_DISK_H
#define VMM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vmm_disk;

enum vmm_disk_op {
	VMM_DISK_READ,
	VMM_DISK_WRITE,
	VMM_DISK_FLUSH,
};

struct vmm_disk_req {
	enum vmm_disk_op op;
	uint64_t offset_bytes;
	struct iovec *iov; /* borrowed until done() */
	unsigned n_iov;
	uint64_t len_bytes; /* sum of iov */
	bool durable;	    /* a write that is stable before done() */
	/* 0 or -errno; all of len_bytes was moved or it is an error. */
	void (*done)(struct vmm_disk_req *req, int res);
	void *priv[4];	    /* the back end's */
	uint64_t priv_u[2]; /* the back end's */
};

enum vmm_disk_state {
	VMM_DISK_CLOSED,
	VMM_DISK_OPEN,
	VMM_DISK_BLOCKED, /* I/O waits on the other side (recall, ownership moves) */
	VMM_DISK_FENCED,  /* for ever */
};

struct vmm_disk_ops {
	/*
	 * Opens or, with a higher generation, opens again.  Blocking: called by worker or start-up
	 * threads without vmm.dev_lock, never on the control or I/O thread, and only while the
	 * machine is quiet.  ret_error (malloc'ed) says what, where, why.
	 */
	int (*open)(struct vmm_disk *disk, uint64_t generation, char **ret_error);
	/*
	 * What can be done ahead of open() without disturbing another user of the disk, so that open
	 * is short (a migration's destination).  Sets size_bytes.  May be NULL.  Blocking, as open.
	 */
	int (*prepare)(struct vmm_disk *disk, char **ret_error);
	/* 0 or -errno, and then done() is not called.  On the I/O thread. */
	int (*submit)(struct vmm_disk *disk, struct vmm_disk_req *req);
	/* Blocking, as open; the disk is quiet. */
	void (*close)(struct vmm_disk *disk);
	void (*free)(struct vmm_disk *disk);
};

/* Embedded in each back end.  Made by the host, freed with ops->free. */
struct vmm_disk {
	const struct vmm_disk_ops *ops;
	enum vmm_disk_state state;
	uint64_t generation; /* of the last open */
	uint64_t size_bytes; /* fixed by the first open */
	/* Offsets and lengths must be multiples of this: the logical block size, 512 or 4096. */
	unsigned align_bytes;
	bool readonly; /* takes reads and flushes only */
	/* Writes wait for room: the file system under it is full.  They are tried again, none
	 * fails. */
	bool no_space;
	/* What was given to the guest as an I/O error, and the last of it. */
	uint64_t errors;
	int error; /* errno */
	enum vmm_disk_op error_op;
	uint64_t error_offset_bytes;
	unsigned in_flight;
	uint64_t oldest_ms; /* monotonic time since when something has been in flight without progress */
};

#endif

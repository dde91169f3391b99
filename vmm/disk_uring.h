/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk I/O by io_uring on a file descriptor that may change under way.  One
 * ring serves all disks of a VM; it lives on the I/O thread.
 *
 * What happens to an error:
 *   EBADE     the LUN refused a write of ours (reservation conflict): fenced(), nothing is
 * completed. ENOSPC    (EDQUOT, and a write that stays short for it) the request is kept,
 * disk.no_space is set; vmm_udisk_reissue() tries again, nothing fails. others    file disks: given
 * to the guest.  Disks with hold_errors (cluster volumes): kept until the owner of the disk says
 * what is (vmm_udisk_reissue, vmm_udisk_fail), since the path may only have changed.
 */
#ifndef VMM_DISK_URING_H
#define VMM_DISK_URING_H

#include <stdbool.h>

#include "vmm/disk.h"

struct vmm_io;
struct vmm_uring;

struct vmm_udisk {
	struct vmm_disk disk; /* first */
	struct vmm_uring *ring;
	int fd;			  /* -1: closed */
	unsigned mem_align_bytes; /* of buffers in memory; what is not goes through one of ours */
	bool hold_errors;
	/* Tells that a request is held, or that this node was fenced; dev_lock held, I/O thread. */
	void (*on_error)(struct vmm_udisk *d, int res);
	void (*on_fenced)(struct vmm_udisk *d);
	void *arg;		   /* for the two above */
	struct vmm_disk_req *held; /* linked by priv[1] */
	uint64_t held_since_ms;
};

/* What a disk has to tell; disk.errors, disk.no_space and the rest say the details. */
enum vmm_udisk_news {
	VMM_UDISK_ERROR,    /* an error was given to the guest */
	VMM_UDISK_NO_SPACE, /* begins, or was tried again in vain */
	VMM_UDISK_ROOM,	    /* everything that waited for space is written */
};

typedef void (*vmm_udisk_news_fn)(void *arg, struct vmm_disk *disk, enum vmm_udisk_news news);

/* Who hears of it: I/O thread, dev_lock held. */
void vmm_uring_watch(struct vmm_uring *ring, vmm_udisk_news_fn fn, void *arg);
/* 0 or -errno. */
int vmm_uring_new(struct vmm_io *io, struct vmm_uring **ret_ring);
/* The I/O thread has stopped. */
void vmm_uring_free(struct vmm_uring *ring);

/* A closed disk of 512-byte blocks. */
void vmm_udisk_init(struct vmm_udisk *d, const struct vmm_disk_ops *ops, struct vmm_uring *ring,
		    void (*on_fenced)(struct vmm_udisk *d), void *arg);
void vmm_udisk_opened(struct vmm_udisk *d, uint64_t generation);
/* A fenced disk stays fenced. */
void vmm_udisk_closed(struct vmm_udisk *d);
/* struct vmm_disk_ops.submit of every back end that embeds a vmm_udisk. */
int vmm_udisk_submit(struct vmm_disk *disk, struct vmm_disk_req *req);
/* Hands what was submitted to the kernel now: before an fd is closed, so that no request names a closed one. */
void vmm_udisk_flush(struct vmm_udisk *d);
/* Issues held requests again, on d->fd.  I/O thread, dev_lock. */
void vmm_udisk_reissue(struct vmm_udisk *d);
/* Completes held requests with res. */
void vmm_udisk_fail(struct vmm_udisk *d, int res);

/*
 * A plain file or block device, opened now and closed when freed.  path is copied.  Its block size
 * is what direct I/O to it takes; a block device that is read-only is refused unless readonly.
 */
int vmm_disk_file_new(struct vmm_uring *ring, const char *path, bool readonly,
		      void (*on_fenced)(struct vmm_udisk *d), void *arg, struct vmm_disk **ret_disk,
		      char **ret_error);
/* Both are disks of vmm_disk_file_new() on the same file or device, whatever their paths say. */
bool vmm_disk_file_same(const struct vmm_disk *a, const struct vmm_disk *b);
uint64_t vmm_now_ms(void);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a migration stream goes to or comes from: a stream to another vmm, or a file.
 */
#ifndef VMM_MIGRATION_LINK_H
#define VMM_MIGRATION_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmm_link {
	/* All bytes, or -errno; -EPIPE when the other side is gone, -ENODATA at a file's end. */
	int (*write)(struct vmm_link *link, const void *buf, size_t len_bytes);
	int (*read)(struct vmm_link *link, void *buf, size_t len_bytes);
	int fd; /* borrowed */
	struct vmm_file *file;
	uint64_t written_bytes;
};

/* A connected stream socket. */
void vmm_link_stream(struct vmm_link *link, int fd);
/* How long a call may take in which nothing moves: then -ETIMEDOUT.  0: for ever. */
void vmm_link_timeout_set(int fd, int timeout_ms);
/*
 * A file from its start, to write (out) or to read.  fd is borrowed.  0 or -ENOMEM; nobody but the
 * link uses the file until vmm_link_file_free().
 */
int vmm_link_file(struct vmm_link *link, int fd, bool out);
/* All that was written is on stable storage, or -errno; nothing may be written after it. */
int vmm_link_file_sync(struct vmm_link *link);
/* Without a sync before it, what was written may be missing. */
void vmm_link_file_free(struct vmm_link *link);

#endif

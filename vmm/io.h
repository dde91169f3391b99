/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O thread: an epoll loop whose callbacks run with vmm.dev_lock held and
 * must not block.  Items are added and removed before the thread starts, after it stopped, or from
 * a callback; events may be changed by any thread.
 */
#ifndef VMM_IO_H
#define VMM_IO_H

#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "vmm/thread.h"

struct vmm_io;
struct vmm_io_item;

typedef void (*vmm_io_fn)(void *arg, uint32_t events);

/* dev_lock is borrowed.  0 or -errno. */
int vmm_io_new(pthread_mutex_t *dev_lock, struct vmm_io **ret_io);
/* Stops the thread first. */
void vmm_io_free(struct vmm_io *io);
/* fd is borrowed; events as EPOLLIN.  0 or -errno. */
int vmm_io_add(struct vmm_io *io, int fd, uint32_t events, vmm_io_fn fn, void *arg,
	       struct vmm_io_item **ret_item);
void vmm_io_mod(struct vmm_io_item *item, uint32_t events);
/* The item is gone for its owner at once. NULL is fine. */
void vmm_io_del(struct vmm_io_item *item);
/* fn is called after each round of events. At most four. */
int vmm_io_after(struct vmm_io *io, void (*fn)(void *arg), void *arg);
/* confine (may be NULL) is called first on the thread. */
int vmm_io_start(struct vmm_io *io, vmm_confine_fn confine);
void vmm_io_stop(struct vmm_io *io);

#endif

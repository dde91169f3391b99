/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The epoll loop of the I/O thread.  A deleted item is freed only when no round
 * that could still name it is under way.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "vmm/io.h"

#define AFTER_MAX  4u
#define ROUND_MAX  32

struct vmm_io_item {
	struct vmm_io *io;
	int fd;
	vmm_io_fn fn; /* NULL: deleted */
	void *arg;
	struct vmm_io_item *next_dead;
};

struct vmm_io {
	pthread_mutex_t *dev_lock;
	int epoll_fd;
	int stop_fd;
	pthread_t thread;
	bool running;
	struct vmm_io_item *dead;
	vmm_confine_fn confine;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} after[AFTER_MAX];
	unsigned n_after;
};

int vmm_io_new(pthread_mutex_t *dev_lock, struct vmm_io **ret_io)
{
	struct vmm_io *io = calloc(1, sizeof(*io));
	struct epoll_event ev = { .events = EPOLLIN };
	int r;

	if (!io)
		return -ENOMEM;
	io->dev_lock = dev_lock;
	io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	io->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->epoll_fd < 0 || io->stop_fd < 0 ||
	    epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, io->stop_fd, &ev) < 0) {
		r = -errno;
		vmm_io_free(io);
		return r;
	}
	*ret_io = io;
	return 0;
}

static void dead_free(struct vmm_io *io)
{
	while (io->dead) {
		struct vmm_io_item *next = io->dead->next_dead;

		free(io->dead);
		io->dead = next;
	}
}

void vmm_io_free(struct vmm_io *io)
{
	if (!io)
		return;
	vmm_io_stop(io);
	dead_free(io);
	if (io->epoll_fd >= 0)
		close(io->epoll_fd);
	if (io->stop_fd >= 0)
		close(io->stop_fd);
	free(io);
}

int vmm_io_add(struct vmm_io *io, int fd, uint32_t events, vmm_io_fn fn, void *arg,
	       struct vmm_io_item **ret_item)
{
	struct vmm_io_item *item = calloc(1, sizeof(*item));
	struct epoll_event ev = { .events = events, .data.ptr = item };

	if (!item)
		return -ENOMEM;
	*item = (struct vmm_io_item){ .io = io, .fd = fd, .fn = fn, .arg = arg };
	if (epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int r = -errno;

		free(item);
		return r;
	}
	*ret_item = item;
	return 0;
}

void vmm_io_mod(struct vmm_io_item *item, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = item };

	(void)epoll_ctl(item->io->epoll_fd, EPOLL_CTL_MOD, item->fd, &ev);
}

void vmm_io_del(struct vmm_io_item *item)
{
	if (!item)
		return;
	(void)epoll_ctl(item->io->epoll_fd, EPOLL_CTL_DEL, item->fd, NULL);
	item->fn = NULL;
	item->next_dead = item->io->dead;
	item->io->dead = item;
}

int vmm_io_after(struct vmm_io *io, void (*fn)(void *arg), void *arg)
{
	if (io->n_after == AFTER_MAX)
		return -ENOSPC;
	io->after[io->n_after].fn = fn;
	io->after[io->n_after].arg = arg;
	io->n_after++;
	return 0;
}

static void *io_main(void *arg)
{
	struct vmm_io *io = arg;
	bool stop = false;

	pthread_setname_np(pthread_self(), "vmm-io");
	if (io->confine)
		io->confine(VMM_THREAD_IO);
	while (!stop) {
		struct epoll_event ev[ROUND_MAX];
		int n = epoll_wait(io->epoll_fd, ev, ROUND_MAX, -1);

		pthread_mutex_lock(io->dev_lock);
		for (int i = 0; i < n; i++) {
			struct vmm_io_item *item = ev[i].data.ptr;

			if (!item)
				stop = true;
			else if (item->fn)
				item->fn(item->arg, ev[i].events);
		}
		for (unsigned i = 0; i < io->n_after; i++)
			io->after[i].fn(io->after[i].arg);
		dead_free(io);
		pthread_mutex_unlock(io->dev_lock);
	}
	return NULL;
}

int vmm_io_start(struct vmm_io *io, vmm_confine_fn confine)
{
	int r;

	io->confine = confine;
	r = pthread_create(&io->thread, NULL, io_main, io);

	io->running = r == 0;
	return -r;
}

void vmm_io_stop(struct vmm_io *io)
{
	uint64_t one = 1;

	if (!io->running)
		return;
	(void)!write(io->stop_fd, &one, sizeof(one));
	pthread_join(io->thread, NULL);
	io->running = false;
}

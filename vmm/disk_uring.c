/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring, and what becomes of each completion.  Submitting never blocks the I/O
 * thread: I/O that would block goes to the kernel's workers, I/O to a suspended
 * device waits in the device.  Buffers that the disk cannot take as they are (address or
 * length not aligned) go through one of our own.
 */
#include "vmm/disk_uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_types.h"
#include "vmm/io.h"

#define SQ_ENTRIES  256u
#define CQ_ENTRIES  2048u
#define REQUEST_MAX (1u << 30) /* the kernel moves at most 2 GiB - 4 KiB at once */
#define BOUNCE_MAX  (16u << 20)
#define SHORT_TRIES 8u
#define PRIV_DISK   0
#define PRIV_NEXT   1
#define PRIV_BOUNCE 2
#define U_TRIES	    0
#define U_DONE	    1 /* of a write: bytes that are there already */

struct bounce {
	struct iovec iov;
	uint8_t *data;
};

struct vmm_uring {
	struct io_uring ring;
	int event_fd;
	struct vmm_io_item *item;
	vmm_udisk_news_fn news;
	void *news_arg;
};

uint64_t vmm_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool aligned(const struct vmm_udisk *d, const struct vmm_disk_req *req)
{
	unsigned a = d->disk.align_bytes;
	unsigned m = a > d->mem_align_bytes ? a : d->mem_align_bytes;

	for (unsigned i = 0; i < req->n_iov; i++)
		if ((uintptr_t)req->iov[i].iov_base % m || req->iov[i].iov_len % a)
			return false;
	return true;
}

static int bounce_make(struct vmm_udisk *d, struct vmm_disk_req *req, bool force)
{
	struct bounce *b;
	size_t at = 0;

	if (!force && (req->op == VMM_DISK_FLUSH || aligned(d, req)))
		return 0;
	if (req->len_bytes > BOUNCE_MAX)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b || posix_memalign((void **)&b->data, 4096, req->len_bytes)) {
		free(b);
		return -ENOMEM;
	}
	b->iov = (struct iovec){ b->data, req->len_bytes };
	for (unsigned i = 0; req->op == VMM_DISK_WRITE && i < req->n_iov; i++) {
		memcpy(b->data + at, req->iov[i].iov_base, req->iov[i].iov_len);
		at += req->iov[i].iov_len;
	}
	req->priv[PRIV_BOUNCE] = b;
	return 0;
}

static void bounce_end(struct vmm_disk_req *req, bool copy_back)
{
	struct bounce *b = req->priv[PRIV_BOUNCE];
	size_t at = 0;

	if (!b)
		return;
	for (unsigned i = 0; copy_back && i < req->n_iov; i++) {
		memcpy(req->iov[i].iov_base, b->data + at, req->iov[i].iov_len);
		at += req->iov[i].iov_len;
	}
	free(b->data);
	free(b);
	req->priv[PRIV_BOUNCE] = NULL;
}

static int issue(struct vmm_udisk *d, struct vmm_disk_req *req)
{
	const struct bounce *b = req->priv[PRIV_BOUNCE];
	const struct iovec *iov = b ? &b->iov : req->iov;
	unsigned n = b ? 1 : req->n_iov;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&d->ring->ring);

	if (!sqe) {
		(void)io_uring_submit(&d->ring->ring);
		sqe = io_uring_get_sqe(&d->ring->ring);
		if (!sqe)
			return -EBUSY;
	}
	switch (req->op) {
	case VMM_DISK_READ:
		io_uring_prep_readv(sqe, d->fd, iov, n, req->offset_bytes);
		break;
	case VMM_DISK_WRITE:
		io_uring_prep_writev2(sqe, d->fd, iov, n, req->offset_bytes + req->priv_u[U_DONE],
				      req->durable ? RWF_DSYNC : 0);
		break;
	case VMM_DISK_FLUSH:
		io_uring_prep_fsync(sqe, d->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, req);
	return 0;
}

void vmm_udisk_flush(struct vmm_udisk *d)
{
	if (io_uring_sq_ready(&d->ring->ring))
		(void)io_uring_submit(&d->ring->ring);
}

static void hold(struct vmm_udisk *d, struct vmm_disk_req *req)
{
	if (!d->held)
		d->held_since_ms = vmm_now_ms();
	req->priv[PRIV_NEXT] = d->held;
	d->held = req;
	d->disk.state = VMM_DISK_BLOCKED;
}

void vmm_udisk_init(struct vmm_udisk *d, const struct vmm_disk_ops *ops, struct vmm_uring *ring,
		    void (*on_fenced)(struct vmm_udisk *d), void *arg)
{
	d->disk.ops = ops;
	d->disk.align_bytes = 512;
	d->mem_align_bytes = 512;
	d->ring = ring;
	d->fd = -1;
	d->on_fenced = on_fenced;
	d->arg = arg;
}

void vmm_udisk_opened(struct vmm_udisk *d, uint64_t generation)
{
	d->disk.generation = generation;
	d->disk.state = VMM_DISK_OPEN;
}

void vmm_udisk_closed(struct vmm_udisk *d)
{
	if (d->disk.state != VMM_DISK_FENCED)
		d->disk.state = VMM_DISK_CLOSED;
}

static void news(struct vmm_udisk *d, enum vmm_udisk_news what)
{
	if (d->ring->news)
		d->ring->news(d->ring->news_arg, &d->disk, what);
}

static void error_note(struct vmm_udisk *d, const struct vmm_disk_req *req, int res)
{
	d->disk.errors++;
	d->disk.error = -res;
	d->disk.error_op = req->op;
	d->disk.error_offset_bytes = req->offset_bytes;
	news(d, VMM_UDISK_ERROR);
}

int vmm_udisk_submit(struct vmm_disk *disk, struct vmm_disk_req *req)
{
	struct vmm_udisk *d = (struct vmm_udisk *)disk;
	int r;

	if (d->fd < 0 || disk->state == VMM_DISK_CLOSED || req->len_bytes > REQUEST_MAX) {
		error_note(d, req, -EIO);
		return -EIO;
	}
	memset(req->priv, 0, sizeof(req->priv));
	memset(req->priv_u, 0, sizeof(req->priv_u));
	req->priv[PRIV_DISK] = d;
	r = bounce_make(d, req, false);
	if (r < 0) {
		error_note(d, req, r);
		return r;
	}
	if (d->disk.state == VMM_DISK_BLOCKED && d->held) {
		/* Behind what waits already. */
		hold(d, req);
	} else {
		r = issue(d, req);
		if (r < 0) {
			bounce_end(req, false);
			error_note(d, req, r);
			return r;
		}
	}
	if (d->disk.in_flight++ == 0)
		d->disk.oldest_ms = vmm_now_ms();
	return 0;
}

static void complete(struct vmm_udisk *d, struct vmm_disk_req *req, int res)
{
	bounce_end(req, req->op == VMM_DISK_READ && res == 0);
	assert(d->disk.in_flight > 0);
	d->disk.in_flight--;
	d->disk.oldest_ms = vmm_now_ms();
	if (res < 0)
		error_note(d, req, res);
	/* With the last one, not with the first: the next may still find the file system full. */
	if (d->disk.no_space && !d->held && d->disk.in_flight == 0) {
		d->disk.no_space = false;
		news(d, VMM_UDISK_ROOM);
	}
	req->done(req, res);
}

void vmm_udisk_reissue(struct vmm_udisk *d)
{
	struct vmm_disk_req *list = d->held;

	d->held = NULL;
	if (d->disk.state == VMM_DISK_BLOCKED)
		d->disk.state = VMM_DISK_OPEN;
	while (list) {
		struct vmm_disk_req *req = list;

		list = req->priv[PRIV_NEXT];
		req->priv_u[U_TRIES] = 0;
		if (issue(d, req) < 0)
			hold(d, req);
	}
}

void vmm_udisk_fail(struct vmm_udisk *d, int res)
{
	struct vmm_disk_req *list = d->held;

	d->held = NULL;
	if (d->disk.state == VMM_DISK_BLOCKED)
		d->disk.state = VMM_DISK_OPEN;
	while (list) {
		struct vmm_disk_req *req = list;

		list = req->priv[PRIV_NEXT];
		complete(d, req, res);
	}
}

/* What is left of a write that was short, to hear why.  False: it cannot be done. */
static bool rest_issue(struct vmm_udisk *d, struct vmm_disk_req *req, uint64_t more_bytes)
{
	uint64_t done = req->priv_u[U_DONE] + more_bytes;
	struct bounce *b;

	done -= done % d->disk.align_bytes;
	if (!req->priv[PRIV_BOUNCE] && bounce_make(d, req, true) < 0)
		return false;
	b = req->priv[PRIV_BOUNCE];
	b->iov = (struct iovec){ b->data + done, req->len_bytes - done };
	req->priv_u[U_DONE] = done;
	return issue(d, req) == 0;
}

static void on_cqe(struct vmm_disk_req *req, int res)
{
	struct vmm_udisk *d = req->priv[PRIV_DISK];

	if (d->disk.state == VMM_DISK_FENCED)
		return;
	if (res == -EBADE) {
		/* Another node has the right to write now. Nothing more is told to the guest. */
		d->disk.state = VMM_DISK_FENCED;
		d->on_fenced(d);
		return;
	}
	if (res >= 0 &&
	    (req->op == VMM_DISK_FLUSH || (uint64_t)res == req->len_bytes - req->priv_u[U_DONE])) {
		complete(d, req, 0);
		return;
	}
	if (res > 0 && req->op == VMM_DISK_WRITE && req->priv_u[U_TRIES]++ < SHORT_TRIES &&
	    rest_issue(d, req, (uint64_t)res))
		return;
	/* Interrupted, or a short read: the whole request again; the same twice is the same. */
	if ((res >= 0 || res == -EINTR || res == -EAGAIN) && req->priv_u[U_TRIES]++ < SHORT_TRIES &&
	    issue(d, req) == 0)
		return;
	if ((res == -ENOSPC || res == -EDQUOT) && req->op != VMM_DISK_READ) {
		hold(d, req);
		d->disk.no_space = true;
		news(d, VMM_UDISK_NO_SPACE);
		return;
	}
	if (res >= 0)
		res = -EIO;
	if (!d->hold_errors) {
		complete(d, req, res);
		return;
	}
	hold(d, req);
	d->on_error(d, res);
}

static void on_event(void *arg, uint32_t events)
{
	struct vmm_uring *ring = arg;
	struct io_uring_cqe *cqe;
	uint64_t count;

	(void)!read(ring->event_fd, &count, sizeof(count));
	while (io_uring_peek_cqe(&ring->ring, &cqe) == 0) {
		struct vmm_disk_req *req = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&ring->ring, cqe);
		on_cqe(req, res);
	}
}

static void after_round(void *arg)
{
	struct vmm_uring *ring = arg;

	if (io_uring_sq_ready(&ring->ring))
		(void)io_uring_submit(&ring->ring);
}

/*
 * A ring does what the system call filter does not see.  So it does what disks need and nothing else: no other
 * operation, no flag of one, no registration; for good, since it can be said only while the ring is disabled.
 */
static int ring_close_in(struct io_uring *ring)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
	};

	/* By number: liburing 2.3 declares functions for these and does not export them. */
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, only,
		    CL_ARRAY_LEN(only)) < 0 ||
	    syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
		return -errno;
	return 0;
}

void vmm_uring_watch(struct vmm_uring *ring, vmm_udisk_news_fn fn, void *arg)
{
	ring->news = fn;
	ring->news_arg = arg;
}

int vmm_uring_new(struct vmm_io *io, struct vmm_uring **ret_ring)
{
	struct io_uring_params params = { .flags = IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
					  .cq_entries = CQ_ENTRIES };
	struct vmm_uring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	ring->event_fd = -1;
	r = io_uring_queue_init_params(SQ_ENTRIES, &ring->ring, &params);
	if (r < 0) {
		free(ring);
		return r;
	}
	ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = ring->event_fd < 0 ? -errno : io_uring_register_eventfd(&ring->ring, ring->event_fd);
	if (r == 0)
		r = ring_close_in(&ring->ring);
	if (r == 0)
		r = vmm_io_add(io, ring->event_fd, EPOLLIN, on_event, ring, &ring->item);
	if (r == 0)
		r = vmm_io_after(io, after_round, ring);
	if (r < 0) {
		vmm_uring_free(ring);
		return r;
	}
	*ret_ring = ring;
	return 0;
}

void vmm_uring_free(struct vmm_uring *ring)
{
	if (!ring)
		return;
	vmm_io_del(ring->item);
	io_uring_queue_exit(&ring->ring);
	if (ring->event_fd >= 0)
		close(ring->event_fd);
	free(ring);
}

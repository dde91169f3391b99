/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk requests.  The chain was copied and checked by the queue; here its
 * header is read once, the sector range is checked against the disk, and the
 * data part becomes an iovec straight into guest memory.  A request that makes no
 * sense gets VIRTIO_BLK_S_IOERR or UNSUPP; one without room for a status byte breaks the
 * device.
 */
#include "vmm/devices/blk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define TYPE_BLOCK 2u

#define F_SEG_MAX  (1ull << 2)
#define F_RO	   (1ull << 5)
#define F_BLK_SIZE (1ull << 6)
#define F_FLUSH	   (1ull << 9)

#define T_IN	 0u
#define T_OUT	 1u
#define T_FLUSH	 4u
#define T_GET_ID 8u

#define S_OK	 0u
#define S_IOERR	 1u
#define S_UNSUPP 2u

#define SECTOR	   512u
#define ID_BYTES   20u
#define HEADER	   16u
#define CFG_BYTES  32u
#define SEG_MAX	   (VMM_BLK_QUEUE_SIZE - 2)

static void finish(struct vmm_blk_req *req, uint8_t status, uint32_t written_bytes)
{
	struct vmm_blk *blk = req->blk;
	const struct vmm_mem *mem = blk->virtio.dev.host->mem;

	vmm_chain_write(&req->chain, mem, req->chain.in_bytes - 1, &status, 1);
	vmm_virtio_push(&blk->virtio, 0, req->chain.head, written_bytes + 1);
}

static void release(struct vmm_blk_req *req)
{
	assert(req->busy);
	req->busy = false;
	req->blk->n_busy--;
}

/* From the disk, on the I/O thread. */
static void on_done(struct vmm_disk_req *disk_req, int res)
{
	struct vmm_blk_req *req = (struct vmm_blk_req *)disk_req;
	struct vmm_blk *blk = req->blk;
	const struct vmm_mem *mem = blk->virtio.dev.host->mem;
	uint32_t written = 0;

	if (disk_req->op == VMM_DISK_READ) {
		/* The device wrote these pages, even if the request failed half-way. */
		for (unsigned i = 0; i < req->chain.n_in; i++) {
			const struct vmm_seg *s = &req->chain.segs[req->chain.n_out + i];

			vmm_mem_dirty(mem, s->gpa, s->len_bytes);
		}
		written = res == 0 ? (uint32_t)disk_req->len_bytes : 0;
	}
	/* After a reset the ring is gone: push would be refused, the status byte must not be written. */
	if (vmm_virtio_live(&blk->virtio))
		finish(req, res == 0 ? S_OK : S_IOERR, written);
	release(req);
	vmm_virtio_flush(&blk->virtio, 0);
	vmm_virtio_idle(&blk->virtio);
	/* There may have been no free request before. */
	if (vmm_virtio_may_run(&blk->virtio) && blk->n_busy == VMM_BLK_QUEUE_SIZE - 1)
		blk->virtio.dev.host->kick(blk->virtio.dev.host->arg, &blk->virtio.dev, 0);
}

/* Builds the data part: of the in segments without the status byte, or of the out ones without the header. */
static void iov_build(struct vmm_blk_req *req, bool in)
{
	const struct vmm_chain *c = &req->chain;
	uint64_t skip = in ? 0 : HEADER;
	uint64_t left = in ? c->in_bytes - 1 : c->out_bytes - HEADER;
	unsigned first = in ? c->n_out : 0, n = in ? c->n_in : c->n_out;

	req->disk.iov = req->iov;
	req->disk.n_iov = 0;
	req->disk.len_bytes = left;
	for (unsigned i = first; i < first + n && left; i++) {
		uint64_t len = c->segs[i].len_bytes;
		uint64_t off = skip < len ? skip : len;

		skip -= off;
		len -= off;
		if (len > left)
			len = left;
		left -= len;
		if (len)
			req->iov[req->disk.n_iov++] =
				(struct iovec){ c->segs[i].host + off, (size_t)len };
	}
}

static bool range_ok(const struct vmm_blk *blk, uint64_t sector, uint64_t len_bytes)
{
	uint64_t size = blk->disk->size_bytes;
	unsigned align = blk->block_bytes;

	return len_bytes > 0 && len_bytes % align == 0 && sector <= size / SECTOR &&
	       sector * SECTOR % align == 0 && len_bytes <= size - sector * SECTOR;
}

static void id_write(struct vmm_blk_req *req)
{
	char id[ID_BYTES] = "gen-", digits[20];
	uint64_t g = *req->blk->generation;
	unsigned n = 0, len = 4;

	do {
		digits[n++] = (char)('0' + g % 10);
		g /= 10;
	} while (g);
	while (n && len < ID_BYTES)
		id[len++] = digits[--n];
	len = req->chain.in_bytes - 1 < ID_BYTES ? req->chain.in_bytes - 1 : ID_BYTES;
	vmm_chain_write(&req->chain, req->blk->virtio.dev.host->mem, 0, id, len);
	finish(req, S_OK, len);
}

/* True if the disk has the request now; else it was answered. */
static bool start(struct vmm_blk_req *req)
{
	struct vmm_blk *blk = req->blk;
	uint32_t type;
	uint64_t sector;
	uint8_t header[HEADER];
	bool durable = !(blk->virtio.driver_features & F_FLUSH);

	vmm_chain_read(&req->chain, 0, header, sizeof(header));
	memcpy(&type, header, 4);
	memcpy(&sector, header + 8, 8);
	req->disk.n_iov = 0;
	req->disk.len_bytes = 0;
	req->disk.durable = false;
	req->disk.offset_bytes = 0;
	switch (type) {
	case T_IN:
	case T_OUT:
		req->disk.op = type == T_IN ? VMM_DISK_READ : VMM_DISK_WRITE;
		iov_build(req, type == T_IN);
		if (!range_ok(blk, sector, req->disk.len_bytes) ||
		    (type == T_OUT && blk->disk->readonly)) {
			finish(req, S_IOERR, 0);
			return false;
		}
		req->disk.offset_bytes = sector * SECTOR;
		req->disk.durable = durable && type == T_OUT;
		break;
	case T_FLUSH:
		req->disk.op = VMM_DISK_FLUSH;
		break;
	case T_GET_ID:
		id_write(req);
		return false;
	default:
		finish(req, S_UNSUPP, 0);
		return false;
	}
	if (blk->disk->ops->submit(blk->disk, &req->disk) < 0) {
		finish(req, S_IOERR, 0);
		return false;
	}
	return true;
}

static struct vmm_blk_req *req_take(struct vmm_blk *blk)
{
	for (unsigned i = 0; i < VMM_BLK_QUEUE_SIZE; i++) {
		if (!blk->reqs[i].busy) {
			blk->reqs[i].busy = true;
			blk->n_busy++;
			return &blk->reqs[i];
		}
	}
	return NULL;
}

static void blk_queue(struct vmm_virtio *vd, unsigned i)
{
	struct vmm_blk *blk = (struct vmm_blk *)vd;
	struct vmm_virtq *q = &vd->queues[i];
	const struct vmm_mem *mem = vd->dev.host->mem;
	bool answered = false, full = false;

	do {
		vmm_virtq_notify_set(q, mem, false);
		for (;;) {
			struct vmm_blk_req *req = req_take(blk);

			full = !req;
			if (full)
				break; /* on_done() comes back */
			if (!vmm_virtio_pop(vd, i, &req->chain)) {
				release(req);
				break;
			}
			if (req->chain.out_bytes < HEADER || req->chain.in_bytes < 1) {
				release(req);
				vmm_virtio_broken(vd);
				return;
			}
			if (!start(req)) {
				release(req);
				answered = true;
			}
		}
	} while (!full && vmm_virtio_may_run(vd) && vmm_virtq_notify_set(q, mem, true));
	if (answered)
		vmm_virtio_flush(vd, i);
}

static unsigned blk_in_flight(const struct vmm_virtio *vd)
{
	return ((const struct vmm_blk *)vd)->n_busy;
}

static void blk_save(struct vmm_virtio *vd, struct cl_writer *w)
{
	const struct vmm_blk *blk = (const struct vmm_blk *)vd;

	cl_write_u64(w, blk->disk->size_bytes);
	/* 512 is what a vmm that says nothing has told its guest: older ones read no further. */
	if (blk->block_bytes != SECTOR)
		cl_write_u32(w, blk->block_bytes);
}

static bool block_ok(uint32_t block_bytes)
{
	return block_bytes == SECTOR || block_bytes == VMM_BLK_BLOCK_MAX;
}

static int blk_restore(struct vmm_virtio *vd, struct cl_reader *r)
{
	struct vmm_blk *blk = (struct vmm_blk *)vd;

	blk->size_promised = cl_read_u64(r);
	blk->block_promised = SECTOR;
	if (cl_reader_left(r))
		blk->block_promised = cl_read_u32(r);
	return r->bad || blk->size_promised % SECTOR || !block_ok(blk->block_promised) ? -EBADMSG
										       : 0;
}

static const struct vmm_virtio_ops blk_ops = {
	.queue = blk_queue,
	.in_flight = blk_in_flight,
	.save = blk_save,
	.restore = blk_restore,
};

bool vmm_blk_size_set(struct vmm_blk *blk, uint64_t size_bytes, unsigned align_bytes)
{
	uint64_t capacity_le = size_bytes / SECTOR;
	uint32_t block_le = align_bytes > SECTOR ? align_bytes : SECTOR, seg_max_le = SEG_MAX;

	if (blk->block_promised) {
		/* The guest keeps what it was told; a coarser disk cannot do that. */
		if (block_le > blk->block_promised)
			return false;
		block_le = blk->block_promised;
	}
	blk->block_bytes = block_le;
	memcpy(blk->virtio.config, &capacity_le, 8);
	memcpy(blk->virtio.config + 12, &seg_max_le, 4);
	memcpy(blk->virtio.config + 20, &block_le, 4);
	return true;
}

void vmm_blk_init(struct vmm_blk *blk, const struct vmm_host *host, const char *name,
		  struct vmm_disk *disk, const uint64_t *generation)
{
	vmm_virtio_init(&blk->virtio, host, name, TYPE_BLOCK, &blk_ops,
			F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (disk->readonly ? F_RO : 0), 1,
			VMM_BLK_QUEUE_SIZE);
	blk->disk = disk;
	blk->generation = generation;
	blk->n_busy = 0;
	blk->size_promised = 0;
	blk->block_promised = 0;
	for (unsigned i = 0; i < VMM_BLK_QUEUE_SIZE; i++) {
		blk->reqs[i].busy = false;
		blk->reqs[i].blk = blk;
		blk->reqs[i].disk.done = on_done;
	}
	blk->virtio.config_bytes = CFG_BYTES;
	(void)vmm_blk_size_set(blk, disk->size_bytes, disk->align_bytes);
}

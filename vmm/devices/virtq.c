/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueue, device side.  The ring lives in memory that the guest changes
 * at will: every field is loaded once, every address goes through vmm/mem.h, a
 * chain is no longer than its table, and an index that jumps more than the
 * queue's size is refused.
 */
#include "vmm/devices/virtq.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define DESC_F_NEXT	1u
#define DESC_F_WRITE	2u
#define DESC_F_INDIRECT 4u

#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

struct desc {
	uint64_t addr_le;
	uint32_t len_le;
	uint16_t flags_le;
	uint16_t next_le;
};

struct used_elem {
	uint32_t id_le;
	uint32_t len_le;
};

static uint64_t avail_bytes(const struct vmm_virtq *q)
{
	return 6 + 2ull * q->size;
}

static uint64_t used_bytes(const struct vmm_virtq *q)
{
	return 6 + sizeof(struct used_elem) * (uint64_t)q->size;
}

void vmm_virtq_reset(struct vmm_virtq *q, uint16_t size_max)
{
	assert(size_max <= VMM_VIRTQ_SIZE_MAX);
	memset(q, 0, sizeof(*q));
	q->size_max = size_max;
	q->size = size_max;
	q->vector = 0xffff;
}

bool vmm_virtq_valid(const struct vmm_virtq *q, const struct vmm_mem *mem)
{
	if (q->size == 0 || q->size > q->size_max || (q->size & (q->size - 1)))
		return false;
	if (q->desc % 16 || q->avail % 2 || q->used % 4)
		return false;
	return vmm_mem_ptr(mem, q->desc, sizeof(struct desc) * (uint64_t)q->size) &&
	       vmm_mem_ptr(mem, q->avail, avail_bytes(q)) && vmm_mem_ptr(mem, q->used, used_bytes(q));
}

/* The field's address was proven by vmm_virtq_valid(); checked again since it costs nothing. */
static int ring_load16(const struct vmm_mem *mem, uint64_t gpa, uint16_t *ret_v)
{
	const uint16_t *p = vmm_mem_ptr(mem, gpa, 2);

	if (!p)
		return -EBADMSG;
	*ret_v = __atomic_load_n(p, __ATOMIC_ACQUIRE);
	return 0;
}

static int ring_store16(const struct vmm_mem *mem, uint64_t gpa, uint16_t v)
{
	uint16_t *p = vmm_mem_ptr_w(mem, gpa, 2);

	if (!p)
		return -EBADMSG;
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
	vmm_mem_dirty(mem, gpa, 2);
	return 0;
}

static int chain_add(struct vmm_chain *chain, const struct vmm_mem *mem, const struct desc *d)
{
	struct vmm_seg *seg;
	bool write = d->flags_le & DESC_F_WRITE;
	uint32_t *total = write ? &chain->in_bytes : &chain->out_bytes;
	void *host;

	if (chain->n_out + chain->n_in == VMM_CHAIN_SEGS_MAX || (!write && chain->n_in > 0) ||
	    d->len_le == 0 || d->len_le > UINT32_MAX - *total)
		return -EBADMSG;
	/* Device writes are marked when they are made. */
	host = (void *)(uintptr_t)vmm_mem_ptr(mem, d->addr_le, d->len_le);
	if (!host)
		return -EBADMSG;
	seg = &chain->segs[chain->n_out + chain->n_in];
	seg->gpa = d->addr_le;
	seg->len_bytes = d->len_le;
	seg->host = host;
	*total += d->len_le;
	if (write)
		chain->n_in++;
	else
		chain->n_out++;
	return 0;
}

/* Walks a table of n descriptors from index i.  An indirect one may only stand in the ring's own table. */
static int chain_walk(struct vmm_chain *chain, const struct vmm_mem *mem, uint64_t table, uint32_t n,
		      uint16_t i, bool indirect_ok)
{
	for (uint32_t steps = 0; steps < n; steps++) {
		struct desc d;
		int r;

		if (i >= n || vmm_mem_read(mem, table + 16ull * i, &d, sizeof(d)) < 0)
			return -EBADMSG;
		if (d.flags_le & DESC_F_INDIRECT) {
			uint32_t entries = d.len_le / 16;

			if (!indirect_ok || (d.flags_le & DESC_F_NEXT) || d.len_le % 16 ||
			    entries == 0 || entries > 65536)
				return -EBADMSG;
			return chain_walk(chain, mem, d.addr_le, entries, 0, false);
		}
		r = chain_add(chain, mem, &d);
		if (r < 0)
			return r;
		if (!(d.flags_le & DESC_F_NEXT))
			return 0;
		i = d.next_le;
	}
	return -EBADMSG; /* a loop */
}

int vmm_virtq_pop(struct vmm_virtq *q, const struct vmm_mem *mem, struct vmm_chain *chain)
{
	uint16_t idx, head;
	int r;

	if (!q->enabled || ring_load16(mem, q->avail + 2, &idx) < 0)
		return -EBADMSG;
	if (idx == q->avail_next)
		return 0;
	if ((uint16_t)(idx - q->avail_next) > q->size)
		return -EBADMSG;
	if (ring_load16(mem, q->avail + 4 + 2ull * (q->avail_next % q->size), &head) < 0 ||
	    head >= q->size)
		return -EBADMSG;
	chain->head = head;
	chain->n_out = chain->n_in = 0;
	chain->out_bytes = chain->in_bytes = 0;
	r = chain_walk(chain, mem, q->desc, q->size, head, true);
	if (r < 0)
		return r;
	q->avail_next++;
	return 1;
}

void vmm_virtq_unpop(struct vmm_virtq *q)
{
	q->avail_next--;
}

int vmm_virtq_push(struct vmm_virtq *q, const struct vmm_mem *mem, uint16_t head,
		   uint32_t written_bytes)
{
	struct used_elem elem = { .id_le = head, .len_le = written_bytes };

	if (!q->enabled || vmm_mem_write(mem, q->used + 4 + 8ull * (q->used_next % q->size), &elem,
					 sizeof(elem)) < 0)
		return -EBADMSG;
	q->used_next++;
	return ring_store16(mem, q->used + 2, q->used_next);
}

bool vmm_virtq_wants_irq(struct vmm_virtq *q, const struct vmm_mem *mem)
{
	uint16_t v, old = q->signalled;
	bool old_valid = q->signalled_valid;

	if (!q->enabled)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return ring_load16(mem, q->avail, &v) == 0 && !(v & AVAIL_F_NO_INTERRUPT);
	q->signalled = q->used_next;
	q->signalled_valid = true;
	if (!old_valid)
		return true;
	if (ring_load16(mem, q->avail + 4 + 2ull * q->size, &v) < 0)
		return false;
	/* virtio 1.2, 2.7.7.2: crossed used_event since the last look. */
	return (uint16_t)(q->used_next - v - 1) < (uint16_t)(q->used_next - old);
}

bool vmm_virtq_notify_set(struct vmm_virtq *q, const struct vmm_mem *mem, bool on)
{
	uint16_t idx;

	if (!q->enabled)
		return false;
	if (q->event_idx) {
		/* Off: leave avail_event behind; the driver notifies once it is crossed. */
		if (on && ring_store16(mem, q->used + 4 + 8ull * q->size, q->avail_next) < 0)
			return false;
	} else if (ring_store16(mem, q->used, on ? 0 : USED_F_NO_NOTIFY) < 0) {
		return false;
	}
	if (!on)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return ring_load16(mem, q->avail + 2, &idx) == 0 && idx != q->avail_next;
}

size_t vmm_chain_read(const struct vmm_chain *chain, uint64_t offset, void *out, size_t len_bytes)
{
	size_t done = 0;

	for (unsigned i = 0; i < chain->n_out && done < len_bytes; i++) {
		const struct vmm_seg *s = &chain->segs[i];
		size_t n;

		if (offset >= s->len_bytes) {
			offset -= s->len_bytes;
			continue;
		}
		n = s->len_bytes - (size_t)offset;
		if (n > len_bytes - done)
			n = len_bytes - done;
		memcpy((uint8_t *)out + done, s->host + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t vmm_chain_write(const struct vmm_chain *chain, const struct vmm_mem *mem, uint64_t offset,
		       const void *in, size_t len_bytes)
{
	size_t done = 0;

	for (unsigned i = chain->n_out; i < chain->n_out + chain->n_in && done < len_bytes; i++) {
		const struct vmm_seg *s = &chain->segs[i];
		size_t n;

		if (offset >= s->len_bytes) {
			offset -= s->len_bytes;
			continue;
		}
		n = s->len_bytes - (size_t)offset;
		if (n > len_bytes - done)
			n = len_bytes - done;
		memcpy(s->host + offset, (const uint8_t *)in + done, n);
		vmm_mem_dirty(mem, s->gpa + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

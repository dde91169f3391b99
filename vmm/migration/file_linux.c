/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A link that is a file, for saving and restoring.
 *
 *   save      sender ──> full blocks of 1 MiB ──> thread: write
 *   restore   thread: read ahead ──> blocks ──> receiver
 *
 * The file lies on a cluster volume, where each call is a round trip to the volume's owner, a write
 * is durable when it returns, and one that begins or ends inside of a block costs several: so the thread
 * calls with whole, aligned blocks, has room made ahead of them, and works while the other side copies and hashes.
 */
#include "vmm/migration/link.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (1u << 20)
#define BLOCKS	    4u
#define ALIGN_BYTES 4096u
#define ROOM_BYTES  (64u << 20) /* made at once */

/* lock guards full, over and error; a block belongs to whoever's turn it is. */
struct vmm_file {
	int fd; /* borrowed */
	bool out, threaded;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn;
	uint8_t *blocks;
	size_t len[BLOCKS];
	unsigned ours, theirs; /* the next of the link's user and of the thread */
	unsigned full;	       /* blocks that are filled and not yet taken */
	bool over;	       /* out: nothing comes any more; in: end of file, or nobody wants more */
	int error;
	size_t at;	   /* in our block */
	uint64_t bytes;	   /* through the link */
	uint64_t room;	   /* out: made in the file */
	uint64_t at_file;  /* of the thread */
};

static uint8_t *block_of(const struct vmm_file *f, unsigned n)
{
	return f->blocks + (size_t)(n % BLOCKS) * BLOCK_BYTES;
}

static int block_write(struct vmm_file *f, const uint8_t *p, size_t len_bytes)
{
	/* Only speed is lost where it cannot be; a full volume is told by the write. */
	if (f->at_file + len_bytes > f->room) {
		(void)fallocate(f->fd, 0, (off_t)f->room, ROOM_BYTES);
		f->room += ROOM_BYTES;
	}
	while (len_bytes) {
		ssize_t n = pwrite(f->fd, p, len_bytes, (off_t)f->at_file);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		f->at_file += (uint64_t)n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

/* A block that is not full is the file's last. */
static int block_read(struct vmm_file *f, uint8_t *p, size_t *ret_len)
{
	*ret_len = 0;
	while (*ret_len < BLOCK_BYTES) {
		ssize_t n = pread(f->fd, p + *ret_len, BLOCK_BYTES - *ret_len, (off_t)f->at_file);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		f->at_file += (uint64_t)n;
		*ret_len += (size_t)n;
	}
	return 0;
}

static void *out_main(void *arg)
{
	struct vmm_file *f = arg;
	int r;

	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (!f->full && !f->over)
			pthread_cond_wait(&f->turn, &f->lock);
		if (!f->full)
			break;
		r = f->error;
		pthread_mutex_unlock(&f->lock);
		r = r ? r : block_write(f, block_of(f, f->theirs), f->len[f->theirs % BLOCKS]);
		f->theirs++;
		pthread_mutex_lock(&f->lock);
		f->error = r;
		f->full--;
		pthread_cond_broadcast(&f->turn);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void *in_main(void *arg)
{
	struct vmm_file *f = arg;
	size_t len_bytes = 0;
	int r;

	pthread_mutex_lock(&f->lock);
	while (!f->over && !f->error) {
		if (f->full == BLOCKS) {
			pthread_cond_wait(&f->turn, &f->lock);
			continue;
		}
		pthread_mutex_unlock(&f->lock);
		r = block_read(f, block_of(f, f->theirs), &len_bytes);
		pthread_mutex_lock(&f->lock);
		f->error = r;
		f->len[f->theirs++ % BLOCKS] = len_bytes;
		f->full += !r && len_bytes;
		f->over = f->over || len_bytes < BLOCK_BYTES;
		pthread_cond_broadcast(&f->turn);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* Out: a free block, in: a filled one.  -ENODATA at the file's end. */
static int turn_wait(struct vmm_file *f)
{
	int r;

	pthread_mutex_lock(&f->lock);
	if (f->out)
		while (f->full == BLOCKS && !f->error)
			pthread_cond_wait(&f->turn, &f->lock);
	else
		while (!f->full && !f->over && !f->error)
			pthread_cond_wait(&f->turn, &f->lock);
	r = f->out || !f->full ? f->error : 0;
	if (!r && !f->out && !f->full)
		r = -ENODATA;
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* Our block is filled (out) or used up (in). */
static void turn_over(struct vmm_file *f)
{
	pthread_mutex_lock(&f->lock);
	f->len[f->ours % BLOCKS] = f->out ? f->at : 0;
	f->full = f->out ? f->full + 1 : f->full - 1;
	f->ours++;
	f->at = 0;
	pthread_cond_broadcast(&f->turn);
	pthread_mutex_unlock(&f->lock);
}

static int file_write(struct vmm_link *link, const void *buf, size_t len_bytes)
{
	struct vmm_file *f = link->file;
	const uint8_t *p = buf;

	while (len_bytes) {
		size_t n = BLOCK_BYTES - f->at < len_bytes ? BLOCK_BYTES - f->at : len_bytes;
		int r = f->at ? 0 : turn_wait(f);

		if (r)
			return r;
		memcpy(block_of(f, f->ours) + f->at, p, n);
		f->at += n;
		p += n;
		len_bytes -= n;
		link->written_bytes += n;
		if (f->at == BLOCK_BYTES)
			turn_over(f);
	}
	return 0;
}

static int file_read(struct vmm_link *link, void *buf, size_t len_bytes)
{
	struct vmm_file *f = link->file;
	uint8_t *p = buf;

	while (len_bytes) {
		int r = turn_wait(f);
		size_t n;

		if (r)
			return r;
		n = f->len[f->ours % BLOCKS] - f->at;
		n = n < len_bytes ? n : len_bytes;
		memcpy(p, block_of(f, f->ours) + f->at, n);
		f->at += n;
		p += n;
		len_bytes -= n;
		if (f->at == f->len[f->ours % BLOCKS])
			turn_over(f);
	}
	return 0;
}

int vmm_link_file(struct vmm_link *link, int fd, bool out)
{
	struct vmm_file *f = calloc(1, sizeof(*f));

	*link = (struct vmm_link){ .write = file_write, .read = file_read, .file = f };
	if (!f)
		return -ENOMEM;
	f->fd = fd;
	f->out = out;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->turn, NULL);
	f->blocks = aligned_alloc(ALIGN_BYTES, (size_t)BLOCKS * BLOCK_BYTES);
	f->threaded = f->blocks &&
		      pthread_create(&f->thread, NULL, out ? out_main : in_main, f) == 0;
	if (f->threaded)
		return 0;
	vmm_link_file_free(link);
	return -ENOMEM;
}

static void thread_end(struct vmm_file *f)
{
	pthread_mutex_lock(&f->lock);
	f->over = true;
	pthread_cond_broadcast(&f->turn);
	pthread_mutex_unlock(&f->lock);
	if (f->threaded)
		pthread_join(f->thread, NULL);
	f->threaded = false;
}

int vmm_link_file_sync(struct vmm_link *link)
{
	struct vmm_file *f = link->file;
	int r;

	if (f->at)
		turn_over(f);
	thread_end(f);
	r = f->error;
	if (!r && f->room > f->at_file && ftruncate(f->fd, (off_t)f->at_file) < 0)
		r = -errno;
	return !r && fsync(f->fd) < 0 ? -errno : r;
}

void vmm_link_file_free(struct vmm_link *link)
{
	struct vmm_file *f = link->file;

	if (!f)
		return;
	/* What was not synced is not wanted: the file is given up. */
	pthread_mutex_lock(&f->lock);
	if (!f->error)
		f->error = -ECANCELED;
	pthread_mutex_unlock(&f->lock);
	thread_end(f);
	free(f->blocks);
	pthread_cond_destroy(&f->turn);
	pthread_mutex_destroy(&f->lock);
	free(f);
	link->file = NULL;
}

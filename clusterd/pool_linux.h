/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Worker threads for what may block.  A job runs on some thread, then its
 * done() is called on the loop's thread.  Jobs of one key run one after the
 * other in the order of submission; jobs with key 0 are not ordered.
 */
#ifndef CD_POOL_LINUX_H
#define CD_POOL_LINUX_H

#include <stdint.h>

#include "clusterd/post_linux.h"

struct cd_pool;

/* Embedded at the start of the caller's own job; the caller frees it in done(). */
struct cd_job {
	void (*run)(struct cd_job *job);
	void (*done)(struct cd_job *job);
	uint64_t key;
	struct cd_job *next;
	struct cd_pool *pool;
};

/* threads_max: threads are started as jobs need them and are kept. */
int cd_pool_new(struct cd_post *post, unsigned threads_max, struct cd_pool **ret_pool);
/* Loop thread only. */
void cd_pool_submit(struct cd_pool *pool, struct cd_job *job);
/* A key for an object's name, never 0. */
uint64_t cd_pool_key(const char *kind, const char *name);
unsigned cd_pool_busy(struct cd_pool *pool);

#endif

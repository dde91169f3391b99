/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Worker threads; see pool_linux.h. */
#include "clusterd/pool_linux.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cl_types.h"

#define POOL_THREADS_CAP 64u

/* lock guards all but post and threads_max. */
struct cd_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct cd_post *post;
	struct cd_job *head, **tail;
	unsigned threads, threads_max, idle, waiting;
	uint64_t running[POOL_THREADS_CAP]; /* keys in use, 0 = slot free */
};

static bool key_busy(const struct cd_pool *pool, uint64_t key)
{
	for (unsigned i = 0; key && i < POOL_THREADS_CAP; i++)
		if (pool->running[i] == key)
			return true;
	return false;
}

static struct cd_job *job_take(struct cd_pool *pool)
{
	for (struct cd_job **p = &pool->head; *p; p = &(*p)->next) {
		struct cd_job *job = *p;

		if (key_busy(pool, job->key))
			continue;
		*p = job->next;
		if (!*p)
			pool->tail = p;
		job->next = NULL;
		pool->waiting--;
		return job;
	}
	return NULL;
}

static void job_done(void *arg)
{
	struct cd_job *job = arg;

	job->done(job);
}

static void *pool_thread(void *arg)
{
	struct cd_pool *pool = arg;
	struct cd_job *job;
	unsigned slot;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (!(job = job_take(pool))) {
			pool->idle++;
			pthread_cond_wait(&pool->wake, &pool->lock);
			pool->idle--;
		}
		for (slot = 0; job->key && pool->running[slot]; slot++)
			;
		if (job->key)
			pool->running[slot] = job->key;
		pthread_mutex_unlock(&pool->lock);
		job->run(job);
		pthread_mutex_lock(&pool->lock);
		if (job->key) {
			pool->running[slot] = 0;
			if (pool->waiting)
				pthread_cond_broadcast(&pool->wake);
		}
		cd_post_call(pool->post, job_done, job);
	}
	return NULL;
}

int cd_pool_new(struct cd_post *post, unsigned threads_max, struct cd_pool **ret_pool)
{
	struct cd_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pool->post = post;
	pool->tail = &pool->head;
	pool->threads_max = threads_max < POOL_THREADS_CAP ? threads_max : POOL_THREADS_CAP;
	*ret_pool = pool;
	return 0;
}

static int thread_start(struct cd_pool *pool)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 512 * 1024);
	err = pthread_create(&thread, &attr, pool_thread, pool);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

void cd_pool_submit(struct cd_pool *pool, struct cd_job *job)
{
	pthread_mutex_lock(&pool->lock);
	job->pool = pool;
	job->next = NULL;
	*pool->tail = job;
	pool->tail = &job->next;
	pool->waiting++;
	if (pool->waiting > pool->idle && pool->threads < pool->threads_max &&
	    thread_start(pool) == 0)
		pool->threads++;
	else
		pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

uint64_t cd_pool_key(const char *kind, const char *name)
{
	return cl_hash64(cl_hash64(0, kind, strlen(kind)), name, strlen(name)) | 1;
}

unsigned cd_pool_busy(struct cd_pool *pool)
{
	unsigned n;

	pthread_mutex_lock(&pool->lock);
	n = pool->threads - pool->idle + pool->waiting;
	pthread_mutex_unlock(&pool->lock);
	return n;
}

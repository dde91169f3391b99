/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls posted to the loop thread; see post_linux.h.  Runs out of memory = abort. */
#include "clusterd/post_linux.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct post_call {
	struct post_call *next;
	void (*fn)(void *arg);
	void *arg;
};

/* lock guards head and tail */
struct cd_post {
	pthread_mutex_t lock;
	struct post_call *head, **tail;
	int fd;
};

int cd_post_new(struct cd_post **ret_post)
{
	struct cd_post *post = calloc(1, sizeof(*post));

	if (!post)
		return -ENOMEM;
	post->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (post->fd < 0) {
		free(post);
		return -errno;
	}
	pthread_mutex_init(&post->lock, NULL);
	post->tail = &post->head;
	*ret_post = post;
	return 0;
}

void cd_post_free(struct cd_post *post)
{
	struct post_call *call;

	if (!post)
		return;
	while ((call = post->head)) {
		post->head = call->next;
		free(call);
	}
	close(post->fd);
	pthread_mutex_destroy(&post->lock);
	free(post);
}

int cd_post_fd(const struct cd_post *post)
{
	return post->fd;
}

void cd_post_run(struct cd_post *post)
{
	struct post_call *list, *call;
	uint64_t n;

	if (read(post->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&post->lock);
	list = post->head;
	post->head = NULL;
	post->tail = &post->head;
	pthread_mutex_unlock(&post->lock);
	while ((call = list)) {
		list = call->next;
		call->fn(call->arg);
		free(call);
	}
}

void cd_post_call(struct cd_post *post, void (*fn)(void *arg), void *arg)
{
	struct post_call *call = malloc(sizeof(*call));
	uint64_t one = 1;

	if (!call)
		abort();
	*call = (struct post_call){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&post->lock);
	*post->tail = call;
	post->tail = &call->next;
	pthread_mutex_unlock(&post->lock);
	/* A full counter means that a wake-up is pending already. */
	if (write(post->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How any thread hands work to the one loop thread: a queue of calls and an
 * eventfd.  Calls run in the order in which they were posted.
 */
#ifndef CD_POST_LINUX_H
#define CD_POST_LINUX_H

struct cd_post;

/* 0 or -errno.  The eventfd is cd_post_fd(); when readable, call cd_post_run(). */
int cd_post_new(struct cd_post **ret_post);
/* Frees what was never run as well; the arguments of such calls are lost. */
void cd_post_free(struct cd_post *post);
int cd_post_fd(const struct cd_post *post);
void cd_post_run(struct cd_post *post);
/* Any thread.  fn(arg) will run on the loop's thread.  Never fails. */
void cd_post_call(struct cd_post *post, void (*fn)(void *arg), void *arg);

#endif

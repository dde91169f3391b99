/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvd of this node: calls (workers only), and keeping it running. */
#ifndef CD_CSVD_LINUX_H
#define CD_CSVD_LINUX_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct cd;

/*
 * As cl_ctl_client_call() on a connection of its own; waits a little for csvd to come back.  -ENOTCONN: nobody was
 * asked, which says nothing about what csvd has.
 */
int cd_csvd_call(const char *verb, json_t *args, int timeout_ms, json_t **ret_result,
		 char **ret_error);
/* Starts csvd if nobody answers on its socket.  0 it was there, 1 started, -errno. */
int cd_csvd_ensure(char *error, size_t cap_bytes);
/* 1: a csvd is on this node, 0: none is (its lock is free), -errno: not known. */
int cd_csvd_look(void);
/* SIGKILLs the csvd of this node and waits for its end: 0, -ETIMEDOUT, -errno: not known whether it has ended. */
int cd_csvd_kill(int timeout_ms);

/*
 * " (N needed, M free)" for an error of a full volume, as far as it is known; needed 0: not known.
 * Any thread; blocking.
 */
void cd_csvd_space_text(const char *volume, uint64_t needed_bytes, char *out, size_t cap_bytes);
/* Number of the csvd that answers now, another for each that is started; 0: none does within
 * timeout_ms. */
uint64_t cd_csvd_instance(int timeout_ms);

/* Loop thread: from now on there is to be one; started, watched, started again. */
void cd_csvd_keep(struct cd *cd);

#endif

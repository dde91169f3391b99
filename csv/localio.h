/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One message, with an fd or without, over the local socket.  Used by csvd and by libcsv.
 */
#ifndef CSV_LOCALIO_H
#define CSV_LOCALIO_H

#include "csv/local.h"

/* fd -1: none. flags as sendmsg(2). 0 or -errno. */
int csv_local_send(int sock, const struct csv_local_msg *msg, int fd, int flags);
/* *ret_fd -1 or the caller's. 0; -EPIPE at the end; -EAGAIN with MSG_DONTWAIT; -EBADMSG. */
int csv_local_recv(int sock, struct csv_local_msg *ret_msg, int *ret_fd, int flags);

#endif

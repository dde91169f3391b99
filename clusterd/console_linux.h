/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's serial console from another node: TLS 1.3 with the cluster's certificates on both sides, port
 * CD_CONSOLE_PORT (docs/formats/console.md).  Whoever has a node's certificate may ask: that is root on a
 * node, who could as well log in there.
 */
#ifndef CD_CONSOLE_LINUX_H
#define CD_CONSOLE_LINUX_H

#include <stddef.h>

#define CD_CONSOLE_PORT	       7402u
#define CD_CONSOLE_CHUNK       4096u /* bytes in one message */
#define CD_CONSOLES_MAX	       16u
#define CD_CONSOLE_KNOCKS      16u   /* that have not asked for a console yet */
#define CD_CONSOLE_KNOCKS_ONE  4u    /* of one address */
#define CD_CONSOLE_GRACE_MS    3000u /* a silent one's, when others wait */
#define CD_CONSOLE_TIMEOUT_MS  20000 /* of what comes before the first byte */

/*
 * Serves one connection (fd is taken over) in a thread of its own, which ends with the console.  0,
 * -EAGAIN when there is no place for another (said in one line, now and then), or another -errno.
 */
int cd_console_serve(int fd);

/* The local socket of the VM's serial line, connected: fd or -errno. */
int cd_console_local(const char *vm);

/*
 * Asks the node at address for the VM's console: a connected stream socket or -errno with one line in error.
 * A thread carries its bytes; closing the socket ends it.  The peer must be `node`.
 */
int cd_console_remote(const char *address, const char *node, const char *vm, char *error,
		      size_t cap_bytes);

#endif

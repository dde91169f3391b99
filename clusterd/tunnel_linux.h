/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A migration's way to the other node: a vmm-tunnel for each, which has this node's key and the
 * network, so that no vmm has them.  It lives as long as the stream that the vmm is handed, and
 * outlives us.  Workers only; blocking.
 */
#ifndef CD_TUNNEL_LINUX_H
#define CD_TUNNEL_LINUX_H

#include <stddef.h>
#include <sys/types.h>

struct cd_tunnel {
	const char *vm, *peer; /* the node that the other side must be */
	uid_t uid;	       /* user of the tunnel: not the VM's */
};

/*
 * The source's side: the stream for the vmm, once the peer is there; or -errno with one line in
 * error.
 */
int cd_tunnel_connect(const struct cd_tunnel *t, const char *address, unsigned port, char *error,
		      size_t cap_bytes);
/* The destination's side: it waits on listen_fd (borrowed).  The stream, or -errno. */
int cd_tunnel_listen(const struct cd_tunnel *t, int listen_fd);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door of an incoming migration.
 */
#ifndef VMM_MIGRATION_ACCEPT_H
#define VMM_MIGRATION_ACCEPT_H

struct cl_tls;
struct cl_tls_creds;

struct vmm_door {
	struct cl_tls_creds *creds; /* borrowed, like the rest */
	int listen_fd;
	int stop_fd;	  /* readable: give up */
	const char *peer; /* node that is expected, "" = any of the cluster */
	int timeout_ms;	  /* for a handshake */
	/* Somebody else knocked; text says who and why not, one line.  On the caller's thread. */
	void (*refused)(void *arg, const char *text);
	void *arg;
};

/*
 * Waits for the peer; others are turned away and hold nothing up.  NULL when stop_fd says so or
 * nothing can be waited for (errno).  Blocking.
 */
struct cl_tls *vmm_accept(const struct vmm_door *door);

#endif

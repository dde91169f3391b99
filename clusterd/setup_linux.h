/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that make a node a member, written by workers in create and join.
 */
#ifndef CD_SETUP_LINUX_H
#define CD_SETUP_LINUX_H

#include <stdbool.h>

#include "clusterd/corosync_conf.h"
#include "clusterd/corosync_files_exec.h"
#include "clusterd/node_file_jansson.h"
#include "clusterd/roles_linux.h"

/* What a node must have to be a member; texts are malloc'ed. */
struct cd_setup {
	struct cd_node_file self;
	struct cd_conf conf;
	char *ca_cert, *ca_key;
	struct cd_role_pair roles[CD_ROLES];
	unsigned char authkey[CD_AUTHKEY_BYTES];
};

void cd_setup_free(struct cd_setup *setup);
/* Makes the CA, the node's keys and certificates, corosync's key and the uuid. 0 or -errno. */
int cd_setup_create(struct cd_setup *setup);
/* Writes tls/ and corosync's files, forgets an older state.db, starts corosync.  Undone when it fails. */
int cd_setup_apply(const struct cd_setup *setup, char *error, size_t cap_bytes);
void cd_setup_undo(void);
/* The last step: from here on the node is a member. */
int cd_setup_commit(const struct cd_setup *setup);
/* This node's name: the host name up to the first dot, if it is an allowed name. */
int cd_setup_node_name(char out[CL_NAME_MAX], char *error, size_t cap_bytes);
/*
 * address as given, if it is one of this node's; "" = the only one there is (IPv4, not
 * loopback, not a bridge's or VM's).  0 or -errno with the choice in error.
 */
int cd_setup_address(const char *given, char out[CD_ADDRESS_MAX], char *error, size_t cap_bytes);

#endif

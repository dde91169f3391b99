/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corosync.conf as text from the cluster's nodes.  Pure.  The file is a cache:
 * each node's clusterd writes it again whenever the nodes change.
 */
#ifndef CD_COROSYNC_CONF_H
#define CD_COROSYNC_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_types.h"

#define CD_ADDRESS_MAX	     64u
#define CD_COROSYNC_CONF_MAX 8192u
#define CD_TOKEN_MS_MIN	     1000u
#define CD_TOKEN_MS_MAX	     30000u
#define CD_TOKEN_MS_DEFAULT  3000u
/* Until corosync's members agree that one is gone: token + consensus, which is 1.2 tokens (corosync.conf(5)). */
#define CD_DETECT_MS(token_ms) ((token_ms) + (token_ms) * 6 / 5)

struct cd_conf_node {
	uint32_t id;
	char name[CL_NAME_MAX];
	char address[CD_ADDRESS_MAX]; /* numeric IPv4 or IPv6 */
	bool voter; /* a node that has not caught up yet has no vote, so that adding it costs no quorum */
};

struct cd_conf {
	char cluster[CL_NAME_MAX];
	uint32_t token_ms;
	uint32_t n_nodes;
	struct cd_conf_node nodes[CL_NODES_MAX];
};

/* Length without the NUL, or -EMSGSIZE. */
long cd_corosync_conf_write(const struct cd_conf *conf, char *out, size_t cap_bytes);

#endif

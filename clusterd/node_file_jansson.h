/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node.json: who this node is.  Written once by create or join; all else is in
 * the replicated state.
 */
#ifndef CD_NODE_FILE_JANSSON_H
#define CD_NODE_FILE_JANSSON_H

#include <stdint.h>

#include "clusterd/corosync_conf.h"
#include "common/cl_types.h"

struct cd_node_file {
	uint32_t id;
	char name[CL_NAME_MAX];
	char address[CD_ADDRESS_MAX];
	char cluster[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	uint32_t token_ms;
};

/* 0, -ENOENT: not in a cluster, or -EBADMSG with *ret_error (malloc'ed: which, where, seen). */
int cd_node_file_read(const char *path, struct cd_node_file *ret_file, char **ret_error);
int cd_node_file_write(const char *path, const struct cd_node_file *file);

#define CD_UUID_TEXT 37u
void cd_uuid_text(const uint8_t uuid[CL_UUID_BYTES], char out[CD_UUID_TEXT]);
/* 0 or -EBADMSG. */
int cd_uuid_parse(const char *text, uint8_t out[CL_UUID_BYTES]);

#endif

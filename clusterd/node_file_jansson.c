/* SPDX-License-Identifier: GPL-2.0-or-later */
/* node.json; see node_file_jansson.h. */
#include "clusterd/node_file_jansson.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"

#define NODE_FILE_MAX 16384u

void cd_uuid_text(const uint8_t uuid[CL_UUID_BYTES], char out[CD_UUID_TEXT])
{
	char *p = out;

	for (unsigned i = 0; i < CL_UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", uuid[i]);
	}
}

int cd_uuid_parse(const char *text, uint8_t out[CL_UUID_BYTES])
{
	uint8_t uuid[CL_UUID_BYTES];
	char again[CD_UUID_TEXT];
	unsigned n = 0, byte;

	for (const char *p = text; *p && n < CL_UUID_BYTES; n++, p += 2) {
		if (*p == '-')
			p++;
		if (sscanf(p, "%2x", &byte) != 1 || !p[0] || !p[1])
			return -EBADMSG;
		uuid[n] = (uint8_t)byte;
	}
	if (n != CL_UUID_BYTES)
		return -EBADMSG;
	cd_uuid_text(uuid, again);
	if (strcmp(again, text) != 0)
		return -EBADMSG;
	memcpy(out, uuid, sizeof(uuid));
	return 0;
}

static int bad(const char *path, char **ret_error, const char *what)
{
	if (asprintf(ret_error, "%s: %s", path, what) < 0)
		*ret_error = NULL;
	return -EBADMSG;
}

int cd_node_file_read(const char *path, struct cd_node_file *ret_file, char **ret_error)
{
	CL_CLEANUP_FREE char *text = NULL;
	const char *name, *address, *cluster, *uuid;
	struct cd_node_file file = { 0 };
	json_int_t id, token_ms;
	unsigned char bin[16];
	json_error_t jerr;
	char what[128];
	json_t *json;
	size_t len;
	int rc;

	*ret_error = NULL;
	rc = cd_file_read(path, NODE_FILE_MAX, &text, &len);
	if (rc == -ENOENT)
		return rc;
	if (rc < 0)
		return bad(path, ret_error, strerror(-rc));
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &jerr);
	if (!json) {
		snprintf(what, sizeof(what), "line %d column %d: not JSON (%.60s)", jerr.line,
			 jerr.column, jerr.text);
		return bad(path, ret_error, what);
	}
	rc = json_unpack_ex(json, &jerr, 0, "{s:I s:s s:s s:s s:s s:I}", "node", &id, "name", &name,
			    "address", &address, "cluster", &cluster, "uuid", &uuid, "token_ms",
			    &token_ms);
	if (rc < 0)
		snprintf(what, sizeof(what), "%.100s", jerr.text);
	else if (id < 1 || id > (json_int_t)CL_NODES_MAX)
		rc = -1, snprintf(what, sizeof(what), "node = %lld: allowed 1..%u", (long long)id,
				  CL_NODES_MAX);
	else if (!cl_name_valid(name) || !cl_name_valid(cluster))
		rc = -1, snprintf(what, sizeof(what), "name or cluster is not an allowed name");
	else if (strlen(address) >= CD_ADDRESS_MAX ||
		 (inet_pton(AF_INET, address, bin) != 1 && inet_pton(AF_INET6, address, bin) != 1))
		rc = -1, snprintf(what, sizeof(what), "address is not a numeric IP address");
	else if (cd_uuid_parse(uuid, file.uuid) < 0)
		rc = -1, snprintf(what, sizeof(what), "uuid is not a UUID");
	else if (token_ms < CD_TOKEN_MS_MIN || token_ms > CD_TOKEN_MS_MAX)
		rc = -1, snprintf(what, sizeof(what), "token_ms = %lld: allowed %u..%u",
				  (long long)token_ms, CD_TOKEN_MS_MIN, CD_TOKEN_MS_MAX);
	if (rc == 0) {
		file.id = (uint32_t)id;
		file.token_ms = (uint32_t)token_ms;
		strcpy(file.name, name);
		strcpy(file.address, address);
		strcpy(file.cluster, cluster);
		*ret_file = file;
	} else {
		rc = bad(path, ret_error, what);
	}
	json_decref(json);
	return rc;
}

int cd_node_file_write(const char *path, const struct cd_node_file *file)
{
	char uuid[CD_UUID_TEXT];
	char *text;
	json_t *json;
	int rc;

	cd_uuid_text(file->uuid, uuid);
	json = json_pack("{s:I s:s s:s s:s s:s s:I}", "node", (json_int_t)file->id, "name",
			 file->name, "address", file->address, "cluster", file->cluster, "uuid",
			 uuid, "token_ms", (json_int_t)file->token_ms);
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	json_decref(json);
	if (!text)
		return -ENOMEM;
	rc = cd_file_write(path, 0600, text, strlen(text));
	free(text);
	return rc;
}

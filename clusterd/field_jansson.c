/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See field_jansson.h. */
#include "clusterd/field_jansson.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clusterd/node_file_jansson.h"

const char *cd_field_text(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

bool cd_address_valid(const char *text)
{
	struct in6_addr bin;

	return strlen(text) < CD_ADDRESS_MAX &&
	       (inet_pton(AF_INET, text, &bin) == 1 || inet_pton(AF_INET6, text, &bin) == 1);
}

void cd_hex_encode(const void *data, size_t len_bytes, char *out)
{
	for (size_t i = 0; i < len_bytes; i++)
		sprintf(out + 2 * i, "%02x", ((const uint8_t *)data)[i]);
}

int cd_hex_decode(const char *text, uint8_t *out, size_t len_bytes)
{
	unsigned byte;

	if (strlen(text) != 2 * len_bytes || strspn(text, "0123456789abcdef") != 2 * len_bytes)
		return -EBADMSG;
	for (size_t i = 0; i < len_bytes; i++) {
		sscanf(text + 2 * i, "%2x", &byte);
		out[i] = (uint8_t)byte;
	}
	return 0;
}

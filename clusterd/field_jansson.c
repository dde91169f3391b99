/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See field_jansson.h. */
#include "clusterd/field_jansson.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/node_file_jansson.h"

const char *cd_field_text(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

/* The type of that member, in out; false: there is no such member. */
static bool member_type(const char *members, const char *key, char *out, size_t cap_bytes)
{
	size_t len = strlen(key);

	while (*members) {
		size_t n = strcspn(members, " ");

		if (n > len && strncmp(members, key, len) == 0 && members[len] == ':') {
			snprintf(out, cap_bytes, "%.*s", (int)(n - len - 1), members + len + 1);
			return true;
		}
		members += n;
		members += strspn(members, " ");
	}
	return false;
}

static bool one_of(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (const char *w = words; *w; w += strcspn(w, "|"), w += *w == '|')
		if (strcspn(w, "|") == len && strncmp(w, text, len) == 0)
			return true;
	return false;
}

/* NULL, or what is allowed. */
static const char *type_wrong(const char *type, const json_t *value)
{
	if (strcmp(type, "s") == 0)
		return json_is_string(value) ? NULL : "a text";
	if (strcmp(type, "b") == 0)
		return json_is_boolean(value) ? NULL : "true or false";
	if (strcmp(type, "i") == 0)
		return json_is_integer(value) ? NULL : "an integer";
	if (strcmp(type, "o") == 0)
		return json_is_object(value) ? NULL : "an object";
	if (strcmp(type, "a") == 0)
		return json_is_array(value) ? NULL : "a list";
	return json_is_string(value) && one_of(type, json_string_value(value)) ? NULL : type;
}

bool cd_members_check(const json_t *request, const char *members, char *error, size_t cap_bytes)
{
	const char *verb = cd_field_text(request, "do"), *key, *allowed;
	json_t *value;
	char type[80];

	json_object_foreach((json_t *)request, key, value)
	{
		if (strcmp(key, "do") == 0)
			continue;
		if (!member_type(members, key, type, sizeof(type))) {
			snprintf(error, cap_bytes,
				 "%.40s%s'%.40s' is not known to this clusterd; known: %.300s",
				 verb, verb[0] ? ": " : "", key, members[0] ? members : "nothing");
			return false;
		}
		allowed = type_wrong(type, value);
		if (allowed) {
			char *seen = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

			snprintf(error, cap_bytes, "%.40s%s%.40s: %.40s; allowed: %s", verb,
				 verb[0] ? ": " : "", key, seen ? seen : "?", allowed);
			free(seen);
			return false;
		}
	}
	return true;
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

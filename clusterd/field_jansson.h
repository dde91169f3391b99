/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields of JSON that came from a client or another node: a reader of each kind, for all who take some. */
#ifndef CD_FIELD_JANSSON_H
#define CD_FIELD_JANSSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The member's text, borrowed; "" where there is none. */
const char *cd_field_text(const json_t *json, const char *key);
/*
 * Every member of a request is one of those in members, and of its type: "name:s to:s force:b
 * wait_ms:i config:o disks:a method:live|quick". False with what is wrong: what is not understood
 * is refused, never passed over.
 */
bool cd_members_check(const json_t *request, const char *members, char *error, size_t cap_bytes);
/* A numeric IP address that fits struct cd_node_file. */
bool cd_address_valid(const char *text);
/* 2 * len_bytes lower-case digits and a NUL. */
void cd_hex_encode(const void *data, size_t len_bytes, char *out);
/* 0, or -EBADMSG for anything that encode would not have made. */
int cd_hex_decode(const char *text, uint8_t *out, size_t len_bytes);

#endif

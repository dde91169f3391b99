/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Join tokens; see token.h. */
#include "clusterd/token.h"

#include <errno.h>
#include <string.h>

#include "common/cl_wire.h"

#define TOKEN_PREFIX  "HF1-"
#define TOKEN_BYTES   288u
#define TOKEN_VERSION 2

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int cd_token_encode(const struct cd_token *token, char out[CD_TOKEN_TEXT_MAX])
{
	uint8_t buf[TOKEN_BYTES];
	struct cl_writer w;
	size_t n = sizeof(TOKEN_PREFIX) - 1, bits = 0;
	uint32_t acc = 0;
	long len;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_u8(&w, TOKEN_VERSION);
	cl_write_bytes(&w, token->fingerprint, sizeof(token->fingerprint));
	cl_write_bytes(&w, token->secret, sizeof(token->secret));
	cl_write_u16(&w, token->port);
	cl_write_str(&w, token->cluster);
	cl_write_str(&w, token->node);
	cl_write_str(&w, token->issuer);
	cl_write_u32(&w, cl_crc32c(0, buf, w.bad ? 0 : w.pos));
	len = cl_writer_done(&w);
	if (len < 0)
		return -EMSGSIZE;
	memcpy(out, TOKEN_PREFIX, n);
	for (long i = 0; i < len; i++) {
		acc = acc << 8 | buf[i];
		for (bits += 8; bits >= 6; bits -= 6)
			out[n++] = alphabet[acc >> (bits - 6) & 63];
	}
	if (bits)
		out[n++] = alphabet[acc << (6 - bits) & 63];
	out[n] = '\0';
	return 0;
}

static long text_decode(const char *text, uint8_t *out, size_t cap_bytes)
{
	size_t n = 0, bits = 0;
	uint32_t acc = 0;

	for (; *text; text++) {
		const char *p = strchr(alphabet, *text);

		if (!p)
			return -EBADMSG;
		acc = acc << 6 | (uint32_t)(p - alphabet);
		bits += 6;
		if (bits >= 8) {
			if (n == cap_bytes)
				return -EBADMSG;
			bits -= 8;
			out[n++] = (uint8_t)(acc >> bits);
		}
	}
	return bits < 6 && !(acc & ((1u << bits) - 1)) ? (long)n : -EBADMSG;
}

int cd_token_decode(const char *text, struct cd_token *ret_token)
{
	uint8_t buf[TOKEN_BYTES];
	struct cd_token token = { 0 };
	struct cl_reader r;
	long len;

	if (strlen(text) >= CD_TOKEN_TEXT_MAX ||
	    strncmp(text, TOKEN_PREFIX, sizeof(TOKEN_PREFIX) - 1) != 0)
		return -EBADMSG;
	len = text_decode(text + sizeof(TOKEN_PREFIX) - 1, buf, sizeof(buf));
	if (len < 5)
		return -EBADMSG;
	cl_reader_init(&r, buf, (size_t)len);
	if (cl_read_u8(&r) != TOKEN_VERSION)
		return -EBADMSG;
	cl_read_bytes(&r, token.fingerprint, sizeof(token.fingerprint));
	cl_read_bytes(&r, token.secret, sizeof(token.secret));
	token.port = cl_read_u16(&r);
	cl_read_str(&r, token.cluster, sizeof(token.cluster));
	cl_read_str(&r, token.node, sizeof(token.node));
	cl_read_str(&r, token.issuer, sizeof(token.issuer));
	if (cl_read_u32(&r) != cl_crc32c(0, buf, (size_t)len - 4) || cl_reader_done(&r) < 0 ||
	    !cl_name_valid(token.cluster) || !cl_name_valid(token.issuer) || (token.node[0] && !cl_name_valid(token.node)) ||
	    !token.port)
		return -EBADMSG;
	*ret_token = token;
	return 0;
}

bool cd_token_expired(int64_t until_wall_ms, uint64_t until_boot_ms, int64_t wall_ms,
		      uint64_t boot_ms)
{
	return wall_ms > until_wall_ms || boot_ms > until_boot_ms;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The join token: printed text that carries what a joiner must know before it
 * trusts anybody: "HF1-" and base64url of
 *
 *   u8 version 2 | 32 bytes SHA-256 of the CA certificate (DER) | 16 bytes secret
 *   | u16 port | str cluster | str node (empty: any) | str issuer | u32 CRC-32C of all before
 *
 * Pure.  The cluster stores only SHA-256 of the secret.
 */
#ifndef CD_TOKEN_H
#define CD_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_types.h"

#define CD_TOKEN_SECRET_BYTES 16u
#define CD_TOKEN_TEXT_MAX     400u
#define CD_TOKEN_LIFE_MS      (15u * 60u * 1000u)

struct cd_token {
	uint8_t fingerprint[32];
	uint8_t secret[CD_TOKEN_SECRET_BYTES];
	uint16_t port;
	char cluster[CL_NAME_MAX];
	char node[CL_NAME_MAX];	  /* who may join with it; "": anybody */
	char issuer[CL_NAME_MAX]; /* the node that gave it and knows its secret's hash */
};

/* 0 or -EMSGSIZE. */
int cd_token_encode(const struct cd_token *token, char out[CD_TOKEN_TEXT_MAX]);
/* -EBADMSG for anything that encode would not have made. */
int cd_token_decode(const char *text, struct cd_token *ret_token);

/*
 * Over is what either clock calls over: the wall clock may be set back or have stood, CLOCK_BOOTTIME stands
 * still with a machine that its hypervisor stopped.
 */
bool cd_token_expired(int64_t until_wall_ms, uint64_t until_boot_ms, int64_t wall_ms,
		      uint64_t boot_ms);

#endif

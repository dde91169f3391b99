/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A join token that somebody typed: refused, or one that encodes to the same text.
 *
 * fuzz-sources: clusterd/token.c common/cl_types.c common/cl_wire.c
 */
#include "clusterd/token.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), again[CD_TOKEN_TEXT_MAX];
	struct cd_token token;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (cd_token_decode(text, &token) == 0 &&
	    (cd_token_encode(&token, again) || strcmp(again, text) != 0))
		abort();
	free(text);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata blocks of a hostile LUN.  The checksum is made right for every other input, so that the
 * fields behind it are reached; what decodes must encode to the same bytes.
 *
 * fuzz-sources: csv/lunfmt.c common/cl_types.c common/cl_wire.c
 */
#include "csv/lun.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void crc_fix(uint8_t *buf)
{
	static const uint8_t zero[4];
	uint32_t crc = cl_crc32c(0, buf, 12);

	crc = cl_crc32c(crc, zero, 4);
	crc = cl_crc32c(crc, buf + 16, CSV_LUN_BLOCK - 16);
	for (unsigned i = 0; i < 4; i++)
		buf[12 + i] = (uint8_t)(crc >> 8 * i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t buf[CSV_LUN_BLOCK] = { 0 }, back[CSV_LUN_BLOCK];
	struct csv_super super;
	struct csv_term term;
	char text[CSV_LUN_UUID_TEXT + 8] = { 0 };
	uint8_t uuid[CL_UUID_BYTES];

	if (len == 0)
		return 0;
	memcpy(text, data, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
	(void)csv_uuid_parse(text, uuid);
	memcpy(buf, data + 1, len - 1 < sizeof(buf) ? len - 1 : sizeof(buf));
	if (data[0] & 1) {
		memcpy(buf, data[0] & 2 ? "HFSUPER1\1\0\0\0" : "HFTERM01\1\0\0\0", 12);
		crc_fix(buf);
	}
	if (csv_super_decode(buf, &super) == 0) {
		if (!cl_name_valid(super.name))
			abort();
		csv_super_encode(&super, back);
		/* bytes behind the name's NUL need not be zero */
		if (memcmp(buf + 112, back + 112, 24) != 0)
			abort();
	}
	if (csv_term_decode(buf, &term) == 0) {
		csv_term_encode(&term, back);
		if (memcmp(buf, back, sizeof(buf)) != 0)
			abort();
	}
	return 0;
}

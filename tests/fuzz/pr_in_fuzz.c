/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PERSISTENT RESERVE IN data and READ CAPACITY from a hostile target.
 *
 * fuzz-sources: scsi3pr/pr_code.c
 */
#include "scsi3pr/pr_code.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void text_check(const struct scsi3pr_full_status *s)
{
	for (unsigned i = 0; i < s->n; i++)
		for (const char *p = s->nexus[i].initiator; *p; p++)
			if (*p < 0x20 || *p > 0x7e)
				abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct scsi3pr_full_status status;
	static struct scsi3pr_keys keys;
	struct scsi3pr_reservation now;
	struct scsi3pr_capabilities caps;
	struct pr_out_list list;
	uint64_t blocks;
	uint32_t block_bytes;

	if (pr_keys_decode(data, len, &keys) == 0 && 8 + 8 * (size_t)keys.n > len)
		abort();
	(void)pr_reservation_decode(data, len, &now);
	(void)pr_capabilities_decode(data, len, &caps);
	if (pr_full_status_decode(data, len, &status) == 0)
		text_check(&status);
	(void)pr_out_list_decode(data, len, &list);
	if (pr_capacity16_decode(data, len, &blocks, &block_bytes) == 0 &&
	    blocks > UINT64_MAX / block_bytes)
		abort();
	return 0;
}

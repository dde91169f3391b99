/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sense data of any bytes.
 *
 * fuzz-sources: scsi3pr/pr_sense.c
 */
#include "scsi3pr/pr_sense.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct pr_sense sense;
	enum pr_class class;
	char text[64];

	if (len == 0)
		return 0;
	pr_sense_decode(data + 1, len - 1, &sense);
	class = pr_status_classify(data[0], &sense);
	if (class > PR_CLASS_UNKNOWN ||
	    (!sense.valid && data[0] == PR_STATUS_CHECK && class != PR_CLASS_UNKNOWN))
		abort();
	(void)pr_sense_attention(&sense);
	pr_sense_format(&sense, text, sizeof(text));
	return 0;
}

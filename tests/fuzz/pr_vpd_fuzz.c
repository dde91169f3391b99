/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VPD page 0x83 and INQUIRY data from a hostile target: an id is always whole and plain.
 *
 * fuzz-sources: scsi3pr/pr_vpd.c
 */
#include "scsi3pr/pr_vpd.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char id[SCSI3PR_LUN_ID_MAX], vendor[9], product[17];
	uint8_t type;

	memset(id, 'x', sizeof(id));
	if (pr_vpd_id_decode(data, len, id) == 0 &&
	    (strnlen(id, sizeof(id)) == sizeof(id) || strlen(id) < 5 ||
	     strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:") !=
		     strlen(id)))
		abort();
	if (pr_inquiry_decode(data, len, &type, vendor, product) == 0 &&
	    (strlen(vendor) > 8 || strlen(product) > 16))
		abort();
	return 0;
}

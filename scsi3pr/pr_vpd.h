/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INQUIRY data and the Device Identification page to the LUN id that the whole cluster uses
 * (docs/architecture.md, Identities).  Pure; target data is hostile.
 */
#ifndef SCSI3PR_PR_VPD_H
#define SCSI3PR_PR_VPD_H

#include "scsi3pr/scsi3pr.h"

#define PR_VPD_PAGE_ID	 0x83u
#define PR_VPD_BYTES_MAX 4096u

/*
 * VPD page 0x83 (SPC-4 7.8.6) to "naa.…", "eui.…" or "t10.…": the logical unit's own
 * designator, NAA before EUI-64 before T10; the first of the longest of a kind.
 * -EBADMSG malformed page, -ENODATA none of these in it.
 */
int pr_vpd_id_decode(const uint8_t *page, size_t len_bytes, char ret_id[SCSI3PR_LUN_ID_MAX]);

/* Standard INQUIRY data (SPC-4 6.6.2): vendor and product, printable, trailing blanks cut. */
int pr_inquiry_decode(const uint8_t *buf, size_t len_bytes, uint8_t *ret_type, char ret_vendor[9],
		      char ret_product[17]);

#endif

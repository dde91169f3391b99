/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VPD page 0x83 by SPC-4 7.8.6, standard INQUIRY data by 6.6.2. */
#include "scsi3pr/pr_vpd.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static size_t page_len;
static uint8_t page[PR_VPD_BYTES_MAX];

static void page_begin(void)
{
	memset(page, 0, sizeof(page));
	page[1] = 0x83;
	page_len = 4;
}

static void page_add(uint8_t code_set, uint8_t association_type, const void *bytes, uint8_t n)
{
	page[page_len] = code_set;
	page[page_len + 1] = association_type;
	page[page_len + 3] = n;
	memcpy(page + page_len + 4, bytes, n);
	page_len += 4 + (size_t)n;
	page[2] = (uint8_t)((page_len - 4) >> 8);
	page[3] = (uint8_t)(page_len - 4);
}

static const uint8_t naa6[16] = { 0x60, 0x01, 0x40, 0x50, 0, 0, 0, 1, 0x40, 0x1d, 0xfa, 0x57 };
static const uint8_t naa5[8] = { 0x50, 0x01, 0x40, 0x50, 0, 0, 0, 1 };
static const uint8_t eui8[8] = { 0x00, 0x25, 0x38, 1, 2, 3, 4, 5 };

static void naa_wins(void)
{
	char id[SCSI3PR_LUN_ID_MAX];

	page_begin();
	page_add(2, 1, "LIO-ORG IBLOCK:xyz", 18);
	page_add(1, 2, eui8, 8);
	page_add(1, 0x13, naa5, 8); /* association 1: the port's, not the LUN's */
	page_add(1, 3, naa6, 16);
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), 0);
	CU_ASSERT_STRING_EQUAL(id, "naa.6001405000000001401dfa5700000000");
}

static void then_eui_then_t10(void)
{
	char id[SCSI3PR_LUN_ID_MAX];

	page_begin();
	page_add(2, 1, "VENDOR  disk \x1b/1   ", 18);
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), 0);
	CU_ASSERT_STRING_EQUAL(id, "t10.VENDOR__disk___1");
	page_add(1, 2, eui8, 8);
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), 0);
	CU_ASSERT_STRING_EQUAL(id, "eui.0025380102030405");
}

static void no_use(void)
{
	char id[SCSI3PR_LUN_ID_MAX], longest[200];

	page_begin();
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), -ENODATA);
	memset(longest, 'A', sizeof(longest));
	page_add(2, 1, longest, sizeof(longest)); /* would have to be cut: passed over */
	page_add(1, 3, naa6, 15);		  /* length and NAA disagree */
	page_add(1, 2, eui8, 7);
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), -ENODATA);
	CU_ASSERT_STRING_EQUAL(id, "");
}

static void every_cut_is_refused(void)
{
	char id[SCSI3PR_LUN_ID_MAX];

	page_begin();
	page_add(1, 3, naa6, 16);
	for (size_t cut = 0; cut < page_len; cut++)
		CU_ASSERT_EQUAL(pr_vpd_id_decode(page, cut, id), -EBADMSG);
	page[7] = 17; /* one byte beyond the page */
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), -EBADMSG);
	page[1] = 0x80;
	CU_ASSERT_EQUAL(pr_vpd_id_decode(page, page_len, id), -EBADMSG);
}

static void inquiry(void)
{
	uint8_t image[36] = { 0 };
	char vendor[9], product[17];
	uint8_t type;

	memcpy(image + 8, "LIO-ORG ", 8);
	memcpy(image + 16, "IBL\x07OCK          ", 16);
	CU_ASSERT_EQUAL(pr_inquiry_decode(image, sizeof(image), &type, vendor, product), 0);
	CU_ASSERT_STRING_EQUAL(vendor, "LIO-ORG");
	CU_ASSERT_STRING_EQUAL(product, "IBL?OCK");
	CU_ASSERT_EQUAL(pr_inquiry_decode(image, 35, &type, vendor, product), -EBADMSG);
}

UNIT_MAIN("scsi3pr/pr_vpd", { "naa wins", naa_wins }, { "then eui, then t10", then_eui_then_t10 },
	  { "no use", no_use }, { "every cut is refused", every_cut_is_refused },
	  { "inquiry", inquiry })

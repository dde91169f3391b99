/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sense data by SPC-4 4.5.2 (descriptor) and 4.5.3 (fixed). */
#include "scsi3pr/pr_sense.h"
#include "scsi3pr/scsi3pr.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct pr_sense fixed(uint8_t response, uint8_t key, uint8_t asc, uint8_t ascq)
{
	uint8_t image[18] = { response, 0, key, [7] = 10, [12] = asc, [13] = ascq };
	struct pr_sense s;

	pr_sense_decode(image, sizeof(image), &s);
	return s;
}

static enum pr_class check(uint8_t key, uint8_t asc, uint8_t ascq)
{
	struct pr_sense s = fixed(0x70, key, asc, ascq);

	return pr_status_classify(PR_STATUS_CHECK, &s);
}

static void formats(void)
{
	static const uint8_t descriptor[8] = { 0x72, 0x06, 0x2a, 0x05 };
	struct pr_sense s = fixed(0x70, 0x06, 0x2a, 0x03);

	CU_ASSERT(s.valid && !s.deferred && s.key == 6 && s.asc == 0x2a && s.ascq == 3);
	pr_sense_decode(descriptor, sizeof(descriptor), &s);
	CU_ASSERT(s.valid && s.key == 6 && s.asc == 0x2a && s.ascq == 5);
	CU_ASSERT_EQUAL(pr_sense_attention(&s), SCSI3PR_UA_PREEMPTED);
	s = fixed(0x71, 0x03, 0x11, 0);
	CU_ASSERT(s.valid && s.deferred);
	CU_ASSERT_EQUAL(pr_status_classify(PR_STATUS_CHECK, &s), PR_CLASS_RETRY);
	CU_ASSERT_EQUAL(pr_sense_attention(&s), 0);
}

static void short_and_foreign_sense_is_unknown(void)
{
	static const uint8_t image[18] = { 0x70, 0, 0x06, [7] = 10, [12] = 0x2a, [13] = 5 };
	static const uint8_t foreign[18] = { 0x55, 0, 6 };
	struct pr_sense s;

	for (size_t n = 0; n < 3; n++) {
		pr_sense_decode(image, n, &s);
		CU_ASSERT(!s.valid);
		CU_ASSERT_EQUAL(pr_status_classify(PR_STATUS_CHECK, &s), PR_CLASS_UNKNOWN);
	}
	pr_sense_decode(image, 13, &s); /* the codes are cut off */
	CU_ASSERT(s.valid && s.asc == 0 && s.ascq == 0);
	pr_sense_decode(foreign, sizeof(foreign), &s);
	CU_ASSERT(!s.valid);
}

static void statuses(void)
{
	const struct pr_sense none = { 0 };

	CU_ASSERT_EQUAL(pr_status_classify(0x00, &none), PR_CLASS_GOOD);
	CU_ASSERT_EQUAL(pr_status_classify(0x18, &none), PR_CLASS_CONFLICT);
	CU_ASSERT_EQUAL(pr_status_classify(0x08, &none), PR_CLASS_BUSY);
	CU_ASSERT_EQUAL(pr_status_classify(0x28, &none), PR_CLASS_BUSY);
	CU_ASSERT_EQUAL(pr_status_classify(0x40, &none), PR_CLASS_UNKNOWN); /* TASK ABORTED */
	CU_ASSERT_EQUAL(pr_status_classify(0x7e, &none), PR_CLASS_UNKNOWN);
}

static void classes(void)
{
	CU_ASSERT_EQUAL(check(0x6, 0x29, 0x00), PR_CLASS_RETRY);
	CU_ASSERT_EQUAL(check(0x6, 0x2a, 0x03), PR_CLASS_RETRY);
	CU_ASSERT_EQUAL(check(0x6, 0x2a, 0x04), PR_CLASS_RETRY);
	CU_ASSERT_EQUAL(check(0x6, 0x99, 0x99), PR_CLASS_RETRY);
	CU_ASSERT_EQUAL(check(0x5, 0x24, 0x00), PR_CLASS_UNSUPPORTED);
	CU_ASSERT_EQUAL(check(0x5, 0x20, 0x00), PR_CLASS_UNSUPPORTED);
	CU_ASSERT_EQUAL(check(0x5, 0x26, 0x04), PR_CLASS_REFUSED);
	CU_ASSERT_EQUAL(check(0x5, 0x55, 0x04), PR_CLASS_REFUSED);
	CU_ASSERT_EQUAL(check(0x5, 0x25, 0x00), PR_CLASS_PATH);
	CU_ASSERT_EQUAL(check(0x2, 0x04, 0x0b), PR_CLASS_PATH);
	CU_ASSERT_EQUAL(check(0x2, 0x04, 0x0a), PR_CLASS_BUSY);
	CU_ASSERT_EQUAL(check(0x3, 0x11, 0x00), PR_CLASS_MEDIA);
	CU_ASSERT_EQUAL(check(0x7, 0x27, 0x00), PR_CLASS_MEDIA);
	CU_ASSERT_EQUAL(check(0x1, 0x17, 0x00), PR_CLASS_GOOD);
	CU_ASSERT_EQUAL(check(0xb, 0x4b, 0x00), PR_CLASS_UNKNOWN); /* ABORTED COMMAND */
	CU_ASSERT_EQUAL(check(0x9, 0x80, 0x00), PR_CLASS_UNKNOWN);
}

static void attentions(void)
{
	struct pr_sense s = fixed(0x70, 6, 0x29, 0x07);

	CU_ASSERT_EQUAL(pr_sense_attention(&s), SCSI3PR_UA_RESET);
	s = fixed(0x70, 6, 0x2a, 0x04);
	CU_ASSERT_EQUAL(pr_sense_attention(&s), SCSI3PR_UA_RELEASED);
	s = fixed(0x70, 6, 0x3f, 0x0e);
	CU_ASSERT_EQUAL(pr_sense_attention(&s), SCSI3PR_UA_OTHER);
	s = fixed(0x70, 5, 0x2a, 0x04);
	CU_ASSERT_EQUAL(pr_sense_attention(&s), 0);
}

static void text(void)
{
	struct pr_sense s = fixed(0x70, 6, 0x2a, 0x05);
	char out[96];

	pr_sense_format(&s, out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, "UNIT ATTENTION 2a/05 registrations preempted");
	s = fixed(0x70, 5, 0xee, 0xee);
	pr_sense_format(&s, out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, "ILLEGAL REQUEST ee/ee");
	pr_sense_format(&s, out, 8);
	CU_ASSERT_STRING_EQUAL(out, "ILLEGAL");
}

UNIT_MAIN("scsi3pr/pr_sense", { "formats", formats },
	  { "short and foreign sense is unknown", short_and_foreign_sense_is_unknown },
	  { "statuses", statuses }, { "classes", classes }, { "attentions", attentions },
	  { "text", text })

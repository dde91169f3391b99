/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chooses the one name of a LUN out of those that it gives itself.  Never cuts a name short, since
 * two LUNs could then look like one: a designator that does not fit is passed over.
 */
#include "scsi3pr/pr_vpd.h"
#include "scsi3pr/pr_code.h"

#include <errno.h>
#include <string.h>

enum {
	CODE_SET_BINARY = 1,
	CODE_SET_ASCII = 2,
	DESIGNATOR_T10 = 1,
	DESIGNATOR_EUI64 = 2,
	DESIGNATOR_NAA = 3,
};

static void hex_append(char *id, const char *prefix, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t pos = strlen(prefix);

	memcpy(id, prefix, pos);
	for (size_t i = 0; i < n; i++) {
		id[pos++] = digits[bytes[i] >> 4];
		id[pos++] = digits[bytes[i] & 0xf];
	}
	id[pos] = '\0';
}

/* Vendor (8 bytes) and vendor's id; what would need quoting in a shell or a path becomes '_'. */
static bool t10_append(char *id, const uint8_t *text, size_t n)
{
	size_t pos = 4;

	while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\0'))
		n--;
	if (n <= 8 || pos + n + 1 > SCSI3PR_LUN_ID_MAX)
		return false;
	memcpy(id, "t10.", 4);
	for (size_t i = 0; i < n; i++) {
		uint8_t c = text[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
			     (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == ':';

		id[pos++] = plain ? (char)c : '_';
	}
	id[pos] = '\0';
	return true;
}

/* How good a designator is as a name, 0 = no use. */
static unsigned rank(unsigned type, unsigned code_set, const uint8_t *d, size_t n)
{
	switch (type) {
	case DESIGNATOR_NAA: /* SPC-4 7.8.6.6: NAA 2, 3, 5 have 8 bytes, NAA 6 has 16 */
		if (code_set != CODE_SET_BINARY || n < 1)
			return 0;
		if ((d[0] >> 4) == 6)
			return n == 16 ? 400 : 0;
		if ((d[0] >> 4) == 5)
			return n == 8 ? 350 : 0;
		return n == 8 && ((d[0] >> 4) == 2 || (d[0] >> 4) == 3) ? 300 : 0;
	case DESIGNATOR_EUI64: /* 7.8.6.5: 8, 12 or 16 bytes */
		if (code_set != CODE_SET_BINARY || (n != 8 && n != 12 && n != 16))
			return 0;
		return 200 + (unsigned)n;
	case DESIGNATOR_T10: /* 7.8.6.4 */
		return code_set == CODE_SET_ASCII && n > 8 ? 100 : 0;
	default:
		return 0;
	}
}

int pr_vpd_id_decode(const uint8_t *page, size_t len_bytes, char ret_id[SCSI3PR_LUN_ID_MAX])
{
	unsigned best = 0;
	size_t end, pos = 4;

	ret_id[0] = '\0';
	if (len_bytes < 4 || page[1] != PR_VPD_PAGE_ID)
		return -EBADMSG;
	end = 4 + (size_t)pr_be16_read(page + 2);
	if (end > len_bytes)
		return -EBADMSG;
	while (pos < end) {
		const uint8_t *d = page + pos;
		unsigned value;
		size_t n;

		if (end - pos < 4 || d[3] > end - pos - 4)
			return -EBADMSG;
		n = d[3];
		pos += 4 + n;
		if ((d[1] >> 4 & 3) != 0) /* association: a port or the target, not the LUN */
			continue;
		value = rank(d[1] & 0xf, d[0] & 0xf, d + 4, n);
		if (value <= best)
			continue;
		if ((d[1] & 0xf) == DESIGNATOR_T10) {
			if (!t10_append(ret_id, d + 4, n))
				continue;
		} else {
			hex_append(ret_id, (d[1] & 0xf) == DESIGNATOR_NAA ? "naa." : "eui.", d + 4,
				   n);
		}
		best = value;
	}
	return best ? 0 : -ENODATA;
}

static void field_copy(char *out, const uint8_t *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = text[i] >= 0x20 && text[i] < 0x7f ? (char)text[i] : '?';
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

int pr_inquiry_decode(const uint8_t *buf, size_t len_bytes, uint8_t *ret_type, char ret_vendor[9],
		      char ret_product[17])
{
	if (len_bytes < 36)
		return -EBADMSG;
	*ret_type = buf[0] & 0x1f;
	field_copy(ret_vendor, buf + 8, 8);
	field_copy(ret_product, buf + 16, 16);
	return 0;
}

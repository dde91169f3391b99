/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codes persistent reservation commands and their data.  Decides nothing; assumes no more
 * than that buf has len_bytes bytes; never reads a length field without checking it.
 */
#include "scsi3pr/pr_code.h"

#include <errno.h>
#include <string.h>

#define OP_INQUIRY	   0x12u
#define OP_READ10	   0x28u
#define OP_WRITE10	   0x2au
#define OP_PR_IN	   0x5eu
#define OP_PR_OUT	   0x5fu
#define OP_SERVICE_IN16	   0x9eu
#define SA_READ_CAPACITY16 0x10u
#define FULL_STATUS_FIXED  24u /* bytes before the TransportID, SPC-4 6.15.5 */
#define TRANSPORT_ID_FIXED 24u

/* SPC-4 6.15.1 */
unsigned pr_in_encode(enum pr_in_action action, uint16_t allocation_bytes, uint8_t cdb[PR_CDB_MAX])
{
	memset(cdb, 0, PR_CDB_MAX);
	cdb[0] = OP_PR_IN;
	cdb[1] = (uint8_t)action & 0x1f;
	pr_be16_write(cdb + 7, allocation_bytes);
	return 10;
}

/* SPC-4 6.16.1 */
unsigned pr_out_encode(enum pr_out_action action, unsigned scope, unsigned type,
		       uint32_t list_bytes, uint8_t cdb[PR_CDB_MAX])
{
	memset(cdb, 0, PR_CDB_MAX);
	cdb[0] = OP_PR_OUT;
	cdb[1] = (uint8_t)action & 0x1f;
	cdb[2] = (uint8_t)((scope & 0xf) << 4 | (type & 0xf));
	pr_be32_write(cdb + 5, list_bytes);
	return 10;
}

/* SPC-4 6.16.3 */
void pr_out_list_encode(const struct pr_out_list *list, uint8_t buf[PR_OUT_LIST_BYTES])
{
	memset(buf, 0, PR_OUT_LIST_BYTES);
	pr_be64_write(buf, list->key);
	pr_be64_write(buf + 8, list->action_key);
	buf[20] = (uint8_t)((list->specify_initiators ? 1u << 3 : 0) |
			    (list->all_ports ? 1u << 2 : 0) | (list->aptpl ? 1u : 0));
}

int pr_out_list_decode(const uint8_t *buf, size_t len_bytes, struct pr_out_list *ret_list)
{
	if (len_bytes < PR_OUT_LIST_BYTES)
		return -EBADMSG;
	*ret_list = (struct pr_out_list){
		.key = pr_be64_read(buf),
		.action_key = pr_be64_read(buf + 8),
		.specify_initiators = buf[20] & 1u << 3,
		.all_ports = buf[20] & 1u << 2,
		.aptpl = buf[20] & 1u,
	};
	return 0;
}

/* SPC-4 6.6.1 */
unsigned pr_inquiry_encode(bool vpd, uint8_t page, uint16_t allocation_bytes,
			   uint8_t cdb[PR_CDB_MAX])
{
	memset(cdb, 0, PR_CDB_MAX);
	cdb[0] = OP_INQUIRY;
	cdb[1] = vpd ? 1 : 0;
	cdb[2] = page;
	pr_be16_write(cdb + 3, allocation_bytes);
	return 6;
}

/* SBC-3 5.16 */
unsigned pr_read_capacity16_encode(uint32_t allocation_bytes, uint8_t cdb[PR_CDB_MAX])
{
	memset(cdb, 0, PR_CDB_MAX);
	cdb[0] = OP_SERVICE_IN16;
	cdb[1] = SA_READ_CAPACITY16;
	pr_be32_write(cdb + 10, allocation_bytes);
	return 16;
}

static unsigned rw10_encode(uint8_t op, uint32_t lba, uint16_t blocks, uint8_t cdb[PR_CDB_MAX])
{
	memset(cdb, 0, PR_CDB_MAX);
	cdb[0] = op;
	pr_be32_write(cdb + 2, lba);
	pr_be16_write(cdb + 7, blocks);
	return 10;
}

unsigned pr_read10_encode(uint32_t lba, uint16_t blocks, uint8_t cdb[PR_CDB_MAX])
{
	return rw10_encode(OP_READ10, lba, blocks, cdb);
}

unsigned pr_write10_encode(uint32_t lba, uint16_t blocks, uint8_t cdb[PR_CDB_MAX])
{
	return rw10_encode(OP_WRITE10, lba, blocks, cdb);
}

const char *pr_out_action_name(unsigned action)
{
	static const char *const names[] = {
		"REGISTER",
		"RESERVE",
		"RELEASE",
		"CLEAR",
		"PREEMPT",
		"PREEMPT AND ABORT",
		"REGISTER AND IGNORE EXISTING KEY",
	};

	return action < CL_ARRAY_LEN(names) ? names[action] : "PERSISTENT RESERVE OUT";
}

const char *scsi3pr_type_name(unsigned type)
{
	static const char *const names[] = {
		[1] = "write-exclusive",
		[3] = "exclusive-access",
		[5] = "write-exclusive-registrants-only",
		[6] = "exclusive-access-registrants-only",
		[7] = "write-exclusive-all-registrants",
		[8] = "exclusive-access-all-registrants",
	};

	return type < CL_ARRAY_LEN(names) && names[type] ? names[type] : "unknown";
}

/* PRgeneration and ADDITIONAL LENGTH, common to three of the four answers. */
static int header_decode(const uint8_t *buf, size_t len_bytes, uint32_t *ret_generation,
			 uint32_t *ret_more)
{
	if (len_bytes < PR_HEADER_BYTES)
		return -EBADMSG;
	*ret_generation = pr_be32_read(buf);
	*ret_more = pr_be32_read(buf + 4);
	return 0;
}

/* SPC-4 6.15.2 */
int pr_keys_decode(const uint8_t *buf, size_t len_bytes, struct scsi3pr_keys *ret_keys)
{
	uint32_t more;
	int ret = header_decode(buf, len_bytes, &ret_keys->generation, &more);

	ret_keys->n = 0;
	if (ret < 0)
		return ret;
	if (more % 8 != 0)
		return -EBADMSG;
	if (more > len_bytes - PR_HEADER_BYTES || more / 8 > SCSI3PR_KEYS_MAX)
		return -EMSGSIZE;
	for (uint32_t i = 0; i < more / 8; i++)
		ret_keys->key[i] = pr_be64_read(buf + PR_HEADER_BYTES + 8 * (size_t)i);
	ret_keys->n = more / 8;
	return 0;
}

bool scsi3pr_keys_have(const struct scsi3pr_keys *keys, uint64_t key)
{
	for (unsigned i = 0; i < keys->n; i++)
		if (keys->key[i] == key)
			return true;
	return false;
}

/* SPC-4 6.15.3 */
int pr_reservation_decode(const uint8_t *buf, size_t len_bytes,
			  struct scsi3pr_reservation *ret_reservation)
{
	uint32_t more;
	int ret;

	*ret_reservation = (struct scsi3pr_reservation){ 0 };
	ret = header_decode(buf, len_bytes, &ret_reservation->generation, &more);
	if (ret < 0 || more == 0)
		return ret;
	if (more != 16 || len_bytes < PR_HEADER_BYTES + 16)
		return -EBADMSG;
	ret_reservation->held = true;
	ret_reservation->key = pr_be64_read(buf + 8);
	ret_reservation->scope = buf[21] >> 4;
	ret_reservation->type = buf[21] & 0xf;
	return 0;
}

/* SPC-4 6.15.4.  The type mask: byte 4 bit n = type n, byte 5 bit 0 = type 8. */
int pr_capabilities_decode(const uint8_t *buf, size_t len_bytes,
			   struct scsi3pr_capabilities *ret_caps)
{
	*ret_caps = (struct scsi3pr_capabilities){ 0 };
	if (len_bytes < 8 || pr_be16_read(buf) < 8)
		return -EBADMSG;
	ret_caps->compatible_handling = buf[2] & 1u << 4;
	ret_caps->specify_initiators_capable = buf[2] & 1u << 3;
	ret_caps->all_ports_capable = buf[2] & 1u << 2;
	ret_caps->persist_capable = buf[2] & 1u;
	ret_caps->types_valid = buf[3] & 1u << 7;
	ret_caps->allow_commands = buf[3] >> 4 & 7;
	ret_caps->persist_active = buf[3] & 1u;
	ret_caps->types = (uint16_t)(buf[4] | (buf[5] & 1u) << 8);
	return 0;
}

static void text_copy(char *out, size_t cap_bytes, const uint8_t *text, size_t len_bytes)
{
	size_t i = 0;

	for (; i + 1 < cap_bytes && i < len_bytes && text[i] != '\0'; i++)
		out[i] = text[i] > 0x20 && text[i] < 0x7f ? (char)text[i] : '?';
	out[i] = '\0';
}

static void hex_copy(char *out, size_t cap_bytes, const char *prefix, const uint8_t *bytes,
		     size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t pos = strlen(prefix);

	memcpy(out, prefix, pos + 1);
	for (size_t i = 0; i < n && pos + 2 < cap_bytes; i++) {
		out[pos++] = digits[bytes[i] >> 4];
		out[pos++] = digits[bytes[i] & 0xf];
	}
	out[pos] = '\0';
}

/* SPC-4 7.6.4: id has at least 24 bytes; those of iSCSI may have more. */
static void transport_id_format(const uint8_t *id, size_t len_bytes, char *out, size_t cap_bytes)
{
	size_t name_bytes;

	switch (id[0] & 0xf) {
	case 0x0: /* Fibre Channel: N_Port_Name */
		hex_copy(out, cap_bytes, "fc.", id + 8, 8);
		break;
	case 0x5: /* iSCSI: a name with a NUL, padded; format 01b adds ",i,0x" and the ISID */
		name_bytes = pr_be16_read(id + 2);
		if (name_bytes > len_bytes - 4)
			name_bytes = len_bytes - 4;
		text_copy(out, cap_bytes, id + 4, name_bytes);
		break;
	case 0x6: /* SAS address */
		hex_copy(out, cap_bytes, "sas.", id + 4, 8);
		break;
	default:
		hex_copy(out, cap_bytes, "transport.", id, TRANSPORT_ID_FIXED);
		break;
	}
}

/* SPC-4 6.15.5 */
int pr_full_status_decode(const uint8_t *buf, size_t len_bytes,
			  struct scsi3pr_full_status *ret_status)
{
	uint32_t more;
	size_t pos = PR_HEADER_BYTES, end;
	int ret;

	ret_status->n = 0;
	ret_status->truncated = false;
	ret = header_decode(buf, len_bytes, &ret_status->generation, &more);
	if (ret < 0)
		return ret;
	end = len_bytes;
	if (more > len_bytes - PR_HEADER_BYTES)
		ret_status->truncated = true;
	else
		end = PR_HEADER_BYTES + more;
	while (pos < end) {
		struct scsi3pr_nexus *nexus = &ret_status->nexus[ret_status->n];
		const uint8_t *d = buf + pos;
		uint32_t id_bytes;

		if (end - pos >= FULL_STATUS_FIXED) {
			id_bytes = pr_be32_read(d + 20);
			if (id_bytes < TRANSPORT_ID_FIXED)
				return -EBADMSG;
		}
		if (end - pos < FULL_STATUS_FIXED || id_bytes > end - pos - FULL_STATUS_FIXED) {
			if (ret_status->truncated)
				return 0; /* the cut went through this descriptor */
			return -EBADMSG;
		}
		if (ret_status->n == SCSI3PR_NEXUSES_MAX) {
			ret_status->truncated = true;
			return 0;
		}
		nexus->key = pr_be64_read(d);
		nexus->all_ports = d[12] & 1u << 1;
		nexus->holder = d[12] & 1u;
		nexus->scope = nexus->holder ? d[13] >> 4 : 0;
		nexus->type = nexus->holder ? d[13] & 0xf : 0;
		nexus->target_port = pr_be16_read(d + 18);
		transport_id_format(d + FULL_STATUS_FIXED, id_bytes, nexus->initiator,
				    sizeof(nexus->initiator));
		ret_status->n++;
		pos += FULL_STATUS_FIXED + id_bytes;
	}
	return 0;
}

/* SBC-3 5.16.2 */
int pr_capacity16_decode(const uint8_t *buf, size_t len_bytes, uint64_t *ret_blocks,
			 uint32_t *ret_block_bytes)
{
	uint64_t last;
	uint32_t block_bytes;

	if (len_bytes < 12)
		return -EBADMSG;
	last = pr_be64_read(buf);
	block_bytes = pr_be32_read(buf + 8);
	if (last == UINT64_MAX || block_bytes < 512 || block_bytes > 65536 ||
	    (block_bytes & (block_bytes - 1)) != 0 || (last + 1) > UINT64_MAX / block_bytes)
		return -EBADMSG;
	*ret_blocks = last + 1;
	*ret_block_bytes = block_bytes;
	return 0;
}

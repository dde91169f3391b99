/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of the metadata partition, and the term record's compare and write.
 *
 * Decides that a term record is replaced only by who has just seen it.  COMPARE AND WRITE
 * (SBC-3 5.2) does that in the target; it compares one logical block, which holds the whole record
 * (lun.md), so the target's usual limit of one block is enough.  Without it: read, compare, write,
 * read back. The caller is then alone by the log and by the reservation.
 */
#include "csv/lun_linux.h"

#include <errno.h>
#include <scsi/sg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define OP_COMPARE_AND_WRITE 0x89u
#define CAW_FUA		     (1u << 3)
#define CAW_TIMEOUT_MS	     30000u
#define ATTENTION_TRIES	     16u
#define TERM_RECORD_BYTES    72u /* lun.md: fits every logical block size */
_Static_assert(TERM_RECORD_BYTES <= 512, "the term record must fit one logical block");

int csv_lun_read_at(struct csv_lun *lun, uint64_t off, void *buf, size_t len_bytes)
{
	size_t done = 0;

	while (done < len_bytes) {
		ssize_t n =
			pread(lun->fd, (char *)buf + done, len_bytes - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int csv_lun_write_at(struct csv_lun *lun, uint64_t off, const void *buf, size_t len_bytes)
{
	size_t done = 0;

	while (done < len_bytes) {
		ssize_t n = pwrite(lun->fd, (const char *)buf + done, len_bytes - done,
				   (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static bool block_offset(const struct csv_lun *lun, unsigned block, uint64_t *ret_off)
{
	*ret_off = CSV_LUN_META_OFF + (uint64_t)block * CSV_LUN_BLOCK;
	return block < CSV_LUN_META_BYTES / CSV_LUN_BLOCK &&
	       *ret_off + CSV_LUN_BLOCK <= lun->size_bytes;
}

int csv_lun_block_read(struct csv_lun *lun, unsigned block, uint8_t *ret_buf)
{
	uint64_t off;
	int ret;

	if (!block_offset(lun, block, &off))
		return -EINVAL;
	ret = csv_lun_read_at(lun, off, lun->buf, CSV_LUN_BLOCK);
	if (ret == 0)
		memcpy(ret_buf, lun->buf, CSV_LUN_BLOCK);
	return ret;
}

int csv_lun_block_write(struct csv_lun *lun, unsigned block, const uint8_t *buf)
{
	uint64_t off;

	if (!block_offset(lun, block, &off))
		return -EINVAL;
	memcpy(lun->buf, buf, CSV_LUN_BLOCK);
	return csv_lun_write_at(lun, off, lun->buf, CSV_LUN_BLOCK);
}

int csv_lun_super_read(struct csv_lun *lun, struct csv_super *ret_super)
{
	uint8_t buf[CSV_LUN_BLOCK];
	int ret = csv_lun_block_read(lun, CSV_LUN_BLOCK_SUPER, buf);

	if (ret < 0)
		return ret;
	ret = csv_super_decode(buf, ret_super);
	if (ret == 0 && (ret_super->data_off > lun->size_bytes ||
			 ret_super->data_bytes > lun->size_bytes - ret_super->data_off))
		return -EBADMSG;
	return ret;
}

int csv_lun_term_read(struct csv_lun *lun, struct csv_term *ret_term)
{
	uint8_t buf[CSV_LUN_BLOCK];
	int ret = csv_lun_block_read(lun, CSV_LUN_BLOCK_TERM, buf);

	return ret < 0 ? ret : csv_term_decode(buf, ret_term);
}

/* Sense key, 0xff where there is none. Both formats, SPC-4 4.5. */
static uint8_t sense_key(const uint8_t *sense, size_t n)
{
	if (n >= 3 && ((sense[0] & 0x7f) == 0x70 || (sense[0] & 0x7f) == 0x71))
		return sense[2] & 0xf;
	if (n >= 2 && ((sense[0] & 0x7f) == 0x72 || (sense[0] & 0x7f) == 0x73))
		return sense[1] & 0xf;
	return 0xff;
}

/*
 * data: one logical block to compare, then one to write.  0, -ESTALE miscompare, -EOPNOTSUPP,
 * -EBADE, -ETIMEDOUT no clear answer, -EIO.
 */
static int compare_and_write(struct csv_lun *lun, uint64_t off, uint8_t *data)
{
	uint8_t cdb[16] = { OP_COMPARE_AND_WRITE, CAW_FUA }, sense[64];
	uint64_t lba = off / lun->block_bytes;

	for (unsigned i = 0; i < 8; i++)
		cdb[2 + i] = (uint8_t)(lba >> (56 - 8 * i));
	cdb[13] = 1;
	for (unsigned try = 0; try < ATTENTION_TRIES; try++) {
		struct sg_io_hdr io = {
			.interface_id = 'S',
			.cmd_len = sizeof(cdb),
			.cmdp = cdb,
			.dxfer_direction = SG_DXFER_TO_DEV,
			.dxfer_len = 2 * lun->block_bytes,
			.dxferp = data,
			.sbp = sense,
			.mx_sb_len = sizeof(sense),
			.timeout = CAW_TIMEOUT_MS,
		};

		if (ioctl(lun->fd, SG_IO, &io) < 0) {
			/* Not a SCSI device, or the pass-through is filtered. */
			if (errno == ENOTTY || errno == EINVAL || errno == EPERM)
				return -EOPNOTSUPP;
			return errno == ENODEV || errno == ENXIO ? -ENODEV : -ETIMEDOUT;
		}
		if (io.host_status != 0)
			return -ETIMEDOUT;
		if (io.status == 0)
			return 0;
		if (io.status == 0x18)
			return -EBADE;
		if (io.status == 0x08 || io.status == 0x28) {
			usleep(100000);
			continue;
		}
		if (io.status != 0x02)
			return -ETIMEDOUT;
		switch (sense_key(sense, io.sb_len_wr)) {
		case 0x6: /* unit attention: not carried out */
			continue;
		case 0xe: /* miscompare */
			return -ESTALE;
		case 0x5:
			return -EOPNOTSUPP;
		case 0x2:
		case 0x3:
		case 0x4:
		case 0x7:
			return -EIO;
		default:
			return -ETIMEDOUT;
		}
	}
	return -EBUSY;
}

static int swap_atomic(struct csv_lun *lun, uint64_t off, const uint8_t *old, const uint8_t *new)
{
	uint8_t *data;
	int ret;

	if (!lun->is_block || lun->caw == CSV_LUN_CAW_REFUSED)
		return -EOPNOTSUPP;
	if (posix_memalign((void **)&data, CSV_LUN_BLOCK, 2 * (size_t)lun->block_bytes) != 0)
		return -ENOMEM;
	memcpy(data, old, lun->block_bytes);
	memcpy(data + lun->block_bytes, new, lun->block_bytes);
	ret = compare_and_write(lun, off, data);
	free(data);
	if (ret == -EOPNOTSUPP)
		lun->caw = CSV_LUN_CAW_REFUSED;
	else if (ret == 0 || ret == -ESTALE)
		lun->caw = CSV_LUN_CAW_WORKS;
	return ret;
}

int csv_lun_term_swap(struct csv_lun *lun, const struct csv_term *expect, struct csv_term *next,
		      struct csv_term *ret_seen, bool *ret_atomic)
{
	uint8_t old[CSV_LUN_BLOCK], new[CSV_LUN_BLOCK];
	struct csv_term scratch;
	uint64_t off;
	int ret;

	if (!ret_seen)
		ret_seen = &scratch;
	if (ret_atomic)
		*ret_atomic = false;
	if (!block_offset(lun, CSV_LUN_BLOCK_TERM, &off))
		return -EINVAL;
	next->sequence = expect->sequence + 1;
	csv_term_encode(expect, old);
	csv_term_encode(next, new);
	ret = csv_lun_term_read(lun, ret_seen);
	if (ret < 0)
		return ret;
	if (!csv_term_equal(ret_seen, expect))
		return -ESTALE;
	ret = swap_atomic(lun, off, old, new);
	if (ret == -ESTALE) {
		int again = csv_lun_term_read(lun, ret_seen);

		return again < 0 ? again : -ESTALE;
	}
	if (ret == 0) {
		if (ret_atomic)
			*ret_atomic = true;
	} else if (ret == -EOPNOTSUPP) {
		ret = csv_lun_block_write(lun, CSV_LUN_BLOCK_TERM, new);
	}
	if (ret < 0)
		return ret;
	ret = csv_lun_term_read(lun, ret_seen);
	if (ret == 0 && !csv_term_equal(ret_seen, next))
		ret = -ESTALE;
	return ret;
}

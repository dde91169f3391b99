/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes a partition table into memory.  The table is for other tools' sake (fdisk, lsblk, a rescue
 * system): Holdfast itself goes by the superblock and the fixed offsets of lun.h.
 */
#include "csv/gpt.h"

#include "common/cl_wire.h"

#include <errno.h>
#include <string.h>

#define ENTRIES	     128u
#define ENTRY_BYTES  128u
#define TABLE_BYTES  (ENTRIES * ENTRY_BYTES)
#define HEADER_BYTES 92u
#define HEADER_CRC   16u
#define REVISION     0x00010000u
#define NAME_CHARS   36u

/* Linux file system data; and a type of our own for the metadata. */
static const uint8_t type_data[CL_UUID_BYTES] = { 0x0f, 0xc6, 0x3d, 0xaf, 0x84, 0x83, 0x47, 0x72,
						  0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4 };
static const uint8_t type_meta[CL_UUID_BYTES] = { 0x5d, 0x1e, 0x0c, 0x7a, 0x93, 0x44, 0x4b, 0x0e,
						  0xa6, 0x21, 0x48, 0x6f, 0x6c, 0x64, 0x66, 0x73 };

/* IEEE 802.3, reflected: UEFI wants this one and not the Castagnoli polynomial. */
static uint32_t crc32_ieee(const uint8_t *data, size_t n)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < n; i++) {
		crc ^= data[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* The first three fields of a GUID are little-endian on disk. */
static void guid_write(struct cl_writer *w, const uint8_t uuid[CL_UUID_BYTES])
{
	static const uint8_t order[8] = { 3, 2, 1, 0, 5, 4, 7, 6 };

	for (unsigned i = 0; i < 8; i++)
		cl_write_u8(w, uuid[order[i]]);
	cl_write_bytes(w, uuid + 8, 8);
}

static void entry_write(uint8_t *out, const uint8_t type[CL_UUID_BYTES],
			const uint8_t id[CL_UUID_BYTES], uint64_t first, uint64_t last,
			const char *name)
{
	struct cl_writer w;

	cl_writer_init(&w, out, ENTRY_BYTES);
	guid_write(&w, type);
	guid_write(&w, id);
	cl_write_u64(&w, first);
	cl_write_u64(&w, last);
	cl_write_u64(&w, 0);
	for (unsigned i = 0; i < NAME_CHARS && name[i]; i++)
		cl_write_u16(&w, (uint16_t)name[i]);
}

static void header_write(uint8_t *out, uint64_t my_lba, uint64_t other_lba, uint64_t table_lba,
			 uint64_t first_usable, uint64_t last_usable,
			 const uint8_t disk[CL_UUID_BYTES], uint32_t table_crc)
{
	struct cl_writer w;

	cl_writer_init(&w, out, HEADER_BYTES);
	cl_write_bytes(&w, "EFI PART", 8);
	cl_write_u32(&w, REVISION);
	cl_write_u32(&w, HEADER_BYTES);
	cl_write_u32(&w, 0); /* checksum */
	cl_write_u32(&w, 0);
	cl_write_u64(&w, my_lba);
	cl_write_u64(&w, other_lba);
	cl_write_u64(&w, first_usable);
	cl_write_u64(&w, last_usable);
	guid_write(&w, disk);
	cl_write_u64(&w, table_lba);
	cl_write_u32(&w, ENTRIES);
	cl_write_u32(&w, ENTRY_BYTES);
	cl_write_u32(&w, table_crc);
	cl_writer_init(&w, out + HEADER_CRC, 4);
	cl_write_u32(&w, crc32_ieee(out, HEADER_BYTES));
}

static void protective_mbr_write(uint8_t *out, uint64_t blocks)
{
	struct cl_writer w;

	cl_writer_init(&w, out + 446, 66);
	cl_write_u8(&w, 0);
	cl_write_bytes(&w, "\x00\x02\x00", 3);
	cl_write_u8(&w, 0xee);
	cl_write_bytes(&w, "\xff\xff\xff", 3);
	cl_write_u32(&w, 1);
	cl_write_u32(&w, blocks - 1 > UINT32_MAX ? UINT32_MAX : (uint32_t)(blocks - 1));
	out[510] = 0x55;
	out[511] = 0xaa;
}

int csv_gpt_encode(uint64_t lun_bytes, uint32_t block_bytes,
		   const uint8_t volume_uuid[CL_UUID_BYTES], uint8_t *head, uint8_t *tail)
{
	uint64_t blocks, data_off, data_bytes, table_blocks, tail_lba, back_table;
	uint8_t disk[CL_UUID_BYTES], meta[CL_UUID_BYTES], *table;
	uint32_t table_crc;
	int ret;

	if ((block_bytes != 512 && block_bytes != 4096) || lun_bytes % block_bytes != 0)
		return -EINVAL;
	ret = csv_lun_layout(lun_bytes, &data_off, &data_bytes);
	if (ret < 0)
		return ret;
	memcpy(disk, volume_uuid, CL_UUID_BYTES);
	memcpy(meta, volume_uuid, CL_UUID_BYTES);
	disk[CL_UUID_BYTES - 1] ^= 1;
	meta[CL_UUID_BYTES - 1] ^= 2;
	blocks = lun_bytes / block_bytes;
	table_blocks = TABLE_BYTES / block_bytes;
	tail_lba = blocks - CSV_GPT_BYTES / block_bytes;
	back_table = blocks - 1 - table_blocks;
	table = head + 2 * (size_t)block_bytes;
	entry_write(table, type_meta, meta, CSV_LUN_META_OFF / block_bytes,
		    data_off / block_bytes - 1, "holdfast-meta");
	entry_write(table + ENTRY_BYTES, type_data, volume_uuid, data_off / block_bytes,
		    (data_off + data_bytes) / block_bytes - 1, "holdfast-data");
	table_crc = crc32_ieee(table, TABLE_BYTES);
	protective_mbr_write(head, blocks);
	header_write(head + block_bytes, 1, blocks - 1, 2, 2 + table_blocks, back_table - 1, disk,
		     table_crc);
	memcpy(tail + (back_table - tail_lba) * block_bytes, table, TABLE_BYTES);
	header_write(tail + (blocks - 1 - tail_lba) * block_bytes, blocks - 1, 1, back_table,
		     2 + table_blocks, back_table - 1, disk, table_crc);
	return 0;
}

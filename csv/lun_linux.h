/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of struct csv_lun, for lunfmt_linux.c and lunterm_linux.c only.
 */
#ifndef CSV_LUN_LINUX_H
#define CSV_LUN_LINUX_H

#include "csv/lun.h"

enum csv_lun_caw {
	CSV_LUN_CAW_UNTRIED = 0,
	CSV_LUN_CAW_WORKS,
	CSV_LUN_CAW_REFUSED,
};

/* Owned by who opened it. */
struct csv_lun {
	int fd; /* O_RDWR | O_DSYNC, O_DIRECT but on a plain file that has none */
	bool is_block;
	uint64_t size_bytes;
	uint32_t block_bytes; /* logical */
	enum csv_lun_caw caw;
	uint8_t *buf; /* CSV_LUN_BLOCK bytes, aligned */
	char device[256];
};

/* All of it or -errno; off, len_bytes and buf aligned to the logical block. */
int csv_lun_read_at(struct csv_lun *lun, uint64_t off, void *buf, size_t len_bytes);
int csv_lun_write_at(struct csv_lun *lun, uint64_t off, const void *buf, size_t len_bytes);

#endif

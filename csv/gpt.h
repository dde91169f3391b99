/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The GUID partition table of a volume's LUN (UEFI 2.10, 5.3): protective MBR, two partitions, and
 * the copy at the end.  Pure.
 */
#ifndef CSV_GPT_H
#define CSV_GPT_H

#include "csv/lun.h"

#define CSV_GPT_BYTES (1u << 20) /* what head and tail each cover */

/*
 * head: the first MiB of the LUN, tail: the last, both zeroed by the caller.  block_bytes 512 or
 * 4096, lun_bytes a multiple of it.  0 or -EINVAL, -ENOSPC.
 */
int csv_gpt_encode(uint64_t lun_bytes, uint32_t block_bytes,
		   const uint8_t volume_uuid[CL_UUID_BYTES], uint8_t *head, uint8_t *tail);

#endif

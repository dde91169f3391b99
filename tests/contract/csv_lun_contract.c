/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What csv/lun.h promises, on a real LUN: run as root with a scratch disk (destroyed).
 * Exit 0 all held, 1 not.
 */
#include "csv/lun.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static unsigned failed;

#define EXPECT(what, cond)                                                                         \
	do {                                                                                       \
		bool ok_ = (cond);                                                                 \
		printf("%s %s\n", ok_ ? "ok" : "NOT OK", what);                                    \
		failed += !ok_;                                                                    \
	} while (0)

static void terms(struct csv_lun *lun, const struct csv_lun_format *format)
{
	struct csv_term first, next, other, seen;
	bool atomic = false;
	int ret;

	EXPECT("first term record",
	       csv_lun_term_read(lun, &first) == 0 && first.term == 0 && first.owner == 0 &&
		       first.state == CSV_TERM_RELEASED &&
		       memcmp(first.volume_uuid, format->volume_uuid, CL_UUID_BYTES) == 0);
	next = first;
	next.term = 1;
	next.owner = 2;
	next.owner_key = 0xc5abcd0200000007;
	next.state = CSV_TERM_ACTIVE;
	next.clients = 6;
	ret = csv_lun_term_swap(lun, &first, &next, &seen, &atomic);
	EXPECT("swap", ret == 0 && csv_term_equal(&seen, &next) && next.sequence == 1);
	printf("   (swap returned %d, %s)\n", ret, atomic ? "COMPARE AND WRITE" : "read and write");
	other = first;
	other.term = 9;
	EXPECT("a swap against an old record is refused",
	       csv_lun_term_swap(lun, &first, &other, &seen, NULL) == -ESTALE &&
		       csv_term_equal(&seen, &next));
	EXPECT("and changed nothing",
	       csv_lun_term_read(lun, &seen) == 0 && csv_term_equal(&seen, &next));
	first = next;
	next.state = CSV_TERM_RELEASED;
	EXPECT("swap again", csv_lun_term_swap(lun, &first, &next, &seen, NULL) == 0);
}

int main(int argc, char **argv)
{
	struct csv_lun_format format = { .name = "contract", .force = true };
	struct csv_lun_probe probe;
	uint8_t block[CSV_LUN_BLOCK], back[CSV_LUN_BLOCK];
	char error[CSV_LUN_TEXT_MAX] = "";
	struct csv_lun *lun;

	if (argc != 2) {
		fprintf(stderr, "usage: csv_lun_contract SCRATCH-DISK\n");
		return 2;
	}
	for (unsigned i = 0; i < CL_UUID_BYTES; i++) {
		format.cluster_uuid[i] = (uint8_t)(0x10 + i);
		format.volume_uuid[i] = (uint8_t)(0xa0 + i);
	}
	if (csv_lun_open(argv[1], &lun, error) < 0) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	EXPECT("probe before", csv_lun_probe(lun, &probe, error) == 0);
	printf("   (%llu MiB, block %u, found: %s)\n", (unsigned long long)(probe.size_bytes >> 20),
	       probe.block_bytes, probe.found[0] ? probe.found : "nothing");
	EXPECT("format", csv_lun_format(lun, &format, error) == 0);
	if (error[0])
		printf("   (%s)\n", error);
	EXPECT("probe after: ours", csv_lun_probe(lun, &probe, error) == 0 && probe.is_ours &&
					    strcmp(probe.super.name, "contract") == 0);
	printf("   (%s)\n", probe.found);
	format.force = false;
	EXPECT("format without force is refused", csv_lun_format(lun, &format, error) == -EEXIST);
	printf("   (%s)\n", error);
	terms(lun, &format);
	memset(block, 0x5a, sizeof(block));
	EXPECT("heartbeat block",
	       csv_lun_block_write(lun, CSV_LUN_BLOCK_HEARTBEAT(16), block) == 0 &&
		       csv_lun_block_read(lun, CSV_LUN_BLOCK_HEARTBEAT(16), back) == 0 &&
		       memcmp(block, back, sizeof(block)) == 0);
	EXPECT("a block outside is refused",
	       csv_lun_block_read(lun, CSV_LUN_META_BYTES / CSV_LUN_BLOCK, back) == -EINVAL);
	memset(block, 0, sizeof(block));
	EXPECT("superblock cleared", csv_lun_block_write(lun, CSV_LUN_BLOCK_SUPER, block) == 0);
	EXPECT("probe sees what is left",
	       csv_lun_probe(lun, &probe, error) == 0 && !probe.is_ours && probe.has_data);
	printf("   (%s)\n", probe.found);
	csv_lun_close(lun);
	printf("%u failed\n", failed);
	return failed != 0;
}

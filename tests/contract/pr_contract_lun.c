/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract on a real LUN: pr_contract_lun lio|tgt A B C, where A, B and C are three nexuses of
 * three initiators to one scratch LUN (path devices or iscsi:// URLs).  Destroys its reservations
 * and 1 MiB.
 */
#include "tests/contract/pr_contract.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 60000u

int main(int argc, char **argv)
{
	struct pr_target target = { 0 };
	struct scsi3pr_dev *devs[3] = { NULL };
	struct scsi3pr_lun luns[3];
	char error[SCSI3PR_TEXT_MAX];
	unsigned failed = 1;
	int ret = 0;

	if (argc != 5 || (strcmp(argv[1], "lio") != 0 && strcmp(argv[1], "tgt") != 0)) {
		fprintf(stderr, "usage: pr_contract_lun lio|tgt A B C\n");
		return 2;
	}
	for (int i = 0; i < 3 && ret == 0; i++) {
		ret = scsi3pr_open(argv[2 + i], TIMEOUT_MS, &devs[i], error);
		if (ret == 0) {
			ret = scsi3pr_identify(devs[i], &luns[i]);
			snprintf(error, sizeof(error), "%s", scsi3pr_error(devs[i]));
		}
		if (ret < 0)
			fprintf(stderr, "%s\n", error);
		else if (strcmp(luns[i].id, luns[0].id) != 0)
			fprintf(stderr, "%s is %s and not %s\n", argv[2 + i], luns[i].id,
				luns[0].id);
		if (ret == 0 && strcmp(luns[i].id, luns[0].id) != 0)
			ret = -1;
	}
	if (ret == 0) {
		target.name = argv[1];
		target.a = devs[0];
		target.b = devs[1];
		target.c = devs[2];
		/* tgt 1.0.85 refuses all three */
		target.has_abort = target.has_aptpl = target.has_full_status =
			strcmp(argv[1], "lio") == 0;
		setvbuf(stdout, NULL, _IOLBF, 0);
		failed = pr_contract_run(&target);
	}
	for (int i = 0; i < 3; i++)
		scsi3pr_close(devs[i]);
	return failed != 0;
}

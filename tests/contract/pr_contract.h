/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract of a target's persistent reservations, as Holdfast relies on it: one suite, run on
 * the model, on LIO and on tgt.  Where a target is known to refuse something, the suite demands the
 * refusal.
 */
#ifndef TESTS_CONTRACT_PR_CONTRACT_H
#define TESTS_CONTRACT_PR_CONTRACT_H

#include "scsi3pr/pr_dev.h"

struct pr_target {
	const char *name;
	/* Three nexuses of three initiators on one LUN; 1 MiB at its start is overwritten. */
	struct scsi3pr_dev *a, *b, *c;
	bool has_abort, has_aptpl, has_full_status;
};

/* Prints a line for each point; returns how many did not hold. At least one point is always
 * checked. */
unsigned pr_contract_run(const struct pr_target *target);

#endif

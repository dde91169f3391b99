/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of tests/sim as a transport of scsi3pr: CDBs in, status and sense out.
 */
#ifndef TESTS_CONTRACT_PR_MODEL_H
#define TESTS_CONTRACT_PR_MODEL_H

#include "scsi3pr/pr_dev.h"
#include "tests/sim/model_lun.h"

/* dev is the caller's; scsi3pr_close() must not be called on it. */
struct pr_model_nexus {
	struct model_lun *lun;
	unsigned nexus;
	unsigned lose_at; /* n: the nth command from now gets no answer; 0: none */
	bool lose_reply;  /* it is carried out all the same */
	bool lies;	  /* a broken target: every write is accepted */
	bool busy;	  /* every other command is answered BUSY */
	unsigned pauses;  /* asked for by the library */
};

void pr_model_open(struct scsi3pr_dev *dev, struct pr_model_nexus *nexus, const char *name);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of a struct scsi3pr_dev: what a transport has to offer.  Transports: scsi3pr_sgio.c,
 * scsi3pr_iscsi.c, and the model of tests/sim.
 */
#ifndef SCSI3PR_PR_DEV_H
#define SCSI3PR_PR_DEV_H

#include "scsi3pr/pr_code.h"
#include "scsi3pr/pr_sense.h"

enum pr_delivery {
	PR_ANSWERED = 0, /* status and sense are the target's */
	PR_NOT_SENT = 1, /* surely never reached the target */
	PR_NO_ANSWER = 2 /* sent, or perhaps sent */
};

/* One command. The transport fills the second half and never sends a command twice. */
struct pr_command {
	uint8_t cdb[PR_CDB_MAX];
	unsigned cdb_bytes;
	bool to_target; /* direction of data */
	void *data;	/* borrowed for the call */
	size_t data_bytes;
	unsigned timeout_ms;

	enum pr_delivery delivery;
	uint8_t status;
	uint8_t sense[PR_SENSE_MAX];
	size_t sense_bytes;
	size_t transferred; /* bytes of data that came */
	char note[64];	    /* why it was not answered, "" or static words of the transport */
};

struct pr_transport {
	void (*execute)(void *ctx, struct pr_command *command);
	void (*pause)(void *ctx, unsigned ms); /* between two tries of a busy target */
	/* LOGICAL UNIT RESET: 0 when the target says done, else -errno as in scsi3pr.h. */
	int (*reset)(void *ctx, unsigned timeout_ms);
	void (*close)(void *ctx);
};

/* Owned by who opened it (scsi3pr_open, or a test); ctx is freed by transport->close. */
struct scsi3pr_dev {
	const struct pr_transport *transport;
	void *ctx;
	char name[SCSI3PR_TEXT_MAX];
	unsigned timeout_ms;
	unsigned attentions;   /* SCSI3PR_UA_* since last asked */
	uint32_t block_bytes;  /* 0 = not asked yet */
	struct pr_sense sense; /* of the last command */
	char error[SCSI3PR_TEXT_MAX];
	/* Answers are too large for a worker's stack. */
	uint8_t answer[PR_FULL_BYTES];
	struct scsi3pr_keys keys;
};

void pr_dev_init(struct scsi3pr_dev *dev, const struct pr_transport *transport, void *ctx,
		 const char *name, unsigned timeout_ms);
/*
 * Sends the command, consumes unit attentions, waits for a busy target; 0 or the errno of
 * scsi3pr.h, with dev->error.  what names it for people.
 */
int pr_dev_execute(struct scsi3pr_dev *dev, struct pr_command *command, const char *what);
/*
 * LOGICAL UNIT RESET (SAM-5 7.7): every command of every nexus is ended before the answer. 0 or
 * -errno with dev->error.
 */
int pr_dev_reset(struct scsi3pr_dev *dev);
/* READ(10) of one block at 0 into dev->answer. */
int pr_dev_read_block0(struct scsi3pr_dev *dev);
/* WRITE(10) of one block of byte values at lba, for the contract tests. */
int pr_dev_write_block(struct scsi3pr_dev *dev, uint32_t lba, uint8_t value);
/* Raw PERSISTENT RESERVE OUT. */
int pr_dev_out(struct scsi3pr_dev *dev, enum pr_out_action action, unsigned type,
	       const struct pr_out_list *list);

#endif

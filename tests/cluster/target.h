/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A LUN for programs without a SCSI kernel: the model of tests/sim behind a Unix socket, one command
 * a packet, one target for all nodes, so that every node sees one order.  tests/contract runs on it.
 *
 * A node is one initiator (HF_TEST_NODE in the environment, 1 to 16).  A WRITE(10) carries a record,
 * text of at most 511 bytes "OBJECT GENERATION INSTANCE", and is noted in the target's log with its
 * time and outcome: that log is what the oracles judge.
 */
#ifndef TESTS_CLUSTER_TARGET_H
#define TESTS_CLUSTER_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "scsi3pr/pr_dev.h"

#define TARGET_DATA_MAX 65536u
#define TARGET_CONTROL	0xffffffffu /* as nexus: cut masks instead of a command */
#define TARGET_LUN_ID	"naa.60014050000000000000000000000001"

struct target_request {
	uint32_t nexus;
	uint32_t cdb_bytes;
	uint8_t cdb[PR_CDB_MAX];
	uint32_t to_target;
	uint32_t data_bytes;   /* sent with it, or wanted */
	uint32_t drop, silent; /* CONTROL: nodes whose commands are lost, whose answers are lost */
	uint8_t data[TARGET_DATA_MAX];
};

struct target_answer {
	uint32_t status;
	uint32_t sense_bytes;
	uint8_t sense[PR_SENSE_MAX];
	uint32_t data_bytes;
	uint8_t data[TARGET_DATA_MAX];
};

#define TARGET_HEAD(type) offsetof(struct type, data)

/* The socket's path: $HF_TEST_TARGET, or /shared/target.sock. */
const char *target_path(void);
unsigned target_node(void);
/* Serves until killed; log_path gets a line for each WRITE.  Only returns on an error, -errno. */
int target_serve(const char *socket_path, const char *log_path);
/* The transport; as pr_sgio_open(). */
int target_open(unsigned nexus, const struct pr_transport **ret_transport, void **ret_ctx, char *error);
/*
 * One record written as this node: 0, -EBADE fenced, -ETIMEDOUT no answer, or as scsi3pr.h says.
 * dev is opened on the first call and kept.
 */
int target_record_write(struct scsi3pr_dev **dev, const char *object, uint64_t generation,
			const char *instance, unsigned timeout_ms);

#endif

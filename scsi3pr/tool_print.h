/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output of the `scsi3pr` tool: text for people, or one JSON document.
 */
#ifndef SCSI3PR_TOOL_PRINT_H
#define SCSI3PR_TOOL_PRINT_H

#include "scsi3pr/scsi3pr.h"

#include <jansson.h>

/* "0xc5…": the way in which keys are written everywhere. */
const char *tool_key_text(uint64_t key, char out[19]);
json_t *tool_lun_json(const struct scsi3pr_lun *lun);
json_t *tool_keys_json(const struct scsi3pr_keys *keys);
json_t *tool_reservation_json(const struct scsi3pr_reservation *now);
json_t *tool_capabilities_json(const struct scsi3pr_capabilities *caps);
json_t *tool_full_status_json(const struct scsi3pr_full_status *status);

void tool_lun_print(const struct scsi3pr_lun *lun);
void tool_keys_print(const struct scsi3pr_keys *keys);
void tool_reservation_print(const struct scsi3pr_reservation *now);
void tool_capabilities_print(const struct scsi3pr_capabilities *caps);
void tool_full_status_print(const struct scsi3pr_full_status *status);

#endif

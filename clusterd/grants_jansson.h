/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom the owner of a volume serves the images of VMs, from the log's state: csvd's verb `vms`. */
#ifndef CD_GRANTS_JANSSON_H
#define CD_GRANTS_JANSSON_H

#include <jansson.h>
#include <stdint.h>

#include "clusterd/core/core.h"

/*
 * Up to which generation the node may open disks of the VM; 0: not at all.  Where a process of it
 * may exist (copies says so) it may go on with what it has; a migration's target gets its own.
 */
uint64_t cd_grants_generation(const struct core_vm *vm, uint8_t node);
/* {seq, vms: [{vm, disks, holders: [{node, generation}]}]} of VMs that somebody holds; NULL: no
 * memory. */
json_t *cd_grants_json(const struct core_state *st, uint16_t volume);

#endif

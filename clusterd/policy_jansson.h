/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's policy as JSON (docs/formats/ipc.md): in requests, in the status, in exported configurations. */
#ifndef CD_POLICY_JANSSON_H
#define CD_POLICY_JANSSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "clusterd/core/core.h"

json_t *cd_policy_json(const struct core_state *st, const struct core_vm_policy *policy);
/*
 * Takes the members that are there; *ret_set says which (enum core_policy_field).  0, or -EINVAL and -ENOENT with one
 * line of what is wrong and what is allowed; then nothing was taken.  NULL is an empty object.
 */
int cd_policy_read(const struct core_state *st, const json_t *json, struct core_vm_policy *ret_policy,
		   uint32_t *ret_set, char *error, size_t cap_bytes);

#endif

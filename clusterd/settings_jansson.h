/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster's settings as JSON: in requests, in the status, in exported configurations. */
#ifndef CD_SETTINGS_JANSSON_H
#define CD_SETTINGS_JANSSON_H

#include <jansson.h>

#include "clusterd/core/core.h"

/* Adds those named to cmd's sets; 0, or -EINVAL with one line, and the member that is wrong. */
int cd_settings_read(const json_t *sets, struct core_command *cmd, const char **ret_key, char *error,
		     size_t cap_bytes);
json_t *cd_settings_json(const struct core_state *st);

#endif

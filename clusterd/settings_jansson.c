/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster's settings as JSON: members named as clusterd/core/settings.h names them. */
#include "clusterd/settings_jansson.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int cd_settings_read(const json_t *sets, struct core_command *cmd, const char **ret_key, char *error,
		     size_t cap_bytes)
{
	const json_t *value;
	const char *key;

	*ret_key = "";
	json_object_foreach((json_t *)sets, key, value) {
		int setting = core_setting_find(key);
		json_int_t v = json_integer_value(value);
		size_t len = 0;

		*ret_key = key;
		if (setting < 0) {
			len = (size_t)snprintf(error, cap_bytes, "setting '%.60s': allowed are ", key);
			for (unsigned i = 0; i < core_setting_count() && len < cap_bytes; i++)
				len += (size_t)snprintf(error + len, cap_bytes - len, "%s%s",
							i ? ", " : "", core_settings[i].name);
			return -EINVAL;
		}
		if (!json_is_integer(value) || v < core_settings[setting].min ||
		    v > core_settings[setting].max) {
			char *seen = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

			snprintf(error, cap_bytes, "%s %.60s: allowed %u to %u", key,
				 seen ? seen : "?", core_settings[setting].min,
				 core_settings[setting].max);
			free(seen);
			return -EINVAL;
		}
		if (cmd->set_count == CORE_SETS_MAX)
			return -EINVAL;
		cmd->sets[cmd->set_count].setting = (uint8_t)setting;
		cmd->sets[cmd->set_count++].value = (uint32_t)v;
	}
	return 0;
}

json_t *cd_settings_json(const struct core_state *st)
{
	json_t *json = json_object();

	for (unsigned i = 0; i < core_setting_count(); i++)
		json_object_set_new(json, core_settings[i].name,
				    json_integer(core_setting_get(st, i)));
	return json;
}

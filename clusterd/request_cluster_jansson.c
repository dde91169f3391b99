/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs on the cluster as a whole: settings, maintenance, functional level. */
#include "clusterd/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void cd_request_cluster_set(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	struct core_command *cmd = cd_request_command(CORE_CMD_CLUSTER_SET);
	const char *key;
	char error[1024] = "sets: expected an object of settings";

	if (!json_is_object(json_object_get(request, "sets")) ||
	    cd_settings_read(json_object_get(request, "sets"), cmd, &key, error, sizeof(error)) < 0)
		cd_ipc_reply_error(call, EINVAL, "%s", error);
	else if (!cmd->set_count)
		cd_ipc_reply_error(call, EINVAL, "no setting is named");
	else
		cd_request_propose(cd, call, cmd);
	free(cmd);
}

static void propose(struct cd *cd, struct cd_ipc_call *call, const json_t *request,
		    enum core_command_kind kind)
{
	struct core_command *cmd = cd_request_command(kind);

	snprintf(cmd->text, sizeof(cmd->text), "%.60s", cd_field_text(request, "who"));
	cd_request_propose(cd, call, cmd);
	free(cmd);
}

void cd_request_cluster_disarm(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	propose(cd, call, request, CORE_CMD_CLUSTER_DISARM);
}

void cd_request_cluster_arm(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	propose(cd, call, request, CORE_CMD_CLUSTER_ARM);
}

void cd_request_cluster_level(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	propose(cd, call, request, CORE_CMD_CLUSTER_LEVEL);
}

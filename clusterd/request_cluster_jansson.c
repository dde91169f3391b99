/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs on the cluster as a whole: settings, maintenance, functional level. */
#include "clusterd/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/settings_jansson.h"

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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the local service's verbs; see request_jansson.c. */
#ifndef CD_REQUEST_H
#define CD_REQUEST_H

#include "clusterd/daemon.h"
#include "clusterd/field_jansson.h"

/* The named member as a name; answers the client and returns NULL if it is not one. */
const char *cd_request_name(struct cd_ipc_call *call, const json_t *request, const char *key);
/* A command without anything but its kind, to free(). */
struct core_command *cd_request_command(enum core_command_kind kind);
/* Puts cmd (borrowed) into the log and answers the client with what became of it. */
void cd_request_propose(struct cd *cd, struct cd_ipc_call *call, const struct core_command *cmd);

/* ---- request_vm_jansson.c ---- */
void cd_request_vm_create(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_vm_set(struct cd *cd, struct cd_ipc_call *call, const json_t *request);

/* ---- request_cluster_jansson.c ---- */
void cd_request_cluster_set(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_cluster_disarm(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_cluster_arm(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_cluster_level(struct cd *cd, struct cd_ipc_call *call, const json_t *request);

/* ---- request_plan_jansson.c ---- */
/* Answers with what cmd (borrowed) would lead to. */
void cd_request_plan(struct cd *cd, struct cd_ipc_call *call, const struct core_command *cmd);
void cd_request_node_fail(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_timing(struct cd *cd, struct cd_ipc_call *call, const json_t *request);

/* ---- request_config_jansson.c ---- */
void cd_request_config_import(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_config_export(struct cd *cd, struct cd_ipc_call *call, const json_t *request);

/* ---- request_wait_jansson.c ---- */
void cd_request_job(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
void cd_request_events(struct cd *cd, struct cd_ipc_call *call, const json_t *request);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of clusterctl share. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "clusterd/core/core.h"
#include "clusterd/ctl/parse.h"

/* Exit codes, in clusterctl(8). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,	    /* refused, or tried and failed */
	CTL_USAGE = 2,	    /* the command line is wrong; nothing was sent */
	CTL_NO_CLUSTER = 3, /* clusterd does not run here, or this node is in no cluster */
	CTL_TIMEOUT = 4,    /* still going on */
	CTL_NO_QUORUM = 5,
};

#define CTL_DISKS_MAX 8u
#define CTL_NETS_MAX  8u
#define CTL_POLICY_OPTIONS 9u

/* The command line.  Strings are borrowed from argv. */
struct ctl {
	bool json, no_wait, force, drain, failback, live, quick, follow, tty, plan, raise;
	bool keep_disks;
	long timeout_s;
	const char *address, *token, *name, *lun, *memory, *cpus, *kernel, *initrd, *append, *to;
	const char *token_ms, *since;
	const char *disks[CTL_DISKS_MAX], *nets[CTL_NETS_MAX];
	unsigned n_disks, n_nets;
	const char *sets[CORE_SETS_MAX]; /* by setting; NULL: not named */
	const char *policy[CTL_POLICY_OPTIONS]; /* by ctl_policy_options; NULL: not named */
	const char *argv[4]; /* after the command's words */
	int argc;
	struct cd_ipc_client *client;
	const char *usage; /* of the command */
};

/* ---- call.c ---- */
/*
 * Sends request (taken over) and waits for the reply.  CTL_OK with *ret_reply, else an exit code after the
 * error was shown.
 */
int ctl_call(struct ctl *ctl, json_t *request, int timeout_ms, json_t **ret_reply);
/* Sends a changing command, waits for its job with progress, shows the result. */
int ctl_change(struct ctl *ctl, json_t *request);
/* Shows an error as text on stderr or as JSON on stdout; returns code. */
int ctl_error(const struct ctl *ctl, int code, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Prints json (taken over) as one document. */
int ctl_json(json_t *json);
void ctl_progress(const struct ctl *ctl, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void ctl_progress_end(const struct ctl *ctl);
long ctl_now_ms(void);

/* The command line is wrong: shows what, and the command's usage.  CTL_USAGE. (main.c) */
int ctl_usage_error(const struct ctl *ctl, const char *what);

/* ---- verbs.c: one function a command; an exit code ---- */
int ctl_cluster_create(struct ctl *ctl);
int ctl_cluster_token(struct ctl *ctl);
int ctl_cluster_join(struct ctl *ctl);
int ctl_cluster_status(struct ctl *ctl);
int ctl_node_list(struct ctl *ctl);
int ctl_node_pause(struct ctl *ctl);
int ctl_node_resume(struct ctl *ctl);
int ctl_node_confirm_dead(struct ctl *ctl);
int ctl_lun_list(struct ctl *ctl);
int ctl_volume_add(struct ctl *ctl);
int ctl_volume_list(struct ctl *ctl);
int ctl_volume_move(struct ctl *ctl);
int ctl_vm_create(struct ctl *ctl);
int ctl_vm_set(struct ctl *ctl);
int ctl_vm_start(struct ctl *ctl);
int ctl_vm_stop(struct ctl *ctl);
int ctl_vm_migrate(struct ctl *ctl);
int ctl_vm_cancel(struct ctl *ctl);
int ctl_vm_list(struct ctl *ctl);
int ctl_vm_show(struct ctl *ctl);
int ctl_vm_console(struct ctl *ctl);
int ctl_vm_delete(struct ctl *ctl);
int ctl_node_fail(struct ctl *ctl);
int ctl_events(struct ctl *ctl);
int ctl_why(struct ctl *ctl);

/* ---- cluster.c ---- */
int ctl_cluster_set(struct ctl *ctl);
int ctl_cluster_disarm(struct ctl *ctl);
int ctl_cluster_arm(struct ctl *ctl);
int ctl_cluster_level(struct ctl *ctl);
int ctl_timing(struct ctl *ctl);

/* ---- config.c ---- */
int ctl_config_export(struct ctl *ctl);
int ctl_config_import(struct ctl *ctl);
int ctl_config_check(struct ctl *ctl);

/* ---- plan.c ---- */
/* Asks what the request (taken over) would lead to, and shows it.  CTL_FAILED: it would not be done. */
int ctl_plan(struct ctl *ctl, json_t *request);

/* ---- policy.c ---- */
extern const char *const ctl_policy_options[CTL_POLICY_OPTIONS];
/* Adds "policy" to the request if one was named; an exit code, after the error was shown. */
int ctl_policy_request(const struct ctl *ctl, json_t *request);
#define CTL_POLICY_LINES 7u
/* What `vm show` says of it: line 0 to CTL_POLICY_LINES - 1. */
void ctl_policy_text(const json_t *policy, unsigned line, char *out, size_t cap_bytes);

/* ---- show.c ---- */
void ctl_show_status(const json_t *status);
void ctl_show_nodes(const json_t *nodes);
void ctl_show_volumes(const json_t *volumes);
void ctl_show_vms(const json_t *vms);
void ctl_show_vm(const json_t *vm);
void ctl_show_luns(const json_t *luns);
void ctl_show_event(const json_t *event);

/* ---- console_linux.c ---- */
/* address: of the VM's node, or NULL when that is this one. */
int ctl_console(struct ctl *ctl, const char *vm, const char *node, const char *address);

const char *ctl_text(const json_t *json, const char *key);

#endif

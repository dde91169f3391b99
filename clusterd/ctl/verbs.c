/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands: each makes a request of its arguments and options, and shows the answer.
 * Checks spelling only; what is allowed is clusterd's to say.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/ctl/ctl.h"

#define QUESTION_MS    30000
#define EVENTS_WAIT_MS 10000

/* The argument at i as a name, or NULL after the error was shown. */
static const char *name_arg(const struct ctl *ctl, int i)
{
	if (cl_name_valid(ctl->argv[i]))
		return ctl->argv[i];
	ctl_error(ctl, CTL_USAGE, "EINVAL",
		  "'%.80s' is not a name: allowed are 1 to 63 of A-Z a-z 0-9 . _ - after a letter or"
		  " digit",
		  ctl->argv[i]);
	return NULL;
}

static json_t *request_new(const char *verb)
{
	return json_pack("{s:s}", "do", verb);
}

static void set(json_t *request, const char *key, const char *value)
{
	if (value && value[0])
		json_object_set_new(request, key, json_string(value));
}

static void flag(json_t *request, const char *key, bool value)
{
	if (value)
		json_object_set_new(request, key, json_true());
}

/* ---- cluster -------------------------------------------------------------------------------- */

/* After create and join: until the cluster counts this node as up. */
static int up_wait(struct ctl *ctl, const char *what)
{
	long start = ctl_now_ms(), end = start + ctl->timeout_s * 1000;
	char state[32] = "";

	while (ctl_now_ms() < end) {
		json_t *status = NULL;
		const json_t *node;
		size_t i;
		int rc = ctl_call(ctl, request_new("status"), QUESTION_MS, &status);

		if (rc != CTL_OK)
			return rc;
		json_array_foreach(json_object_get(status, "nodes"), i, node)
			if (json_is_true(json_object_get(node, "self")))
				snprintf(state, sizeof(state), "%s", ctl_text(node, "state"));
		if (strcmp(state, "up") == 0 || strcmp(state, "paused") == 0) {
			ctl_progress_end(ctl);
			if (ctl->json)
				return ctl_json(status);
			printf("%s; node %s is %s\n", what, ctl_text(status, "node"), state);
			json_decref(status);
			return CTL_OK;
		}
		ctl_progress(ctl, "%s; this node is %s, log %s (%ld s)", what,
			     state[0] ? state : "new", ctl_text(status, "state"),
			     (ctl_now_ms() - start) / 1000);
		json_decref(status);
		poll(NULL, 0, 200);
	}
	return ctl_error(ctl, CTL_TIMEOUT, "ETIMEDOUT", "%s, but this node is %s after %ld s", what,
			 state[0] ? state : "not known to it yet", ctl->timeout_s);
}

static int setup(struct ctl *ctl, json_t *request, const char *what)
{
	json_t *reply = NULL;
	int rc;

	ctl_progress(ctl, "%s ...", what);
	rc = ctl_call(ctl, request, (int)(ctl->timeout_s * 1000), &reply);
	if (rc != CTL_OK)
		return rc;
	if (ctl->no_wait)
		return ctl->json ? ctl_json(reply) : (json_decref(reply), CTL_OK);
	json_decref(reply);
	return up_wait(ctl, what);
}

int ctl_cluster_create(struct ctl *ctl)
{
	json_t *request = request_new("cluster-create");
	const char *name = name_arg(ctl, 0);
	uint64_t token_ms = 0;
	char what[128];

	if (!name || (ctl->token_ms && ctl_number_parse(ctl->token_ms, 1, 1000000, &token_ms) < 0)) {
		json_decref(request);
		return name ? ctl_usage_error(ctl, "--token-ms: expected milliseconds") : CTL_USAGE;
	}
	set(request, "name", name);
	set(request, "address", ctl->address);
	if (token_ms)
		json_object_set_new(request, "token_ms", json_integer((json_int_t)token_ms));
	snprintf(what, sizeof(what), "cluster %s created", name);
	return setup(ctl, request, what);
}

int ctl_cluster_join(struct ctl *ctl)
{
	json_t *request;

	if (!ctl->token)
		return ctl_usage_error(ctl, "--token is needed");
	request = request_new("cluster-join");
	set(request, "address", ctl->argv[0]);
	set(request, "token", ctl->token);
	set(request, "own_address", ctl->address);
	return setup(ctl, request, "joined");
}

int ctl_cluster_token(struct ctl *ctl)
{
	json_t *request = request_new("cluster-token"), *reply = NULL;
	int rc;

	set(request, "name", ctl->name);
	rc = ctl_call(ctl, request, QUESTION_MS, &reply);
	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		return ctl_json(reply);
	printf("%s\n", ctl_text(reply, "token"));
	if (ctl->tty)
		fprintf(stderr, "on the new node, within 15 minutes:\n"
				"  clusterctl cluster join %s --token TOKEN\n",
			ctl_text(reply, "address"));
	json_decref(reply);
	return CTL_OK;
}

/* Fetches the status; json prints it or one member of it. */
static int status_get(struct ctl *ctl, json_t **ret_status)
{
	return ctl_call(ctl, request_new("status"), QUESTION_MS, ret_status);
}

int ctl_cluster_status(struct ctl *ctl)
{
	json_t *status = NULL;
	bool quorate, member;
	int rc = status_get(ctl, &status);

	if (rc != CTL_OK)
		return rc;
	member = strcmp(ctl_text(status, "state"), "not-in-cluster") != 0;
	quorate = json_is_true(json_object_get(status, "quorate"));
	if (ctl->json) {
		ctl_json(status);
	} else {
		ctl_show_status(status);
		json_decref(status);
	}
	return !member ? CTL_NO_CLUSTER : quorate ? CTL_OK : CTL_NO_QUORUM;
}

/* The same, of a node that is in a cluster. */
static int member_status_get(struct ctl *ctl, json_t **ret_status)
{
	int rc = status_get(ctl, ret_status);

	if (rc != CTL_OK || strcmp(ctl_text(*ret_status, "state"), "not-in-cluster") != 0)
		return rc;
	json_decref(*ret_status);
	return ctl_error(ctl, CTL_NO_CLUSTER, "ENOTCONN", "this node is not in a cluster");
}

static int list(struct ctl *ctl, const char *key, void (*show)(const json_t *))
{
	json_t *status = NULL;
	int rc = member_status_get(ctl, &status);

	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		ctl_json(json_pack("{s:O}", key, json_object_get(status, key)));
	else
		show(json_object_get(status, key));
	json_decref(status);
	return CTL_OK;
}

/* ---- nodes, volumes ------------------------------------------------------------------------- */

/* A verb on a name with the flags and the target that were given. */
static int named(struct ctl *ctl, const char *verb)
{
	const char *name = name_arg(ctl, 0);
	json_t *request;

	if (!name)
		return CTL_USAGE;
	request = request_new(verb);
	set(request, "name", name);
	set(request, "to", ctl->to);
	flag(request, "force", ctl->force);
	flag(request, "drain", ctl->drain);
	flag(request, "failback", ctl->failback);
	flag(request, "keep_disks", ctl->keep_disks);
	if (ctl->live || ctl->quick)
		set(request, "method", ctl->live ? "live" : "quick");
	return ctl->plan ? ctl_plan(ctl, request) : ctl_change(ctl, request);
}

int ctl_node_list(struct ctl *ctl)
{
	return list(ctl, "nodes", ctl_show_nodes);
}

int ctl_node_pause(struct ctl *ctl)
{
	return named(ctl, "node-pause");
}

int ctl_node_fail(struct ctl *ctl)
{
	if (!ctl->plan)
		return ctl_usage_error(ctl, "--plan is needed: nobody's power is cut from here");
	return named(ctl, "node-fail");
}

int ctl_node_resume(struct ctl *ctl)
{
	return named(ctl, "node-resume");
}

int ctl_node_confirm_dead(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0), *who = getenv("SUDO_USER");
	json_t *request;

	if (!name)
		return CTL_USAGE;
	request = request_new("node-confirm-dead");
	set(request, "name", name);
	set(request, "who", who && who[0] ? who : "root");
	return ctl_change(ctl, request);
}

int ctl_volume_add(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	json_t *request;

	if (!name)
		return CTL_USAGE;
	if (!ctl->lun)
		return ctl_usage_error(ctl, "--lun is needed");
	request = request_new("volume-add");
	set(request, "name", name);
	set(request, "lun", ctl->lun);
	flag(request, "force", ctl->force);
	return ctl_change(ctl, request);
}

int ctl_volume_list(struct ctl *ctl)
{
	return list(ctl, "volumes", ctl_show_volumes);
}

int ctl_volume_move(struct ctl *ctl)
{
	if (!name_arg(ctl, 1))
		return CTL_USAGE;
	ctl->to = ctl->argv[1];
	return named(ctl, "volume-move");
}

int ctl_lun_list(struct ctl *ctl)
{
	json_t *reply = NULL;
	int rc = ctl_call(ctl, request_new("luns"), 4 * QUESTION_MS, &reply);

	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		return ctl_json(json_pack("{s:O}", "luns", json_object_get(reply, "luns")));
	ctl_show_luns(json_object_get(reply, "luns"));
	json_decref(reply);
	return CTL_OK;
}

/* ---- VMs ------------------------------------------------------------------------------------ */

static int vm_devices(struct ctl *ctl, json_t *request)
{
	json_t *disks = json_array(), *nets = json_array();
	const char *why;

	json_object_set_new(request, "disks", disks);
	json_object_set_new(request, "nets", nets);
	for (unsigned i = 0; i < ctl->n_disks; i++) {
		struct ctl_disk disk;

		if (ctl_disk_parse(ctl->disks[i], &disk, &why) < 0)
			return ctl_error(ctl, CTL_USAGE, "EINVAL", "--disk '%.120s': %s",
					 ctl->disks[i], why);
		json_array_append_new(disks,
				      json_pack("{s:s s:s s:I s:o*}", "volume", disk.volume, "path",
						disk.path, "size", (json_int_t)disk.size_bytes,
						"readonly", disk.readonly ? json_true() : NULL));
	}
	for (unsigned i = 0; i < ctl->n_nets; i++) {
		struct ctl_net net;

		if (ctl_net_parse(ctl->nets[i], &net, &why) < 0)
			return ctl_error(ctl, CTL_USAGE, "EINVAL", "--net '%.120s': %s",
					 ctl->nets[i], why);
		json_array_append_new(nets, json_pack("{s:s s:s}", "switch", net.name, "mac",
						      net.mac));
	}
	return CTL_OK;
}

int ctl_vm_create(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	uint64_t memory = 256ull << 20, cpus = 1;
	json_t *request;
	int rc;

	if (!name)
		return CTL_USAGE;
	if (!ctl->kernel)
		return ctl_usage_error(ctl, "--kernel is needed");
	if (ctl->memory && (ctl_size_parse(ctl->memory, &memory) < 0 || memory % (1 << 20)))
		return ctl_error(ctl, CTL_USAGE, "EINVAL",
				 "--memory '%.40s': expected whole MiB, as 256M or 1G", ctl->memory);
	if (ctl->cpus && ctl_number_parse(ctl->cpus, 1, 4, &cpus) < 0)
		return ctl_error(ctl, CTL_USAGE, "EINVAL", "--cpus '%.40s': allowed 1 to 4",
				 ctl->cpus);
	request = request_new("vm-create");
	set(request, "name", name);
	json_object_set_new(request, "memory_mib", json_integer((json_int_t)(memory >> 20)));
	json_object_set_new(request, "cpus", json_integer((json_int_t)cpus));
	set(request, "kernel", ctl->kernel);
	set(request, "initrd", ctl->initrd);
	if (ctl->append && !json_string(ctl->append)) {
		json_decref(request);
		return ctl_usage_error(ctl, "--append is not UTF-8 text");
	}
	set(request, "append", ctl->append);
	rc = vm_devices(ctl, request);
	if (rc == CTL_OK)
		rc = ctl_policy_request(ctl, request);
	if (rc != CTL_OK) {
		json_decref(request);
		return rc;
	}
	return ctl_change(ctl, request);
}

int ctl_vm_set(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	json_t *request;
	int rc;

	if (!name)
		return CTL_USAGE;
	request = request_new("vm-set");
	set(request, "name", name);
	rc = ctl_policy_request(ctl, request);
	if (rc == CTL_OK && !json_object_get(request, "policy"))
		rc = ctl_usage_error(ctl, "nothing to set");
	if (rc == CTL_OK)
		return ctl_change(ctl, request);
	json_decref(request);
	return rc;
}

int ctl_vm_start(struct ctl *ctl)
{
	return named(ctl, "vm-start");
}

int ctl_vm_stop(struct ctl *ctl)
{
	return named(ctl, "vm-stop");
}

int ctl_vm_delete(struct ctl *ctl)
{
	return named(ctl, "vm-delete");
}

int ctl_vm_migrate(struct ctl *ctl)
{
	if (ctl->live && ctl->quick)
		return ctl_usage_error(ctl, "--live and --quick exclude each other");
	return named(ctl, "vm-migrate");
}

int ctl_vm_cancel(struct ctl *ctl)
{
	return named(ctl, "vm-cancel");
}

int ctl_vm_list(struct ctl *ctl)
{
	return list(ctl, "vms", ctl_show_vms);
}

/* The member of the status' list whose name is given, borrowed; NULL if there is none. */
static json_t *find(const json_t *status, const char *list, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(status, list), i, item)
		if (strcmp(ctl_text(item, "name"), name) == 0)
			return item;
	return NULL;
}

/* The status (new reference) and the VM in it (borrowed); or an exit code. */
static int vm_get(struct ctl *ctl, const char *name, json_t **ret_status, json_t **ret_vm)
{
	int rc = member_status_get(ctl, ret_status);

	if (rc != CTL_OK)
		return rc;
	*ret_vm = find(*ret_status, "vms", name);
	if (*ret_vm)
		return CTL_OK;
	json_decref(*ret_status);
	return ctl_error(ctl, CTL_FAILED, "ENOENT", "there is no VM %s", name);
}

int ctl_vm_show(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	json_t *status, *vm;
	int rc = name ? vm_get(ctl, name, &status, &vm) : CTL_USAGE;

	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		rc = ctl_json(json_pack("{s:O}", "vm", vm));
	else
		ctl_show_vm(vm);
	json_decref(status);
	return rc;
}

int ctl_vm_console(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0), *node;
	json_t *status, *vm;
	int rc = name ? vm_get(ctl, name, &status, &vm) : CTL_USAGE;

	if (rc != CTL_OK)
		return rc;
	node = ctl_text(vm, "node");
	if (!node[0])
		rc = ctl_error(ctl, CTL_FAILED, "ENOTCONN", "VM %s is %s: it has no console", name,
			       ctl_text(vm, "state"));
	else
		rc = ctl_console(ctl, name, node,
				 strcmp(node, ctl_text(status, "node")) == 0 ?
					 NULL :
					 ctl_text(find(status, "nodes", node), "address"));
	json_decref(status);
	return rc;
}

/* ---- events, why ---------------------------------------------------------------------------- */

static void event_print(const struct ctl *ctl, const json_t *event)
{
	if (ctl->json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		ctl_show_event(event);
	}
	fflush(stdout);
}

/* Events after since, page by page; with --follow for ever. */
int ctl_events(struct ctl *ctl)
{
	json_t *all = json_array();
	uint64_t since = 0;

	if (ctl->since && ctl_number_parse(ctl->since, 0, INT64_MAX, &since) < 0) {
		json_decref(all);
		return ctl_usage_error(ctl, "--since: expected an event's id");
	}
	for (;;) {
		json_t *reply = NULL, *page, *event;
		size_t i;
		int rc = ctl_call(ctl,
				  json_pack("{s:s s:I s:i}", "do", "events", "since",
					    (json_int_t)since, "wait_ms",
					    ctl->follow ? EVENTS_WAIT_MS : 0),
				  QUESTION_MS, &reply);

		if (rc != CTL_OK) {
			json_decref(all);
			return rc;
		}
		page = json_object_get(reply, "events");
		json_array_foreach(page, i, event) {
			since = (uint64_t)json_integer_value(json_object_get(event, "id"));
			if (ctl->json && !ctl->follow)
				json_array_append(all, event);
			else
				event_print(ctl, event);
		}
		i = json_array_size(page);
		json_decref(reply);
		if (!i && !ctl->follow)
			break;
	}
	if (ctl->json)
		return ctl_json(json_pack("{s:o}", "events", all));
	json_decref(all);
	return CTL_OK;
}

int ctl_why(struct ctl *ctl)
{
	static const char *const objects[] = { "vm", "volume", "node" };
	json_t *request, *reply = NULL;
	unsigned known = 0;
	int rc;

	for (unsigned i = 0; i < CL_ARRAY_LEN(objects); i++)
		known += strcmp(ctl->argv[0], objects[i]) == 0;
	if (!known)
		return ctl_usage_error(ctl, "why what?");
	if (!name_arg(ctl, 1))
		return CTL_USAGE;
	request = request_new("why");
	set(request, "object", ctl->argv[0]);
	set(request, "name", ctl->argv[1]);
	rc = ctl_call(ctl, request, QUESTION_MS, &reply);
	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		return ctl_json(reply);
	printf("%s\n", ctl_text(reply, "text"));
	if (ctl_text(reply, "here")[0])
		printf("  on this node: %s\n", ctl_text(reply, "here"));
	json_decref(reply);
	return CTL_OK;
}

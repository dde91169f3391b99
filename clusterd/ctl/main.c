/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clusterctl: one table of commands, each a request to the local clusterd.
 * Checks spelling only; what is allowed is clusterd's to say.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/ctl/ctl.h"
#include "clusterd/ipc_qb.h"
#include "config.h"

#define TIMEOUT_DEFAULT_S 300
#define QUESTION_MS	  30000
#define EVENTS_WAIT_MS	  10000

static int usage_error(const struct ctl *ctl, const char *what)
{
	return ctl_error(ctl, CTL_USAGE, "EINVAL", "%s; usage: clusterctl %s", what, ctl->usage);
}

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

static int cluster_create(struct ctl *ctl)
{
	json_t *request = request_new("cluster-create");
	const char *name = name_arg(ctl, 0);
	uint64_t token_ms = 0;
	char what[128];

	if (!name || (ctl->token_ms && ctl_number_parse(ctl->token_ms, 1, 1000000, &token_ms) < 0)) {
		json_decref(request);
		return name ? usage_error(ctl, "--token-ms: expected milliseconds") : CTL_USAGE;
	}
	set(request, "name", name);
	set(request, "address", ctl->address);
	if (token_ms)
		json_object_set_new(request, "token_ms", json_integer((json_int_t)token_ms));
	snprintf(what, sizeof(what), "cluster %s created", name);
	return setup(ctl, request, what);
}

static int cluster_join(struct ctl *ctl)
{
	json_t *request;

	if (!ctl->token)
		return usage_error(ctl, "--token is needed");
	request = request_new("cluster-join");
	set(request, "address", ctl->argv[0]);
	set(request, "token", ctl->token);
	set(request, "own_address", ctl->address);
	return setup(ctl, request, "joined");
}

static int cluster_token(struct ctl *ctl)
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

static int cluster_status(struct ctl *ctl)
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

static int list(struct ctl *ctl, const char *key, void (*show)(const json_t *))
{
	json_t *status = NULL;
	int rc = status_get(ctl, &status);

	if (rc != CTL_OK)
		return rc;
	if (strcmp(ctl_text(status, "state"), "not-in-cluster") == 0) {
		json_decref(status);
		return ctl_error(ctl, CTL_NO_CLUSTER, "ENOTCONN", "this node is not in a cluster");
	}
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
	if (ctl->live || ctl->quick)
		set(request, "method", ctl->live ? "live" : "quick");
	return ctl_change(ctl, request);
}

static int node_list(struct ctl *ctl)
{
	return list(ctl, "nodes", ctl_show_nodes);
}

static int node_pause(struct ctl *ctl)
{
	return named(ctl, "node-pause");
}

static int node_resume(struct ctl *ctl)
{
	return named(ctl, "node-resume");
}

static int node_confirm_dead(struct ctl *ctl)
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

static int volume_add(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	json_t *request;

	if (!name)
		return CTL_USAGE;
	if (!ctl->lun)
		return usage_error(ctl, "--lun is needed");
	request = request_new("volume-add");
	set(request, "name", name);
	set(request, "lun", ctl->lun);
	flag(request, "force", ctl->force);
	return ctl_change(ctl, request);
}

static int volume_list(struct ctl *ctl)
{
	return list(ctl, "volumes", ctl_show_volumes);
}

static int volume_move(struct ctl *ctl)
{
	if (!name_arg(ctl, 1))
		return CTL_USAGE;
	ctl->to = ctl->argv[1];
	return named(ctl, "volume-move");
}

static int lun_list(struct ctl *ctl)
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
		json_array_append_new(disks, json_pack("{s:s s:s s:I}", "volume", disk.volume,
						       "path", disk.path, "size",
						       (json_int_t)disk.size_bytes));
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

static int vm_create(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	uint64_t memory = 256ull << 20, cpus = 1;
	json_t *request;
	int rc;

	if (!name)
		return CTL_USAGE;
	if (!ctl->kernel)
		return usage_error(ctl, "--kernel is needed");
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
		return usage_error(ctl, "--append is not UTF-8 text");
	}
	set(request, "append", ctl->append);
	rc = vm_devices(ctl, request);
	if (rc != CTL_OK) {
		json_decref(request);
		return rc;
	}
	return ctl_change(ctl, request);
}

static int vm_start(struct ctl *ctl)
{
	return named(ctl, "vm-start");
}

static int vm_stop(struct ctl *ctl)
{
	return named(ctl, "vm-stop");
}

static int vm_delete(struct ctl *ctl)
{
	return named(ctl, "vm-delete");
}

static int vm_migrate(struct ctl *ctl)
{
	if (ctl->live && ctl->quick)
		return usage_error(ctl, "--live and --quick exclude each other");
	return named(ctl, "vm-migrate");
}

static int vm_cancel(struct ctl *ctl)
{
	return named(ctl, "vm-cancel");
}

static int vm_list(struct ctl *ctl)
{
	return list(ctl, "vms", ctl_show_vms);
}

/* The VM's part of the status (new reference) and this node's name; or an exit code. */
static int vm_get(struct ctl *ctl, const char *name, json_t **ret_vm, char self[CL_NAME_MAX])
{
	json_t *status = NULL, *vm;
	size_t i;
	int rc = status_get(ctl, &status);

	if (rc != CTL_OK)
		return rc;
	if (self)
		snprintf(self, CL_NAME_MAX, "%s", ctl_text(status, "node"));
	*ret_vm = NULL;
	json_array_foreach(json_object_get(status, "vms"), i, vm)
		if (strcmp(ctl_text(vm, "name"), name) == 0)
			*ret_vm = json_incref(vm);
	json_decref(status);
	return *ret_vm ? CTL_OK : ctl_error(ctl, CTL_FAILED, "ENOENT", "there is no VM %s", name);
}

static int vm_show(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	json_t *vm = NULL;
	int rc = name ? vm_get(ctl, name, &vm, NULL) : CTL_USAGE;

	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		return ctl_json(json_pack("{s:o}", "vm", vm));
	ctl_show_vm(vm);
	json_decref(vm);
	return CTL_OK;
}

static int vm_console(struct ctl *ctl)
{
	const char *name = name_arg(ctl, 0);
	char self[CL_NAME_MAX];
	json_t *vm = NULL;
	int rc = name ? vm_get(ctl, name, &vm, self) : CTL_USAGE;

	if (rc != CTL_OK)
		return rc;
	if (!ctl_text(vm, "node")[0])
		rc = ctl_error(ctl, CTL_FAILED, "ENOTCONN", "VM %s is %s: it has no console", name,
			       ctl_text(vm, "state"));
	else if (strcmp(ctl_text(vm, "node"), self) != 0)
		rc = ctl_error(ctl, CTL_FAILED, "EREMOTE",
			       "VM %s is on node %s: run `clusterctl vm console %s` there", name,
			       ctl_text(vm, "node"), name);
	json_decref(vm);
	return rc == CTL_OK ? ctl_console(ctl, name) : rc;
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
static int events(struct ctl *ctl)
{
	json_t *all = json_array();
	uint64_t since = 0;

	if (ctl->since && ctl_number_parse(ctl->since, 0, INT64_MAX, &since) < 0) {
		json_decref(all);
		return usage_error(ctl, "--since: expected an event's id");
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

static int why(struct ctl *ctl)
{
	json_t *request = request_new("why"), *reply = NULL;
	int rc;

	set(request, "object", ctl->argv[0]);
	set(request, "name", ctl->argv[1]);
	rc = ctl_call(ctl, request, QUESTION_MS, &reply);
	if (rc != CTL_OK)
		return rc;
	if (ctl->json)
		return ctl_json(reply);
	printf("%s\n", ctl_text(reply, "text"));
	json_decref(reply);
	return CTL_OK;
}

/* ---- the table ------------------------------------------------------------------------------ */

enum {
	O_JSON = 1 << 0,
	O_NOWAIT = 1 << 1,
	O_TIMEOUT = 1 << 2,
	O_ADDRESS = 1 << 3,
	O_TOKEN = 1 << 4,
	O_TOKEN_MS = 1 << 5,
	O_NAME = 1 << 6,
	O_DRAIN = 1 << 7,
	O_FAILBACK = 1 << 8,
	O_LUN = 1 << 9,
	O_FORCE = 1 << 10,
	O_VM = 1 << 11, /* --memory --cpus --kernel --initrd --append --disk --net */
	O_TO = 1 << 12,
	O_METHOD = 1 << 13, /* --live --quick */
	O_FOLLOW = 1 << 14,
	O_SINCE = 1 << 15,
	O_ALWAYS = O_JSON | O_NOWAIT | O_TIMEOUT,
};

static const struct command {
	const char *noun, *verb; /* verb NULL: the noun alone */
	int (*run)(struct ctl *ctl);
	int args;
	unsigned options;
	const char *usage;
} commands[] = {
	{ "cluster", "create", cluster_create, 1, O_ADDRESS | O_TOKEN_MS,
	  "cluster create NAME [--address A] [--token-ms MS]" },
	{ "cluster", "token", cluster_token, 0, O_NAME, "cluster token [--name NODE]" },
	{ "cluster", "join", cluster_join, 1, O_TOKEN | O_ADDRESS,
	  "cluster join ADDRESS --token T [--address OWN]" },
	{ "cluster", "status", cluster_status, 0, 0, "cluster status" },
	{ "node", "list", node_list, 0, 0, "node list" },
	{ "node", "pause", node_pause, 1, O_DRAIN, "node pause NODE [--drain]" },
	{ "node", "resume", node_resume, 1, O_FAILBACK, "node resume NODE [--failback]" },
	{ "node", "confirm-dead", node_confirm_dead, 1, 0, "node confirm-dead NODE" },
	{ "lun", "list", lun_list, 0, 0, "lun list" },
	{ "volume", "add", volume_add, 1, O_LUN | O_FORCE, "volume add NAME --lun ID [--force]" },
	{ "volume", "list", volume_list, 0, 0, "volume list" },
	{ "volume", "move", volume_move, 2, 0, "volume move NAME NODE" },
	{ "vm", "create", vm_create, 1, O_VM,
	  "vm create NAME --kernel K [--initrd I] [--append S] [--memory 256M] [--cpus 1]"
	  " [--disk VOLUME/PATH[,size=1G]]... [--net SWITCH[,mac=M]]..." },
	{ "vm", "start", vm_start, 1, O_TO, "vm start NAME [--to NODE]" },
	{ "vm", "stop", vm_stop, 1, O_FORCE, "vm stop NAME [--force]" },
	{ "vm", "migrate", vm_migrate, 1, O_TO | O_METHOD,
	  "vm migrate NAME [--to NODE] [--live|--quick]" },
	{ "vm", "cancel", vm_cancel, 1, 0, "vm cancel NAME" },
	{ "vm", "list", vm_list, 0, 0, "vm list" },
	{ "vm", "show", vm_show, 1, 0, "vm show NAME" },
	{ "vm", "console", vm_console, 1, 0, "vm console NAME" },
	{ "vm", "delete", vm_delete, 1, 0, "vm delete NAME" },
	{ "events", NULL, events, 0, O_FOLLOW | O_SINCE, "events [--follow] [--since ID]" },
	{ "why", NULL, why, 2, 0, "why vm|volume|node NAME" },
	{ "status", NULL, cluster_status, 0, 0, "status" },
};

static void usage(FILE *to)
{
	fprintf(to, "usage: clusterctl COMMAND [--json] [--no-wait] [--timeout SECONDS]\n\n");
	for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++)
		fprintf(to, "  clusterctl %s\n", commands[i].usage);
	fprintf(to, "\nexit: 0 done, 1 failed, 2 usage, 3 no clusterd or no cluster here, 4 timed out,"
		    " 5 no quorum\n");
}

static const struct option long_options[] = {
	{ "json", no_argument, NULL, 'j' },	  { "no-wait", no_argument, NULL, 'n' },
	{ "timeout", required_argument, NULL, 't' }, { "address", required_argument, NULL, 'a' },
	{ "token", required_argument, NULL, 'T' }, { "token-ms", required_argument, NULL, 'm' },
	{ "name", required_argument, NULL, 'N' }, { "drain", no_argument, NULL, 'd' },
	{ "failback", no_argument, NULL, 'b' },	  { "lun", required_argument, NULL, 'l' },
	{ "force", no_argument, NULL, 'f' },	  { "memory", required_argument, NULL, 'M' },
	{ "cpus", required_argument, NULL, 'c' }, { "kernel", required_argument, NULL, 'k' },
	{ "initrd", required_argument, NULL, 'i' }, { "append", required_argument, NULL, 'A' },
	{ "disk", required_argument, NULL, 'D' }, { "net", required_argument, NULL, 'E' },
	{ "to", required_argument, NULL, 'o' },	  { "live", no_argument, NULL, 'L' },
	{ "quick", no_argument, NULL, 'q' },	  { "follow", no_argument, NULL, 'F' },
	{ "since", required_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },	  { 0 },
};

/* Takes one option; its O_ bit, or 0 if a value or the number of uses is wrong. */
static unsigned option_take(struct ctl *ctl, int c)
{
	uint64_t n;

	switch (c) {
	case 'j':
		return ctl->json = true, O_JSON;
	case 'n':
		return ctl->no_wait = true, O_NOWAIT;
	case 't':
		if (ctl_number_parse(optarg, 1, 86400, &n) < 0)
			return 0;
		return ctl->timeout_s = (long)n, O_TIMEOUT;
	case 'a':
		return ctl->address = optarg, O_ADDRESS;
	case 'T':
		return ctl->token = optarg, O_TOKEN;
	case 'm':
		return ctl->token_ms = optarg, O_TOKEN_MS;
	case 'N':
		return ctl->name = optarg, O_NAME;
	case 'd':
		return ctl->drain = true, O_DRAIN;
	case 'b':
		return ctl->failback = true, O_FAILBACK;
	case 'l':
		return ctl->lun = optarg, O_LUN;
	case 'f':
		return ctl->force = true, O_FORCE;
	case 'M':
		return ctl->memory = optarg, O_VM;
	case 'c':
		return ctl->cpus = optarg, O_VM;
	case 'k':
		return ctl->kernel = optarg, O_VM;
	case 'i':
		return ctl->initrd = optarg, O_VM;
	case 'A':
		return ctl->append = optarg, O_VM;
	case 'D':
		return ctl->n_disks < CTL_DISKS_MAX ? (ctl->disks[ctl->n_disks++] = optarg, O_VM) : 0;
	case 'E':
		return ctl->n_nets < CTL_NETS_MAX ? (ctl->nets[ctl->n_nets++] = optarg, O_VM) : 0;
	case 'o':
		return ctl->to = optarg, O_TO;
	case 'L':
		return ctl->live = true, O_METHOD;
	case 'q':
		return ctl->quick = true, O_METHOD;
	case 'F':
		return ctl->follow = true, O_FOLLOW;
	case 's':
		return ctl->since = optarg, O_SINCE;
	}
	return 0;
}

static int dispatch(struct ctl *ctl, int argc, char **argv, unsigned used)
{
	for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++) {
		const struct command *cmd = &commands[i];
		int words = cmd->verb ? 2 : 1;

		if (argc < words || strcmp(argv[0], cmd->noun) != 0 ||
		    (cmd->verb && strcmp(argv[1], cmd->verb) != 0))
			continue;
		ctl->usage = cmd->usage;
		if (used & ~(cmd->options | O_ALWAYS))
			return usage_error(ctl, "an option does not belong to this command");
		if (argc - words != cmd->args)
			return usage_error(ctl, argc - words < cmd->args ? "an argument is missing" :
									   "too many arguments");
		for (int a = 0; a < cmd->args; a++)
			ctl->argv[a] = argv[words + a];
		ctl->argc = cmd->args;
		return cmd->run(ctl);
	}
	ctl->usage = "COMMAND (see clusterctl --help)";
	return usage_error(ctl, argc ? "there is no such command" : "no command");
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .timeout_s = TIMEOUT_DEFAULT_S, .tty = isatty(2) };
	unsigned used = 0, bit;
	int c, rc;

	opterr = 0;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			ctl.json = true;
	ctl.usage = "COMMAND (see clusterctl --help)";
	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		char what[200];

		if (c == 'h') {
			usage(stdout);
			return 0;
		}
		if (c == 'V') {
			printf("clusterctl %s\n", PACKAGE_VERSION);
			return 0;
		}
		bit = c == '?' ? 0 : option_take(&ctl, c);
		if (!bit) {
			snprintf(what, sizeof(what),
				 c == '?' ? "option %.100s is not known or lacks its value" :
					    "option value '%.100s' is not allowed",
				 c == '?' ? argv[optind - 1] : optarg);
			return usage_error(&ctl, what);
		}
		used |= bit;
	}
	rc = dispatch(&ctl, argc - optind, argv + optind, used);
	cd_ipc_client_free(ctl.client);
	return rc;
}

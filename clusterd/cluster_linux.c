/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Becoming a member: `cluster create` and `cluster join` on this node, and
 * corosync's files while the cluster's nodes change.  admit_linux.c is the other side of join.
 *
 *   create  files, corosync up -> genesis entry -> node.json -> answered when the log is open
 *   join    TLS request to a member -> files, corosync up -> node.json -> the log comes by itself
 */
#include "clusterd/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/core/timing.h"
#include "clusterd/corosync_files_exec.h"
#include "clusterd/field_jansson.h"
#include "clusterd/join_gnutls.h"
#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/setup_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"

struct setup_job {
	struct cd_job job;
	struct cd *cd;
	struct cd_ipc_call *call;
	struct cd_setup *setup;
	struct cd_token token;
	char address[CD_ADDRESS_MAX]; /* join: of the member */
	int rc;
	char error[1024];
};

static struct setup_job *setup_job_new(struct cd *cd, struct cd_ipc_call *call)
{
	struct setup_job *job = calloc(1, sizeof(*job));

	if (!job || !(job->setup = calloc(1, sizeof(*job->setup))))
		abort();
	job->cd = cd;
	job->call = call;
	return job;
}

/* Refuses when this node is or becomes a member. */
static bool setup_allowed(struct cd *cd, struct cd_ipc_call *call)
{
	if (cd->member)
		cd_ipc_reply_error(call, EEXIST, "this node is already node %s of cluster %s",
				   cd->self.name, cd->self.cluster);
	else if (cd->busy_setup)
		cd_ipc_reply_error(call, EBUSY, "another create or join is running on this node");
	else
		return true;
	return false;
}

static void setup_end(struct setup_job *job)
{
	job->cd->busy_setup = false;
	cd_setup_free(job->setup);
	free(job);
}

static void setup_fail(struct setup_job *job)
{
	cl_error("%s", job->error);
	cd_ipc_reply_error(job->call, -job->rc, "%s", job->error);
	setup_end(job);
}

/* ---- create --------------------------------------------------------------------------------- */

static void conf_self(struct cd_setup *setup)
{
	struct cd_conf *conf = &setup->conf;

	snprintf(conf->cluster, sizeof(conf->cluster), "%s", setup->self.cluster);
	conf->token_ms = setup->self.token_ms;
	conf->n_nodes = 1;
	conf->nodes[0].id = setup->self.id;
	conf->nodes[0].voter = true;
	snprintf(conf->nodes[0].name, CL_NAME_MAX, "%s", setup->self.name);
	snprintf(conf->nodes[0].address, CD_ADDRESS_MAX, "%s", setup->self.address);
}

static void create_run(struct cd_job *base)
{
	struct setup_job *job = (struct setup_job *)base;
	struct cd_setup *setup = job->setup;

	conf_self(setup);
	job->rc = cd_setup_create(setup);
	if (job->rc < 0)
		snprintf(job->error, sizeof(job->error), "the cluster's keys cannot be made: %s",
			 strerror(-job->rc));
	else
		job->rc = cd_setup_apply(setup, job->error, sizeof(job->error));
}

static void create_done(struct cd_job *base)
{
	struct setup_job *job = (struct setup_job *)base;
	struct cd *cd = job->cd;
	CL_CLEANUP_FREE struct core_command *genesis = calloc(1, sizeof(*genesis));
	CL_CLEANUP_FREE char *error = NULL;

	if (!genesis)
		abort();
	if (job->rc < 0) {
		setup_fail(job);
		return;
	}
	cd->self = job->setup->self;
	genesis->kind = CORE_CMD_INIT;
	genesis->node = (uint8_t)cd->self.id;
	genesis->wall_ms = (uint64_t)cd_wall_ms();
	/* A long token wants a long lease, or VMs of nodes that are well freeze while a node is being lost. */
	if (CORE_TAKEOVER_FOR(CD_DETECT_MS(cd->self.token_ms)) > CORE_TAKEOVER_MS)
		genesis->timing.takeover_ms = CORE_TAKEOVER_FOR(CD_DETECT_MS(cd->self.token_ms));
	memcpy(genesis->uuid, cd->self.uuid, CL_UUID_BYTES);
	snprintf(genesis->name, sizeof(genesis->name), "%s", cd->self.cluster);
	snprintf(genesis->target, sizeof(genesis->target), "%s", cd->self.name);
	snprintf(genesis->address, sizeof(genesis->address), "%s", cd->self.address);
	snprintf(genesis->vm_address, sizeof(genesis->vm_address), "%s", cd->self.address);
	job->rc = cd_setup_commit(job->setup);
	if (job->rc == 0)
		job->rc = cd_drive_start(cd, genesis, &error);
	if (job->rc < 0) {
		snprintf(job->error, sizeof(job->error), "%s", error ? error : strerror(-job->rc));
		cd_setup_undo();
		setup_fail(job);
		/* Half of the daemon may have been started: begin anew. */
		exit(1);
	}
	cd_ports_listen(cd);
	cl_notice("cluster %s created; this is node %s", cd->self.cluster, cd->self.name);
	cd_ipc_reply(job->call, json_pack("{s:b s:i s:s s:s}", "ok", 1, "job", 0, "state", "done",
					  "text", "cluster created"));
	setup_end(job);
}

void cd_cluster_create(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = cd_field_text(request, "name");
	json_int_t token_ms = json_integer_value(json_object_get(request, "token_ms"));
	struct setup_job *job;

	if (!setup_allowed(cd, call))
		return;
	if (!cl_name_valid(name)) {
		cd_ipc_reply_error(call, EINVAL,
				   "cluster name '%.80s': allowed are 1 to 63 of A-Z a-z 0-9 . _ - after"
				   " a letter or digit",
				   name);
		return;
	}
	if (!token_ms)
		token_ms = CD_TOKEN_MS_DEFAULT;
	if (token_ms < CD_TOKEN_MS_MIN || token_ms > CD_TOKEN_MS_MAX) {
		cd_ipc_reply_error(call, EINVAL, "token %lld ms: allowed %u to %u",
				   (long long)token_ms, CD_TOKEN_MS_MIN, CD_TOKEN_MS_MAX);
		return;
	}
	job = setup_job_new(cd, call);
	job->job = (struct cd_job){ .run = create_run, .done = create_done };
	snprintf(job->setup->self.cluster, CL_NAME_MAX, "%s", name);
	job->setup->self.id = 1;
	job->setup->self.token_ms = (uint32_t)token_ms;
	job->rc = cd_setup_node_name(job->setup->self.name, job->error, sizeof(job->error));
	if (job->rc == 0)
		job->rc = cd_setup_address(cd_field_text(request, "address"), job->setup->self.address,
					   job->error, sizeof(job->error));
	cd->busy_setup = true;
	if (job->rc < 0)
		setup_fail(job);
	else
		cd_pool_submit(cd->work, &job->job);
}

/* ---- join ----------------------------------------------------------------------------------- */

static int answer_nodes(const json_t *answer, struct cd_conf *conf)
{
	const json_t *nodes = json_object_get(answer, "nodes"), *node;
	size_t i;

	if (!json_array_size(nodes) || json_array_size(nodes) > CL_NODES_MAX)
		return -EBADMSG;
	json_array_foreach(nodes, i, node) {
		const char *name = cd_field_text(node, "name"), *address = cd_field_text(node, "address");
		json_int_t id = json_integer_value(json_object_get(node, "id"));

		if (id < 1 || id > (json_int_t)CL_NODES_MAX || !cl_name_valid(name) ||
		    !cd_address_valid(address))
			return -EBADMSG;
		conf->nodes[i].id = (uint32_t)id;
		conf->nodes[i].voter = json_is_true(json_object_get(node, "voter"));
		snprintf(conf->nodes[i].name, CL_NAME_MAX, "%s", name);
		snprintf(conf->nodes[i].address, CD_ADDRESS_MAX, "%s", address);
		conf->n_nodes++;
	}
	return 0;
}

/* Everything in a member's answer, checked; the node's keys are ours already. */
static int answer_take(struct setup_job *job, const json_t *answer)
{
	struct cd_setup *setup = job->setup;
	json_int_t id = json_integer_value(json_object_get(answer, "node"));
	json_int_t token_ms = json_integer_value(json_object_get(answer, "token_ms"));

	if (id < 1 || id > (json_int_t)CL_NODES_MAX || token_ms < CD_TOKEN_MS_MIN ||
	    token_ms > CD_TOKEN_MS_MAX ||
	    strcmp(cd_field_text(answer, "cluster"), job->token.cluster) != 0 ||
	    cd_uuid_parse(cd_field_text(answer, "uuid"), setup->self.uuid) < 0 ||
	    cd_hex_decode(cd_field_text(answer, "authkey"), setup->authkey, CD_AUTHKEY_BYTES) < 0)
		return -EBADMSG;
	setup->self.id = (uint32_t)id;
	setup->self.token_ms = (uint32_t)token_ms;
	snprintf(setup->conf.cluster, CL_NAME_MAX, "%s", job->token.cluster);
	setup->conf.token_ms = setup->self.token_ms;
	setup->ca_cert = strdup(cd_field_text(answer, "ca"));
	if (cd_field_text(answer, "ca_key")[0])
		setup->ca_key = strdup(cd_field_text(answer, "ca_key"));
	if (answer_nodes(answer, &setup->conf) < 0)
		return -EBADMSG;
	return cd_roles_take(setup->roles, json_object_get(answer, "certs"), setup->ca_cert,
			     setup->self.name);
}

static int join_ask(struct setup_job *job)
{
	struct cd_setup *setup = job->setup;
	CL_CLEANUP_FREE char *request = NULL, *answer = NULL, *error = NULL;
	char secret[2 * CD_TOKEN_SECRET_BYTES + 1];
	json_t *json, *csrs;
	int rc = cd_roles_ask(setup->roles, setup->self.name, &csrs);

	if (rc < 0) {
		snprintf(job->error, sizeof(job->error), "the node's keys cannot be made: %s",
			 strerror(-rc));
		return rc;
	}
	cd_hex_encode(job->token.secret, CD_TOKEN_SECRET_BYTES, secret);
	json = json_pack("{s:i s:s s:s s:s s:s s:o}", "version", CD_JOIN_VERSION, "cluster", job->token.cluster,
			 "secret", secret, "name", setup->self.name, "address",
			 setup->self.address, "csrs", csrs);
	request = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	rc = cd_join_ask(job->address, &job->token, request, &answer, &error);
	if (rc < 0) {
		snprintf(job->error, sizeof(job->error), "%s", error ? error : strerror(-rc));
		return rc;
	}
	json = json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_true(json_object_get(json, "ok"))) {
		rc = answer_take(job, json);
		if (rc < 0)
			snprintf(job->error, sizeof(job->error),
				 "%s: its answer does not hold what a member needs", job->address);
	} else {
		const char *text = cd_field_text(json, "error");

		rc = -EACCES;
		snprintf(job->error, sizeof(job->error), "%s refused: %.400s; the token was given by node %s", job->address,
			 text[0] ? text : "no reason given", job->token.issuer);
	}
	json_decref(json);
	explicit_bzero(answer, strlen(answer));
	return rc;
}

static void join_run(struct cd_job *base)
{
	struct setup_job *job = (struct setup_job *)base;

	job->rc = join_ask(job);
	if (job->rc == 0)
		job->rc = cd_setup_apply(job->setup, job->error, sizeof(job->error));
	if (job->rc == 0) {
		job->rc = cd_setup_commit(job->setup);
		if (job->rc < 0)
			snprintf(job->error, sizeof(job->error), "%s: %s",
				 cd_path_dir(CD_DIR_STATE), strerror(-job->rc));
	}
}

static void join_done(struct cd_job *base)
{
	struct setup_job *job = (struct setup_job *)base;
	struct cd *cd = job->cd;
	CL_CLEANUP_FREE char *error = NULL;

	if (job->rc < 0) {
		setup_fail(job);
		return;
	}
	cd->self = job->setup->self;
	job->rc = cd_drive_start(cd, NULL, &error);
	if (job->rc < 0) {
		snprintf(job->error, sizeof(job->error), "%s", error ? error : strerror(-job->rc));
		setup_fail(job);
		exit(1);
	}
	cd_ports_listen(cd);
	cl_notice("joined cluster %s as node %s", cd->self.cluster, cd->self.name);
	cd_ipc_reply(job->call, json_pack("{s:b s:i s:s s:s}", "ok", 1, "job", 0, "state", "done",
					  "text", "joined; the cluster's state is on its way"));
	setup_end(job);
}

void cd_cluster_join(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *address = cd_field_text(request, "address");
	struct setup_job *job;

	if (!setup_allowed(cd, call))
		return;
	if (!cd_address_valid(address)) {
		cd_ipc_reply_error(call, EINVAL, "'%.60s' is not a numeric IP address of a member",
				   address);
		return;
	}
	job = setup_job_new(cd, call);
	job->job = (struct cd_job){ .run = join_run, .done = join_done };
	snprintf(job->address, sizeof(job->address), "%s", address);
	if (cd_token_decode(cd_field_text(request, "token"), &job->token) < 0) {
		job->rc = -EBADMSG;
		snprintf(job->error, sizeof(job->error),
			 "the token is damaged or cut: expected the whole text that `clusterctl cluster"
			 " token` printed");
	}
	if (job->rc == 0)
		job->rc = cd_setup_node_name(job->setup->self.name, job->error, sizeof(job->error));
	if (job->rc == 0)
		job->rc = cd_setup_address(cd_field_text(request, "own_address"),
					   job->setup->self.address, job->error, sizeof(job->error));
	snprintf(job->setup->self.cluster, CL_NAME_MAX, "%s", job->token.cluster);
	cd->busy_setup = true;
	if (job->rc < 0)
		setup_fail(job);
	else
		cd_pool_submit(cd->work, &job->job);
}

/* ---- corosync's nodes ----------------------------------------------------------------------- */

struct conf_job {
	struct cd_job job;
	struct cd *cd;
	struct cd_conf conf;
	uint64_t digest;
	int rc;
	char error[1024];
};

static void conf_run(struct cd_job *base)
{
	struct conf_job *job = (struct conf_job *)base;

	job->rc = cd_corosync_write(&job->conf, NULL, 0);
	if (job->rc < 0)
		snprintf(job->error, sizeof(job->error), "%s: %s", cd_path_dir(CD_DIR_COROSYNC),
			 strerror(-job->rc));
	else
		job->rc = cd_corosync_reload(job->error, sizeof(job->error));
}

static void conf_done(struct cd_job *base)
{
	struct conf_job *job = (struct conf_job *)base;

	if (job->rc < 0) {
		cl_warning("corosync does not know of the new nodes yet: %s", job->error);
		if (job->cd->conf_digest == job->digest)
			job->cd->conf_digest = 0; /* again at the next change */
	} else {
		cl_notice("corosync's node list was updated: %u nodes", job->conf.n_nodes);
	}
	free(job);
}

void cd_cluster_changed(struct cd *cd)
{
	const struct core_state *st = cd_state(cd);
	struct conf_job *job = calloc(1, sizeof(*job));

	if (!job)
		abort();
	snprintf(job->conf.cluster, CL_NAME_MAX, "%s", cd->self.cluster);
	job->conf.token_ms = cd->self.token_ms;
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &st->nodes[id];
		struct cd_conf_node *to = &job->conf.nodes[job->conf.n_nodes];

		if (n->state == CORE_NODE_UNUSED)
			continue;
		to->id = id;
		to->voter = n->voter;
		memcpy(to->name, n->name, sizeof(to->name));
		memcpy(to->address, n->address, sizeof(to->address));
		job->conf.n_nodes++;
	}
	job->digest = cl_hash64(1, &job->conf, sizeof(job->conf));
	if (!job->conf.n_nodes || job->digest == cd->conf_digest) {
		free(job);
		return;
	}
	cd->conf_digest = job->digest;
	job->cd = cd;
	job->job = (struct cd_job){ .run = conf_run,
				    .done = conf_done,
				    .key = cd_pool_key("corosync", "") };
	cd_pool_submit(cd->work, &job->job);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admission of new nodes: tokens given here, and what a member does with a request to join.
 *
 *   accept -> (worker) TLS, request -> token and names checked -> NODE_ADD in the
 *   log -> (worker) certificate signed, answer sent
 *
 * A token is good at the node that gave it, once, for 15 minutes of that node's being up, by the clock that nobody sets
 * and by the wall clock; tokens.json has the SHA-256 of its secret.  The first node that is let try has it from then on, so that two cannot
 * share it; a refusal for another reason gives it back.  A node whose answer was lost may ask again with it.
 */
#include "clusterd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/corosync_files_exec.h"
#include "clusterd/field_jansson.h"
#include "clusterd/join_gnutls.h"
#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/roles_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "common/cl_tls.h"

#define JOINS_MAX     16u
#define KNOCKS_MAX    8u /* that have not sent a request yet: each has a worker */
#define KNOCKS_ONE    2u /* of one address */
#define KNOCK_GRACE_MS 3000u /* a silent one's, when others wait */

/* ---- tokens --------------------------------------------------------------------------------- */

static void tokens_path(char out[CD_PATH_MAX])
{
	cd_path(out, CD_PATH_MAX, CD_DIR_STATE, "tokens.json");
}

/* Which boot of this machine CLOCK_BOOTTIME counts from. */
static void boot_text(char out[CD_UUID_TEXT])
{
	CL_CLEANUP_FREE char *text = NULL;

	out[0] = '\0';
	if (cd_file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL) == 0)
		snprintf(out, CD_UUID_TEXT, "%.36s", text);
}

static bool token_over(const struct cd_token_record *t)
{
	return cd_token_expired(t->expires_ms, t->expires_boot_ms, cd_wall_ms(), cd_now_ms());
}

/* Tokens of an earlier boot are over: nobody knows how long ago they were given. */
void cd_cluster_tokens_load(struct cd *cd)
{
	char path[CD_PATH_MAX], boot[CD_UUID_TEXT], *text;
	json_t *list, *entry;
	size_t i, n = 0;

	tokens_path(path);
	if (cd_file_read(path, 65536, &text, NULL) < 0)
		return;
	list = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	boot_text(boot);
	json_array_foreach(list, i, entry) {
		struct cd_token_record *t = &cd->tokens[n];

		if (n == CD_TOKENS_MAX || !boot[0] || strcmp(cd_field_text(entry, "boot"), boot) != 0 ||
		    cd_hex_decode(cd_field_text(entry, "sha256"), t->hash, 32) < 0)
			continue;
		t->there = true;
		t->expires_ms = json_integer_value(json_object_get(entry, "expires_ms"));
		t->expires_boot_ms =
			(uint64_t)json_integer_value(json_object_get(entry, "expires_boot_ms"));
		snprintf(t->node, sizeof(t->node), "%s", cd_field_text(entry, "node"));
		snprintf(t->used_by, sizeof(t->used_by), "%s", cd_field_text(entry, "used_by"));
		n++;
	}
	json_decref(list);
}

/* A short file, written rarely: on the loop's thread. */
static int tokens_save(const struct cd *cd)
{
	json_t *list = json_array();
	char path[CD_PATH_MAX], boot[CD_UUID_TEXT], hex[65], *text;
	int rc;

	boot_text(boot);
	for (unsigned i = 0; i < CD_TOKENS_MAX; i++) {
		if (!cd->tokens[i].there)
			continue;
		cd_hex_encode(cd->tokens[i].hash, 32, hex);
		json_array_append_new(
			list, json_pack("{s:s s:I s:I s:s s:s s:s}", "sha256", hex, "expires_ms",
					(json_int_t)cd->tokens[i].expires_ms, "expires_boot_ms",
					(json_int_t)cd->tokens[i].expires_boot_ms, "boot", boot,
					"node", cd->tokens[i].node, "used_by",
					cd->tokens[i].used_by));
	}
	text = json_dumps(list, JSON_INDENT(1));
	json_decref(list);
	if (!text)
		return -ENOMEM;
	tokens_path(path);
	rc = cd_file_write(path, 0600, text, strlen(text));
	free(text);
	return rc;
}

static struct cd_token_record *token_slot(struct cd *cd)
{
	for (unsigned i = 0; i < CD_TOKENS_MAX; i++)
		if (cd->tokens[i].there && token_over(&cd->tokens[i]))
			cd->tokens[i].there = false;
	for (unsigned i = 0; i < CD_TOKENS_MAX; i++)
		if (!cd->tokens[i].there)
			return &cd->tokens[i];
	for (unsigned i = 0; i < CD_TOKENS_MAX; i++)
		if (cd->tokens[i].used_by[0])
			return &cd->tokens[i];
	return NULL;
}

static struct cd_token_record *token_find(struct cd *cd, const uint8_t secret[CD_TOKEN_SECRET_BYTES])
{
	uint8_t hash[32];

	cd_pki_sha256(secret, CD_TOKEN_SECRET_BYTES, hash);
	for (unsigned i = 0; i < CD_TOKENS_MAX; i++)
		if (cd->tokens[i].there && memcmp(cd->tokens[i].hash, hash, sizeof(hash)) == 0)
			return &cd->tokens[i];
	return NULL;
}

void cd_cluster_token(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	struct cd_token token = { .port = CD_JOIN_PORT };
	struct cd_token_record *record = token_slot(cd);
	CL_CLEANUP_FREE char *ca = NULL;
	char path[CD_PATH_MAX], text[CD_TOKEN_TEXT_MAX];
	const char *node = cd_field_text(request, "name");
	int rc;

	if (node[0] && !cl_name_valid(node)) {
		cd_ipc_reply_error(call, EINVAL, "node name '%.80s' is not an allowed name", node);
		return;
	}
	if (!record) {
		cd_ipc_reply_error(call, EBUSY, "%u tokens are open: use them or wait 15 minutes",
				   CD_TOKENS_MAX);
		return;
	}
	cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.key");
	if (access(path, R_OK) < 0) {
		cd_ipc_reply_error(call, ENOKEY,
				   "this node has no copy of the CA's key: ask another member");
		return;
	}
	cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.pem");
	rc = cd_file_read(path, CD_PEM_MAX, &ca, NULL);
	if (rc == 0)
		rc = cd_pki_fingerprint(ca, token.fingerprint);
	cd_pki_random(token.secret, sizeof(token.secret));
	snprintf(token.cluster, sizeof(token.cluster), "%s", cd->self.cluster);
	snprintf(token.node, sizeof(token.node), "%s", node);
	snprintf(token.issuer, sizeof(token.issuer), "%s", cd->self.name);
	if (rc == 0)
		rc = cd_token_encode(&token, text);
	if (rc == 0) {
		record->there = true;
		cd_pki_sha256(token.secret, sizeof(token.secret), record->hash);
		record->expires_ms = cd_wall_ms() + CD_TOKEN_LIFE_MS;
		record->expires_boot_ms = cd_now_ms() + CD_TOKEN_LIFE_MS;
		snprintf(record->node, sizeof(record->node), "%s", node);
		record->used_by[0] = '\0';
		rc = tokens_save(cd);
	}
	if (rc < 0) {
		record->there = false;
		cd_ipc_reply_error(call, -rc, "no token: %s: %s", path, strerror(-rc));
		return;
	}
	cd_ipc_reply(call, json_pack("{s:b s:s s:s s:i}", "ok", 1, "token", text, "address",
				     cd->self.address, "expires_s", (int)(CD_TOKEN_LIFE_MS / 1000)));
}

/* ---- one request to join -------------------------------------------------------------------- */

struct admit {
	struct cd_job job;
	struct cd *cd;
	int fd;
	int knock, door_fd; /* ticket of the gate and the socket that it may cut off, ours; or -1 */
	struct cd_join *join;
	char *request;
	json_t *json;
	char name[CL_NAME_MAX], address[CD_ADDRESS_MAX];
	uint8_t secret[CD_TOKEN_SECRET_BYTES];
	uint32_t id;
	json_t *nodes;
	int rc;
	char error[1024];
};

static void knock_end(struct admit *admit)
{
	cl_gate_leave(&admit->cd->join_knocks, admit->knock);
	if (admit->door_fd >= 0)
		close(admit->door_fd);
	admit->knock = admit->door_fd = -1;
}

static void admit_free(struct admit *admit)
{
	knock_end(admit);
	admit->cd->joins--;
	json_decref(admit->json);
	json_decref(admit->nodes);
	free(admit->request);
	free(admit);
}

static void answer_run(struct cd_job *job);

static void answer_done(struct cd_job *job)
{
	admit_free((struct admit *)job);
}

static void answer_submit(struct admit *admit)
{
	admit->job = (struct cd_job){ .run = answer_run, .done = answer_done };
	cd_pool_submit(admit->cd->work, &admit->job);
}

/* What a new member needs; NULL and error when it cannot be had. */
static char *member_answer(struct admit *admit)
{
	CL_CLEANUP_FREE char *ca = NULL, *ca_key = NULL, *authkey = NULL;
	char path[CD_PATH_MAX], hex[2 * CD_AUTHKEY_BYTES + 1], uuid[CD_UUID_TEXT];
	json_t *json, *certs = NULL;
	size_t len = 0;
	char *text;
	int rc;

	cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.pem");
	rc = cd_file_read(path, CD_PEM_MAX, &ca, NULL);
	if (rc == 0) {
		cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.key");
		rc = cd_file_read(path, CD_PEM_MAX, &ca_key, NULL);
	}
	if (rc == 0) {
		cd_path(path, sizeof(path), CD_DIR_COROSYNC, "authkey");
		rc = cd_file_read(path, CD_AUTHKEY_BYTES, &authkey, &len);
		if (rc == 0 && len != CD_AUTHKEY_BYTES)
			rc = -EBADMSG;
	}
	if (rc == 0)
		rc = cd_roles_sign(json_object_get(admit->json, "csrs"), ca_key, ca, admit->name,
				   &certs);
	if (rc < 0) {
		snprintf(admit->error, sizeof(admit->error), "the certificates cannot be made (%s: %s)",
			 path, strerror(-rc));
		return NULL;
	}
	cd_hex_encode(authkey, len, hex);
	cd_uuid_text(admit->cd->self.uuid, uuid);
	json = json_pack("{s:b s:i s:s s:s s:i s:s s:s s:o s:s s:O}", "ok", 1, "node",
			 (int)admit->id, "cluster", admit->cd->self.cluster, "uuid", uuid,
			 "token_ms", (int)admit->cd->self.token_ms, "ca", ca, "ca_key", ca_key,
			 "certs", certs, "authkey", hex, "nodes", admit->nodes);
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	explicit_bzero(ca_key, strlen(ca_key));
	return text;
}

static void answer_run(struct cd_job *job)
{
	struct admit *admit = (struct admit *)job;
	char *text = admit->rc < 0 ? NULL : member_answer(admit);
	json_t *json;

	if (!text) {
		json = json_pack("{s:b s:s}", "ok", 0, "error", admit->error);
		text = json_dumps(json, JSON_COMPACT);
		json_decref(json);
		cl_warning("request to join from %s (%s) refused: %s", admit->name, admit->address,
			   admit->error);
	} else {
		cl_notice("node %s (%s) was admitted as node %u", admit->name, admit->address,
			  admit->id);
	}
	cd_join_answer(admit->join, text);
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void admit_refuse(struct admit *admit, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void admit_refuse(struct admit *admit, int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(admit->error, sizeof(admit->error), format, ap);
	va_end(ap);
	admit->rc = rc;
	answer_submit(admit);
}

/* The node is in the state: everything for its answer is copied for the worker. */
static void admit_finish(struct admit *admit)
{
	struct cd *cd = admit->cd;
	const struct core_state *st = cd_state(cd);
	const struct core_node *node = core_node_find(st, admit->name);

	if (!node) {
		admit_refuse(admit, -EIO, "the node was admitted but is not in the state");
		return;
	}
	admit->id = node->id;
	admit->nodes = json_array();
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state != CORE_NODE_UNUSED)
			json_array_append_new(admit->nodes,
					      json_pack("{s:i s:s s:s s:b}", "id", id, "name",
							st->nodes[id].name, "address",
							st->nodes[id].address, "voter",
							st->nodes[id].voter));
	if (tokens_save(cd) < 0)
		cl_warning("tokens.json cannot be written");
	answer_submit(admit);
}

static void admit_added(struct cd *cd, void *arg, int err, const struct core_answer *answer)
{
	struct admit *admit = arg;
	struct cd_token_record *token = token_find(cd, admit->secret);

	/* Where it is not known whether it was admitted, the token stays this node's. */
	if (err < 0 && answer && token)
		token->used_by[0] = '\0';
	if (err < 0)
		admit_refuse(admit, err, "%s",
			     answer && answer->text[0] ? answer->text :
			     err == -ETIMEDOUT	       ? "the cluster has no quorum" :
							 strerror(-err));
	else
		admit_finish(admit);
}

/* *ret_version is what it says, or 0. */
static bool admit_parse(struct admit *admit, json_int_t *ret_version)
{
	admit->json = json_loads(admit->request, JSON_REJECT_DUPLICATES, NULL);
	*ret_version = json_integer_value(json_object_get(admit->json, "version"));
	if (!json_is_object(admit->json) || *ret_version != CD_JOIN_VERSION ||
	    strcmp(cd_field_text(admit->json, "cluster"), admit->cd->self.cluster) != 0 ||
	    cd_hex_decode(cd_field_text(admit->json, "secret"), admit->secret, sizeof(admit->secret)) < 0 ||
	    !cl_name_valid(cd_field_text(admit->json, "name")) ||
	    !cd_address_valid(cd_field_text(admit->json, "address")))
		return false;
	snprintf(admit->name, sizeof(admit->name), "%s", cd_field_text(admit->json, "name"));
	snprintf(admit->address, sizeof(admit->address), "%s", cd_field_text(admit->json, "address"));
	return json_object_size(json_object_get(admit->json, "csrs")) == CD_ROLES;
}

static void knock_refused(struct cd *cd, const char *address, const char *why)
{
	unsigned more;

	if (cl_gate_say(&cd->join_knocks, &more))
		cl_warning("join port: a connection from %s was refused: %s (%u more since the last line)",
			   address, why, more);
}

static void accept_run(struct cd_job *job)
{
	struct admit *admit = (struct admit *)job;
	char dir[CD_PATH_MAX];

	cd_path(dir, sizeof(dir), CD_DIR_STATE, "tls");
	admit->rc = cd_join_accept(admit->fd, dir, &admit->join, &admit->request);
	knock_end(admit);
}

static void accept_done(struct cd_job *job)
{
	struct admit *admit = (struct admit *)job;
	struct cd *cd = admit->cd;
	const struct core_node *known;
	struct cd_token_record *token;
	struct core_command *cmd;
	json_int_t version;

	if (admit->rc < 0) {
		knock_refused(cd, admit->address, strerror(-admit->rc));
		admit_free(admit);
		return;
	}
	if (!admit_parse(admit, &version)) {
		admit_refuse(admit, -EBADMSG,
			     version == CD_JOIN_VERSION || version <= 0 ?
				     "the request to join is not understood" :
				     "the request to join is of version %lld, allowed is %d: install"
				     " the same release on both nodes",
			     (long long)version, CD_JOIN_VERSION);
		return;
	}
	token = token_find(cd, admit->secret);
	if (!token || token_over(token)) {
		admit_refuse(admit, -EACCES,
			     "the token is %s: a token is good once, for 15 minutes, at the node that"
			     " gave it",
			     token ? "too old" : "not known here");
		return;
	}
	if (token->used_by[0] && strcmp(token->used_by, admit->name) != 0) {
		admit_refuse(admit, -EACCES, "the token was used by node %s: a token is good once",
			     token->used_by);
		return;
	}
	if (token->node[0] && strcmp(token->node, admit->name) != 0) {
		admit_refuse(admit, -EACCES, "the token is for node %s, not for %s", token->node,
			     admit->name);
		return;
	}
	/* A joiner that was admitted but never arrived may come again. */
	known = core_node_find(cd_state(cd), admit->name);
	if (known && known->state == CORE_NODE_NEW && strcmp(known->address, admit->address) == 0) {
		admit_finish(admit);
		return;
	}
	snprintf(token->used_by, sizeof(token->used_by), "%s", admit->name);
	cmd = calloc(1, sizeof(*cmd));
	if (!cmd)
		abort();
	cmd->kind = CORE_CMD_NODE_ADD;
	snprintf(cmd->name, sizeof(cmd->name), "%s", admit->name);
	snprintf(cmd->address, sizeof(cmd->address), "%s", admit->address);
	snprintf(cmd->vm_address, sizeof(cmd->vm_address), "%s", admit->address);
	cd_drive_command(cd, cmd, 0, admit_added, admit);
	free(cmd);
}

void cd_cluster_admit(struct cd *cd, int fd)
{
	struct admit *admit = calloc(1, sizeof(*admit));
	uint64_t who;

	if (!admit || (!cd->join_knocks.places &&
		       cl_gate_init(&cd->join_knocks, KNOCKS_MAX, KNOCKS_ONE, KNOCK_GRACE_MS) < 0)) {
		free(admit);
		close(fd);
		return;
	}
	cd->joins++;
	admit->cd = cd;
	admit->fd = fd;
	/* The handshake closes fd when it fails: what the gate may cut off is a number of our own. */
	admit->door_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	who = cl_gate_address(fd, admit->address, sizeof(admit->address));
	admit->knock = admit->door_fd < 0 ? -EAGAIN :
					    cl_gate_enter(&cd->join_knocks, who, admit->door_fd);
	if (admit->knock < 0 || cd->joins > JOINS_MAX) {
		knock_refused(cd, admit->address, "too many that have not said who they are");
		admit_free(admit);
		close(fd);
		return;
	}
	admit->job = (struct cd_job){ .run = accept_run, .done = accept_done };
	cd_pool_submit(cd->work, &admit->job);
}

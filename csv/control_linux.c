/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvd's control verbs (docs/architecture.md).  Each request gets a thread, since most wait for the LUN or for
 * other nodes; it answers when it is done.  Arguments are checked whole before anything happens.
 */
#include "csv/vol.h"

#include "common/cl_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
	struct csvd *d;
	struct cl_ctl_request req;
	json_t *msg;
	char verb[32];
	char error[CSVD_TEXT];
	json_t *result;
};

static const char *text_of(struct request *r, const char *key)
{
	const char *s = json_string_value(json_object_get(r->msg, key));

	if (!s && !r->error[0])
		snprintf(r->error, sizeof(r->error), "%s: argument '%s' (text) is missing", r->verb,
			 key);
	return s ? s : "";
}

static uint64_t number_of(struct request *r, const char *key)
{
	const json_t *j = json_object_get(r->msg, key);

	if ((!json_is_integer(j) || json_integer_value(j) < 0) && !r->error[0])
		snprintf(r->error, sizeof(r->error), "%s: argument '%s' (number) is missing",
			 r->verb, key);
	return json_is_integer(j) ? (uint64_t)json_integer_value(j) : 0;
}

static bool flag_of(struct request *r, const char *key)
{
	return json_is_true(json_object_get(r->msg, key));
}

static struct csv_vol *vol_of(struct request *r)
{
	const char *name = text_of(r, "volume");
	struct csv_vol *v = r->error[0] ? NULL : csvd_vol_find(r->d, name);

	if (!v && !r->error[0])
		snprintf(r->error, sizeof(r->error), "volume '%.63s' is not attached", name);
	return v;
}

static int nodes_parse(struct request *r, struct csvd_member *members)
{
	const json_t *list = json_object_get(r->msg, "nodes"), *j;
	size_t i;

	json_array_foreach(list, i, j)
	{
		const char *name = json_string_value(json_object_get(j, "name"));
		const char *address = json_string_value(json_object_get(j, "address"));
		json_int_t id = json_integer_value(json_object_get(j, "id"));

		if (id < 1 || id > (json_int_t)CL_NODES_MAX || !name || !cl_name_valid(name) ||
		    !address || strlen(address) >= CSVD_ADDRESS) {
			snprintf(r->error, sizeof(r->error),
				 "configure: node %zu of the list is not valid", i);
			return -EINVAL;
		}
		snprintf(members[id - 1].name, CL_NAME_MAX, "%s", name);
		snprintf(members[id - 1].address, CSVD_ADDRESS, "%s", address);
	}
	return 0;
}

static int do_configure(struct request *r)
{
	struct csvd_member members[CL_NODES_MAX] = {0};
	uint64_t node = number_of(r, "node"), epoch = number_of(r, "epoch");
	const char *name = text_of(r, "name"), *address = text_of(r, "address");
	struct csvd *d = r->d;
	bool first;
	int rc;

	if (r->error[0] || node < 1 || node > CL_NODES_MAX || !cl_name_valid(name) ||
	    strlen(address) >= CSVD_ADDRESS)
		return -EINVAL;
	rc = nodes_parse(r, members);
	if (rc)
		return rc;
	pthread_mutex_lock(&d->lock);
	first = !d->node;
	if (!first && (d->node != node || strcmp(d->name, name) || strcmp(d->address, address))) {
		pthread_mutex_unlock(&d->lock);
		snprintf(r->error, sizeof(r->error), "this csvd is node %u (%s, %s)", d->node,
			 d->name, d->address);
		return -EINVAL;
	}
	d->node = (uint32_t)node;
	d->epoch = epoch;
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->address, sizeof(d->address), "%s", address);
	memcpy(d->members, members, sizeof(members));
	pthread_mutex_unlock(&d->lock);
	rc = first ? csv_rpc_start(d, r->error) : 0;
	if (d->creds)
		cl_tls_creds_roleless_set(d->creds, flag_of(r, "roleless"));
	if (!first)
		return 0;
	if (rc) {
		pthread_mutex_lock(&d->lock);
		d->node = 0;
		pthread_mutex_unlock(&d->lock);
	}
	return rc;
}

static int do_attach(struct request *r)
{
	struct csv_attach a = {text_of(r, "volume"), text_of(r, "uuid"), text_of(r, "lun"),
			       text_of(r, "device"), 0};
	const char *key = text_of(r, "prkey");

	if (r->error[0])
		return -EINVAL;
	if (!r->d->node) {
		snprintf(r->error, sizeof(r->error), "not configured yet");
		return -EINVAL;
	}
	a.prkey = strtoull(key, NULL, 16);
	r->result = json_pack("{s:I}", "instance", (json_int_t)r->d->instance);
	return csvd_attach(r->d, &a, r->error);
}

static int grant_parse(const json_t *j, struct csv_grant_vm *g)
{
	const json_t *disks = json_object_get(j, "disks"), *holders = json_object_get(j, "holders");
	const char *vm = json_string_value(json_object_get(j, "vm"));
	const json_t *e;
	size_t i;

	if (!vm || !cl_name_valid(vm) || !json_is_array(disks) ||
	    json_array_size(disks) > CSV_GRANTS_DISKS || !json_is_array(holders))
		return -EINVAL;
	snprintf(g->vm, sizeof(g->vm), "%s", vm);
	json_array_foreach(disks, i, e)
	{
		const char *path = json_string_value(e);

		if (!path || strlen(path) >= CSV_GRANTS_PATH)
			return -EINVAL;
		snprintf(g->path[i], sizeof(g->path[i]), "%s", path);
	}
	json_array_foreach(holders, i, e)
	{
		json_int_t node = json_integer_value(json_object_get(e, "node"));
		json_int_t generation = json_integer_value(json_object_get(e, "generation"));

		if (node < 1 || node > (json_int_t)CL_NODES_MAX || generation < 0)
			return -EINVAL;
		g->generation[node - 1] = (uint64_t)generation;
	}
	return 0;
}

/* The table that the arguments seq and vms hold; NULL: there is none, or error is set. */
static struct csv_grants *grants_parse(struct request *r)
{
	const json_t *list = json_object_get(r->msg, "vms"), *j;
	json_int_t seq = json_integer_value(json_object_get(r->msg, "seq"));
	size_t count = json_array_size(list), i;
	struct csv_grants *g;

	if (!list)
		return NULL;
	if (!json_is_array(list) || count > CSV_GRANTS_VMS || seq < 1) {
		snprintf(r->error, sizeof(r->error), "%s: vms must be a list of at most %u, with a seq",
			 r->verb, CSV_GRANTS_VMS);
		return NULL;
	}
	g = calloc(1, sizeof(*g) + count * sizeof(g->vms[0]));
	if (!g) {
		snprintf(r->error, sizeof(r->error), "no memory");
		return NULL;
	}
	g->seq = (uint64_t)seq;
	g->count = count;
	json_array_foreach(list, i, j)
	{
		if (grant_parse(j, &g->vms[i])) {
			snprintf(r->error, sizeof(r->error), "%s: entry %zu of vms is not valid",
				 r->verb, i);
			free(g);
			return NULL;
		}
	}
	return g;
}

static int do_vms(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	struct csv_grants *g = grants_parse(r);

	if (!v || r->error[0] || !g) {
		free(g);
		return v ? -EINVAL : -ENOENT;
	}
	return csvd_grants(v, g);
}

static int do_own(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	uint64_t term = number_of(r, "term");
	const json_t *list = json_object_get(r->msg, "members"), *j;
	struct csv_grants *g;
	uint32_t members = 0;
	size_t i;
	int rc;

	if (!v || r->error[0])
		return v ? -EINVAL : -ENOENT;
	json_array_foreach(list, i, j)
	{
		json_int_t id = json_integer_value(j);

		if (id < 1 || id > (json_int_t)CL_NODES_MAX)
			return -EINVAL;
		members |= 1u << (id - 1);
	}
	g = grants_parse(r);
	if (r->error[0])
		return -EINVAL;
	if (g && csvd_grants(v, g))
		return -ENOMEM;
	rc = csvd_own(v, term, members, flag_of(r, "fresh"), r->error);
	if (!rc && v->owner)
		r->result = csv_owner_status(v->owner);
	return rc;
}

static int do_owner(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	uint64_t term = number_of(r, "term"), owner = number_of(r, "owner");
	const char *address = owner ? text_of(r, "address") : "";

	if (!v || r->error[0] || owner > CL_NODES_MAX || strlen(address) >= CSVD_ADDRESS)
		return v ? -EINVAL : -ENOENT;
	csv_vol_owner_set(v, (uint32_t)owner, term, address);
	return 0;
}

static int do_release(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	uint64_t term = number_of(r, "term");

	if (!v || r->error[0])
		return v ? -EINVAL : -ENOENT;
	return csvd_release(v, term, r->error);
}

static int do_detach(struct request *r)
{
	struct csv_vol *v = vol_of(r);

	return v ? csvd_detach(v, flag_of(r, "force"), r->error) : -ENOENT;
}

static int do_member_gone(struct request *r)
{
	uint64_t node = number_of(r, "node");
	int rc = 0, one;

	if (r->error[0] || node < 1 || node > CL_NODES_MAX)
		return -EINVAL;
	for (struct csv_vol *v = csvd_vol_next(r->d, NULL); v; v = csvd_vol_next(r->d, v)) {
		pthread_rwlock_rdlock(&v->owner_lock);
		one = v->owner ? csv_owner_member_gone(v->owner, (uint32_t)node) : 0;
		pthread_rwlock_unlock(&v->owner_lock);
		if (!one)
			continue;
		rc = one;
		snprintf(r->error, sizeof(r->error),
			 "volume %s: an operation of node %llu is still under way", v->name,
			 (unsigned long long)node);
	}
	return rc;
}

static int do_down(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	const char *reason = text_of(r, "reason");

	if (!v || r->error[0])
		return v ? -EINVAL : -ENOENT;
	csvd_down(v, reason);
	return 0;
}

static int do_redirect(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	bool on = flag_of(r, "on");

	if (!v)
		return -ENOENT;
	pthread_mutex_lock(&v->admin);
	csv_vol_input(v, CSV_IN_REDIRECT, on, 0, NULL);
	csv_disks_redirect(v, on);
	if (on)
		csv_nodes_layouts_drop(v, false);
	pthread_mutex_unlock(&v->admin);
	return 0;
}

struct progress {
	struct request *r;
	const char *volume, *path;
	uint64_t size;
};

static void on_progress(void *arg, uint64_t done)
{
	struct progress *p = arg;

	cl_ctl_event(p->r->d->ctl,
		     json_pack("{s:s,s:s,s:s,s:I,s:I}", "event", "file-progress", "volume",
			       p->volume, "path", p->path, "done", (json_int_t)done, "size",
			       (json_int_t)p->size));
}

static int do_file_create(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	struct progress p = {r, text_of(r, "volume"), text_of(r, "path"), number_of(r, "size")};

	if (!v || r->error[0])
		return v ? -EINVAL : -ENODEV;
	if (!p.size) {
		snprintf(r->error, sizeof(r->error), "file-create: size is 0");
		return -EINVAL;
	}
	return csv_file_create(v, p.path, p.size, on_progress, &p, r->error);
}

static int do_file_delete(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	const char *path = text_of(r, "path");

	/* Not -ENOENT: that says that the file is gone. */
	if (!v || r->error[0])
		return v ? -EINVAL : -ENODEV;
	return csv_file_delete(v, path, r->error);
}

static int do_file_disown(struct request *r)
{
	struct csv_vol *v = vol_of(r);
	const char *path = text_of(r, "path"), *vm = text_of(r, "vm");

	if (!v || r->error[0])
		return v ? -EINVAL : -ENOENT;
	if (!cl_name_valid(vm)) {
		snprintf(r->error, sizeof(r->error), "file-disown: '%.63s' is not a VM's name", vm);
		return -EINVAL;
	}
	return csv_file_disown(v, path, vm, r->error);
}

static json_t *vol_status(struct csv_vol *v)
{
	struct csv_volume_state s;
	unsigned opens, layouts;
	json_t *j, *role = NULL;

	pthread_mutex_lock(&v->lock);
	s = v->state;
	opens = v->n_opens;
	layouts = v->n_layouts;
	pthread_mutex_unlock(&v->lock);
	pthread_rwlock_rdlock(&v->owner_lock);
	if (v->owner)
		role = csv_owner_status(v->owner);
	pthread_rwlock_unlock(&v->owner_lock);
	j = json_pack("{s:s,s:s,s:s,s:I,s:i,s:I,s:s,s:i,s:i,s:b,s:s,s:s,s:o}", "name", v->name,
		      "state", csv_state_name(s.state), "reason", s.reason, "since_ms",
		      (json_int_t)(csvd_now_ms() - s.since_ms), "owner", (int)s.owner, "term",
		      (json_int_t)s.term, "role", role ? "owner" : "client", "opens", (int)opens,
		      "layouts", (int)layouts, "mounted", v->mounted, "path", v->path, "device",
		      v->device, "disks", csv_disks_status(v));
	json_object_set_new(j, "space", csv_space_status(v));
	if (role)
		json_object_set_new(j, "serving", role);
	return j;
}

static int do_status(struct request *r)
{
	json_t *list = json_array();

	for (struct csv_vol *v = csvd_vol_next(r->d, NULL); v; v = csvd_vol_next(r->d, v))
		json_array_append_new(list, vol_status(v));
	pthread_mutex_lock(&r->d->lock);
	r->result = json_pack("{s:i,s:s,s:I,s:I,s:o}", "node", (int)r->d->node, "name", r->d->name,
			      "epoch", (json_int_t)r->d->epoch, "instance",
			      (json_int_t)r->d->instance, "volumes", list);
	pthread_mutex_unlock(&r->d->lock);
	return 0;
}

static const struct {
	const char *verb;
	int (*run)(struct request *r);
} verbs[] = {
	{"configure", do_configure},	 {"attach", do_attach},	    {"own", do_own},
	{"owner", do_owner},		 {"release", do_release},   {"detach", do_detach},
	{"vms", do_vms},
	{"member-gone", do_member_gone}, {"down", do_down},	    {"redirect", do_redirect},
	{"file-create", do_file_create}, {"file-delete", do_file_delete}, {"file-disown", do_file_disown}, {"status", do_status},
};

static void *request_main(void *arg)
{
	struct request *r = arg;
	int rc = -EINVAL;

	for (size_t i = 0; i < CL_ARRAY_LEN(verbs); i++)
		if (!strcmp(verbs[i].verb, r->verb))
			rc = verbs[i].run(r);
	if (rc) {
		json_decref(r->result);
		cl_warning("%s: %s", r->verb, r->error[0] ? r->error : strerror(-rc));
		cl_ctl_reply_error(r->d->ctl, r->req, -rc, "%s",
				   r->error[0] ? r->error : strerror(-rc));
	} else {
		cl_ctl_reply(r->d->ctl, r->req, r->result ? r->result : json_object());
	}
	json_decref(r->msg);
	free(r);
	return NULL;
}

void csvd_control(void *arg, struct cl_ctl_request req, const char *verb, const json_t *msg,
		  uid_t uid, pid_t pid)
{
	struct csvd *d = arg;
	struct request *r;
	pthread_t t;
	size_t i;

	for (i = 0; i < CL_ARRAY_LEN(verbs) && strcmp(verbs[i].verb, verb); i++)
		;
	if (i == CL_ARRAY_LEN(verbs)) {
		cl_ctl_reply_error(d->ctl, req, EINVAL, "unknown verb '%.40s'", verb);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		cl_ctl_reply_error(d->ctl, req, ENOMEM, "no memory");
		return;
	}
	r->d = d;
	r->req = req;
	r->msg = json_deep_copy(msg);
	snprintf(r->verb, sizeof(r->verb), "%s", verb);
	if (pthread_create(&t, NULL, request_main, r)) {
		cl_ctl_reply_error(d->ctl, req, EAGAIN, "no thread");
		json_decref(r->msg);
		free(r);
		return;
	}
	pthread_detach(t);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corosync CPG behind group_cpg.h.  cs_error_t is translated here and nowhere
 * else.  corosync's flow control is asked before each message, so that a slow
 * node slows the log rather than filling corosync's memory.
 */
#include "clusterd/group_cpg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <corosync/cpg.h>

#define GROUP_NAME "holdfast"

struct cd_group {
	cpg_handle_t handle;
	const struct cd_group_ops *ops;
	void *arg;
	uint32_t local;
	int fd;
};

static int translate(cs_error_t err)
{
	switch (err) {
	case CS_OK:
		return 0;
	case CS_ERR_TRY_AGAIN:
	case CS_ERR_QUEUE_FULL:
	case CS_ERR_NO_MEMORY:
	case CS_ERR_NO_RESOURCES:
		return -EAGAIN;
	case CS_ERR_TOO_BIG:
		return -EMSGSIZE;
	case CS_ERR_ACCESS:
	case CS_ERR_SECURITY:
		return -EACCES;
	default:
		return -EPIPE;
	}
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *name, uint32_t node,
		       uint32_t pid, void *data, size_t len_bytes)
{
	void *ctx = NULL;

	if (cpg_context_get(handle, &ctx) == CS_OK && ctx) {
		struct cd_group *group = ctx;

		group->ops->deliver(group->arg, node, pid, data, len_bytes);
	}
}

static size_t members_copy(struct cd_member *to, const struct cpg_address *from, size_t n)
{
	if (n > CPG_MEMBERS_MAX)
		n = CPG_MEMBERS_MAX;
	for (size_t i = 0; i < n; i++)
		to[i] = (struct cd_member){
			.node = from[i].nodeid,
			.pid = from[i].pid,
			.reason = from[i].reason == CPG_REASON_PROCDOWN ? CD_LEFT_PROCDOWN :
				  from[i].reason == CPG_REASON_LEAVE	? CD_LEFT_LEAVE :
									  CD_LEFT_NODEDOWN,
		};
	return n;
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *name,
		       const struct cpg_address *members, size_t n, const struct cpg_address *left,
		       size_t n_left, const struct cpg_address *joined, size_t n_joined)
{
	struct cd_member m[CPG_MEMBERS_MAX], l[CPG_MEMBERS_MAX], j[CPG_MEMBERS_MAX];
	struct cd_group *group;
	void *ctx = NULL;

	if (cpg_context_get(handle, &ctx) != CS_OK || !ctx)
		return;
	group = ctx;
	n = members_copy(m, members, n);
	n_left = members_copy(l, left, n_left);
	n_joined = members_copy(j, joined, n_joined);
	group->ops->confchg(group->arg, m, n, l, n_left, j, n_joined);
}

static void on_ring(cpg_handle_t handle, struct cpg_ring_id ring, uint32_t n, const uint32_t *nodes)
{
	void *ctx = NULL;

	if (cpg_context_get(handle, &ctx) == CS_OK && ctx) {
		struct cd_group *group = ctx;

		group->ops->ring(group->arg, nodes, n);
	}
}

int cd_group_open(const struct cd_group_ops *ops, void *arg, struct cd_group **ret_group)
{
	cpg_model_v1_data_t model = {
		.model = CPG_MODEL_V1,
		.cpg_deliver_fn = on_deliver,
		.cpg_confchg_fn = on_confchg,
		.cpg_totem_confchg_fn = on_ring,
		.flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
	};
	struct cd_group *group = calloc(1, sizeof(*group));
	struct cpg_name name = { .length = sizeof(GROUP_NAME) - 1, .value = GROUP_NAME };
	unsigned int local = 0;
	cs_error_t err;
	int rc;

	if (!group)
		return -ENOMEM;
	group->ops = ops;
	group->arg = arg;
	err = cpg_model_initialize(&group->handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, group);
	if (err != CS_OK) {
		free(group);
		rc = translate(err);
		return rc == -EPIPE ? -EAGAIN : rc; /* not running yet */
	}
	err = cpg_local_get(group->handle, &local);
	if (err == CS_OK)
		err = cpg_fd_get(group->handle, &group->fd);
	if (err == CS_OK)
		err = cpg_join(group->handle, &name);
	if (err != CS_OK) {
		rc = translate(err);
		cd_group_close(group);
		return rc == -EPIPE ? -EAGAIN : rc;
	}
	group->local = local;
	*ret_group = group;
	return 0;
}

void cd_group_close(struct cd_group *group)
{
	if (!group)
		return;
	cpg_finalize(group->handle);
	free(group);
}

int cd_group_fd(const struct cd_group *group)
{
	return group->fd;
}

uint32_t cd_group_local(const struct cd_group *group)
{
	return group->local;
}

int cd_group_dispatch(struct cd_group *group)
{
	int rc = translate(cpg_dispatch(group->handle, CS_DISPATCH_ALL));

	return rc == -EAGAIN ? 0 : rc;
}

int cd_group_send(struct cd_group *group, const void *data, size_t len_bytes)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len_bytes };
	cpg_flow_control_state_t flow = CPG_FLOW_CONTROL_DISABLED;
	cs_error_t err = cpg_flow_control_state_get(group->handle, &flow);

	if (err != CS_OK)
		return translate(err);
	if (flow == CPG_FLOW_CONTROL_ENABLED)
		return -EAGAIN;
	return translate(cpg_mcast_joined(group->handle, CPG_TYPE_AGREED, &iov, 1));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner asks its table of grants before it serves (grants.h).  A node that the log has just named may be here before our
 * clusterd has told us: it waits for the next table, GRANTS_WAIT_MS at most, and is refused then; its
 * clusterd tries again.  Nobody is let in because nobody knows.
 */
#include "csv/owner_priv.h"

#include "common/cl_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GRANTS_WAIT_MS 30000 /* a VM's start */
#define IO_WAIT_MS     2000  /* somebody who reads a file that was a VM's a moment ago */
#define GRANTS_SAY_MS  5000u

/* Which files the paths are now. An image that is not there yet is found when the next table comes. */
static void table_resolve(struct csv_owner *o, struct csv_grants *g)
{
	for (size_t i = 0; i < g->count; i++) {
		for (unsigned d = 0; d < CSV_GRANTS_DISKS; d++) {
			struct csv_attr a;

			g->vms[i].fh[d] = (struct csv_fh){0};
			if (g->vms[i].path[d][0] && !csv_fs_resolve(o->fs, g->vms[i].path[d], &a))
				g->vms[i].fh[d] = a.fh;
		}
	}
}

int csv_owner_grants_set(struct csv_owner *o, const struct csv_grants *grants)
{
	size_t bytes = sizeof(*grants) + grants->count * sizeof(grants->vms[0]);
	struct csv_grants *copy, *old;

	if (!csv_owner_enter(o))
		return 0; /* it serves nobody any more */
	copy = malloc(bytes);
	if (copy) {
		memcpy(copy, grants, bytes);
		table_resolve(o, copy);
		pthread_mutex_lock(&o->lock);
		old = o->grants;
		if (old && old->seq > copy->seq) {
			old = copy;
		} else {
			o->grants = copy;
			pthread_cond_broadcast(&o->cond);
		}
		pthread_mutex_unlock(&o->lock);
		free(old);
	}
	csv_owner_leave(o);
	return copy ? 0 : -ENOMEM;
}

static enum csv_grants_say ask(struct csv_op_ctx *c, enum csv_rpc_op op, const char **ret_vm)
{
	const struct csv_rpc_msg *m = c->m;
	uint32_t node = c->peer->node;

	switch (op) {
	case CSV_OP_XOPEN:
		return csv_grants_xopen(c->o->grants, m->fh, node, m->vm, m->generation, ret_vm);
	case CSV_OP_RECLAIM:
		return m->flags & CSV_RECLAIM_X ? csv_grants_xopen(c->o->grants, m->fh, node, m->vm,
								   m->generation, ret_vm) :
						  CSV_GRANTS_YES;
	case CSV_OP_READ:
	case CSV_OP_WRITE:
	case CSV_OP_SETATTR:
	case CSV_OP_FALLOCATE:
	case CSV_OP_ZEROFILL:
	case CSV_OP_LAYOUTGET:
		/* The mount is this node's own: it makes and deletes images. */
		return node == c->o->config.node ? CSV_GRANTS_YES :
						   csv_grants_io(c->o->grants, m->fh, node, ret_vm);
	default:
		return CSV_GRANTS_YES;
	}
}

/* One line in a while, whatever a peer does. Under the owner's lock. */
static bool say_due(struct csv_owner *o)
{
	uint64_t now = csv_owner_now_ms();

	if (o->grants_said_ms && now - o->grants_said_ms < GRANTS_SAY_MS)
		return false;
	o->grants_said_ms = now;
	return true;
}

int32_t csv_owner_granted(struct csv_op_ctx *c, enum csv_rpc_op op)
{
	struct csv_owner *o = c->o;
	char whose[CL_NAME_MAX] = "";
	uint32_t ms = o->config.grants_ms ? o->config.grants_ms : GRANTS_WAIT_MS;
	struct timespec until;
	enum csv_grants_say say;
	bool due = false;
	int rc = 0;

	if (op != CSV_OP_XOPEN && ms > IO_WAIT_MS)
		ms = IO_WAIT_MS;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	pthread_mutex_lock(&o->lock);
	for (;;) {
		const char *vm = c->m->vm;

		say = ask(c, op, &vm);
		if (!say || rc || o->mode == OWNER_CLOSING || op == CSV_OP_RECLAIM) {
			snprintf(whose, sizeof(whose), "%s", say ? vm : "");
			break;
		}
		rc = -pthread_cond_timedwait(&o->cond, &o->lock, &until);
		if (rc != -ETIMEDOUT)
			rc = 0;
	}
	if (say && o->mode != OWNER_CLOSING)
		due = say_due(o);
	pthread_mutex_unlock(&o->lock);
	if (!say)
		return 0;
	if (due)
		cl_warning("volume %s: node %u was refused inode %llx of VM %s (%s, generation %llu):"
			   " %s", o->config.volume, c->peer->node,
			   (unsigned long long)c->m->fh.ino, whose,
			   op == CSV_OP_XOPEN || op == CSV_OP_RECLAIM ? "to open its disk" :
									"to read or change it",
			   (unsigned long long)c->m->generation,
			   say == CSV_GRANTS_TOO_HIGH ? "the log gave no such generation" :
			   say == CSV_GRANTS_OTHER_VM ? "it asked for another VM" :
							"the log does not name that node");
	if (o->mode == OWNER_CLOSING)
		return CSV_STATUS_MOVED;
	/* A client that reclaims takes -ESTALE for "somebody else has it": it gives the disk up. */
	return op == CSV_OP_RECLAIM ? -ESTALE : -EACCES;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom an owner serves the image of a VM: the nodes that the cluster's log names for that VM, up to the
 * generation that the log gave each.  clusterd brings the whole table of a volume, numbered by the log's
 * entries; one that is older than what is here changes nothing.
 *
 * Decides nothing as long as no table was brought: an owner that clusterd does not run (tests of csvd alone) serves
 * everybody.  Files that are no running VM's are not in the table: they are everybody's, that of a
 * stopped VM too.  The owner's own node is always served: it has the file system mounted.
 *
 * Pure.
 */
#ifndef CSV_GRANTS_H
#define CSV_GRANTS_H

#include "common/cl_types.h"
#include "csv/proto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_GRANTS_DISKS 4u
#define CSV_GRANTS_VMS	 1024u
#define CSV_GRANTS_PATH	 256u

struct csv_grant_vm {
	char vm[CL_NAME_MAX];
	char path[CSV_GRANTS_DISKS][CSV_GRANTS_PATH]; /* "" none; below the volume's root */
	struct csv_fh fh[CSV_GRANTS_DISKS];	      /* ino 0: not found (yet) */
	uint64_t generation[CL_NODES_MAX];	      /* [n-1]: up to which node n may have it; 0: not */
};

struct csv_grants {
	uint64_t seq; /* 0: no table was brought */
	size_t count;
	struct csv_grant_vm vms[]; /* count */
};

enum csv_grants_say {
	CSV_GRANTS_YES = 0,
	CSV_GRANTS_NOT_HERE, /* the log names others, or nobody knows yet that it names this one */
	CSV_GRANTS_TOO_HIGH, /* a generation that the log did not give */
	CSV_GRANTS_OTHER_VM, /* the file is another VM's */
};

/* node wants to open fh exclusively for vm. *ret_vm: whose it is, for OTHER_VM. */
enum csv_grants_say csv_grants_xopen(const struct csv_grants *g, struct csv_fh fh, uint32_t node,
				     const char *vm, uint64_t generation, const char **ret_vm);
/* node wants to read or change fh. *ret_vm: whose it is, when it may not. */
enum csv_grants_say csv_grants_io(const struct csv_grants *g, struct csv_fh fh, uint32_t node,
				  const char **ret_vm);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where VMs fit.  A core_room is the use of all nodes as one pass over the VMs found it; it may be
 * changed to ask "what if".
 */
#ifndef CLUSTERD_CORE_PLACE_H
#define CLUSTERD_CORE_PLACE_H

#include "clusterd/core/core.h"

enum core_fit {
	CORE_FIT_OK = 0,
	CORE_FIT_STATE,	   /* the node takes no VMs now */
	CORE_FIT_POSSIBLE, /* not among the VM's possible owners */
	CORE_FIT_VOLUME,   /* index: a volume of the VM that is not attached there */
	CORE_FIT_MEMORY,   /* need, have: MiB */
	CORE_FIT_CPUS,	   /* need, have: vCPUs, overcommitted */
	CORE_FIT_COUNT,	   /* have: VMs that one node can report */
	CORE_FIT_APART,	   /* index: a VM of its anti-affinity group, one of the two insists */
};

struct core_verdict {
	uint8_t fit; /* enum core_fit */
	uint16_t index;
	uint32_t need, have;
};

struct core_room {
	core_nodes up; /* nodes that take VMs */
	uint32_t mib[CL_NODES_MAX + 1];
	uint32_t cpus[CL_NODES_MAX + 1];
	uint16_t vms[CL_NODES_MAX + 1];
	core_nodes at[CORE_VMS_MAX]; /* where each VM is, or is about to be */
};

void core_room_fill(const struct core_state *st, struct core_room *ret_room);
/* As if the VM were at these nodes. */
void core_room_put(const struct core_state *st, struct core_room *room, uint16_t vm,
		   core_nodes nodes);
/* Could node take the VM?  What the VM itself uses does not count. */
bool core_room_judge(const struct core_state *st, const struct core_room *room, uint16_t vm,
		     uint8_t node, struct core_verdict *ret_verdict);
/* The best node that can, none of except; or 0. */
uint8_t core_room_place(const struct core_state *st, const struct core_room *room, uint16_t vm,
			core_nodes except);

/* Node losses that the VMs which run can absorb: all would find room, with quorum left. */
struct core_spare {
	uint8_t losses;	 /* so many at once, whichever nodes they are */
	uint8_t limit;	 /* enum core_spare_limit: why not more */
	core_nodes lost; /* ROOM: nodes whose loss would be too much ... */
	uint16_t vm;	 /* ... and a VM that would fit nowhere */
};

enum core_spare_limit {
	CORE_SPARE_ASKED = 0, /* it was not looked for more */
	CORE_SPARE_QUORUM,
	CORE_SPARE_ROOM,
};

/* Up to max (at most CORE_SPARE_MAX); as if VM extra (or CORE_NONE) had been started, too. */
void core_spare(const struct core_state *st, uint16_t extra, uint8_t max,
		struct core_spare *ret_spare);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease page of this node's VMs, and the clocks by which it ends: looked at before each beat is
 * sent, so that a lease that its answer gives ends on all of them (common/cl_moment.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/daemon.h"
#include "clusterd/paths_linux.h"
#include "common/cl_lease.h"
#include "common/cl_log.h"

struct cd_clocks {
	struct cl_clocks here;
	struct cl_moments past;
	bool unread;
};

int cd_lease_open(struct cd *cd)
{
	char path[CD_PATH_MAX];
	struct cl_clocks *here;
	int rc;

	cd_path(path, sizeof(path), CD_DIR_RUN, "lease");
	rc = cl_lease_create(path, &cd->lease);
	if (rc < 0) {
		cl_error("%s: %s", path, rc == -EBADMSG ? "not a lease page" : strerror(-rc));
		return rc;
	}
	cd->clocks = calloc(1, sizeof(*cd->clocks));
	if (!cd->clocks)
		return -ENOMEM;
	here = &cd->clocks->here;
	cl_clocks_open(here);
	if (!here->may_stop)
		return 0;
	if (here->rtc_fd < 0 && !here->tsc)
		cl_warning("this node is a virtual machine without a real-time clock and without a "
			   "constant TSC: if its hypervisor stops it and lets it go on, its VMs "
			   "execute until the cluster tells it that it was given up; see "
			   "clusterd(8), LEASE");
	else
		cl_info("this node's clock may stand still (a virtual machine): leases end by "
			"%s%s%s, too",
			here->rtc_fd >= 0 ? "the real-time clock" : "",
			here->rtc_fd >= 0 && here->tsc ? " and " : "", here->tsc ? "the TSC" : "");
	return 0;
}

void cd_lease_look(struct cd *cd)
{
	struct cd_clocks *clocks = cd->clocks;
	struct cl_moment now;
	/* Where the clock cannot stand still the others have nothing to say. */
	bool others = clocks->here.may_stop;
	bool whole = cl_clocks_read(&clocks->here, others, others, &now);

	if (!whole && !clocks->unread)
		cl_warning("the real-time clock cannot be read: leases are not put off");
	clocks->unread = !whole;
	if (whole)
		cl_moments_add(&clocks->past, &now);
}

void cd_lease_give(struct cd *cd, uint64_t until_ms, uint64_t proof_ms)
{
	/* What is not known of the past is known of the next beat's. */
	(void)cl_lease_give(cd->lease, &cd->clocks->past, until_ms, proof_ms);
}

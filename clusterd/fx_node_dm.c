/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NODE_RESET: nothing of an incarnation that was given up may be left: no vmm, no
 * csvd (and with it no mount), no device-mapper device of ours.  What does not go is said, and then
 * only a reboot helps.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/effect.h"
#include "clusterd/exec_linux.h"
#include "clusterd/vmproc_linux.h"
#include "common/cl_log.h"
#include "csv/map.h"

#define KILL_MS	 20000
#define UNMAP_MS 30000u

/* I/O that waits on a fenced LUN must fail before its holder can end.  The number of devices, or -errno. */
static long maps_down(bool remove, char *name, size_t cap_bytes)
{
	struct csv_map_info *info = NULL;
	size_t n = 0;
	int rc = csv_map_list(&info, &n);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		csv_map_down(info[i].name);
		if (remove)
			csv_map_remove(info[i].name, false);
		snprintf(name, cap_bytes, "%s", info[i].name);
	}
	free(info);
	return (long)n;
}

static int maps_remove(char *left, size_t cap_bytes)
{
	uint64_t end = cd_now_ms() + UNMAP_MS;
	long n;

	while ((n = maps_down(true, left, cap_bytes)) > 0) {
		if (cd_now_ms() >= end)
			return -EBUSY;
		poll(NULL, 0, 100);
	}
	return (int)n;
}

/* csvd's death takes its private mount with it, once nothing below it blocks. */
void cd_fx_node_reset(struct cd_fx *fx)
{
	char left[CSV_MAP_NAME_MAX + 32] = "";
	int rc;

	cd_vmproc_gate_close(fx->effect.incarnation);
	rc = cd_vmprocs_kill_all(KILL_MS);
	if (rc < 0) {
		cd_fx_unknown(fx, "node %s: whether every vmm has ended is not known: %s", fx->self,
			      rc == -ETIMEDOUT ? "one does not end" : strerror(-rc));
		return;
	}
	maps_down(false, left, sizeof(left));
	rc = cd_csvd_kill(KILL_MS);
	if (rc < 0) {
		cd_fx_unknown(fx, "node %s: whether csvd has ended is not known: %s", fx->self,
			      rc == -ETIMEDOUT ? "it does not end" : strerror(-rc));
		return;
	}
	rc = maps_remove(left, sizeof(left));
	if (rc < 0)
		cd_fx_unknown(fx, "node %s: a device stays: %.120s", fx->self,
			      left[0] ? left : strerror(-rc));
	else
		cd_fx_done(fx);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VM's configuration file, checked: what vmm(8) and docs/architecture.md
 * describe.  Every refusal names the file, the field, what was seen and what is
 * allowed.  Read-only after loading, so any thread may look.
 */
#ifndef VMM_VM_CONFIG_H
#define VMM_VM_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/cl_types.h"
#include "vmm/layout.h"

struct vmm_config_disk {
	/* Either volume and path on it, or file. */
	char volume[CL_NAME_MAX];
	char path[PATH_MAX];
	char file[PATH_MAX];
	bool readonly;
};

struct vmm_config_net {
	char tap[16];
	char bridge[16]; /* may be empty: the tap is left alone */
	uint8_t mac[6];
};

struct vmm_config {
	char name[CL_NAME_MAX];
	char uuid[37];
	uint64_t generation;
	unsigned memory_mib;
	unsigned cpus;
	char kernel[PATH_MAX];
	char initrd[PATH_MAX]; /* empty: none */
	char append[VMM_CMDLINE_MAX];
	uid_t uid;
	struct vmm_config_disk disks[VMM_DISKS_MAX];
	unsigned n_disks;
	struct vmm_config_net nets[VMM_NETS_MAX];
	unsigned n_nets;
	char run_dir[PATH_MAX - 32];
	unsigned downtime_ms;
	uint64_t stopped_since_ms; /* --restore: CLOCK_MONOTONIC before which it cannot have stopped; 0: unknown */
	bool paused;
	char lease[PATH_MAX]; /* page of the node's lease; empty: runs without */
};

/* 0 or -errno with *ret_error (malloc'ed).  Free with vmm_config_free(). */
int vmm_config_load(const char *path, struct vmm_config **ret_config, char **ret_error);
void vmm_config_free(struct vmm_config *config);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Until libcsv is there: disks on volumes are refused. */
#include <errno.h>
#include <stddef.h>

#include "vmm/disk_csv.h"
#include "vmm/text.h"

int vmm_csv_new(struct vmm *vm, void (*on_fenced)(struct vmm_udisk *d), struct vmm_csv **ret_csv,
		char **ret_error)
{
	return vmm_error(ret_error, ENOTSUP, "disks on volumes are not built in");
}

void vmm_csv_free(struct vmm_csv *csv)
{
}

int vmm_disk_csv_new(struct vmm_csv *csv, struct vmm_uring *ring, const char *volume,
		     const char *path, struct vmm_disk **ret_disk, char **ret_error)
{
	return vmm_error(ret_error, ENOTSUP, "disks on volumes are not built in");
}

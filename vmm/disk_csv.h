/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk back end: a file on a cluster shared volume, through libcsv.  The fd that I/O goes to
 * changes as layouts come and go; requests that failed across a change are issued again.
 */
#ifndef VMM_DISK_CSV_H
#define VMM_DISK_CSV_H

#include "vmm/disk_uring.h"

struct vmm;
struct vmm_csv;

/*
 * Connects to csvd (as root); one connection serves all disks of the VM.  on_fenced as in
 * vmm_udisk; its arg is vm.
 */
int vmm_csv_new(struct vmm *vm, void (*on_fenced)(struct vmm_udisk *d), struct vmm_csv **ret_csv,
		char **ret_error);
/* The disks are freed, the I/O thread has stopped. */
void vmm_csv_free(struct vmm_csv *csv);
int vmm_disk_csv_new(struct vmm_csv *csv, struct vmm_uring *ring, const char *volume,
		     const char *path, bool readonly, struct vmm_disk **ret_disk, char **ret_error);

#endif

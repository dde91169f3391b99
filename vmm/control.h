/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vmm's control socket and what its verbs do (docs/architecture.md, "vmm";
 * docs/man/vmm.8).  One worker thread at a time does what may block: start,
 * pause, resume, save, restore, migration.  The control thread never does.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

struct vmm;
struct vmm_control;

struct vmm_control_params {
	struct vmm *vm; /* borrowed; its config, too */
	const char *restore_path; /* NULL: not restored */
	bool incoming;		  /* comes by the stream that is handed in later */
	int signal_fd; /* signalfd: any signal on it ends the VM; borrowed, -1: none */
};

/*
 * As root, before the sandbox: binds run_dir/control.sock, opens the saved VM.  0 or -errno with a malloc'ed ret_error.
 */
int vmm_control_new(const struct vmm_control_params *params, struct vmm_control **ret_control,
		    char **ret_error);
/* Makes the worker thread, without a job. */
int vmm_control_start(struct vmm_control *control, char **ret_error);
/*
 * Starts, restores or awaits the VM and serves until its end.  Returns the exit
 * status: 0 after a shutdown, reset or quit, 1 after an error, 2 when fenced.
 */
int vmm_control_run(struct vmm_control *control);
void vmm_control_free(struct vmm_control *control);

#endif

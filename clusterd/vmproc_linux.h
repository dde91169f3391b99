/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vmm processes of this node.  /proc is the truth: a vmm is found by its
 * executable and its --config argument, whoever started it and whenever.  Any thread; blocking.
 */
#ifndef CD_VMPROC_LINUX_H
#define CD_VMPROC_LINUX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "clusterd/vm_words.h"
#include "common/cl_types.h"

#define CD_VMPROCS_MAX 512u

struct cd_vmproc {
	pid_t pid;
	char name[CL_NAME_MAX];
};

/* All of them; the number written, at most cap. */
size_t cd_vmproc_list(struct cd_vmproc *out, size_t cap);
/* 0 if there is none. */
pid_t cd_vmproc_find(const char *name);
/* SIGKILL to every process of that VM; 0 when none is left, -ETIMEDOUT. */
int cd_vmproc_kill(const char *name, int timeout_ms);
/* Waits for the end of every process of that VM. */
int cd_vmproc_wait(const char *name, int timeout_ms);

/* One call on its control socket: as cl_ctl_client_call(); -ENOENT if nobody answers there. */
int cd_vmproc_call(const char *name, const char *verb, json_t *args, int timeout_ms,
		   json_t **ret_result, char **ret_error);

struct cd_vm_status {
	char state[24];
	uint64_t generation;
};

int cd_vmproc_status(const char *name, int timeout_ms, struct cd_vm_status *ret_status);
/*
 * What the log of the VM's last vmm says of its end.  False: nothing, and out is "".
 */
bool cd_vmproc_words(const char *name, enum cd_words which, char *out, size_t cap_bytes);

/*
 * While a node must not run VMs nobody starts one: start holds the gate open during
 * spawn, close waits for that and refuses from then on for incarnations up to the one given.
 */
bool cd_vmproc_gate_enter(uint32_t incarnation);
void cd_vmproc_gate_leave(void);
void cd_vmproc_gate_close(uint32_t incarnation);
/* The node is in good standing again with this incarnation. */
void cd_vmproc_gate_open(uint32_t incarnation);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vmm processes of this node, whoever started them and whenever: by presence_linux.h, and, for
 * those that a clusterd of before it started, by "--config RUN/vm/NAME/config.json" in /proc,
 * whatever the program is called.  What cannot be looked at is -errno and never "there is none".
 * Any thread; blocking.
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
	char name[CL_NAME_MAX];
};

/* All VMs that have one: 0, -EOVERFLOW (more than cap) or -errno. */
int cd_vmproc_list(struct cd_vmproc *out, size_t cap, size_t *ret_n);
/* 1: there is one, 0: there is none, -errno: not known. */
int cd_vmproc_look(const char *name);
/* SIGKILL to every process of that VM; 0 when none is left, -ETIMEDOUT, -errno: not known whether
 * one is. */
int cd_vmproc_kill(const char *name, int timeout_ms);
/* Waits for the end of every process of that VM: as cd_vmproc_kill(). */
int cd_vmproc_wait(const char *name, int timeout_ms);
/* SIGKILL to all of them, as cd_vmproc_kill(). */
int cd_vmprocs_kill_all(int timeout_ms);

/*
 * One call on its control socket: as cl_ctl_client_call(); -ENOENT if nobody listens there.
 * -EMFILE, -ENOMEM and their like are our own trouble and say nothing about the vmm:
 * cd_vmproc_own_trouble().
 */
int cd_vmproc_call(const char *name, const char *verb, json_t *args, int timeout_ms,
		   json_t **ret_result, char **ret_error);

bool cd_vmproc_own_trouble(int rc);
/* The same with a descriptor that goes with it; fd is borrowed, -1: none. */
int cd_vmproc_call_fd(const char *name, const char *verb, json_t *args, int fd, int timeout_ms,
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

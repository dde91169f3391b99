/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One virtual machine and its threads.
 *
 *   control thread  main(): signals, control socket, exit.  Never blocks on disks.
 *   vCPU threads    KVM_RUN; register accesses of devices.
 *   guard           freezes the VM when the node's lease is over.
 *   I/O thread      queues, disk completions, tap, sockets (vmm/io.h).
 *   worker          at most one at a time: start, save, migration.  Only workers (and main()
 *                   before the control loop runs) may call what is marked "blocking".
 *
 * States.  What may run in each:
 *
 *   starting ──> running <──> paused ──> saved          (save: a worker, then quit)
 *      │            │  └──> migrating ──> switched ──> stopped (committed)
 *      │            │           │ cancel, failure └──> running  (aborted)
 *      │            │           └────────────────────> running
 *      ├──> incoming ──> ready ──> running                (resume with the generation)
 *      └──> ready   (restored from a file)
 *   any ──> stopped  (guest shut down or reset, fenced, quit, error)
 *
 *   starting, incoming, ready, paused, switched, saved, stopped: no vCPU is in KVM_RUN and no
 *     request is in flight (paused: once vmm_pause() returned).
 *   running, migrating: vCPUs run, unless the switch-over has paused them.
 *
 * In any of them the VM may be frozen besides (guard_linux.c): no vCPU is in KVM_RUN and devices
 * start nothing new, until it is thawed to whatever it is then.
 *
 * Locks, in the order in which they may be taken:
 *   op_lock    one blocking operation at a time (pause, resume, save, migrate); taken by the caller.
 *   dev_lock   all device state, disks' in-flight counts, devs[].  Never held across anything that blocks.
 *   run_lock   vcpus_run, vcpus_held, frozen, quit, parked counts, state, exit_reason, generation.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/dev.h"
#include "vmm/disk.h"
#include "vmm/layout.h"
#include "vmm/mem.h"
#include "vmm/thread.h"

struct vmm_config;
struct vmm_rundir;
struct vmm_io;
struct vmm_machine;
struct vmm_guard;
struct kvm_cpuid2;

enum vmm_state {
	VMM_STARTING,
	VMM_RUNNING,
	VMM_PAUSED,
	VMM_INCOMING,
	VMM_READY,
	VMM_MIGRATING,
	VMM_SWITCHED,
	VMM_SAVING, /* runs, or is paused at the end of it */
	VMM_SAVED,
	VMM_STOPPED,
};

const char *vmm_state_name(enum vmm_state state);
const char *vmm_exit_reason_name(enum vmm_exit_reason reason);

#define VMM_KICK_SIGNAL SIGUSR1
#define VMM_DEVS_MAX	(VMM_DISKS_MAX + VMM_NETS_MAX + 8u)

struct vmm_vcpu {
	struct vmm *vm;
	unsigned index; /* KVM's vCPU id, the APIC id and the ACPI processor id */
	int fd;
	struct kvm_run *run;
	size_t run_bytes;
	pthread_t thread;
	bool thread_made;
	bool parked; /* run_lock: outside KVM_RUN, its pending I/O completed */
};

struct vmm {
	const struct vmm_config *config; /* borrowed from main() */
	const struct vmm_rundir *run_dir; /* so is it */

	/* Fixed after vmm_new(). */
	int kvm_fd;
	int vm_fd;
	int mem_fd; /* memfd: low RAM, then high RAM */
	struct vmm_mem mem; /* mem.regions[i] is memslot i */
	uint32_t slot_flags; /* run_lock: KVM_MEM_* of every slot, see vmm_mem_slot_flags() */
	unsigned n_vcpus;
	struct vmm_vcpu vcpus[VMM_CPUS_MAX];
	struct kvm_cpuid2 *cpuid; /* before the per-vCPU topology is filled in; malloc'ed */

	/* Devices in a fixed order made from the configuration; state is saved in this order. */
	pthread_mutex_t dev_lock;
	struct vmm_dev *devs[VMM_DEVS_MAX];
	unsigned n_devs;
	struct vmm_disk *disks[VMM_DISKS_MAX];
	unsigned n_disks;
	pthread_cond_t idle_cond; /* dev_lock: something in flight completed */
	bool quiesced;		  /* dev_lock: by vmm_pause() */
	bool devs_frozen;	  /* dev_lock: by vmm_freeze() */
	struct vmm_host host;
	struct vmm_io *io;
	struct vmm_guard *guard;     /* NULL: no lease is needed */
	struct vmm_faults *faults;   /* disks' errors and full file systems, see faults_linux.c */
	struct vmm_machine *machine; /* the devices themselves, private to the machine */

	pthread_mutex_t op_lock;

	pthread_mutex_t run_lock;
	pthread_cond_t run_cond;  /* vcpus_run or quit changed */
	pthread_cond_t park_cond; /* a vCPU parked */
	bool vcpus_run;
	bool vcpus_held; /* parked for a moment whatever vcpus_run says */
	bool stalled;	 /* parked as long as a disk has no space */
	bool frozen;	 /* parked as long as the lease is over */
	bool quit;
	enum vmm_state state;
	enum vmm_exit_reason exit_reason; /* the first one stays */
	uint64_t generation;
	uint64_t started_ms; /* CLOCK_MONOTONIC */
	vmm_confine_fn confine; /* set before the threads start; NULL: nobody is confined */
	int exit_fd;	     /* eventfd: readable once exit_reason is set */
	/* Called on state changes from any thread, no lock held.  May be NULL. */
	void (*on_state)(void *arg, enum vmm_state state, const char *reason);
	/* The guard froze or thawed it.  As on_state. */
	void (*on_frozen)(void *arg, bool frozen, const char *reason);
	void *on_state_arg;
};

/*
 * Makes the machine with its memory, vCPUs and devices, stopped, in state
 * `starting`; opens tap devices and sockets (needs root, before the sandbox), not disks.
 * ret_error (malloc'ed) is one line for people.  Blocking.
 */
int vmm_new(const struct vmm_config *config, const struct vmm_rundir *run_dir, struct vmm **ret_vm,
	    char **ret_error);
/* Stops every thread first.  NULL is fine. */
void vmm_free(struct vmm *vm);

/* Loads kernel, initrd, command line and ACPI tables; sets the boot vCPU's registers.  Blocking. */
int vmm_boot_load(struct vmm *vm, char **ret_error);
/* Starts the vCPU threads (parked), the I/O thread and the guard.  After the sandbox's change of user. */
int vmm_threads_start(struct vmm *vm, char **ret_error);

/* Opens all disks with that generation (again, if they are open with a lower one).  Blocking. */
int vmm_disks_open(struct vmm *vm, uint64_t generation, char **ret_error);
/* Does what can be done ahead of vmm_disks_open() without disturbing another user.  Blocking. */
int vmm_disks_prepare(struct vmm *vm, char **ret_error);
/*
 * Those disks of which it is known: are they what a restored guest was told?  0 or -errno; before a
 * migration is ready, so that the source goes on.
 */
int vmm_disks_fit(struct vmm *vm, char **ret_error);
/* Closes all disks; the machine is quiet.  Blocking. */
void vmm_disks_close(struct vmm *vm);

/*
 * Stops the vCPUs, completes their pending I/O, stops the devices and waits for every request in
 * flight.  -ETIMEDOUT: the vCPUs are stopped but a disk does not answer; nothing is lost, call it again or
 * vmm_resume().  Does not change vm->state.  Blocking.
 */
int vmm_pause(struct vmm *vm, int timeout_ms);
/* Lets devices look at every queue, raises each interrupt once, runs the vCPUs.  Does not change vm->state. */
void vmm_resume(struct vmm *vm);
/*
 * Parks the vCPUs without touching devices, or lets them go (if vcpus_run); does not wait.  A
 * migration slows a guest down with it.  Independent of vmm_pause(). Any thread.
 */
void vmm_vcpus_hold(struct vmm *vm, bool on);
/*
 * Stops vCPUs and devices, whatever else is going on, or lets them go on as far as that allows; does not wait
 * for requests in flight.  Returns when no vCPU executes any more.  The guard's thread; any lock but dev_lock, run_lock.
 */
void vmm_freeze(struct vmm *vm, bool on);
/* Any thread. */
bool vmm_frozen(struct vmm *vm);
/*
 * What its disks had to tell.  faults_fd is readable when there is something new: the control
 * thread then calls vmm_faults_take().  A VM one of whose disks has no space stands still, whatever
 * its state is, until there is room; it is looked for with a growing pause, and at once on
 * vmm_space_retry().  Any thread.
 */
enum vmm_fault {
	VMM_FAULT_ERROR,    /* the guest was given an I/O error; of a series the first, then at most
			       one in 5 minutes */
	VMM_FAULT_NO_SPACE, /* it stands still */
	VMM_FAULT_ROOM,	    /* it goes on */
};
/* Once for each of them; text is one line, disk its number. */
void vmm_faults_take(struct vmm *vm,
		     void (*fn)(void *arg, enum vmm_fault fault, unsigned disk, const char *text),
		     void *arg);
int vmm_faults_fd(const struct vmm *vm);
/* Why it stands still, into text; false: it does not. */
bool vmm_no_space(struct vmm *vm, char *text, size_t cap_bytes);
void vmm_space_retry(struct vmm *vm);
/* As people name a disk: "vol1/a.img" or its path. */
const char *vmm_disk_name(const struct vmm *vm, unsigned disk, char *out, size_t cap_bytes);
/* Any thread. */
void vmm_state_set(struct vmm *vm, enum vmm_state state, const char *reason);
enum vmm_state vmm_state_get(struct vmm *vm);
/*
 * Ends the VM: vCPUs are kicked out and never enter again, exit_fd becomes readable.  Any thread, any
 * lock but run_lock may be held; does not wait and does not call on_state (who watches exit_fd does).
 */
void vmm_stop(struct vmm *vm, enum vmm_exit_reason reason);
/* ACPI power button.  Any thread without dev_lock. */
void vmm_power_button(struct vmm *vm);
/* Sends a RARP of each interface's address, so that switches learn the new port.  Any thread without dev_lock. */
void vmm_net_announce(struct vmm *vm);
/* Puts flags (KVM_MEM_LOG_DIRTY_PAGES or 0) on every RAM slot.  0 or -errno. */
int vmm_mem_slot_flags(struct vmm *vm, uint32_t flags);

/* One vCPU's CPUID as it is set: vm->cpuid with the topology of vCPU index (malloc'ed). */
struct kvm_cpuid2 *vmm_cpuid_of(const struct vmm *vm, unsigned index);

#endif

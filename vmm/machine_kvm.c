/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a VM: makes it, starts its threads, pauses, resumes, stops.  See vmm.h for the states
 * and locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "vmm/cpuid_kvm.h"
#include "vmm/guard.h"
#include "vmm/machine.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

#define CPUID_ENTRIES_MAX 256u
#define LEAF_ADDRESS	  0x80000008u

static const struct {
	long cap;
	const char *name;
} needed_caps[] = {
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
};

const char *vmm_state_name(enum vmm_state state)
{
	static const char *const names[] = { "starting",  "running",  "paused", "incoming", "ready",
					     "migrating", "switched", "saving", "saved",	  "stopped" };

	return names[state];
}

const char *vmm_exit_reason_name(enum vmm_exit_reason reason)
{
	static const char *const names[] = { "none",   "guest-shutdown", "guest-reset",
					     "fenced", "quit",		 "error" };

	return names[reason];
}

/*
 * A memfd gets huge pages only if the system lets those who ask have them; the kernel's default is
 * nobody.  Done as root, best effort: without it a guest's every first touch of 4 KiB is an exit.
 */
static void huge_pages_allow(void)
{
	CL_CLEANUP_CLOSE int fd = open("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
				       O_RDWR | O_CLOEXEC);
	char now[128] = "";

	if (fd >= 0 && read(fd, now, sizeof(now) - 1) > 0 && strstr(now, "[never]"))
		(void)!write(fd, "advise", 6);
}

/* 0: the host does not say. */
static uint64_t available_mib(void)
{
	CL_CLEANUP_CLOSE int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	char text[8192];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t kib = 0;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return vmm_meminfo_available(text, &kib) ? kib / 1024 : 0;
}

/* What is more than the host can address, or has left, would fail later and say less. */
static int memory_judge(const struct vmm *vm, char **ret_error)
{
	unsigned mib = vm->config->memory_mib, bits = 36;
	uint64_t available = available_mib(), most;

	for (unsigned i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == LEAF_ADDRESS)
			bits = vm->cpuid->entries[i].eax & 0xff;
	most = vmm_mem_max_bytes(bits) >> 20;
	if (mib > most)
		return vmm_error(ret_error, EINVAL,
				 "memory_mib: %u; allowed on this host: at most %llu (physical "
				 "addresses of %u bits)",
				 mib, (unsigned long long)most, bits);
	if (!available)
		cl_warning("/proc/meminfo does not say how much memory is left");
	else if (mib > available)
		return vmm_error(ret_error, ENOMEM,
				 "memory_mib: %u; allowed on this host now: at most %llu (memory "
				 "and swap that are free)",
				 mib, (unsigned long long)available);
	return 0;
}

static int memory_new(struct vmm *vm, char **ret_error)
{
	uint64_t bytes = (uint64_t)vm->config->memory_mib << 20;
	uint64_t *dirty;
	void *host;

	huge_pages_allow();
	vm->mem_fd = memfd_create("guest-memory", MFD_CLOEXEC);
	if (vm->mem_fd < 0 || ftruncate(vm->mem_fd, (off_t)bytes) < 0)
		return vmm_error(ret_error, errno, "memory_mib: %u; guest memory: %s",
				 vm->config->memory_mib, strerror(errno));
	host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->mem_fd, 0);
	if (host == MAP_FAILED)
		return vmm_error(ret_error, errno, "guest memory of %u MiB: %s",
				 vm->config->memory_mib, strerror(errno));
	(void)madvise(host, bytes, MADV_HUGEPAGE);
	(void)madvise(host, bytes, MADV_DONTDUMP);
	dirty = calloc(vmm_mem_dirty_words(bytes), sizeof(*dirty));
	vmm_mem_init(&vm->mem, host, bytes, dirty);
	return dirty ? 0 : vmm_error(ret_error, ENOMEM, "guest memory: out of memory");
}

int vmm_mem_slot_flags(struct vmm *vm, uint32_t flags)
{
	for (unsigned i = 0; i < vm->mem.n_regions; i++) {
		const struct vmm_mem_region *m = &vm->mem.regions[i];
		struct kvm_userspace_memory_region slot = { .slot = i,
							    .flags = flags,
							    .guest_phys_addr = m->gpa,
							    .memory_size = m->len_bytes,
							    .userspace_addr = (uintptr_t)m->host };

		if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return -errno;
	}
	vm->slot_flags = flags;
	return 0;
}

static int kvm_open(struct vmm *vm, char **ret_error)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return vmm_error(ret_error, errno, "/dev/kvm: %s", strerror(errno));
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return vmm_error(ret_error, EPROTO, "/dev/kvm: API version is not %d",
				 KVM_API_VERSION);
	for (size_t i = 0; i < CL_ARRAY_LEN(needed_caps); i++)
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed_caps[i].cap) <= 0)
			return vmm_error(ret_error, ENOTSUP, "/dev/kvm: lacks %s",
					 needed_caps[i].name);
	vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	return vm->vm_fd < 0 ? vmm_error(ret_error, errno, "KVM_CREATE_VM: %s", strerror(errno)) : 0;
}

static int cpuid_get(struct vmm *vm, char **ret_error)
{
	vm->cpuid = calloc(1, sizeof(*vm->cpuid) +
				      CPUID_ENTRIES_MAX * sizeof(vm->cpuid->entries[0]));
	if (!vm->cpuid)
		return vmm_error(ret_error, ENOMEM, "CPUID: out of memory");
	vm->cpuid->nent = CPUID_ENTRIES_MAX;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, vm->cpuid) < 0)
		return vmm_error(ret_error, errno, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	vmm_cpuid_filter(vm->cpuid, vm->n_vcpus,
			 ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
	return 0;
}

static int vm_create(struct vmm *vm, char **ret_error)
{
	uint64_t identity = VMM_GPA_IDENTITY;
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int r = kvm_open(vm, ret_error);

	if (r == 0)
		r = cpuid_get(vm, ret_error);
	if (r == 0)
		r = memory_judge(vm, ret_error);
	if (r == 0)
		r = memory_new(vm, ret_error);
	if (r < 0)
		return r;
	if (ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)VMM_GPA_TSS) < 0 ||
	    ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0 ||
	    ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return vmm_error(ret_error, errno, "interrupt controllers: %s", strerror(errno));
	r = vmm_mem_slot_flags(vm, 0);
	if (r < 0)
		return vmm_error(ret_error, -r, "memory_mib: %u; KVM_SET_USER_MEMORY_REGION: %s",
				 vm->config->memory_mib, strerror(-r));
	return vmm_vcpus_new(vm, ret_error);
}

static unsigned in_flight(const struct vmm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->n_devs; i++)
		if (vm->devs[i]->ops->in_flight)
			n += vm->devs[i]->ops->in_flight(vm->devs[i]);
	return n;
}

static void after_round(void *arg)
{
	struct vmm *vm = arg;

	if (vm->quiesced && in_flight(vm) == 0)
		pthread_cond_broadcast(&vm->idle_cond);
}

static void locks_init(struct vmm *vm)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&vm->dev_lock, NULL);
	pthread_mutex_init(&vm->op_lock, NULL);
	pthread_mutex_init(&vm->run_lock, NULL);
	pthread_cond_init(&vm->idle_cond, &attr);
	pthread_cond_init(&vm->run_cond, &attr);
	pthread_cond_init(&vm->park_cond, &attr);
	pthread_condattr_destroy(&attr);
}

int vmm_new(const struct vmm_config *config, const struct vmm_rundir *run_dir, struct vmm **ret_vm,
	    char **ret_error)
{
	struct vmm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return vmm_error(ret_error, ENOMEM, "out of memory");
	vm->config = config;
	vm->run_dir = run_dir;
	vm->n_vcpus = config->cpus;
	vm->generation = config->generation;
	vm->kvm_fd = vm->vm_fd = vm->mem_fd = -1;
	for (unsigned i = 0; i < VMM_CPUS_MAX; i++)
		vm->vcpus[i].fd = -1;
	vm->started_ms = vmm_now_ms();
	vm->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	locks_init(vm);
	vmm_host_init(vm);
	r = vm->exit_fd < 0 ? -errno : vmm_io_new(&vm->dev_lock, &vm->io);
	if (r == 0)
		r = vmm_io_after(vm->io, after_round, vm);
	if (r < 0)
		r = vmm_error(ret_error, -r, "event loop: %s", strerror(-r));
	if (r == 0)
		r = vm_create(vm, ret_error);
	if (r == 0)
		r = vmm_devices_new(vm, ret_error);
	if (r == 0)
		r = vmm_guard_new(vm, config->lease, ret_error);
	if (r < 0) {
		vmm_free(vm);
		return r;
	}
	*ret_vm = vm;
	return 0;
}

void vmm_free(struct vmm *vm)
{
	if (!vm)
		return;
	vmm_stop(vm, VMM_EXIT_QUIT);
	vmm_guard_free(vm->guard);
	vmm_vcpus_join(vm);
	if (vm->io)
		vmm_io_stop(vm->io);
	vmm_devices_free(vm);
	vmm_io_free(vm->io);
	vmm_vcpus_free(vm);
	if (vm->mem.n_regions)
		munmap(vm->mem.regions[0].host, vm->mem.total_bytes);
	free(vm->mem.dirty);
	free(vm->cpuid);
	if (vm->mem_fd >= 0)
		close(vm->mem_fd);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	if (vm->exit_fd >= 0)
		close(vm->exit_fd);
	free(vm);
}

int vmm_threads_start(struct vmm *vm, char **ret_error)
{
	sigset_t all, old;
	int r;

	/* Signals are the main thread's; the kick is a vCPU's. */
	sigfillset(&all);
	sigdelset(&all, VMM_KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = vmm_io_start(vm->io, vm->confine);
	if (r < 0)
		r = vmm_error(ret_error, -r, "I/O thread: %s", strerror(-r));
	else
		r = vmm_vcpus_start(vm, ret_error);
	if (r == 0)
		r = vmm_guard_start(vm->guard, ret_error);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* The disk against what its guest was told, which it is told again. */
static int disk_fits(struct vmm *vm, unsigned i, char **ret_error)
{
	const struct vmm_disk *d = vm->disks[i];
	struct vmm_blk *blk = vm->machine->blks[i];
	bool fits;

	pthread_mutex_lock(&vm->dev_lock);
	fits = vmm_blk_size_set(blk, d->size_bytes, d->align_bytes);
	pthread_mutex_unlock(&vm->dev_lock);
	if (!fits)
		return vmm_error(ret_error, EINVAL,
				 "disk %u: needs blocks of %u bytes, but its guest was told %u", i,
				 d->align_bytes, blk->block_promised);
	if (blk->size_promised > d->size_bytes)
		return vmm_error(
			ret_error, EINVAL, "disk %u: %llu bytes, but its guest was told %llu", i,
			(unsigned long long)d->size_bytes, (unsigned long long)blk->size_promised);
	return 0;
}

int vmm_disks_fit(struct vmm *vm, char **ret_error)
{
	int r = 0;

	for (unsigned i = 0; i < vm->n_disks && r == 0; i++)
		if (vm->disks[i]->size_bytes)
			r = disk_fits(vm, i, ret_error);
	return r;
}

int vmm_disks_open(struct vmm *vm, uint64_t generation, char **ret_error)
{
	for (unsigned i = 0; i < vm->n_disks; i++) {
		struct vmm_disk *d = vm->disks[i];
		int r = d->ops->open(d, generation, ret_error);

		if (r < 0)
			return r;
		r = disk_fits(vm, i, ret_error);
		if (r < 0)
			return r;
	}
	pthread_mutex_lock(&vm->run_lock);
	vm->generation = generation;
	pthread_mutex_unlock(&vm->run_lock);
	return 0;
}

int vmm_disks_prepare(struct vmm *vm, char **ret_error)
{
	int r = 0;

	for (unsigned i = 0; i < vm->n_disks && r == 0; i++)
		if (vm->disks[i]->ops->prepare)
			r = vm->disks[i]->ops->prepare(vm->disks[i], ret_error);
	return r;
}

void vmm_disks_close(struct vmm *vm)
{
	for (unsigned i = 0; i < vm->n_disks; i++)
		vm->disks[i]->ops->close(vm->disks[i]);
}

static void quiesced_set(struct vmm *vm, bool on)
{
	vm->quiesced = on;
	for (unsigned i = 0; i < vm->n_devs; i++)
		vm->devs[i]->quiesced = on || vm->devs_frozen;
}

/* dev_lock held. */
static void devices_go_on(struct vmm *vm)
{
	if (vm->quiesced || vm->devs_frozen)
		return;
	for (unsigned i = 0; i < vm->n_devs; i++)
		if (vm->devs[i]->ops->kick_all)
			vm->devs[i]->ops->kick_all(vm->devs[i]);
	vmm_tty_input_ready(vm->machine->serial_tty);
	vmm_tty_input_ready(vm->machine->console_tty);
}

void vmm_freeze(struct vmm *vm, bool on)
{
	/* vCPUs first: they are what must stop. */
	if (on)
		vmm_vcpus_freeze(vm, true);
	pthread_mutex_lock(&vm->dev_lock);
	vm->devs_frozen = on;
	quiesced_set(vm, vm->quiesced);
	devices_go_on(vm);
	pthread_mutex_unlock(&vm->dev_lock);
	if (!on)
		vmm_vcpus_freeze(vm, false);
}

bool vmm_frozen(struct vmm *vm)
{
	bool frozen;

	pthread_mutex_lock(&vm->run_lock);
	frozen = vm->frozen;
	pthread_mutex_unlock(&vm->run_lock);
	return frozen;
}

int vmm_pause(struct vmm *vm, int timeout_ms)
{
	struct timespec until;
	int r = 0;

	vmm_vcpus_park(vm);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)timeout_ms % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&vm->dev_lock);
	quiesced_set(vm, true);
	while (in_flight(vm) && r == 0)
		r = pthread_cond_timedwait(&vm->idle_cond, &vm->dev_lock, &until);
	r = in_flight(vm) ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&vm->dev_lock);
	return r;
}

void vmm_resume(struct vmm *vm)
{
	pthread_mutex_lock(&vm->dev_lock);
	quiesced_set(vm, false);
	devices_go_on(vm);
	pthread_mutex_unlock(&vm->dev_lock);
	vmm_vcpus_run(vm);
}

void vmm_state_set(struct vmm *vm, enum vmm_state state, const char *reason)
{
	bool changed;

	pthread_mutex_lock(&vm->run_lock);
	/* The end is the end. */
	changed = vm->state != state && vm->state != VMM_STOPPED;
	if (changed)
		vm->state = state;
	pthread_mutex_unlock(&vm->run_lock);
	if (changed && vm->on_state)
		vm->on_state(vm->on_state_arg, state, reason);
}

enum vmm_state vmm_state_get(struct vmm *vm)
{
	enum vmm_state state;

	pthread_mutex_lock(&vm->run_lock);
	state = vm->state;
	pthread_mutex_unlock(&vm->run_lock);
	return state;
}

void vmm_stop(struct vmm *vm, enum vmm_exit_reason reason)
{
	uint64_t one = 1;

	pthread_mutex_lock(&vm->run_lock);
	if (vm->exit_reason == VMM_EXIT_NONE)
		vm->exit_reason = reason;
	vm->state = VMM_STOPPED;
	vm->quit = true;
	vm->vcpus_run = false;
	vmm_vcpus_kick(vm);
	pthread_cond_broadcast(&vm->run_cond);
	pthread_mutex_unlock(&vm->run_lock);
	if (vm->exit_fd >= 0)
		(void)!write(vm->exit_fd, &one, sizeof(one));
}

void vmm_power_button(struct vmm *vm)
{
	pthread_mutex_lock(&vm->dev_lock);
	vmm_pm_power_button(&vm->machine->pm);
	pthread_mutex_unlock(&vm->dev_lock);
}

void vmm_net_announce(struct vmm *vm)
{
	pthread_mutex_lock(&vm->dev_lock);
	/* A node that stood still must not tell switches that the VM is here. */
	for (unsigned i = 0; i < vm->machine->n_nics && (!vm->guard || vmm_guard_holds(vm->guard)); i++)
		vmm_nic_announce(vm->machine->nics[i]);
	pthread_mutex_unlock(&vm->dev_lock);
}

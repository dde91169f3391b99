/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty log, pause, and state of a real VM, for migration.
 *
 * A page is dirty if KVM's log says so (vCPUs, kvmclock) or the VMM's own bitmap does (devices).
 * With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 the log is read without write-protecting again, which is
 * done in small ranges right before they are read; without it, reading does both.
 * INITIALLY_SET is not used: the first pass sends only what memory has allocated, and pages beyond that
 * must not appear as dirty.
 */
#include "vmm/migrant_kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "vmm/vcpu_state_kvm.h"
#include "vmm/vm_config.h"
#include "vmm/vmm.h"

#define SWITCH_PAUSE_MS 5000

struct vmm_migrant {
	struct vmm *vm;
	struct vmm_mig_machine port;
	struct vmm_kvm_state *state;
	struct kvm_cpuid2 *cpuids[VMM_CPUS_MAX]; /* as set on each vCPU */
	uint64_t *scratch; /* one slot's bitmap */
	bool manual;	   /* log is cleared by KVM_CLEAR_DIRTY_LOG */
};

static int allocated(void *arg, uint64_t *bitmap)
{
	struct vmm_migrant *migrant = arg;
	off_t at = 0, end = (off_t)migrant->vm->mem.total_bytes;

	/* Holes of the memfd were never touched: reading them would allocate them. */
	while (at < end) {
		off_t data = lseek(migrant->vm->mem_fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0)
			return -errno;
		hole = lseek(migrant->vm->mem_fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		for (off_t p = data / VMM_PAGE_SIZE; p * VMM_PAGE_SIZE < hole && p * VMM_PAGE_SIZE < end;
		     p++)
			bitmap[p / 64] |= 1ull << (p % 64);
		at = hole;
	}
	return 0;
}

static int log_start(void *arg)
{
	struct vmm_migrant *migrant = arg;
	struct vmm *vm = migrant->vm;
	int offered = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				      .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };

	if (!migrant->manual && offered > 0 && (offered & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		migrant->manual = ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
	for (size_t i = 0; i < vmm_mem_dirty_words(vm->mem.total_bytes); i++)
		(void)vmm_mem_dirty_take(&vm->mem, i);
	return vmm_mem_slot_flags(vm, KVM_MEM_LOG_DIRTY_PAGES);
}

static void log_stop(void *arg)
{
	struct vmm_migrant *migrant = arg;

	(void)vmm_mem_slot_flags(migrant->vm, 0);
}

static int log_fetch(void *arg, uint64_t *bitmap)
{
	struct vmm_migrant *migrant = arg;
	struct vmm *vm = migrant->vm;

	for (unsigned i = 0; i < vm->mem.n_regions; i++) {
		const struct vmm_mig_region *r = &migrant->port.regions[i];
		struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = migrant->scratch };

		if (ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
			return -errno;
		/* A region starts at a multiple of 64 pages, see region_init(). */
		for (size_t w = 0; w < vmm_mig_words(r->pages); w++)
			bitmap[r->first_page / 64 + w] |= migrant->scratch[w];
	}
	for (size_t w = 0; w < vmm_mem_dirty_words(vm->mem.total_bytes); w++)
		bitmap[w] |= vmm_mem_dirty_take(&vm->mem, w);
	return 0;
}

static int log_clear(void *arg, uint64_t first, uint64_t count, const uint64_t *bitmap)
{
	struct vmm_migrant *migrant = arg;

	if (!migrant->manual)
		return 0;
	for (unsigned i = 0; i < migrant->port.n_regions; i++) {
		const struct vmm_mig_region *r = &migrant->port.regions[i];
		uint64_t from = first > r->first_page ? first : r->first_page;
		uint64_t to = first + count < r->first_page + r->pages ? first + count :
									 r->first_page + r->pages;
		struct kvm_clear_dirty_log clear = {
			.slot = i,
			.first_page = from - r->first_page,
			.num_pages = (uint32_t)(to - from),
			.dirty_bitmap = (void *)(uintptr_t)(bitmap + (from - first) / 64),
		};

		if (from < to && ioctl(migrant->vm->vm_fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
			return -errno;
	}
	return 0;
}

int vmm_migrant_pause(struct vmm_migrant *migrant, int timeout_ms, char **ret_error)
{
	int r = vmm_pause(migrant->vm, timeout_ms);
	char space[400];

	if (r) {
		vmm_resume(migrant->vm);
		if (asprintf(ret_error, "the VM cannot be stopped: %s",
			     vmm_no_space(migrant->vm, space, sizeof(space)) ? space
			     : r == -ETIMEDOUT ? "a disk does not answer"
					       : strerror(-r)) < 0)
			*ret_error = NULL;
		return r;
	}
	r = vmm_kvm_clock_read(migrant->state, ret_error);
	if (r)
		vmm_resume(migrant->vm);
	return r;
}

void vmm_migrant_resume(struct vmm_migrant *migrant)
{
	for (unsigned i = 0; i < migrant->vm->n_vcpus; i++)
		vmm_kvm_vcpu_was_paused(migrant->vm->vcpus[i].fd);
	vmm_resume(migrant->vm);
}

static int port_pause(void *arg, char **ret_error)
{
	return vmm_migrant_pause(arg, SWITCH_PAUSE_MS, ret_error);
}

static void port_resume(void *arg)
{
	vmm_migrant_resume(arg);
}

static void port_hold(void *arg, bool on)
{
	struct vmm_migrant *migrant = arg;

	vmm_vcpus_hold(migrant->vm, on);
}

static int port_save(void *arg, unsigned type, unsigned instance, struct cl_writer *w,
		     char **ret_error)
{
	struct vmm_migrant *migrant = arg;
	struct vmm *vm = migrant->vm;
	struct vmm_dev *dev;

	switch (type) {
	case VMM_SECTION_VM:
		return vmm_kvm_vm_save(migrant->state, w, ret_error);
	case VMM_SECTION_VCPU:
		return vmm_kvm_vcpu_save(migrant->state, vm->vcpus[instance].fd, instance,
					 migrant->cpuids[instance], w, ret_error);
	default:
		dev = vm->devs[instance];
		cl_write_str(w, dev->name);
		pthread_mutex_lock(&vm->dev_lock);
		dev->ops->save(dev, w);
		pthread_mutex_unlock(&vm->dev_lock);
		return 0;
	}
}

static uint64_t port_clock_read_ns(void *arg)
{
	struct vmm_migrant *migrant = arg;

	return vmm_kvm_clock_read_ns(migrant->state);
}

static void warn(const char *text)
{
	cl_warning("%s", text);
}

static int device_load(struct vmm *vm, unsigned i, const struct vmm_mig_blob *blob, char **ret_error)
{
	struct vmm_dev *dev = vm->devs[i];
	char name[VMM_DEV_NAME_MAX];
	struct cl_reader r;
	int rc = -EBADMSG;

	cl_reader_init(&r, blob->data, blob->len_bytes);
	cl_read_str(&r, name, sizeof(name));
	if (!r.bad && strcmp(name, dev->name) == 0) {
		pthread_mutex_lock(&vm->dev_lock);
		rc = dev->ops->restore(dev, &r);
		pthread_mutex_unlock(&vm->dev_lock);
		rc = rc ? rc : cl_reader_done(&r);
	}
	if (rc && asprintf(ret_error, "state of device %s is malformed", dev->name) < 0)
		*ret_error = NULL;
	return rc;
}

static int port_load(void *arg, const struct vmm_mig_state *s, char **ret_error)
{
	struct vmm_migrant *migrant = arg;
	struct vmm *vm = migrant->vm;
	const void *data[VMM_CPUS_MAX];
	uint32_t bytes[VMM_CPUS_MAX];
	int fds[VMM_CPUS_MAX], r;
	struct vmm_kvm_load load = {
		.vcpu_fds = fds,
		.cpuids = (const struct kvm_cpuid2 *const *)migrant->cpuids,
		.n_vcpus = vm->n_vcpus,
		.vm = s->vm.data,
		.vm_bytes = s->vm.len_bytes,
		.vcpus = data,
		.vcpu_bytes = bytes,
		.age_ns = s->age_ns,
		.received_ns = s->received_ns,
		.warn = warn,
	};

	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		fds[i] = vm->vcpus[i].fd;
		data[i] = s->vcpus[i].data;
		bytes[i] = s->vcpus[i].len_bytes;
	}
	r = vmm_kvm_load(migrant->state, &load, ret_error);
	/* Devices last: they may raise interrupts, which loading the controllers would wipe out. */
	for (unsigned i = 0; i < vm->n_devs && !r; i++)
		r = device_load(vm, i, &s->devices[i], ret_error);
	return r ? r : vmm_disks_fit(vm, ret_error);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void uuid_parse(const char *text, uint8_t *out)
{
	unsigned n = 0;

	for (; *text && n < 2 * CL_UUID_BYTES; text++)
		if (hex(*text) >= 0) {
			out[n / 2] = (uint8_t)(out[n / 2] << 4 | hex(*text));
			n++;
		}
}

static uint64_t digest(const struct vmm *vm)
{
	uint64_t h = 1; /* version of the machine's layout */

	for (unsigned i = 0; i < vm->n_devs; i++)
		h = vmm_stream_hash(h, vm->devs[i]->name, strlen(vm->devs[i]->name));
	for (unsigned i = 0; i < vm->config->n_nets; i++)
		h = vmm_stream_hash(h, vm->config->nets[i].mac, 6);
	return h;
}

int vmm_migrant_new(struct vmm *vm, const char *source, struct vmm_migrant **ret_migrant,
		    char **ret_error)
{
	struct vmm_migrant *migrant = calloc(1, sizeof(*migrant));
	struct vmm_mig_machine *port;
	uint64_t most = 0;
	int r;

	if (!migrant)
		return -ENOMEM;
	port = &migrant->port;
	migrant->vm = vm;
	*port = (struct vmm_mig_machine){
		.arg = migrant,
		.n_regions = vm->mem.n_regions,
		.pages = vm->mem.total_bytes / VMM_PAGE_SIZE,
		.allocated = allocated,
		.log_start = log_start,
		.log_fetch = log_fetch,
		.log_clear = log_clear,
		.log_stop = log_stop,
		.pause = port_pause,
		.resume = port_resume,
		.hold = port_hold,
		.save = port_save,
		.clock_read_ns = port_clock_read_ns,
		.load = port_load,
	};
	for (unsigned i = 0; i < vm->mem.n_regions; i++) {
		const struct vmm_mem_region *reg = &vm->mem.regions[i];

		port->regions[i] = (struct vmm_mig_region){
			.gpa = reg->gpa,
			.first_page = reg->file_offset / VMM_PAGE_SIZE,
			.pages = reg->len_bytes / VMM_PAGE_SIZE,
			.host = reg->host,
		};
		if (port->regions[i].pages > most)
			most = port->regions[i].pages;
	}
	snprintf(port->config.name, sizeof(port->config.name), "%s", vm->config->name);
	snprintf(port->config.source, sizeof(port->config.source), "%s", source);
	uuid_parse(vm->config->uuid, port->config.uuid);
	port->config.generation = vm->generation;
	port->config.memory_bytes = vm->mem.total_bytes;
	port->config.cpus = vm->n_vcpus;
	port->config.devices = vm->n_devs;
	port->config.machine_digest = digest(vm);
	migrant->scratch = calloc(vmm_mig_words(most), sizeof(*migrant->scratch));
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		migrant->cpuids[i] = vmm_cpuid_of(vm, i);
		if (!migrant->cpuids[i]) {
			vmm_migrant_free(migrant);
			return -ENOMEM;
		}
	}
	r = migrant->scratch ? vmm_kvm_state_new(vm->kvm_fd, vm->vm_fd, &migrant->state, ret_error) :
			       -ENOMEM;
	if (r) {
		vmm_migrant_free(migrant);
		return r;
	}
	*ret_migrant = migrant;
	return 0;
}

void vmm_migrant_free(struct vmm_migrant *migrant)
{
	if (!migrant)
		return;
	vmm_kvm_state_free(migrant->state);
	for (unsigned i = 0; i < VMM_CPUS_MAX; i++)
		free(migrant->cpuids[i]);
	free(migrant->scratch);
	free(migrant);
}

const struct vmm_mig_machine *vmm_migrant_port(const struct vmm_migrant *migrant)
{
	return &migrant->port;
}

void vmm_migrant_generation(struct vmm_migrant *migrant, uint64_t generation)
{
	migrant->port.config.generation = generation;
}

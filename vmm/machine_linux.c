/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Builds the devices of a VM from its configuration, always in the same order
 * (a saved VM and a bus address depend on it), and wires each to its socket, tap
 * or disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "vmm/disk_csv.h"
#include "vmm/machine.h"
#include "vmm/rundir.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

static void on_serial_out(void *arg, const uint8_t *data, size_t len_bytes)
{
	struct vmm *vm = arg;

	vmm_tty_write(vm->machine->serial_tty, data, len_bytes);
}

static void on_serial_ready(void *arg)
{
	struct vmm *vm = arg;

	vmm_tty_input_ready(vm->machine->serial_tty);
}

static size_t on_serial_input(void *arg, const uint8_t *data, size_t len_bytes)
{
	struct vmm *vm = arg;

	return vmm_serial_input(&vm->machine->serial, data, len_bytes);
}

static void on_console_out(void *arg, const uint8_t *data, size_t len_bytes)
{
	struct vmm *vm = arg;

	vmm_tty_write(vm->machine->console_tty, data, len_bytes);
}

static void on_console_ready(void *arg)
{
	struct vmm *vm = arg;

	vmm_tty_input_ready(vm->machine->console_tty);
}

static size_t on_console_input(void *arg, const uint8_t *data, size_t len_bytes)
{
	struct vmm *vm = arg;

	return vmm_console_input(&vm->machine->console, data, len_bytes);
}

static void random_fill(void *out, size_t len_bytes)
{
	/* Up to 256 bytes cannot fail or block once the host's generator is up. */
	(void)!getrandom(out, len_bytes, 0);
}

static void on_fenced(struct vmm_udisk *d)
{
	struct vmm *vm = d->arg;

	cl_error("a disk's LUN refused our write: another node has fenced this one; stopping the VM");
	vmm_stop(vm, VMM_EXIT_FENCED);
}

static void on_queue(void *arg, uint32_t events)
{
	struct vmm_queue_ref *ref = arg;
	uint64_t count;

	(void)!read(ref->dev->notify_fd[ref->queue], &count, sizeof(count));
	ref->dev->ops->queue(ref->dev, ref->queue);
}

/* Puts a device in the list; gives each of its queues an eventfd. */
static int dev_add(struct vmm *vm, struct vmm_dev *dev, char **ret_error)
{
	unsigned index = vm->n_devs;

	vm->devs[vm->n_devs++] = dev;
	for (unsigned i = 0; i < dev->n_notify; i++)
		dev->notify_fd[i] = -1;
	for (unsigned i = 0; i < dev->n_notify; i++) {
		struct vmm_queue_ref *ref = &vm->machine->queue_refs[index][i];
		int r;

		dev->notify_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->notify_fd[i] < 0)
			return vmm_error(ret_error, errno, "eventfd: %s", strerror(errno));
		*ref = (struct vmm_queue_ref){ dev, i };
		r = vmm_io_add(vm->io, dev->notify_fd[i], EPOLLIN, on_queue, ref,
			       &vm->machine->queue_items[index][i]);
		if (r < 0)
			return vmm_error(ret_error, -r, "%s: %s", dev->name, strerror(-r));
	}
	return 0;
}

static int virtio_add(struct vmm *vm, struct vmm_virtio *vd, char **ret_error)
{
	int r = vmm_pci_bus_add(&vm->machine->pci, &vd->pci);

	if (r < 0)
		return vmm_error(ret_error, -r, "%s: no PCI slot left", vd->dev.name);
	return dev_add(vm, &vd->dev, ret_error);
}

static int disk_new(struct vmm *vm, unsigned i, char **ret_error)
{
	const struct vmm_config_disk *c = &vm->config->disks[i];
	struct vmm_machine *m = vm->machine;
	int r;

	if (c->file[0])
		return vmm_disk_file_new(m->uring, c->file, c->readonly, on_fenced, vm,
					 &vm->disks[i], ret_error);
	if (!m->csv) {
		r = vmm_csv_new(vm, on_fenced, &m->csv, ret_error);
		if (r < 0)
			return r;
	}
	return vmm_disk_csv_new(m->csv, m->uring, c->volume, c->path, c->readonly, &vm->disks[i],
				ret_error);
}

/* Two names of one file: what the guest writes to one disk it would read from the other. */
static int disk_unique(struct vmm *vm, unsigned i, char **ret_error)
{
	for (unsigned k = 0; k < i; k++)
		if (vmm_disk_file_same(vm->disks[i], vm->disks[k]))
			return vmm_error(ret_error, EINVAL,
					 "disk %s: the same file as disk %s; allowed: each file "
					 "once in a VM",
					 vm->config->disks[i].file, vm->config->disks[k].file);
	return 0;
}

static int disks_new(struct vmm *vm, char **ret_error)
{
	for (unsigned i = 0; i < vm->config->n_disks; i++) {
		char name[] = { 'b', 'l', 'k', (char)('0' + i), 0 };
		struct vmm_blk *blk;
		int r = disk_new(vm, i, ret_error);

		if (r < 0)
			return r;
		vm->n_disks = i + 1;
		r = disk_unique(vm, i, ret_error);
		if (r < 0)
			return r;
		blk = calloc(1, sizeof(*blk));
		if (!blk)
			return vmm_error(ret_error, ENOMEM, "disk %u: out of memory", i);
		vm->machine->blks[i] = blk;
		vmm_blk_init(blk, &vm->host, name, vm->disks[i], &vm->generation);
		r = virtio_add(vm, &blk->virtio, ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

static int nets_new(struct vmm *vm, char **ret_error)
{
	for (unsigned i = 0; i < vm->config->n_nets; i++) {
		int r = vmm_nic_new(vm, i, ret_error);

		if (r == 0)
			r = virtio_add(vm, &vm->machine->nics[i]->net.virtio, ret_error);
		if (r < 0)
			return r;
		vm->machine->n_nics = i + 1;
	}
	return 0;
}

/* log_name may be NULL. */
static int tty_new(struct vmm *vm, const char *name, const char *log_name,
		   size_t (*input)(void *arg, const uint8_t *data, size_t len_bytes),
		   struct vmm_tty **ret_tty, char **ret_error)
{
	const struct vmm_rundir *dir = vm->run_dir;
	CL_CLEANUP_CLOSE int fd = vmm_rundir_socket(dir, name);
	int log_fd = -1, r;

	if (fd < 0)
		return vmm_error(ret_error, -fd, "%s/%s: %s", dir->path, name, strerror(-fd));
	if (log_name) {
		log_fd = vmm_rundir_file(dir, log_name);
		if (log_fd < 0)
			return vmm_error(ret_error, -log_fd, "%s/%s: %s", dir->path, log_name,
					 strerror(-log_fd));
	}
	r = vmm_tty_new(vm->io, cl_steal_fd(&fd), log_fd, input, vm, ret_tty);
	return r < 0 ? vmm_error(ret_error, -r, "%s/%s: %s", dir->path, name, strerror(-r)) : 0;
}

static int ttys_new(struct vmm *vm, char **ret_error)
{
	struct vmm_machine *m = vm->machine;
	int r = tty_new(vm, "serial.sock", "serial.log", on_serial_input, &m->serial_tty,
			ret_error);

	if (r < 0)
		return r;
	return tty_new(vm, "console.sock", NULL, on_console_input, &m->console_tty, ret_error);
}

int vmm_devices_new(struct vmm *vm, char **ret_error)
{
	struct vmm_machine *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return vmm_error(ret_error, ENOMEM, "devices: out of memory");
	vm->machine = m;
	r = vmm_uring_new(vm->io, &m->uring);
	if (r < 0)
		return vmm_error(ret_error, -r, "io_uring: %s", strerror(-r));
	r = vmm_faults_new(vm, ret_error);
	if (r < 0)
		return r;
	r = ttys_new(vm, ret_error);
	if (r < 0)
		return r;
	vmm_pci_bus_init(&m->pci, &vm->host);
	vmm_serial_init(&m->serial, &vm->host, VMM_GSI_COM1, on_serial_out, on_serial_ready, vm);
	vmm_pm_init(&m->pm, &vm->host, VMM_GSI_GED);
	m->bus = (struct vmm_bus){ .serial = &m->serial, .pm = &m->pm, .pci = &m->pci };
	if (dev_add(vm, &m->pci.dev, ret_error) < 0 || dev_add(vm, &m->serial.dev, ret_error) < 0 ||
	    dev_add(vm, &m->pm.dev, ret_error) < 0)
		return -EIO;
	r = disks_new(vm, ret_error);
	if (r == 0)
		r = nets_new(vm, ret_error);
	if (r < 0)
		return r;
	vmm_console_init(&m->console, &vm->host, on_console_out, on_console_ready, vm);
	vmm_rng_init(&m->rng, &vm->host, random_fill);
	r = virtio_add(vm, &m->console.virtio, ret_error);
	return r < 0 ? r : virtio_add(vm, &m->rng.virtio, ret_error);
}

void vmm_devices_free(struct vmm *vm)
{
	struct vmm_machine *m = vm->machine;

	if (!m)
		return;
	for (unsigned i = 0; i < vm->n_devs; i++) {
		for (unsigned q = 0; q < vm->devs[i]->n_notify; q++) {
			vmm_io_del(m->queue_items[i][q]);
			if (vm->devs[i]->notify_fd[q] >= 0)
				close(vm->devs[i]->notify_fd[q]);
		}
	}
	for (unsigned i = 0; i < VMM_NETS_MAX; i++)
		vmm_nic_free(m->nics[i]);
	vmm_uring_free(m->uring);
	for (unsigned i = 0; i < VMM_DISKS_MAX; i++) {
		if (vm->disks[i])
			vm->disks[i]->ops->free(vm->disks[i]);
		free(m->blks[i]);
	}
	vmm_faults_free(vm);
	vmm_csv_free(m->csv);
	vmm_tty_free(m->serial_tty);
	vmm_tty_free(m->console_tty);
	free(m);
	vm->machine = NULL;
	vm->n_devs = 0;
}

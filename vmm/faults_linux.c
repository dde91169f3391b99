/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done about a disk's faults.
 *
 *   An error that the guest is given is counted (vmm_disk.errors), logged with disk, sector and
 * errno, the first and then one a minute at most, and told to whoever listens, the first of a
 * series.
 *
 *   A full file system under a disk stops the guest, as a full disk of a real machine would not:
 * nothing fails, nothing is lost.  The writes are kept and tried again after 0.5, 1, 2, 4, 8,
 * 10, 10... seconds; when all are written the guest goes on.  Not while the node's lease is over:
 * then nothing is started.
 *
 * Callbacks come on the I/O thread with dev_lock held; the control thread takes the news by
 * faults_fd.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cl_log.h"
#include "vmm/machine.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

#define RETRY_FIRST_MS 500u
#define RETRY_MOST_MS  10000u
#define LOG_EVERY_MS   60000u
#define TELL_EVERY_MS  300000u

struct disk_faults {
	uint64_t logged_ms, told_ms; /* 0: never */
	uint64_t logged_errors;	     /* disk.errors then */
	bool news;		     /* an error is to be told */
	bool no_space;		     /* as it was told last */
};

/* All under dev_lock. */
struct vmm_faults {
	struct vmm *vm;
	int tick_fd, news_fd;
	struct vmm_io_item *tick_item;
	unsigned retry_ms; /* the pause that runs */
	struct disk_faults disks[VMM_DISKS_MAX];
};

const char *vmm_disk_name(const struct vmm *vm, unsigned disk, char *out, size_t cap_bytes)
{
	const struct vmm_config_disk *c = &vm->config->disks[disk];

	(void)snprintf(out, cap_bytes, c->file[0] ? "%s%s%s" : "%s/%s%s", c->volume, c->path,
		       c->file);
	return out;
}

static const char *op_name(enum vmm_disk_op op)
{
	return op == VMM_DISK_READ ? "read" : op == VMM_DISK_WRITE ? "write" : "flush";
}

static void error_text(const struct vmm *vm, unsigned i, char *out, size_t cap_bytes)
{
	const struct vmm_disk *d = vm->disks[i];
	char name[160];

	(void)snprintf(out, cap_bytes,
		       "disk %s: %s at sector %llu: %s: given to the guest (%llu so far)",
		       vmm_disk_name(vm, i, name, sizeof(name)), op_name(d->error_op),
		       (unsigned long long)(d->error_offset_bytes / 512), strerror(d->error),
		       (unsigned long long)d->errors);
}

static void wake(struct vmm_faults *f)
{
	uint64_t one = 1;

	(void)!write(f->news_fd, &one, sizeof(one));
}

static void timer_set(struct vmm_faults *f, unsigned ms)
{
	struct itimerspec t = { .it_value = { ms / 1000, (long)(ms % 1000) * 1000000 } };

	(void)timerfd_settime(f->tick_fd, 0, &t, NULL);
}

static void on_error(struct vmm_faults *f, unsigned i)
{
	struct disk_faults *d = &f->disks[i];
	uint64_t now_ms = vmm_now_ms();
	char text[400];

	if (!d->logged_ms || now_ms - d->logged_ms >= LOG_EVERY_MS) {
		error_text(f->vm, i, text, sizeof(text));
		cl_warning("%s", text);
		d->logged_ms = now_ms;
	}
	if (!d->told_ms || now_ms - d->told_ms >= TELL_EVERY_MS) {
		d->news = true;
		wake(f);
	}
	d->told_ms = now_ms; /* a series ends with silence, not with a line */
}

static bool any_no_space(const struct vmm *vm)
{
	for (unsigned i = 0; i < vm->n_disks; i++)
		if (vm->disks[i]->no_space)
			return true;
	return false;
}

static void on_news(void *arg, struct vmm_disk *disk, enum vmm_udisk_news news)
{
	struct vmm_faults *f = arg;
	struct vmm *vm = f->vm;
	unsigned i = 0;
	char name[160];

	while (i < vm->n_disks && vm->disks[i] != disk)
		i++;
	if (i == vm->n_disks)
		return;
	switch (news) {
	case VMM_UDISK_ERROR:
		on_error(f, i);
		return;
	case VMM_UDISK_NO_SPACE:
		vmm_vcpus_stall(vm, true);
		if (!f->retry_ms) {
			f->retry_ms = RETRY_FIRST_MS;
			timer_set(f, f->retry_ms);
		}
		break;
	case VMM_UDISK_ROOM:
		if (any_no_space(vm))
			break;
		f->retry_ms = 0;
		timer_set(f, 0);
		vmm_vcpus_stall(vm, false);
		break;
	}
	if (f->disks[i].no_space == disk->no_space)
		return;
	f->disks[i].no_space = disk->no_space;
	vmm_disk_name(vm, i, name, sizeof(name));
	if (disk->no_space)
		cl_warning("disk %s: no space under it: the guest stands still until there is room",
			   name);
	else
		cl_notice("disk %s: everything that waited is written%s", name,
			  any_no_space(vm) ? "" : ": the guest goes on");
	wake(f);
}

/* dev_lock held. */
static void try_again(struct vmm_faults *f)
{
	struct vmm *vm = f->vm;

	for (unsigned i = 0; i < vm->n_disks && !vm->devs_frozen; i++)
		if (vm->disks[i]->no_space)
			vmm_udisk_reissue((struct vmm_udisk *)vm->disks[i]);
}

static void on_tick(void *arg, uint32_t events)
{
	struct vmm_faults *f = arg;
	uint64_t count;

	if (read(f->tick_fd, &count, sizeof(count)) < 0 || !f->retry_ms)
		return;
	f->retry_ms = 2 * f->retry_ms < RETRY_MOST_MS ? 2 * f->retry_ms : RETRY_MOST_MS;
	timer_set(f, f->retry_ms);
	try_again(f);
}

void vmm_space_retry(struct vmm *vm)
{
	pthread_mutex_lock(&vm->dev_lock);
	/* By the I/O thread: the ring is its own. */
	if (vm->faults->retry_ms) {
		vm->faults->retry_ms = RETRY_FIRST_MS / 2;
		timer_set(vm->faults, 1);
	}
	pthread_mutex_unlock(&vm->dev_lock);
}

bool vmm_no_space(struct vmm *vm, char *text, size_t cap_bytes)
{
	char name[160];
	bool found = false;

	pthread_mutex_lock(&vm->dev_lock);
	for (unsigned i = 0; i < vm->n_disks && !found; i++) {
		found = vm->disks[i]->no_space;
		if (found)
			(void)snprintf(text, cap_bytes, "no space on the file system of disk %s",
				       vmm_disk_name(vm, i, name, sizeof(name)));
	}
	pthread_mutex_unlock(&vm->dev_lock);
	return found;
}

int vmm_faults_fd(const struct vmm *vm)
{
	return vm->faults->news_fd;
}

void vmm_faults_take(struct vmm *vm,
		     void (*fn)(void *arg, enum vmm_fault fault, unsigned disk, const char *text),
		     void *arg)
{
	struct vmm_faults *f = vm->faults;
	static const char *const nothing = "";
	char text[400];
	uint64_t count;

	(void)!read(f->news_fd, &count, sizeof(count));
	for (unsigned i = 0; i < vm->n_disks; i++) {
		bool error;

		pthread_mutex_lock(&vm->dev_lock);
		error = f->disks[i].news;
		f->disks[i].news = false;
		if (error)
			error_text(vm, i, text, sizeof(text));
		pthread_mutex_unlock(&vm->dev_lock);
		if (error)
			fn(arg, VMM_FAULT_ERROR, i, text);
	}
	if (vmm_no_space(vm, text, sizeof(text)))
		fn(arg, VMM_FAULT_NO_SPACE, 0, text);
	else
		fn(arg, VMM_FAULT_ROOM, 0, nothing);
}

int vmm_faults_new(struct vmm *vm, char **ret_error)
{
	struct vmm_faults *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return vmm_error(ret_error, ENOMEM, "disks: out of memory");
	vm->faults = f;
	f->vm = vm;
	f->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	f->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = f->tick_fd < 0 || f->news_fd < 0 ? -errno : 0;
	if (r == 0)
		r = vmm_io_add(vm->io, f->tick_fd, EPOLLIN, on_tick, f, &f->tick_item);
	if (r < 0)
		return vmm_error(ret_error, -r, "disks: %s", strerror(-r));
	vmm_uring_watch(vm->machine->uring, on_news, f);
	return 0;
}

void vmm_faults_free(struct vmm *vm)
{
	struct vmm_faults *f = vm->faults;

	if (!f)
		return;
	vmm_io_del(f->tick_item);
	if (f->tick_fd >= 0)
		close(f->tick_fd);
	if (f->news_fd >= 0)
		close(f->news_fd);
	free(f);
	vm->faults = NULL;
}

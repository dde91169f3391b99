/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake_dm.h. */
#include "tests/unit/csv/fake_dm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct fake_dm_dev fake_dm[FAKE_DM_DEVS];
static unsigned long fail_command;
static int fail_err, control = -1;

int fake_stat(const char *path, struct stat *st) __asm__("stat");
int fake_open(const char *path, int flags, ...) __asm__("open");
int fake_ioctl(int fd, unsigned long command, ...) __asm__("ioctl");

void fake_dm_fail(unsigned long command, int err)
{
	fail_command = command;
	fail_err = err;
}

void fake_dm_clear(void)
{
	memset(fake_dm, 0, sizeof(fake_dm));
	fake_dm_fail(0, 0);
}

struct fake_dm_dev *fake_dm_find(const char *name)
{
	for (unsigned i = 0; i < FAKE_DM_DEVS; i++)
		if (fake_dm[i].used && !strcmp(fake_dm[i].name, name))
			return &fake_dm[i];
	return NULL;
}

static struct fake_dm_dev *dev_new(const char *name, const char *uuid)
{
	for (unsigned i = 0; i < FAKE_DM_DEVS; i++) {
		struct fake_dm_dev *d = &fake_dm[i];

		if (d->used)
			continue;
		*d = (struct fake_dm_dev){ .used = true };
		snprintf(d->name, sizeof(d->name), "%s", name);
		snprintf(d->uuid, sizeof(d->uuid), "%s", uuid);
		return d;
	}
	return NULL;
}

struct fake_dm_dev *fake_dm_add(const char *name, const char *uuid, int open_count)
{
	struct fake_dm_dev *d = dev_new(name, uuid);

	strcpy(d->table, "linear");
	d->sectors = 8192;
	d->open_count = open_count;
	return d;
}

bool fake_dm_writes(const char *name)
{
	const struct fake_dm_dev *d = fake_dm_find(name);

	return d && !d->suspended && !strcmp(d->table, "linear");
}

static void resume(struct fake_dm_dev *d)
{
	if (d->next[0]) {
		strcpy(d->table, d->next);
		d->sectors = d->next_sectors;
		d->next[0] = 0;
	}
	d->suspended = false;
}

static void load(struct fake_dm_dev *d, const struct dm_ioctl *io)
{
	const char *at = (const char *)io + io->data_start;

	d->next_sectors = 0;
	for (uint32_t i = 0; i < io->target_count; i++) {
		const struct dm_target_spec *spec = (const void *)at;

		snprintf(d->next, sizeof(d->next), "%s", spec->target_type);
		d->next_sectors += spec->length;
		at += spec->next;
	}
}

static void status(const struct fake_dm_dev *d, struct dm_ioctl *io, bool table)
{
	struct dm_target_spec *spec = (void *)((char *)io + sizeof(*io));

	strcpy(io->uuid, d->uuid);
	io->dev = makedev(253, (unsigned)(d - fake_dm));
	io->open_count = d->open_count;
	io->flags = d->suspended ? DM_SUSPEND_FLAG : 0;
	io->target_count = d->table[0] ? 1 : 0;
	io->data_start = sizeof(*io);
	if (!table || !d->table[0])
		return;
	memset(spec, 0, sizeof(*spec) + 8);
	spec->length = d->sectors;
	spec->next = sizeof(*spec) + 8;
	strcpy(spec->target_type, d->table);
}

static void names(struct dm_ioctl *io)
{
	char *at = (char *)io + sizeof(*io);
	struct dm_name_list *last = NULL;

	io->data_start = sizeof(*io);
	memset(at, 0, sizeof(*last));
	for (unsigned i = 0; i < FAKE_DM_DEVS; i++) {
		if (!fake_dm[i].used)
			continue;
		if (last) {
			last->next = (uint32_t)((sizeof(*last) + strlen(last->name) + 1 + 7) & ~7u);
			at = (char *)last + last->next;
		}
		last = (struct dm_name_list *)at;
		*last = (struct dm_name_list){ .dev = makedev(253, i) };
		strcpy((char *)last + offsetof(struct dm_name_list, name), fake_dm[i].name);
	}
}

static int perform(unsigned long command, struct dm_ioctl *io)
{
	struct fake_dm_dev *d = fake_dm_find(io->name);

	if (command == DM_LIST_DEVICES) {
		names(io);
		return 0;
	}
	if (command == DM_DEV_CREATE) {
		if (d)
			return EBUSY;
		d = dev_new(io->name, io->uuid);
		return d ? 0 : ENOMEM;
	}
	if (!d)
		return ENXIO;
	if (command == DM_TABLE_LOAD)
		load(d, io);
	else if (command == DM_TABLE_CLEAR)
		d->next[0] = 0;
	else if (command == DM_TABLE_STATUS)
		status(d, io, true);
	else if (command == DM_DEV_SUSPEND && io->flags & DM_SUSPEND_FLAG)
		d->suspended = true;
	else if (command == DM_DEV_SUSPEND)
		resume(d);
	else if (command != DM_DEV_REMOVE)
		return ENOTTY;
	else if (!d->open_count)
		d->used = false;
	else if (io->flags & DM_DEFERRED_REMOVE)
		d->deferred = true;
	else
		return EBUSY;
	return 0;
}

int fake_ioctl(int fd, unsigned long command, ...)
{
	va_list ap;
	void *arg;
	int err;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd != control || control < 0)
		return (int)syscall(SYS_ioctl, fd, command, arg);
	if (syscall(SYS_ioctl, fd, command, arg) == 0 || errno != ENOTTY)
		return -1;
	err = fail_err && (!fail_command || fail_command == command) ? fail_err : perform(command, arg);
	errno = err;
	return err ? -1 : 0;
}

int fake_open(const char *path, int flags, ...)
{
	va_list ap;
	unsigned mode;

	va_start(ap, flags);
	mode = va_arg(ap, unsigned);
	va_end(ap);
	if (strcmp(path, "/dev/mapper/control") != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	control = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	return control;
}

/* "/fake/lun" is the LUN's device. */
int fake_stat(const char *path, struct stat *st)
{
	if (strcmp(path, "/fake/lun") != 0)
		return fstatat(AT_FDCWD, path, st, 0);
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFBLK | 0600;
	st->st_rdev = makedev(8, 0);
	return 0;
}

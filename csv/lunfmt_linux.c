/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks at a LUN and makes a volume of it.
 *
 * Decides that nothing is overwritten that libblkid knows, or that this node uses, without
 * `force` (and in use: never).  Assumes that the caller has the reservation.  Order of a format:
 * old superblock away, GPT, cleared metadata, term record, XFS, and the superblock last, so
 * that an interrupted format leaves no volume.  Runs mkfs.xfs with a fixed argument vector.
 */
#include "csv/gpt.h"
#include "csv/lun_linux.h"
#include "csv/map.h"

#include "common/cl_cleanup.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t)CSV_GPT_BYTES)

__attribute__((format(printf, 3, 4))) static int fail(char *error, int ret, const char *format, ...)
{
	va_list ap;

	if (error) {
		va_start(ap, format);
		vsnprintf(error, CSV_LUN_TEXT_MAX, format, ap);
		va_end(ap);
	}
	return ret;
}

static int fail_io(char *error, int ret, const struct csv_lun *lun, const char *what)
{
	if (ret == -EBADE)
		return fail(error, ret, "%s: %s: reserved by another cluster or host", lun->device,
			    what);
	return fail(error, ret, "%s: %s: %s", lun->device, what, strerror(-ret));
}

void csv_lun_close(struct csv_lun *lun)
{
	if (!lun)
		return;
	if (lun->fd >= 0)
		(void)close(lun->fd);
	free(lun->buf);
	free(lun);
}

static int size_find(struct csv_lun *lun)
{
	struct stat st;
	int block_bytes = 0;

	if (fstat(lun->fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode)) {
		lun->size_bytes = (uint64_t)st.st_size;
		lun->block_bytes = 512;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	lun->is_block = true;
	if (ioctl(lun->fd, BLKGETSIZE64, &lun->size_bytes) < 0 ||
	    ioctl(lun->fd, BLKSSZGET, &block_bytes) < 0)
		return -errno;
	lun->block_bytes = (uint32_t)block_bytes;
	return block_bytes == 512 || block_bytes == 4096 ? 0 : -EOPNOTSUPP;
}

int csv_lun_open(const char *device, struct csv_lun **ret_lun, char *error)
{
	const int flags = O_RDWR | O_DSYNC | O_CLOEXEC;
	struct csv_lun *lun = calloc(1, sizeof(*lun));
	int ret = 0;

	if (!lun)
		return -ENOMEM;
	snprintf(lun->device, sizeof(lun->device), "%s", device);
	lun->fd = open(device, flags | O_DIRECT);
	if (lun->fd < 0 && errno == EINVAL)
		lun->fd = open(device, flags);
	if (lun->fd < 0)
		ret = -errno;
	if (ret == 0)
		ret = size_find(lun);
	if (ret == 0 && posix_memalign((void **)&lun->buf, CSV_LUN_BLOCK, CSV_LUN_BLOCK) != 0)
		ret = -ENOMEM;
	if (ret < 0) {
		fail_io(error, ret, lun, "open");
		csv_lun_close(lun);
		return ret;
	}
	*ret_lun = lun;
	return 0;
}

static const char *blkid_value(blkid_probe probe, const char *name)
{
	const char *value = NULL;

	return blkid_probe_lookup_value(probe, name, &value, NULL) == 0 ? value : NULL;
}

/*
 * 1 found, 0 nothing, -errno.  libblkid reads at any offset, which O_DIRECT does not allow: it gets
 * an fd of its own, and the cache is emptied first, since another node may have written.
 */
static int found_probe(struct csv_lun *lun, char *out)
{
	CL_CLEANUP_CLOSE int fd = open(lun->device, O_RDONLY | O_CLOEXEC);
	blkid_probe probe = blkid_new_probe();
	const char *type, *label, *table;
	int ret = -EIO;

	out[0] = '\0';
	if (!probe)
		return -ENOMEM;
	if (fd < 0) {
		ret = -errno;
		goto out;
	}
	if (lun->is_block)
		(void)ioctl(fd, BLKFLSBUF, 0);
	if (blkid_probe_set_device(probe, fd, 0, (blkid_loff_t)lun->size_bytes) != 0)
		goto out;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
	blkid_probe_enable_partitions(probe, 1);
	ret = blkid_do_safeprobe(probe);
	if (ret == -2) {
		snprintf(out, CSV_LUN_TEXT_MAX, "several signatures that contradict each other");
		ret = 1;
		goto out;
	}
	if (ret < 0) {
		ret = -EIO;
		goto out;
	}
	type = blkid_value(probe, "TYPE");
	label = blkid_value(probe, "LABEL");
	table = blkid_value(probe, "PTTYPE");
	if (type)
		snprintf(out, CSV_LUN_TEXT_MAX, "%s%s%.64s%s", type, label ? " labelled '" : "",
			 label ? label : "", label ? "'" : "");
	else if (table)
		snprintf(out, CSV_LUN_TEXT_MAX, "a partition table (%s)", table);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	ret = out[0] != '\0';
out:
	blkid_free_probe(probe);
	return ret;
}

/* 1, 0 or -errno: not known. */
static int in_use(const struct csv_lun *lun)
{
	CL_CLEANUP_CLOSE int fd = -1;

	if (!lun->is_block)
		return 0;
	fd = open(lun->device, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd >= 0)
		return 0;
	return errno == EBUSY ? 1 : -errno;
}

int csv_lun_probe(struct csv_lun *lun, struct csv_lun_probe *ret_probe, char *error)
{
	char uuid[CSV_LUN_UUID_TEXT];
	int ret;

	memset(ret_probe, 0, sizeof(*ret_probe));
	ret_probe->size_bytes = lun->size_bytes;
	ret_probe->block_bytes = lun->block_bytes;
	ret_probe->too_small = lun->size_bytes < CSV_LUN_SIZE_MIN;
	ret = in_use(lun);
	if (ret < 0)
		return fail_io(error, ret, lun, "looking whether it is in use");
	ret_probe->in_use = ret;
	if (lun->size_bytes >= CSV_LUN_DATA_OFF) {
		ret = csv_lun_super_read(lun, &ret_probe->super);
		if (ret == 0) {
			csv_uuid_format(ret_probe->super.volume_uuid, uuid);
			ret_probe->is_ours = ret_probe->has_data = true;
			snprintf(ret_probe->found, sizeof(ret_probe->found),
				 "Holdfast volume '%s' (%s)", ret_probe->super.name, uuid);
			return 0;
		}
		if (ret != -EBADMSG && ret != -ENODATA)
			return fail_io(error, ret, lun, "read");
	}
	ret = found_probe(lun, ret_probe->found);
	if (ret < 0)
		return fail_io(error, ret, lun, "looking for data");
	ret_probe->has_data = ret == 1;
	return 0;
}

static int zero_range(struct csv_lun *lun, const uint8_t *zeroes, uint64_t off, uint64_t len_bytes)
{
	int ret = 0;

	for (uint64_t done = 0; ret == 0 && done < len_bytes; done += CHUNK) {
		uint64_t n = len_bytes - done < CHUNK ? len_bytes - done : CHUNK;

		ret = csv_lun_write_at(lun, off + done, zeroes, (size_t)n);
	}
	return ret;
}

static int gpt_write(struct csv_lun *lun, const uint8_t volume_uuid[CL_UUID_BYTES])
{
	uint8_t *head = NULL, *tail = NULL, *back = NULL;
	int ret = -ENOMEM;

	if (posix_memalign((void **)&head, CSV_LUN_BLOCK, CHUNK) == 0 &&
	    posix_memalign((void **)&tail, CSV_LUN_BLOCK, CHUNK) == 0 &&
	    posix_memalign((void **)&back, CSV_LUN_BLOCK, CHUNK) == 0) {
		memset(head, 0, CHUNK);
		memset(tail, 0, CHUNK);
		ret = csv_gpt_encode(lun->size_bytes, lun->block_bytes, volume_uuid, head, tail);
	}
	if (ret == 0)
		ret = csv_lun_write_at(lun, 0, head, CHUNK);
	if (ret == 0)
		ret = csv_lun_write_at(lun, lun->size_bytes - CHUNK, tail, CHUNK);
	if (ret == 0)
		ret = csv_lun_read_at(lun, 0, back, CHUNK);
	if (ret == 0 && memcmp(back, head, CHUNK) != 0)
		ret = -EILSEQ;
	if (ret == 0)
		ret = csv_lun_read_at(lun, lun->size_bytes - CHUNK, back, CHUNK);
	if (ret == 0 && memcmp(back, tail, CHUNK) != 0)
		ret = -EILSEQ;
	free(head);
	free(tail);
	free(back);
	return ret;
}

/* First line of what the program wrote on standard error, into text. Drains the rest. */
static void first_line(int fd, char *text, size_t cap_bytes)
{
	char scratch[512];
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, scratch, sizeof(scratch))) > 0 || (got < 0 && errno == EINTR))
		for (ssize_t i = 0; i < got && n + 1 < cap_bytes; i++)
			text[n++] = scratch[i];
	text[n] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
}

static int mkfs_run(const char *node, const char *uuid, char *error)
{
	static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
					     NULL };
	static const char *const programs[] = { "/usr/sbin/mkfs.xfs", "/sbin/mkfs.xfs" };
	char meta[64], path[64], text[160];
	char *const argv[] = { "mkfs.xfs", "-q", "-f", "-K", "-m", meta, path, NULL };
	posix_spawn_file_actions_t actions;
	int ret = ENOENT, status = 0, pipes[2];
	pid_t pid;

	snprintf(meta, sizeof(meta), "reflink=0,uuid=%s", uuid);
	snprintf(path, sizeof(path), "%s", node);
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
	for (size_t i = 0; i < CL_ARRAY_LEN(programs) && ret == ENOENT; i++)
		ret = posix_spawn(&pid, programs[i], &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	(void)close(pipes[1]);
	if (ret != 0) {
		(void)close(pipes[0]);
		return fail(error, -ret, "mkfs.xfs: %s (package xfsprogs)", strerror(ret));
	}
	first_line(pipes[0], text, sizeof(text));
	(void)close(pipes[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return fail(error, -EIO, "mkfs.xfs failed: %s", text[0] ? text : "no message");
}

/* Through a linear device of just the data partition: mkfs can reach nothing else. */
static int xfs_make(struct csv_lun *lun, const struct csv_super *super, char *error)
{
	const struct csv_map_backing backing = {
		.device = lun->device,
		.base_bytes = super->data_off,
		.size_bytes = super->data_bytes,
	};
	const struct csv_extent whole = { .len = super->data_bytes };
	char name[CSV_MAP_NAME_MAX], node[64], uuid[CSV_LUN_UUID_TEXT];
	dev_t dev;
	int ret, again;

	csv_uuid_format(super->volume_uuid, uuid);
	snprintf(name, sizeof(name), "hf-%s-mkfs", super->name);
	ret = csv_map_create(name, name, &backing, &whole, 1, false, &dev);
	if (ret == -EEXIST && csv_map_remove(name, false) == 0) /* of a format cut short */
		ret = csv_map_create(name, name, &backing, &whole, 1, false, &dev);
	if (ret < 0)
		return fail_io(error, ret, lun, "device-mapper");
	snprintf(node, sizeof(node), "/dev/dm-%u", minor(dev));
	ret = mkfs_run(node, uuid, error);
	again = csv_map_remove(name, false);
	for (unsigned i = 0; again == -EBUSY && i < 50;
	     i++) { /* somebody looks at the new device */
		usleep(100000);
		again = csv_map_remove(name, false);
	}
	if (ret == 0 && again < 0)
		ret = fail_io(error, again, lun, "device-mapper remove");
	return ret;
}

/* XFS superblock: "XFSB" and sb_uuid at 32 (Linux fs/xfs/libxfs/xfs_format.h). */
static int xfs_verify(struct csv_lun *lun, const struct csv_super *super)
{
	int ret = csv_lun_read_at(lun, super->data_off, lun->buf, CSV_LUN_BLOCK);

	if (ret < 0)
		return ret;
	return memcmp(lun->buf, "XFSB", 4) == 0 &&
			       memcmp(lun->buf + 32, super->volume_uuid, CL_UUID_BYTES) == 0
		       ? 0
		       : -EILSEQ;
}

static int records_write(struct csv_lun *lun, const struct csv_super *super, bool super_too)
{
	const struct csv_term first = { .state = CSV_TERM_RELEASED };
	struct csv_term term = first, term_back;
	struct csv_super super_back;
	uint8_t buf[CSV_LUN_BLOCK];
	int ret;

	memcpy(term.volume_uuid, super->volume_uuid, CL_UUID_BYTES);
	if (!super_too) {
		csv_term_encode(&term, buf);
		ret = csv_lun_block_write(lun, CSV_LUN_BLOCK_TERM, buf);
		if (ret == 0)
			ret = csv_lun_term_read(lun, &term_back);
		return ret == 0 && !csv_term_equal(&term, &term_back) ? -EILSEQ : ret;
	}
	csv_super_encode(super, buf);
	ret = csv_lun_block_write(lun, CSV_LUN_BLOCK_SUPER, buf);
	if (ret == 0)
		ret = csv_lun_super_read(lun, &super_back);
	return ret == 0 && memcmp(super, &super_back, sizeof(super_back)) != 0 ? -EILSEQ : ret;
}

static int format_checks(struct csv_lun *lun, const struct csv_lun_format *format, char *error)
{
	struct csv_lun_probe probe;
	int ret;

	if (!cl_name_valid(format->name))
		return fail(error, -EINVAL, "not a volume name");
	if (!lun->is_block)
		return fail(error, -ENOTBLK, "%s: not a block device", lun->device);
	ret = csv_lun_probe(lun, &probe, error);
	if (ret < 0)
		return ret;
	if (probe.too_small)
		return fail(error, -ENOSPC, "%s: has %llu MiB; a volume needs at least %llu MiB",
			    lun->device, (unsigned long long)(probe.size_bytes >> 20),
			    CSV_LUN_SIZE_MIN >> 20);
	if (probe.in_use)
		return fail(error, -EBUSY, "%s: is mounted or otherwise in use on this node",
			    lun->device);
	if (probe.has_data && !format->force)
		return fail(error, -EEXIST, "%s: carries data: %s; nothing was changed",
			    lun->device, probe.found);
	return 0;
}

int csv_lun_format(struct csv_lun *lun, const struct csv_lun_format *format, char *error)
{
	uint8_t *zeroes = NULL;
	struct csv_super super;
	struct timespec now;
	int ret = format_checks(lun, format, error);

	if (ret < 0)
		return ret;
	if (posix_memalign((void **)&zeroes, CSV_LUN_BLOCK, CHUNK) != 0)
		return fail(error, -ENOMEM, "out of memory");
	memset(zeroes, 0, CHUNK);
	memset(&super, 0, sizeof(super));
	memcpy(super.cluster_uuid, format->cluster_uuid, CL_UUID_BYTES);
	memcpy(super.volume_uuid, format->volume_uuid, CL_UUID_BYTES);
	snprintf(super.name, sizeof(super.name), "%s", format->name);
	clock_gettime(CLOCK_REALTIME, &now);
	super.created_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	ret = csv_lun_layout(lun->size_bytes, &super.data_off, &super.data_bytes);
	if (ret == 0)
		ret = zero_range(lun, zeroes, CSV_LUN_META_OFF, CSV_LUN_META_BYTES);
	/* An old file system's first MiB, so that a force never leaves two signatures. */
	if (ret == 0)
		ret = zero_range(lun, zeroes, super.data_off, CHUNK);
	if (ret == 0)
		ret = gpt_write(lun, format->volume_uuid);
	if (ret == 0)
		ret = records_write(lun, &super, false);
	if (ret < 0) {
		fail_io(error, ret, lun, "write");
		goto out;
	}
	ret = xfs_make(lun, &super, error);
	if (ret < 0)
		goto out;
	ret = xfs_verify(lun, &super);
	if (ret == 0)
		ret = records_write(lun, &super, true);
	if (ret < 0)
		fail_io(error, ret, lun, "verify");
out:
	free(zeroes);
	return ret;
}

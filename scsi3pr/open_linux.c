/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chooses the transport by the form of a name, and finds this node's SCSI disks.  Never trusts a
 * /dev name to mean the same LUN twice: what counts is the id that the LUN gives.
 */
#include "scsi3pr/pr_open.h"
#include "scsi3pr/pr_vpd.h"

#include "common/cl_cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define SYS_BLOCK "/sys/block"

int scsi3pr_open(const char *name, unsigned timeout_ms, struct scsi3pr_dev **ret_dev, char *error)
{
	char scratch[SCSI3PR_TEXT_MAX];
	const struct pr_transport *transport = NULL;
	struct scsi3pr_dev *dev;
	void *ctx = NULL;
	int ret;

	if (!error)
		error = scratch;
	error[0] = '\0';
	if (timeout_ms == 0)
		timeout_ms = SCSI3PR_TIMEOUT_MS;
	if (strlen(name) >= SCSI3PR_TEXT_MAX) {
		snprintf(error, SCSI3PR_TEXT_MAX, "the device name is longer than %u bytes",
			 SCSI3PR_TEXT_MAX - 1);
		return -ENAMETOOLONG;
	}
	dev = malloc(sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	if (strncmp(name, "iscsi://", 8) == 0)
		ret = pr_iscsi_open(name, timeout_ms, &transport, &ctx, error);
	else
		ret = pr_sgio_open(name, &transport, &ctx, error);
	if (ret < 0) {
		if (error[0] == '\0')
			snprintf(error, SCSI3PR_TEXT_MAX, "%.100s: %s", name, strerror(-ret));
		free(dev);
		return ret;
	}
	pr_dev_init(dev, transport, ctx, name, timeout_ms);
	*ret_dev = dev;
	return 0;
}

void scsi3pr_close(struct scsi3pr_dev *dev)
{
	if (!dev)
		return;
	dev->transport->close(dev->ctx);
	free(dev);
}

static ssize_t sys_read(const char *disk, const char *attribute, void *buf, size_t cap_bytes)
{
	char path[128];
	size_t n = 0;

	snprintf(path, sizeof(path), SYS_BLOCK "/%.32s/%s", disk, attribute);
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (n < cap_bytes) {
		ssize_t got = read(fd, (char *)buf + n, cap_bytes - n);

		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

/* Says nothing about the disk: our own trouble. The rest (no such attribute, a disk that goes)
 * does. */
static bool own_trouble(ssize_t rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -EACCES || rc == -EPERM;
}

/* 0, with "" where there is no such text; -errno: it could not be looked at. */
static int sys_text(const char *disk, const char *attribute, char *out, size_t cap_bytes)
{
	ssize_t n = sys_read(disk, attribute, out, cap_bytes - 1);
	int ret = own_trouble(n) ? (int)n : 0;

	if (n < 0)
		n = 0;
	while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == '\n'))
		n--;
	out[n] = '\0';
	for (char *p = out; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return ret;
}

static int sys_number(const char *disk, const char *attribute, uint64_t *ret_number)
{
	char text[32];
	int ret = sys_text(disk, attribute, text, sizeof(text));

	*ret_number = strtoull(text, NULL, 10);
	return ret;
}

/* A disk whose sysfs has no page 0x83 is asked; one that cannot be opened, for a reason of its own,
 * has no id. */
static int lun_id_find(const char *disk, struct scsi3pr_lun *lun)
{
	uint8_t page[PR_VPD_BYTES_MAX];
	ssize_t n = sys_read(disk, "device/vpd_pg83", page, sizeof(page));
	struct scsi3pr_dev *dev;
	struct scsi3pr_lun asked;
	int ret;

	if (own_trouble(n))
		return (int)n;
	if (n > 0) {
		if (pr_vpd_id_decode(page, (size_t)n, lun->id) < 0)
			lun->id[0] = '\0';
		return 0;
	}
	ret = scsi3pr_open(lun->path[0], 5000, &dev, NULL);
	if (ret < 0)
		return own_trouble(ret) ? ret : 0;
	if (scsi3pr_identify(dev, &asked) == 0)
		memcpy(lun->id, asked.id, sizeof(lun->id));
	scsi3pr_close(dev);
	return 0;
}

/* 1: a SCSI disk; 0: none, or it is gone; -errno: not known. */
static int disk_look(const char *disk, struct scsi3pr_lun *lun)
{
	uint64_t sectors = 0, block = 0;
	char type[8];
	int ret;

	*lun = (struct scsi3pr_lun){ .n_paths = 1 };
	if (strncmp(disk, "sd", 2) != 0)
		return 0;
	/* The INQUIRY device type; other block devices have none. */
	ret = sys_text(disk, "device/type", type, sizeof(type));
	if (ret < 0 || strcmp(type, "0") != 0)
		return ret;
	snprintf(lun->path[0], sizeof(lun->path[0]), "/dev/%.32s", disk);
	ret = sys_number(disk, "size", &sectors);
	if (ret == 0)
		ret = sys_number(disk, "queue/logical_block_size", &block);
	if (ret == 0)
		ret = sys_text(disk, "device/vendor", lun->vendor, sizeof(lun->vendor));
	if (ret == 0)
		ret = sys_text(disk, "device/model", lun->product, sizeof(lun->product));
	if (ret == 0)
		ret = lun_id_find(disk, lun);
	lun->size_bytes = sectors * 512;
	lun->block_bytes = (uint32_t)block;
	return ret < 0 ? ret : 1;
}

static void lun_add(struct scsi3pr_lun *luns, size_t cap, size_t *n, bool *full,
		    const struct scsi3pr_lun *lun)
{
	for (size_t i = 0; i < *n; i++) {
		if (lun->id[0] == '\0' || strcmp(luns[i].id, lun->id) != 0)
			continue;
		if (luns[i].n_paths < SCSI3PR_LUN_PATHS)
			memcpy(luns[i].path[luns[i].n_paths++], lun->path[0], SCSI3PR_PATH_MAX);
		return;
	}
	if (*n == cap)
		*full = true;
	else
		luns[(*n)++] = *lun;
}

int scsi3pr_luns_list(struct scsi3pr_lun *ret_luns, size_t cap, size_t *ret_n)
{
	struct dirent **entries = NULL;
	bool full = false;
	int count, ret = 0;

	*ret_n = 0;
	count = scandir(SYS_BLOCK, &entries, NULL, versionsort);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		struct scsi3pr_lun lun;
		int is = ret < 0 ? 0 : disk_look(entries[i]->d_name, &lun);

		if (is > 0)
			lun_add(ret_luns, cap, ret_n, &full, &lun);
		ret = is < 0 ? is : ret;
		free(entries[i]);
	}
	free(entries);
	return ret < 0 ? ret : full ? -ENOSPC : 0;
}

int scsi3pr_lun_find(const char *id, struct scsi3pr_lun *ret_lun)
{
	enum { CAP = 256 };
	CL_CLEANUP_FREE struct scsi3pr_lun *luns = calloc(CAP, sizeof(*luns));
	size_t n;
	int ret;

	if (!luns)
		return -ENOMEM;
	ret = scsi3pr_luns_list(luns, CAP, &n);
	if (ret < 0 && ret != -ENOSPC)
		return ret;
	for (size_t i = 0; i < n; i++)
		if (luns[i].id[0] != '\0' && strcasecmp(luns[i].id, id) == 0) {
			*ret_lun = luns[i];
			return 0;
		}
	return -ENODEV;
}

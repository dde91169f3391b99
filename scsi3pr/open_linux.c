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

static void sys_text(const char *disk, const char *attribute, char *out, size_t cap_bytes)
{
	ssize_t n = sys_read(disk, attribute, out, cap_bytes - 1);

	if (n < 0)
		n = 0;
	while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == '\n'))
		n--;
	out[n] = '\0';
	for (char *p = out; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}

static uint64_t sys_number(const char *disk, const char *attribute)
{
	char text[32];

	sys_text(disk, attribute, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* A disk whose sysfs has no page 0x83 is asked; one that cannot be opened has no id. */
static void lun_id_find(const char *disk, struct scsi3pr_lun *lun)
{
	uint8_t page[PR_VPD_BYTES_MAX];
	ssize_t n = sys_read(disk, "device/vpd_pg83", page, sizeof(page));
	struct scsi3pr_dev *dev;
	struct scsi3pr_lun asked;

	if (n > 0) {
		if (pr_vpd_id_decode(page, (size_t)n, lun->id) < 0)
			lun->id[0] = '\0';
		return;
	}
	if (scsi3pr_open(lun->path[0], 5000, &dev, NULL) < 0)
		return;
	if (scsi3pr_identify(dev, &asked) == 0)
		memcpy(lun->id, asked.id, sizeof(lun->id));
	scsi3pr_close(dev);
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
	int count;

	*ret_n = 0;
	count = scandir(SYS_BLOCK, &entries, NULL, versionsort);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		const char *disk = entries[i]->d_name;
		struct scsi3pr_lun lun = { .n_paths = 1 };
		char type[8];

		/* device/type is the INQUIRY device type; other block devices have none. */
		sys_text(disk, "device/type", type, sizeof(type));
		if (strncmp(disk, "sd", 2) == 0 && strcmp(type, "0") == 0) {
			snprintf(lun.path[0], sizeof(lun.path[0]), "/dev/%.32s", disk);
			lun.size_bytes = sys_number(disk, "size") * 512;
			lun.block_bytes = (uint32_t)sys_number(disk, "queue/logical_block_size");
			sys_text(disk, "device/vendor", lun.vendor, sizeof(lun.vendor));
			sys_text(disk, "device/model", lun.product, sizeof(lun.product));
			lun_id_find(disk, &lun);
			lun_add(ret_luns, cap, ret_n, &full, &lun);
		}
		free(entries[i]);
	}
	free(entries);
	return full ? -ENOSPC : 0;
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

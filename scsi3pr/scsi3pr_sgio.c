/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SG_IO on a path device.  Decides which devices may be used at all: a whole SCSI disk that is one
 * path; never device-mapper (its PR calls lose the ABORT of PREEMPT AND ABORT, and SG_IO there
 * picks a path of its own choice) and never a partition.  Assumes that the kernel does not
 * repeat a pass-through command.  Resets the LUN only when asked to, and nothing beyond it.
 */
#include "scsi3pr/pr_open.h"

#include "common/cl_cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* Host bytes of the kernel's scsi_status.h: the command never left this machine. */
#ifndef SG_SCSI_RESET_NO_ESCALATE
#define SG_SCSI_RESET_NO_ESCALATE 0x100
#endif
#define DID_NO_CONNECT	   0x01
#define DID_BAD_TARGET	   0x04
#define DRIVER_SENSE	   0x08
#define DRIVER_STATUS_MASK 0x0f

struct sgio {
	int fd;
};

static void sgio_execute(void *ctx, struct pr_command *command)
{
	struct sgio *sgio = ctx;
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.cmd_len = (unsigned char)command->cdb_bytes,
		.cmdp = command->cdb,
		.dxfer_direction = command->data_bytes == 0 ? SG_DXFER_NONE
				   : command->to_target	    ? SG_DXFER_TO_DEV
							    : SG_DXFER_FROM_DEV,
		.dxfer_len = (unsigned)command->data_bytes,
		.dxferp = command->data,
		.sbp = command->sense,
		.mx_sb_len = sizeof(command->sense),
		.timeout = command->timeout_ms,
	};

	if (ioctl(sgio->fd, SG_IO, &io) < 0) {
		/* EINTR and ENOMEM could come after queueing; the rest is refused before. */
		bool unsent = errno == ENODEV || errno == ENXIO || errno == EPERM ||
			      errno == ENOTTY || errno == EINVAL || errno == EACCES;

		command->delivery = unsent ? PR_NOT_SENT : PR_NO_ANSWER;
		snprintf(command->note, sizeof(command->note), "SG_IO: %s", strerrorname_np(errno));
		return;
	}
	if (io.host_status != 0) {
		command->delivery =
			io.host_status == DID_NO_CONNECT || io.host_status == DID_BAD_TARGET
				? PR_NOT_SENT
				: PR_NO_ANSWER;
		snprintf(command->note, sizeof(command->note), "host status 0x%02x%s",
			 io.host_status, io.host_status == 0x03 ? " time-out" : "");
		return;
	}
	if ((io.driver_status & DRIVER_STATUS_MASK & ~DRIVER_SENSE) != 0 && io.status == 0) {
		command->delivery = PR_NO_ANSWER;
		snprintf(command->note, sizeof(command->note), "driver status 0x%02x",
			 io.driver_status);
		return;
	}
	command->delivery = PR_ANSWERED;
	command->status = io.status;
	command->sense_bytes = io.sb_len_wr;
	command->transferred = command->data_bytes;
	if (io.resid > 0 && (size_t)io.resid <= command->data_bytes)
		command->transferred -= (size_t)io.resid;
}

static void sgio_pause(void *ctx, unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL);
}

/* The kernel waits for the target's answer by time limits of its own. */
static int sgio_reset(void *ctx, unsigned timeout_ms)
{
	struct sgio *sgio = ctx;
	int how = SG_SCSI_RESET_DEVICE | SG_SCSI_RESET_NO_ESCALATE;

	if (ioctl(sgio->fd, SG_SCSI_RESET, &how) == 0)
		return 0;
	switch (errno) {
	case ENODEV:
	case ENXIO:
		return -ENODEV;
	case EOPNOTSUPP:
	case EINVAL:
	case ENOTTY:
	case EACCES:
	case EPERM:
		return -EOPNOTSUPP;
	default:
		return -ETIMEDOUT;
	}
}

static void sgio_close(void *ctx)
{
	struct sgio *sgio = ctx;

	(void)close(sgio->fd);
	free(sgio);
}

static const struct pr_transport sgio_transport = {
	.execute = sgio_execute,
	.pause = sgio_pause,
	.reset = sgio_reset,
	.close = sgio_close,
};

/* 1, 0 or -errno: not known. */
static int sysfs_has(dev_t dev, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), name);
	if (access(path, F_OK) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int pr_sgio_open(const char *path, const struct pr_transport **ret_transport, void **ret_ctx,
		 char *error)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct sgio *sgio;
	struct stat st;
	int version = 0, is_dm, is_partition;

	if (fd < 0) {
		int ret = -errno;

		snprintf(error, SCSI3PR_TEXT_MAX, "%s: %s", path, strerror(-ret));
		return ret;
	}
	if (fstat(fd, &st) < 0 || (!S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))) {
		snprintf(error, SCSI3PR_TEXT_MAX, "%s: not a device", path);
		return -EINVAL;
	}
	is_dm = S_ISBLK(st.st_mode) ? sysfs_has(st.st_rdev, "dm") : 0;
	is_partition = S_ISBLK(st.st_mode) ? sysfs_has(st.st_rdev, "partition") : 0;
	if (is_dm < 0 || is_partition < 0) {
		snprintf(error, SCSI3PR_TEXT_MAX,
			 "%s: what kind of device it is cannot be looked at: %s", path,
			 strerror(is_dm < 0 ? -is_dm : -is_partition));
		return is_dm < 0 ? is_dm : is_partition;
	}
	if (is_dm) {
		snprintf(error, SCSI3PR_TEXT_MAX,
			 "%s: is a device-mapper device: there PREEMPT AND ABORT loses its ABORT "
			 "and "
			 "only one path is reached; name each path device (/dev/sdX) instead",
			 path);
		return -EOPNOTSUPP;
	}
	if (is_partition) {
		snprintf(error, SCSI3PR_TEXT_MAX,
			 "%s: is a partition; reservations are of the whole disk", path);
		return -EOPNOTSUPP;
	}
	if (ioctl(fd, SG_GET_VERSION_NUM, &version) < 0 || version < 30000) {
		snprintf(error, SCSI3PR_TEXT_MAX, "%s: not a SCSI device (no SG_IO)", path);
		return -EOPNOTSUPP;
	}
	sgio = calloc(1, sizeof(*sgio));
	if (!sgio)
		return -ENOMEM;
	sgio->fd = cl_steal_fd(&fd);
	*ret_ctx = sgio;
	*ret_transport = &sgio_transport;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a clusterd under test has in place of a SCSI kernel, XFS and device-mapper: linked before the
 * archives, so that everything else is the shipped object.  A path device is the target of target.h;
 * a volume on it is its superblock alone, in a file that all nodes see; device-mapper is empty.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/paths_linux.h"
#include "csv/lun.h"
#include "csv/map.h"
#include "scsi3pr/pr_open.h"
#include "tests/cluster/target.h"

#define SUPER_PATH "/shared/super"
#define LUN_BYTES  (64ull << 30)

struct csv_lun {
	int unused;
};

int pr_sgio_open(const char *path, const struct pr_transport **ret_transport, void **ret_ctx,
		 char *error)
{
	return target_open(target_node(), ret_transport, ret_ctx, error);
}

int csv_lun_open(const char *device, struct csv_lun **ret_lun, char *error)
{
	*ret_lun = calloc(1, sizeof(**ret_lun));
	return *ret_lun ? 0 : -ENOMEM;
}

void csv_lun_close(struct csv_lun *lun)
{
	free(lun);
}

int csv_lun_super_read(struct csv_lun *lun, struct csv_super *ret_super)
{
	char *data;
	size_t len;
	int rc = cd_file_read(SUPER_PATH, CL_UUID_BYTES, &data, &len);

	memset(ret_super, 0, sizeof(*ret_super));
	if (rc < 0)
		return rc == -ENOENT ? -ENODATA : rc;
	rc = len == CL_UUID_BYTES ? 0 : -EBADMSG;
	if (rc == 0)
		memcpy(ret_super->volume_uuid, data, CL_UUID_BYTES);
	free(data);
	return rc;
}

int csv_lun_probe(struct csv_lun *lun, struct csv_lun_probe *ret_probe, char *error)
{
	memset(ret_probe, 0, sizeof(*ret_probe));
	ret_probe->size_bytes = LUN_BYTES;
	ret_probe->block_bytes = 512;
	ret_probe->is_ours = ret_probe->has_data = csv_lun_super_read(lun, &ret_probe->super) == 0;
	if (ret_probe->has_data)
		snprintf(ret_probe->found, sizeof(ret_probe->found), "a volume of Holdfast");
	return 0;
}

int csv_lun_format(struct csv_lun *lun, const struct csv_lun_format *format, char *error)
{
	int rc = cd_file_write(SUPER_PATH, 0600, format->volume_uuid, CL_UUID_BYTES);

	if (rc < 0 && error)
		snprintf(error, CSV_LUN_TEXT_MAX, SUPER_PATH ": %s", strerror(-rc));
	return rc;
}

int csv_map_init(void)
{
	return 0;
}

int csv_map_list(struct csv_map_info **ret_infos, size_t *ret_n)
{
	*ret_infos = NULL;
	*ret_n = 0;
	return 0;
}

int csv_map_down(const char *name)
{
	return -ENXIO;
}

int csv_map_remove(const char *name, bool force)
{
	return -ENXIO;
}

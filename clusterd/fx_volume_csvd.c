/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Effects on volumes that csvd carries out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/effect.h"
#include "common/cl_cleanup.h"

#define CALL_MS	   30000
#define OWN_MS	   120000
#define RELEASE_MS 120000
#define FILE_MS	   3600000

/* Calls and sets the result; err_done counts as done, too (0: none). */
static void disk_full(struct cd_fx *fx, const char *error)
{
	const struct core_disk *disk = &fx->vm.disks[fx->effect.disk];
	char space[80];

	cd_csvd_space_text(fx->disk_volumes[fx->effect.disk], disk->size_bytes, space,
			   sizeof(space));
	cd_fx_failed(fx, ENOSPC, "node %s: %.90s%s", fx->self, error ? error : strerror(ENOSPC),
		     space);
}

static void csvd_result(struct cd_fx *fx, const char *verb, json_t *args, int timeout_ms,
			int err_done)
{
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result = NULL;
	int rc = cd_csvd_call(verb, args, timeout_ms, &result, &error);

	json_decref(result);
	if (rc == 0 || (err_done && rc == -err_done))
		cd_fx_done(fx);
	else if (rc == -ENOSPC && fx->effect.kind == CORE_FX_DISK_CREATE)
		disk_full(fx, error);
	else
		cd_fx_error(fx, -rc, error);
}

int cd_csvd_attach(struct cd_fx *fx, const char *device, char *error, size_t cap_bytes)
{
	CL_CLEANUP_FREE char *text = NULL;
	char uuid[CD_UUID_TEXT], key[20];
	json_t *result = NULL;
	int rc;

	cd_uuid_text(fx->volume_uuid, uuid);
	snprintf(key, sizeof(key), "%016llx", (unsigned long long)fx->effect.pr_key);
	rc = cd_csvd_call("attach",
			  json_pack("{s:s s:s s:s s:s s:s}", "volume", fx->volume, "uuid", uuid,
				    "lun", fx->lun, "device", device, "prkey", key),
			  CALL_MS, &result, &text);
	fx->result.values[0] = (uint64_t)json_integer_value(json_object_get(result, "instance"));
	json_decref(result);
	if (rc < 0)
		snprintf(error, cap_bytes, "csvd attach: %s", text ? text : strerror(-rc));
	return rc;
}

static json_t *members_json(core_nodes members)
{
	json_t *list = json_array();

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (members & CORE_NODE_BIT(id))
			json_array_append_new(list, json_integer(id));
	return list;
}

void cd_fx_vol_own(struct cd_fx *fx)
{
	json_t *args = json_pack("{s:s s:I s:o s:b}", "volume", fx->volume, "term",
				 (json_int_t)fx->effect.term, "members",
				 members_json(fx->effect.members), "fresh",
				 (fx->effect.flags & CORE_FLAG_FRESH) != 0);

	/* Whom it may serve, with the first word: no moment in between. */
	if (fx->grants)
		json_object_update(args, fx->grants);
	csvd_result(fx, "own", args, OWN_MS, 0);
}

/* A csvd that does not answer may own the volume still; one that is not there owns nothing. */
void cd_fx_vol_release(struct cd_fx *fx)
{
	CL_CLEANUP_FREE char *error = NULL;
	json_t *result = NULL;
	int rc = cd_csvd_call(
		"release",
		json_pack("{s:s s:I}", "volume", fx->volume, "term", (json_int_t)fx->effect.term),
		RELEASE_MS, &result, &error);

	json_decref(result);
	if (rc == 0 || rc == -ENOENT || (rc == -ENOTCONN && cd_csvd_look() == 0))
		cd_fx_done(fx);
	else if (rc == -ENOTCONN)
		cd_fx_unknown(fx, "node %s: %.120s", fx->self, error ? error : strerror(-rc));
	else
		cd_fx_error(fx, -rc, error);
}

void cd_fx_vol_gone(struct cd_fx *fx)
{
	csvd_result(fx, "member-gone", json_pack("{s:i}", "node", fx->effect.peer), CALL_MS, 0);
}

void cd_fx_disk_create(struct cd_fx *fx)
{
	const struct core_disk *disk = &fx->vm.disks[fx->effect.disk];

	csvd_result(fx, "file-create",
		    json_pack("{s:s s:s s:I}", "volume", fx->disk_volumes[fx->effect.disk], "path",
			      disk->path, "size", (json_int_t)disk->size_bytes),
		    FILE_MS, fx->effect.flags & CORE_FLAG_AGAIN ? EEXIST : 0);
}

void cd_fx_disk_delete(struct cd_fx *fx)
{
	const struct core_disk *disk = &fx->vm.disks[fx->effect.disk];

	if (fx->effect.flags & CORE_FLAG_KEEP) {
		csvd_result(fx, "file-disown",
			    json_pack("{s:s s:s s:s}", "volume", fx->disk_volumes[fx->effect.disk],
				      "path", disk->path, "vm", fx->vm.name),
			    CALL_MS, ENOENT);
		return;
	}
	csvd_result(fx, "file-delete",
		    json_pack("{s:s s:s}", "volume", fx->disk_volumes[fx->effect.disk], "path",
			      disk->path),
		    FILE_MS, ENOENT);
}

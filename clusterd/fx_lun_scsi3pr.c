/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Effects on LUNs: admission to a volume, formatting, fencing.  A key is only ever
 * registered here, as part of an admission that the log ordered for this
 * incarnation, and never because it was found missing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/effect.h"
#include "clusterd/luns_scsi3pr.h"
#include "common/cl_log.h"
#include "csv/lun.h"
#include "scsi3pr/scsi3pr.h"

/* All paths of one LUN, open. */
struct paths {
	struct scsi3pr_lun lun;
	struct scsi3pr_dev *dev[SCSI3PR_LUN_PATHS];
	unsigned n;
};

static void paths_close(struct paths *paths)
{
	for (unsigned i = 0; i < paths->n; i++)
		scsi3pr_close(paths->dev[i]);
	paths->n = 0;
}

/* any: those that open will do; else every one of them must. */
static int paths_open(const char *id, bool any, struct paths *paths, char *error,
		      size_t cap_bytes)
{
	char text[SCSI3PR_TEXT_MAX];
	int rc = scsi3pr_lun_find(id, &paths->lun);

	paths->n = 0;
	if (rc < 0 && rc != -ENODEV) {
		snprintf(error, cap_bytes, "LUN %.64s: the disks of this node cannot be looked at: %s", id,
			 strerror(-rc));
		return rc;
	}
	if (rc < 0 || !paths->lun.n_paths) {
		snprintf(error, cap_bytes, "LUN %s is not seen by this node", id);
		return -ENODEV;
	}
	for (unsigned i = 0; i < paths->lun.n_paths && i < SCSI3PR_LUN_PATHS; i++) {
		/* path[i] is always that of dev[i]. */
		memmove(paths->lun.path[paths->n], paths->lun.path[i], sizeof(paths->lun.path[i]));
		rc = scsi3pr_open(paths->lun.path[paths->n], 0, &paths->dev[paths->n], text);
		if (rc < 0) {
			snprintf(error, cap_bytes, "LUN %.64s: %.110s", id, text);
			if (any)
				continue;
			paths_close(paths);
			return rc;
		}
		paths->n++;
	}
	return paths->n ? 0 : rc;
}

static int say(char *error, size_t cap_bytes, int rc, struct scsi3pr_dev *dev, const char *what)
{
	snprintf(error, cap_bytes, "%s: %s: %.120s", scsi3pr_name(dev), what, scsi3pr_error(dev));
	return rc;
}

/*
 * A disk that the kernel met while another's reservation shut this node out (after a fence and a
 * reboot, say) stands there with size 0, because READ CAPACITY was refused.  Now that we are
 * registered, the kernel shall look again.
 */
static void capacity_look_again(const char *path)
{
	const char *base = strrchr(path, '/');
	char file[256];
	long long sectors = 0;
	FILE *f;

	base = base ? base + 1 : path;
	snprintf(file, sizeof(file), "/sys/class/block/%.64s/size", base);
	f = fopen(file, "re");
	if (!f)
		return;
	if (fscanf(f, "%lld", &sectors) != 1)
		sectors = 0;
	fclose(f);
	if (sectors)
		return;
	snprintf(file, sizeof(file), "/sys/class/block/%.64s/device/rescan", base);
	f = fopen(file, "we");
	if (!f)
		return;
	fputs("1", f);
	fclose(f);
}

/* True if another path may have a better answer: this one had none, or no command reached the LUN
 * on it. */
static bool path_is_mute(int err)
{
	err = err < 0 ? -err : err;
	return err == ETIMEDOUT || err == EIO || err == ENXIO || err == ENODEV || err == ENOLINK ||
	       err == ECONNRESET || err == EPIPE;
}

static void path_drop(struct paths *paths, unsigned i)
{
	scsi3pr_close(paths->dev[i]);
	paths->n--;
	memmove(&paths->dev[i], &paths->dev[i + 1], (paths->n - i) * sizeof(paths->dev[0]));
	memmove(&paths->lun.path[i], &paths->lun.path[i + 1],
		(paths->n - i) * sizeof(paths->lun.path[0]));
}

/*
 * Registers key on every path, then sees to the reservation: any member may make it, one that is
 * there already must be of an all-registrants type.  A path on which no command reaches the LUN is
 * left out, if there is another: data never goes that way (the first of those that are left is
 * csvd's).
 */
static int admit(struct paths *paths, uint64_t key, char *error, size_t cap_bytes)
{
	int rc;

	for (unsigned i = 0; i < paths->n;) {
		rc = scsi3pr_register(paths->dev[i], key, true);
		if (rc < 0)
			say(error, cap_bytes, rc, paths->dev[i], "register");
		if (rc < 0 && rc != -ETIMEDOUT && path_is_mute(rc) && paths->n > 1) {
			cl_warning("%s: this path is not used", error);
			path_drop(paths, i);
			continue;
		}
		if (rc < 0)
			return rc;
		capacity_look_again(paths->lun.path[i++]);
	}
	rc = scsi3pr_reserve(paths->dev[0], key, 0, NULL);
	return rc < 0 ? say(error, cap_bytes, rc, paths->dev[0], "reserve") : 0;
}

static int old_key_remove_by(struct scsi3pr_dev *dev, uint64_t key, uint64_t old, char *error,
			     size_t cap_bytes)
{
	struct scsi3pr_fence fence;
	struct scsi3pr_keys *keys = calloc(1, sizeof(*keys));
	bool listed;
	int rc;

	if (!keys)
		return -ENOMEM;
	rc = scsi3pr_keys_read(dev, keys);
	listed = rc == 0 && scsi3pr_keys_have(keys, old);
	free(keys);
	if (rc < 0)
		return say(error, cap_bytes, rc, dev, "read keys");
	if (!listed)
		return 0;
	scsi3pr_fence(dev, key, old, &fence);
	if (fence.proof == SCSI3PR_FENCED || fence.proof == SCSI3PR_KEY_ABSENT)
		return 0;
	snprintf(error, cap_bytes, "%.180s", fence.text);
	return fence.error ? fence.error : -EIO;
}

/* The incarnation before this one is over; its registration may still be on record.  By any path that answers. */
static int old_key_remove(struct paths *paths, uint64_t key, uint64_t old, char *error,
			  size_t cap_bytes)
{
	int rc = -ENODEV;

	for (unsigned i = 0; i < paths->n && path_is_mute(rc); i++)
		rc = old_key_remove_by(paths->dev[i], key, old, error, cap_bytes);
	return rc;
}

void cd_fx_vol_join(struct cd_fx *fx)
{
	char error[CORE_TEXT_MAX] = "";
	struct paths paths;
	int rc = paths_open(fx->lun, true, &paths, error, sizeof(error));

	if (rc == 0) {
		rc = atomic_load(&fx->cancelled) ? -ECANCELED :
						   admit(&paths, fx->effect.pr_key, error,
							 sizeof(error));
		if (rc == 0 && fx->effect.pr_key_old && fx->effect.pr_key_old != fx->effect.pr_key)
			rc = old_key_remove(&paths, fx->effect.pr_key, fx->effect.pr_key_old, error,
					    sizeof(error));
		if (rc == 0)
			rc = cd_csvd_attach(fx, paths.lun.path[0], error, sizeof(error));
		paths_close(&paths);
	}
	if (rc < 0)
		cd_fx_error(fx, -rc, error);
	else
		cd_fx_done(fx);
}

static int format(struct cd_fx *fx, struct paths *paths, char *error, size_t cap_bytes)
{
	struct csv_lun_format params = {
		.name = fx->volume,
		.force = (fx->effect.flags & CORE_FLAG_FORCE) != 0,
	};
	char text[CSV_LUN_TEXT_MAX];
	struct csv_lun *lun;
	int rc = csv_lun_open(paths->lun.path[0], &lun, text);

	if (rc == 0) {
		struct csv_super super;

		memcpy(params.cluster_uuid, fx->cluster_uuid, CL_UUID_BYTES);
		memcpy(params.volume_uuid, fx->volume_uuid, CL_UUID_BYTES);
		/* Asked again after our restart: then it is this very volume already.  What cannot be read may be it. */
		rc = csv_lun_super_read(lun, &super);
		if (rc < 0)
			snprintf(text, sizeof(text), "its superblock cannot be read: %s", strerror(-rc));
		if (rc == -EBADMSG || rc == -ENODATA ||
		    (rc == 0 && memcmp(super.volume_uuid, fx->volume_uuid, CL_UUID_BYTES) != 0))
			rc = csv_lun_format(lun, &params, text);
		csv_lun_close(lun);
	}
	if (rc < 0)
		snprintf(error, cap_bytes, "LUN %.64s: %.110s", fx->lun, text);
	return rc;
}

void cd_fx_vol_format(struct cd_fx *fx)
{
	struct cd_lun_check check = { 0 };
	char error[512] = "";
	struct paths paths = { .n = 0 };
	bool admitted = false;
	int rc = cd_lun_check(fx->lun, true, fx->effect.pr_key, &check, error, sizeof(error));

	if (rc == 0)
		rc = paths_open(fx->lun, false, &paths, error, sizeof(error));
	if (rc == 0) {
		rc = admit(&paths, fx->effect.pr_key, error, sizeof(error));
		admitted = true;
	}
	if (rc == 0)
		rc = format(fx, &paths, error, sizeof(error));
	/* Nothing of a refused volume stays on the LUN. */
	if (rc < 0 && admitted && rc != -ETIMEDOUT)
		for (unsigned i = 0; i < paths.n; i++)
			scsi3pr_unregister(paths.dev[i], fx->effect.pr_key);
	paths_close(&paths);
	if (rc < 0) {
		cd_fx_error(fx, -rc, error);
	} else {
		fx->result.values[0] = check.size_bytes;
		cd_fx_done(fx);
	}
}

/*
 * One path after the other until one answers.  An unknown outcome is never turned into proof by
 * a later path's "the key is absent": our own command may have removed it and its abort may still
 * be running.  A path that came back after the admission is not registered and may do nothing:
 * another is.
 */
static void fence_by_any(struct cd_fx *fx, struct paths *paths, struct scsi3pr_fence *ret_fence)
{
	bool unknown = false;

	for (unsigned i = 0; i < paths->n; i++) {
		memset(ret_fence, 0, sizeof(*ret_fence));
		scsi3pr_fence(paths->dev[i], fx->own_key, fx->effect.pr_key, ret_fence);
		if (ret_fence->proof == SCSI3PR_UNKNOWN)
			unknown = true;
		else if (ret_fence->proof == SCSI3PR_FENCED ||
			 (!path_is_mute(ret_fence->error) && ret_fence->error != -EBADE))
			break;
	}
	if (unknown && ret_fence->proof != SCSI3PR_FENCED)
		ret_fence->proof = SCSI3PR_UNKNOWN;
}

/*
 * Proof only from a key that was seen and is gone by our own PREEMPT AND ABORT.
 * The victim's key of the incarnation before counts as well, where it is listed.
 */
void cd_fx_fence(struct cd_fx *fx)
{
	char error[CORE_TEXT_MAX] = "";
	struct scsi3pr_fence fence;
	struct paths paths;
	int rc = paths_open(fx->lun, true, &paths, error, sizeof(error));

	if (rc == 0 && fx->effect.pr_key_old)
		rc = old_key_remove(&paths, fx->own_key, fx->effect.pr_key_old, error, sizeof(error));
	if (rc < 0) {
		paths_close(&paths);
		cd_fx_error(fx, -rc, error);
		return;
	}
	fence_by_any(fx, &paths, &fence);
	paths_close(&paths);
	switch (fence.proof) {
	case SCSI3PR_FENCED:
		cd_fx_done(fx);
		snprintf(fx->result.text, sizeof(fx->result.text), "%.180s", fence.text);
		break;
	case SCSI3PR_KEY_ABSENT:
		cd_fx_failed(fx, ENOKEY, "%.180s", fence.text);
		break;
	case SCSI3PR_UNKNOWN:
		cd_fx_unknown(fx, "%.180s", fence.text);
		break;
	default:
		cd_fx_failed(fx, fence.error ? -fence.error : EIO, "%.180s", fence.text);
		break;
	}
}

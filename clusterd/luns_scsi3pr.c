/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUNs of this node; see luns_scsi3pr.h. */
#include "clusterd/luns_scsi3pr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clusterd/daemon.h"
#include "csv/lun.h"
#include "scsi3pr/scsi3pr.h"

#define LUNS_MAX 256u

static int say(char *error, size_t cap_bytes, int rc, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int say(char *error, size_t cap_bytes, int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(error, cap_bytes, format, ap);
	va_end(ap);
	return rc;
}

/* Reservations: what the target can do and who holds it now. */
static int reservations_check(const char *id, const char *path, uint64_t own_key, char *error,
			      size_t cap_bytes)
{
	struct scsi3pr_capabilities caps;
	struct scsi3pr_reservation held;
	char text[SCSI3PR_TEXT_MAX];
	struct scsi3pr_dev *dev;
	int rc = scsi3pr_open(path, 0, &dev, text);

	if (rc < 0)
		return say(error, cap_bytes, rc, "LUN %s: %s", id, text);
	rc = scsi3pr_capabilities_read(dev, &caps);
	if (rc < 0)
		rc = say(error, cap_bytes, rc == -ETIMEDOUT ? rc : -EOPNOTSUPP,
			 "LUN %s: no SCSI-3 persistent reservations (%s)", id, scsi3pr_error(dev));
	else if (caps.types_valid && !(caps.types & 1u << 8))
		rc = say(error, cap_bytes, -EOPNOTSUPP,
			 "LUN %s: its target offers reservation types 0x%04x; needed is 8"
			 " (all registrants)",
			 id, caps.types);
	else if (!caps.persist_capable)
		rc = say(error, cap_bytes, -EOPNOTSUPP,
			 "LUN %s: its target cannot keep reservations through a power loss (PTPL)",
			 id);
	if (rc == 0) {
		rc = scsi3pr_reservation_read(dev, &held);
		if (rc < 0)
			rc = say(error, cap_bytes, rc, "LUN %s: %s", id, scsi3pr_error(dev));
		else if (held.held && own_key) {
			struct scsi3pr_keys keys;

			rc = scsi3pr_keys_read(dev, &keys);
			if (rc == 0 && !scsi3pr_keys_have(&keys, own_key))
				rc = say(error, cap_bytes, -EBUSY,
					 "LUN %s is reserved by somebody else: type %s, %u keys, the"
					 " first is 0x%016llx; `scsi3pr keys %s` lists them",
					 id, scsi3pr_type_name(held.type), keys.n,
					 (unsigned long long)(keys.n ? keys.key[0] : 0), path);
		}
	}
	scsi3pr_close(dev);
	return rc;
}

int cd_lun_check(const char *id, bool force, uint64_t own_key, struct cd_lun_check *ret_check,
		 char *error, size_t cap_bytes)
{
	struct csv_lun_probe *probe;
	char text[CSV_LUN_TEXT_MAX];
	struct scsi3pr_lun lun;
	struct csv_lun *open;
	int rc = scsi3pr_lun_find(id, &lun);

	if (rc < 0 && rc != -ENODEV)
		return say(error, cap_bytes, rc, "LUN %s: the disks of this node cannot be looked at: %s", id,
			   strerror(-rc));
	if (rc < 0 || !lun.n_paths)
		return say(error, cap_bytes, -ENODEV,
			   "LUN %s is not seen by this node; `clusterctl lun list` shows those that are",
			   id);
	ret_check->size_bytes = lun.size_bytes;
	rc = reservations_check(id, lun.path[0], own_key, error, cap_bytes);
	if (rc < 0)
		return rc;
	rc = csv_lun_open(lun.path[0], &open, text);
	if (rc < 0)
		return say(error, cap_bytes, rc, "LUN %s: %s", id, text);
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		abort();
	rc = csv_lun_probe(open, probe, text);
	csv_lun_close(open);
	if (rc < 0)
		rc = say(error, cap_bytes, rc, "LUN %s: %s", id, text);
	else if (probe->too_small)
		rc = say(error, cap_bytes, -ENOSPC, "LUN %s is too small: %llu MiB, at least %llu MiB",
			 id, (unsigned long long)(probe->size_bytes >> 20),
			 (unsigned long long)(CSV_LUN_SIZE_MIN >> 20));
	else if (probe->in_use)
		rc = say(error, cap_bytes, -EBUSY, "LUN %s is in use on this node: %s", id,
			 probe->found[0] ? probe->found : lun.path[0]);
	else if (probe->has_data && !force)
		rc = say(error, cap_bytes, -EEXIST,
			 "LUN %s carries data: %s; --force overwrites it", id, probe->found);
	free(probe);
	return rc;
}

/* ---- list ----------------------------------------------------------------------------------- */

struct luns_job {
	struct cd_job job;
	struct cd *cd;
	struct cd_ipc_call *call;
	int rc;
	size_t n;
	struct scsi3pr_lun luns[LUNS_MAX];
	char found[LUNS_MAX][CSV_LUN_TEXT_MAX];
};

static void luns_run(struct cd_job *job)
{
	struct luns_job *luns = (struct luns_job *)job;
	struct csv_lun_probe *probe = calloc(1, sizeof(*probe));

	luns->rc = scsi3pr_luns_list(luns->luns, LUNS_MAX, &luns->n);
	for (size_t i = 0; probe && i < luns->n; i++) {
		struct csv_lun *open;
		char text[CSV_LUN_TEXT_MAX];

		if (!luns->luns[i].n_paths ||
		    csv_lun_open(luns->luns[i].path[0], &open, text) < 0)
			continue;
		if (csv_lun_probe(open, probe, text) == 0)
			snprintf(luns->found[i], sizeof(luns->found[i]), "%s", probe->found);
		csv_lun_close(open);
	}
	free(probe);
}

static const char *volume_of(const struct cd *cd, const char *id)
{
	const struct core_state *st = cd_state(cd);

	for (uint16_t i = 0; st && i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED &&
		    strcasecmp(st->volumes[i].lun, id) == 0)
			return st->volumes[i].name;
	return NULL;
}

static void luns_done(struct cd_job *job)
{
	struct luns_job *luns = (struct luns_job *)job;
	json_t *list = json_array();

	for (size_t i = 0; i < luns->n; i++) {
		const struct scsi3pr_lun *lun = &luns->luns[i];
		const char *volume = volume_of(luns->cd, lun->id);
		json_t *paths = json_array();

		for (unsigned p = 0; p < lun->n_paths; p++)
			json_array_append_new(paths, json_string(lun->path[p]));
		json_array_append_new(
			list,
			json_pack("{s:s s:I s:I s:o s:s s:s s:s s:o}", "id", lun->id, "size",
				  (json_int_t)lun->size_bytes, "block",
				  (json_int_t)lun->block_bytes, "paths", paths, "vendor",
				  lun->vendor, "product", lun->product, "found", luns->found[i],
				  "volume", volume ? json_string(volume) : json_null()));
	}
	if (luns->rc < 0 && luns->rc != -ENOSPC) {
		json_decref(list);
		cd_ipc_reply_error(luns->call, -luns->rc, "the SCSI disks cannot be listed: %s",
				   strerror(-luns->rc));
	} else {
		cd_ipc_reply(luns->call, json_pack("{s:b s:o}", "ok", 1, "luns", list));
	}
	free(luns);
}

void cd_luns_list(struct cd *cd, struct cd_ipc_call *call)
{
	struct luns_job *luns = calloc(1, sizeof(*luns));

	if (!luns)
		abort();
	luns->job = (struct cd_job){ .run = luns_run, .done = luns_done };
	luns->cd = cd;
	luns->call = call;
	cd_pool_submit(cd->work, &luns->job);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See diskjournal.h.  Never believes a file that others may have written: the folder is root's.
 */
#include "csv/diskjournal.h"

#include "common/cl_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void path_of(const struct csvd *d, const char *map, char *ret, size_t cap)
{
	snprintf(ret, cap, "%s/csvd/%s.json", d->run_dir, map);
}

int csv_diskjournal_write(const struct csv_disk *disk)
{
	char path[CSVD_PATH * 2], temp[CSVD_PATH * 2 + 8];
	json_t *j;
	int rc;

	if (!disk->map[0])
		return 0;
	path_of(disk->v->d, disk->map, path, sizeof(path));
	snprintf(temp, sizeof(temp), "%s.new", path);
	j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I}", "map", disk->map, "volume",
		      disk->v->name, "path", disk->path, "vm", disk->vm, "secret", disk->secret,
		      "ino", (json_int_t)disk->node->fh.ino, "gen", (json_int_t)disk->node->fh.gen,
		      "generation", (json_int_t)disk->generation);
	if (!j)
		return -ENOMEM;
	rc = json_dump_file(j, temp, JSON_COMPACT) ? -EIO : 0;
	json_decref(j);
	if (!rc && (chmod(temp, 0600) || rename(temp, path)))
		rc = -errno;
	return rc;
}

void csv_diskjournal_remove_name(struct csvd *d, const char *map)
{
	char path[CSVD_PATH * 2];

	path_of(d, map, path, sizeof(path));
	(void)unlink(path);
}

static bool text_get(const json_t *j, const char *key, char *ret, size_t cap)
{
	const char *s = json_string_value(json_object_get(j, key));

	if (!s || strlen(s) >= cap)
		return false;
	strcpy(ret, s);
	return true;
}

void csv_diskjournal_each(struct csvd *d, void (*fn)(void *arg, const struct csv_diskjournal *j),
			  void *arg)
{
	struct csv_diskjournal *e = calloc(1, sizeof(*e));
	char dir[CSVD_PATH + 8], path[CSVD_PATH * 3];
	const struct dirent *de;
	DIR *dh;

	snprintf(dir, sizeof(dir), "%s/csvd", d->run_dir);
	dh = opendir(dir);
	while (e && dh && (de = readdir(dh))) {
		size_t len = strlen(de->d_name);
		json_t *j;

		if (len < 6 || strcmp(de->d_name + len - 5, ".json"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		j = json_load_file(path, 0, NULL);
		e->fh.ino = (uint64_t)json_integer_value(json_object_get(j, "ino"));
		e->fh.gen = (uint32_t)json_integer_value(json_object_get(j, "gen"));
		e->generation = (uint64_t)json_integer_value(json_object_get(j, "generation"));
		if (text_get(j, "map", e->map, sizeof(e->map)) &&
		    text_get(j, "volume", e->volume, sizeof(e->volume)) &&
		    text_get(j, "path", e->path, sizeof(e->path)) &&
		    text_get(j, "vm", e->vm, sizeof(e->vm)) &&
		    text_get(j, "secret", e->secret, sizeof(e->secret)))
			fn(arg, e);
		else
			cl_warning("%s does not parse; skipped", path);
		json_decref(j);
	}
	if (dh)
		closedir(dh);
	free(e);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See diskjournal.h.  Never believes a file that others may have written: the folder is root's.
 */
#include "csv/diskjournal.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRY_MAX 65536u

static void path_of(const struct csvd *d, const char *name, char *ret, size_t cap)
{
	snprintf(ret, cap, "%s/csvd/%s.json", d->run_dir, name);
}

int csv_diskjournal_write(const struct csv_disk *disk)
{
	char path[CSVD_PATH * 2], temp[CSVD_PATH * 2 + 8];
	json_t *j;
	int rc;

	path_of(disk->v->d, disk->journal, path, sizeof(path));
	snprintf(temp, sizeof(temp), "%s.new", path);
	j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "map", disk->map, "volume",
		      disk->v->name, "path", disk->path, "vm", disk->vm, "secret", disk->secret,
		      "ino", (json_int_t)disk->node->fh.ino, "gen", (json_int_t)disk->node->fh.gen,
		      "generation", (json_int_t)disk->generation, "size",
		      (json_int_t)disk->size, "pid", (json_int_t)disk->pid,
		      "pid_start", (json_int_t)disk->pid_start);
	if (!j)
		return -ENOMEM;
	rc = json_dump_file(j, temp, JSON_COMPACT) ? -EIO : 0;
	json_decref(j);
	if (!rc && (chmod(temp, 0600) || rename(temp, path)))
		rc = -errno;
	return rc;
}

void csv_diskjournal_remove_name(struct csvd *d, const char *name)
{
	char path[CSVD_PATH * 2];

	path_of(d, name, path, sizeof(path));
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

static int file_read(const char *path, char **ret_text)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	CL_CLEANUP_FREE char *text = malloc(ENTRY_MAX);
	size_t at = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (!text)
		return -ENOMEM;
	while ((n = read(fd, text + at, ENTRY_MAX - 1 - at)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	text[at] = 0;
	*ret_text = cl_steal_ptr(text);
	return 0;
}

/* 0; -EBADMSG: no entry; any other error: not known. */
static int entry_read(const char *path, struct csv_diskjournal *e)
{
	CL_CLEANUP_FREE char *text = NULL;
	json_error_t error;
	json_t *j;
	int rc = file_read(path, &text);

	if (rc < 0)
		return rc;
	j = json_loads(text, 0, &error);
	if (!j)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
	e->fh.ino = (uint64_t)json_integer_value(json_object_get(j, "ino"));
	e->fh.gen = (uint32_t)json_integer_value(json_object_get(j, "gen"));
	e->generation = (uint64_t)json_integer_value(json_object_get(j, "generation"));
	e->size = (uint64_t)json_integer_value(json_object_get(j, "size"));
	e->pid = (pid_t)json_integer_value(json_object_get(j, "pid"));
	e->pid_start = (uint64_t)json_integer_value(json_object_get(j, "pid_start"));
	if (!text_get(j, "map", e->map, sizeof(e->map)) ||
	    !text_get(j, "volume", e->volume, sizeof(e->volume)) ||
	    !text_get(j, "path", e->path, sizeof(e->path)) ||
	    !text_get(j, "vm", e->vm, sizeof(e->vm)) ||
	    !text_get(j, "secret", e->secret, sizeof(e->secret)))
		rc = -EBADMSG;
	json_decref(j);
	return rc;
}

int csv_diskjournal_each(struct csvd *d, int (*fn)(void *arg, const struct csv_diskjournal *j),
			 void *arg)
{
	CL_CLEANUP_FREE struct csv_diskjournal *e = calloc(1, sizeof(*e));
	char dir[CSVD_PATH + 8], path[CSVD_PATH * 3];
	const struct dirent *de;
	int rc = 0;
	DIR *dh;

	if (!e)
		return -ENOMEM;
	snprintf(dir, sizeof(dir), "%s/csvd", d->run_dir);
	dh = opendir(dir);
	if (!dh)
		return -errno;
	while (!rc && (errno = 0, de = readdir(dh))) {
		size_t len = strlen(de->d_name);

		if (len < 6 || len - 5 >= sizeof(e->name) || strcmp(de->d_name + len - 5, ".json"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		rc = entry_read(path, e);
		if (rc == -EBADMSG) {
			cl_warning("%s does not parse; skipped", path);
			rc = 0;
			continue;
		}
		snprintf(e->name, sizeof(e->name), "%.*s", (int)(len - 5), de->d_name);
		if (!rc)
			rc = fn(arg, e);
	}
	if (!rc && errno)
		rc = -errno;
	closedir(dh);
	return rc;
}

uint64_t csv_proc_start(pid_t pid)
{
	char path[48], *at;
	CL_CLEANUP_FREE char *text = NULL;
	unsigned long long start = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, &text) < 0)
		return 0;
	/* Behind the name, which may hold anything: state is field 3, starttime 22 (proc(5)). */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %llu", &start) == 1 ? start : 0;
}

int csv_proc_look(pid_t pid, uint64_t start, int *ret_pidfd)
{
	CL_CLEANUP_CLOSE int fd = -1;
	struct pollfd p = {.events = POLLIN};
	uint64_t now;

	if (pid <= 1)
		return -ENODATA;
	fd = (int)syscall(SYS_pidfd_open, pid, 0u);
	if (fd < 0)
		return errno == ESRCH ? 0 : -errno;
	p.fd = fd;
	if (poll(&p, 1, 0) == 1)
		return 0;
	/* Another process with its number has begun later.  What cannot be read counts as the same one. */
	now = csv_proc_start(pid);
	if (start && now && now != start)
		return 0;
	if (ret_pidfd)
		*ret_pidfd = cl_steal_fd(&fd);
	return 1;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths and whole files; see paths_linux.h. */
#include "clusterd/paths_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_types.h"

static const struct {
	const char *variable, *standard;
} dirs[] = {
	[CD_DIR_RUN] = { "HOLDFAST_RUN_DIR", "/run/holdfast" },
	[CD_DIR_STATE] = { "HOLDFAST_STATE_DIR", "/var/lib/holdfast" },
	[CD_DIR_STORAGE] = { "HOLDFAST_STORAGE_DIR", "/clusterstorage" },
	[CD_DIR_COROSYNC] = { "HOLDFAST_COROSYNC_DIR", "/etc/corosync" },
};

const char *cd_path_dir(enum cd_dir dir)
{
	const char *value = getenv(dirs[dir].variable);

	return value && value[0] == '/' && strlen(value) < CD_PATH_MAX / 2 ? value :
									      dirs[dir].standard;
}

void cd_path(char *out, size_t cap_bytes, enum cd_dir dir, const char *format, ...)
{
	int n = snprintf(out, cap_bytes, "%s/", cd_path_dir(dir)), m;
	va_list ap;

	if (n < 0 || (size_t)n >= cap_bytes)
		abort();
	va_start(ap, format);
	m = vsnprintf(out + n, cap_bytes - (size_t)n, format, ap);
	va_end(ap);
	if (m < 0 || (size_t)m >= cap_bytes - (size_t)n)
		abort();
}

void cd_path_program(char *out, size_t cap_bytes, const char *name)
{
	static const char *const standard[] = { HF_LIBEXECDIR, HF_SBINDIR, "/usr/bin" };
	const char *moved = getenv("HOLDFAST_LIBEXEC_DIR");

	if (moved && moved[0] == '/') {
		snprintf(out, cap_bytes, "%s/%s", moved, name);
		return;
	}
	for (unsigned i = 0; i < CL_ARRAY_LEN(standard); i++) {
		snprintf(out, cap_bytes, "%s/%s", standard[i], name);
		if (access(out, X_OK) == 0)
			return;
	}
	snprintf(out, cap_bytes, "%s/%s", standard[0], name);
}

int cd_path_mkdirs(const char *path, mode_t mode)
{
	char buf[CD_PATH_MAX];

	if (strlen(path) >= sizeof(buf))
		return -ENAMETOOLONG;
	strcpy(buf, path);
	for (char *p = buf + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(buf, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (c == '\0')
			return 0;
	}
}

int cd_file_read(const char *path, size_t max_bytes, char **ret_data, size_t *ret_len)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	CL_CLEANUP_FREE char *data = NULL;
	size_t len = 0;

	if (fd < 0)
		return -errno;
	data = malloc(max_bytes + 2);
	if (!data)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, data + len, max_bytes + 1 - len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max_bytes)
			return -EFBIG;
	}
	data[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret_data = cl_steal_ptr(data);
	return 0;
}

static int write_all(int fd, const char *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = write(fd, data, len_bytes);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int cd_file_write(const char *path, mode_t mode, const void *data, size_t len_bytes)
{
	char tmp[CD_PATH_MAX + 8], folder[CD_PATH_MAX];
	CL_CLEANUP_CLOSE int fd = -1;
	CL_CLEANUP_CLOSE int dir_fd = -1;
	int rc;

	if (strlen(path) >= CD_PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	strcpy(folder, path);
	dir_fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	if (unlink(tmp) < 0 && errno != ENOENT)
		return -errno;
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, data, len_bytes);
	if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		rc = -errno;
	if (rc == 0 && rename(tmp, path) < 0)
		rc = -errno;
	if (rc < 0) {
		unlink(tmp);
		return rc;
	}
	return fsync(dir_fd) < 0 ? -errno : 0;
}

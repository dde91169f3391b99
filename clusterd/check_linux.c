/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of names and files; see check_linux.h. */
#include "clusterd/check_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/core/core.h"
#include "common/cl_cleanup.h"

#define SETUP_OFFSET   0x1f1
#define BOOT_FLAG      0x1fe
#define HEADER_MAGIC   0x202
#define HEADER_VERSION 0x206
#define XLOADFLAGS     0x236
#define XLF_KERNEL_64  1u
#define VERSION_MIN    0x020c /* xloadflags */

int cd_check_file(const char *path, const char *what, char *error, size_t cap_bytes)
{
	struct stat st;
	int rc = stat(path, &st) < 0 ? -errno : 0;

	if (rc < 0)
		snprintf(error, cap_bytes, "%s %.200s: %s on this node", what, path, strerror(-rc));
	else if (!S_ISREG(st.st_mode) || st.st_size == 0) {
		snprintf(error, cap_bytes, "%s %.200s: not a file with content", what, path);
		rc = -EINVAL;
	}
	return rc;
}

int cd_check_kernel(const char *path, char *error, size_t cap_bytes)
{
	CL_CLEANUP_CLOSE int fd = -1;
	uint8_t head[1024] = { 0 };
	unsigned version;
	int rc = cd_check_file(path, "kernel", error, cap_bytes);

	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, head, sizeof(head), 0) < 0) {
		snprintf(error, cap_bytes, "kernel %.200s: %s", path, strerror(errno));
		return -EIO;
	}
	version = head[HEADER_VERSION] | (unsigned)head[HEADER_VERSION + 1] << 8;
	if (head[BOOT_FLAG] != 0x55 || head[BOOT_FLAG + 1] != 0xaa ||
	    memcmp(head + HEADER_MAGIC, "HdrS", 4) != 0) {
		snprintf(error, cap_bytes,
			 "kernel %.200s: not a Linux kernel (no bzImage header at 0x202)", path);
		return -EINVAL;
	}
	if (version < VERSION_MIN || !(head[XLOADFLAGS] & XLF_KERNEL_64)) {
		snprintf(error, cap_bytes,
			 "kernel %.200s: boot protocol %u.%02u without a 64-bit entry: needed is a"
			 " 64-bit kernel of protocol 2.12 or later",
			 path, version >> 8, version & 0xff);
		return -EINVAL;
	}
	return 0;
}

int cd_check_bridge(const char *name, char *error, size_t cap_bytes)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/net/%.64s/bridge", name);
	if (stat(path, &st) == 0)
		return 0;
	if (errno != ENOENT && errno != ENOTDIR) {
		int rc = -errno;

		snprintf(error, cap_bytes, "switch %.64s: %s cannot be looked at: %s", name, path,
			 strerror(-rc));
		return rc;
	}
	snprintf(error, cap_bytes, "switch %.64s: there is no bridge of that name on this node",
		 name);
	return -ENODEV;
}

int cd_check_uid(unsigned uid, const char *file, char *error, size_t cap_bytes)
{
	FILE *f = fopen(file, "re");
	char line[256], user[64];
	unsigned long long first, count;
	int rc = 0, number = 0;

	if (!f && errno == ENOENT)
		return 0;
	if (!f) {
		rc = -errno;
		snprintf(error, cap_bytes, "%s: %s", file, strerror(-rc));
		return rc;
	}
	while (rc == 0 && fgets(line, sizeof(line), f)) {
		number++;
		if (line[0] == '#' || line[strspn(line, " \t\n")] == '\0')
			continue;
		if (sscanf(line, "%63[^:]:%llu:%llu", user, &first, &count) != 3) {
			snprintf(error, cap_bytes,
				 "%s line %d: not understood; allowed: user:first:count", file,
				 number);
			rc = -EBADMSG;
		} else if (uid >= first && uid - first < count) {
			snprintf(error, cap_bytes,
				 "%s line %d: %llu ids from %llu are given to %s; the VM's user %u "
				 "is among them",
				 file, number, count, first, user, uid);
			rc = -EADDRINUSE;
		}
	}
	if (rc == 0 && ferror(f)) {
		snprintf(error, cap_bytes, "%s: cannot be read", file);
		rc = -EIO;
	}
	fclose(f);
	return rc;
}

bool cd_check_path_valid(const char *path)
{
	const char *p = path;

	if (!*path || strlen(path) >= CORE_PATH_MAX)
		return false;
	for (;;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || n > 255 || (n == 1 && p[0] == '.') ||
		    (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
				return false;
		if (p == path && n == 9 && strncmp(p, ".holdfast", 9) == 0)
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

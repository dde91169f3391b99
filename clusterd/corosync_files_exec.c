/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corosync's files and service; see corosync_files_exec.h.  `service` does for
 * sysv init and for systemd alike.
 */
#include "clusterd/corosync_files_exec.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/exec_linux.h"
#include "clusterd/paths_linux.h"
#include "clusterd/quorum_votequorum.h"
#include "common/cl_cleanup.h"

#define OURS	   "# Written by Holdfast"
#define SERVICE_MS 90000
#define ANSWER_S   30

static void conf_path(char out[CD_PATH_MAX], const char *name)
{
	cd_path(out, CD_PATH_MAX, CD_DIR_COROSYNC, "%s", name);
}

/* A file that somebody else wrote is kept as NAME.before-holdfast. */
static void keep_aside(const char *path)
{
	CL_CLEANUP_FREE char *old = NULL;
	char aside[CD_PATH_MAX + 32];

	if (cd_file_read(path, 65536, &old, NULL) < 0 || strncmp(old, OURS, sizeof(OURS) - 1) == 0)
		return;
	snprintf(aside, sizeof(aside), "%s.before-holdfast", path);
	rename(path, aside);
}

int cd_corosync_write(const struct cd_conf *conf, const void *authkey, size_t authkey_bytes)
{
	CL_CLEANUP_FREE char *text = malloc(CD_COROSYNC_CONF_MAX);
	char path[CD_PATH_MAX];
	long len;
	int rc;

	if (!text)
		return -ENOMEM;
	len = cd_corosync_conf_write(conf, text, CD_COROSYNC_CONF_MAX);
	if (len < 0)
		return (int)len;
	rc = cd_path_mkdirs(cd_path_dir(CD_DIR_COROSYNC), 0755);
	if (rc == 0 && authkey) {
		conf_path(path, "authkey");
		rc = cd_file_write(path, 0400, authkey, authkey_bytes);
	}
	if (rc < 0)
		return rc;
	conf_path(path, "corosync.conf");
	keep_aside(path);
	return cd_file_write(path, 0644, text, (size_t)len);
}

void cd_corosync_undo(void)
{
	char path[CD_PATH_MAX], aside[CD_PATH_MAX + 32];

	conf_path(path, "authkey");
	unlink(path);
	conf_path(path, "corosync.conf");
	unlink(path);
	snprintf(aside, sizeof(aside), "%s.before-holdfast", path);
	rename(aside, path);
}

static void votes_ignore(void *arg, const struct cd_votes *votes)
{
}

static bool answers(void)
{
	struct cd_quorum *quorum;

	if (cd_quorum_open(votes_ignore, NULL, &quorum) < 0)
		return false;
	cd_quorum_close(quorum);
	return true;
}

/* The last line of a program's output, without control bytes. */
static void last_line(char *text)
{
	char *end = text + strlen(text), *start;

	while (end > text && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	start = strrchr(text, '\n');
	if (start)
		memmove(text, start + 1, strlen(start + 1) + 1);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

int cd_corosync_start(bool restart, char *error, size_t cap_bytes)
{
	const char *const argv[] = { "service", "corosync", restart ? "restart" : "start", NULL };
	char out[2048];
	int rc;

	if (!restart && answers())
		return 0;
	rc = cd_exec_run(argv, SERVICE_MS, out, sizeof(out));
	last_line(out);
	if (rc != 0) {
		snprintf(error, cap_bytes, "`service corosync %s` failed: %.300s", argv[2],
			 rc < 0		    ? strerror(-rc) :
			 rc == 127 && !*out ? "there is no program `service`" :
					      out);
		return -EIO;
	}
	for (int i = 0; i < ANSWER_S * 10; i++) {
		if (answers())
			return 0;
		poll(NULL, 0, 100);
	}
	snprintf(error, cap_bytes,
		 "corosync was started but does not answer after %d s; see /var/log/corosync", ANSWER_S);
	return -ETIMEDOUT;
}

int cd_corosync_reload(char *error, size_t cap_bytes)
{
	const char *const argv[] = { "corosync-cfgtool", "-R", NULL };
	char out[2048];
	int rc = cd_exec_run(argv, SERVICE_MS, out, sizeof(out));

	if (rc == 0)
		return 0;
	last_line(out);
	snprintf(error, cap_bytes, "`corosync-cfgtool -R` failed: %.300s", rc < 0 ? strerror(-rc) : out);
	return -EIO;
}

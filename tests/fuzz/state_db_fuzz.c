/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.db, damaged in any way, as clusterd reads it at its start: refused with one line that names the file, or a log that
 * goes on.
 *
 * fuzz-sources: clusterd/store_sqlite.c clusterd/post_linux.c clusterd/paths_linux.c clusterd/core/[a-z]*.c clusterd/log/[a-z]*.c common/cl_types.c common/cl_wire.c
 * fuzz-flags: -DHF_LIBEXECDIR="/x" -DHF_SBINDIR="/x" -lsqlite3 -lpthread
 */
#include "clusterd/store_sqlite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct replica replica;

static void sink(void *arg, const struct replica_out *out)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t uuid[CL_UUID_BYTES] = { 1, 2, 3 };
	static char path[64], part[80];
	struct cd_store *store = NULL;
	char *error = NULL;
	uint64_t commit = 0;
	bool empty;
	int fd, rc;

	snprintf(path, sizeof(path), "/dev/shm/hf-fuzz-%d.db", getpid());
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	rc = cd_store_open(path, uuid, 1, false, &store, &error);
	if (rc == 0) {
		replica_init(&replica, 1, uuid, 77, sink, NULL);
		rc = cd_store_restore(store, &replica, &commit, &empty, &error);
		if (rc == 0)
			(void)replica_start(&replica, 0, commit);
		cd_store_close(store);
	}
	if (rc < 0 && (!error || !strstr(error, path) || strchr(error, '\n')))
		abort();
	free(error);
	unlink(path);
	snprintf(part, sizeof(part), "%s-wal", path);
	unlink(part);
	snprintf(part, sizeof(part), "%s-shm", path);
	unlink(part);
	return 0;
}

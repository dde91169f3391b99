/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node.json, damaged or edited by hand: refused with one line that names the file, or whole.
 *
 * fuzz-sources: clusterd/node_file_jansson.c clusterd/field_jansson.c clusterd/paths_linux.c common/cl_types.c common/cl_wire.c
 * fuzz-flags: -DHF_LIBEXECDIR="/x" -DHF_SBINDIR="/x" -ljansson
 */
#include "clusterd/node_file_jansson.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cd_node_file file;
	char *error = NULL, path[32];
	int fd = memfd_create("node.json", 0), rc;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = cd_node_file_read(path, &file, &error);
	if (rc < 0 && (!error || !strstr(error, path) || strchr(error, '\n')))
		abort();
	if (rc == 0 && (!cl_name_valid(file.name) || !cl_name_valid(file.cluster) || !file.id ||
			file.id > CL_NODES_MAX))
		abort();
	free(error);
	close(fd);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two kinds of link: TLS (common/cl_tls.h) and plain file.
 */
#include "vmm/migration/link.h"

#include <errno.h>
#include <unistd.h>

#include "common/cl_tls.h"

static int tls_write(struct vmm_link *link, const void *buf, size_t len_bytes)
{
	int r = cl_tls_write(link->tls, buf, len_bytes);

	if (!r)
		link->written_bytes += len_bytes;
	return r;
}

static int tls_read(struct vmm_link *link, void *buf, size_t len_bytes)
{
	return cl_tls_read(link->tls, buf, len_bytes);
}

static int file_write(struct vmm_link *link, const void *buf, size_t len_bytes)
{
	const char *p = buf;

	while (len_bytes) {
		ssize_t n = write(link->fd, p, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len_bytes -= (size_t)n;
		link->written_bytes += (uint64_t)n;
	}
	return 0;
}

static int file_read(struct vmm_link *link, void *buf, size_t len_bytes)
{
	char *p = buf;

	while (len_bytes) {
		ssize_t n = read(link->fd, p, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

void vmm_link_tls(struct vmm_link *link, struct cl_tls *tls)
{
	*link = (struct vmm_link){ .write = tls_write, .read = tls_read, .tls = tls, .fd = -1 };
}

void vmm_link_file(struct vmm_link *link, int fd)
{
	*link = (struct vmm_link){ .write = file_write, .read = file_read, .fd = fd };
}

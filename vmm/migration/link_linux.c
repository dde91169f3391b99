/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The link between two nodes: TLS (common/cl_tls.h).
 */
#include "vmm/migration/link.h"

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

void vmm_link_tls(struct vmm_link *link, struct cl_tls *tls)
{
	*link = (struct vmm_link){ .write = tls_write, .read = tls_read, .tls = tls };
}

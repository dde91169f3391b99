/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A message of the owner's RPC and of the local socket: decoded or refused; what decodes encodes to
 * the same bytes.
 *
 * fuzz-sources: csv/proto.c csv/local.c common/cl_types.c common/cl_wire.c
 */
#include "csv/local.h"
#include "csv/proto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[CSV_RPC_BODY_MAX + CSV_RPC_HEADER_BYTES];
	static struct csv_wire_extent extents[64];
	static struct csv_local_msg local;
	static struct csv_rpc_msg msg;
	struct csv_rpc_hdr hdr;

	(void)csv_local_decode(data, size, &local);
	(void)csv_extents_decode(data, size, 4096, extents, 64);
	if (size < CSV_RPC_HEADER_BYTES || csv_rpc_header_decode(data, &hdr) ||
	    hdr.body_bytes != size - CSV_RPC_HEADER_BYTES)
		return 0;
	if (csv_rpc_body_decode(&hdr, data + CSV_RPC_HEADER_BYTES, &msg))
		return 0;
	if (csv_rpc_encode(&hdr, &msg, again, sizeof(again)) != (long)size || memcmp(again, data, size))
		abort();
	return 0;
}

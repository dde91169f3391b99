/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration stream's receiver on hostile bytes: a machine of 64 pages takes
 * whatever comes.  The first byte of the input chooses between bytes as they are and sections
 * whose hashes are made right, so that the fuzzer gets past them.
 *
 * fuzz-sources: vmm/migration/stream.c vmm/migration/machine.c vmm/migration/recv_linux.c vmm/migration/util_linux.c
 * fuzz-sources: common/cl_wire.c common/cl_types.c
 */
#include "vmm/migration/recv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
	struct vmm_link link;
	const uint8_t *data;
	size_t len, at;
	uint8_t made[1u << 16]; /* the stream with right hashes */
};

static int in_read(struct vmm_link *link, void *buf, size_t len)
{
	struct input *in = (struct input *)link;

	if (len > in->len - in->at)
		return -ENODATA;
	memcpy(buf, in->data + in->at, len);
	in->at += len;
	return 0;
}

static int in_write(struct vmm_link *link, const void *buf, size_t len)
{
	return 0;
}

static int load(void *arg, const struct vmm_mig_state *s, char **ret_error)
{
	return 0;
}

/* Sections of the input: type, instance, length (16 bits), payload. */
static void make(struct input *in, const uint8_t *data, size_t len)
{
	struct vmm_stream_config c = { .name = "fuzz", .memory_bytes = PAGES * 4096, .cpus = 1,
				       .devices = 1 };
	uint8_t *out = in->made, config[256];
	struct vmm_stream s;
	long n = vmm_stream_config_encode(&c, config, sizeof(config));

	vmm_stream_init(&s);
	vmm_stream_header_encode(&s, out);
	out += VMM_STREAM_HEADER_BYTES;
	vmm_section_seal(&s, VMM_SECTION_CONFIG, 0, config, (size_t)n, out);
	memcpy(out + VMM_SECTION_HEADER_BYTES, config, (size_t)n);
	out += VMM_SECTION_HEADER_BYTES + n;
	while (len >= 4) {
		size_t body = (size_t)data[2] | (size_t)data[3] << 8;

		if (body > len - 4)
			body = len - 4;
		if ((size_t)(out - in->made) + VMM_SECTION_HEADER_BYTES + body > sizeof(in->made))
			break;
		vmm_section_seal(&s, data[0] % 10, data[1], data + 4, body, out);
		memcpy(out + VMM_SECTION_HEADER_BYTES, data + 4, body);
		out += VMM_SECTION_HEADER_BYTES + body;
		data += 4 + body;
		len -= 4 + body;
	}
	in->data = in->made;
	in->len = (size_t)(out - in->made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t ram[PAGES * 4096];
	struct vmm_mig_machine m = {
		.config = { .name = "fuzz", .memory_bytes = PAGES * 4096, .cpus = 1, .devices = 1 },
		.regions = { { 0, 0, PAGES / 2, ram },
			     { 1ull << 32, PAGES / 2, PAGES / 2, ram + PAGES / 2 * 4096 } },
		.n_regions = 2,
		.pages = PAGES,
		.load = load,
	};
	struct vmm_recv_stats stats = { 0 };
	struct vmm_recv_params params = { 0 };
	struct input *in = calloc(1, sizeof(*in));
	char *error = NULL;
	int r;

	if (!in || !len) {
		free(in);
		return 0;
	}
	in->link = (struct vmm_link){ .read = in_read, .write = in_write };
	if (data[0] & 1)
		make(in, data + 1, len - 1);
	else
		in->data = data + 1, in->len = len - 1;
	params.live = !(data[0] & 2);
	r = vmm_recv(&m, &in->link, &params, &stats, &error);
	if (r && !error)
		abort(); /* a refusal always says why */
	free(error);
	free(in);
	return 0;
}

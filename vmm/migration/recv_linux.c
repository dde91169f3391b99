/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receives a machine from another vmm or from a file.
 *
 * Memory goes in place as it comes (the machine has never run, so a stream that
 * turns out bad costs nothing but this process); state is kept aside and loaded only once END
 * has shown that everything is there.  The stream is hostile: every page is checked against
 * the machine's own memory, every piece of state against its counts.
 */
#include "vmm/migration/recv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cl_cleanup.h"
#include "vmm/migration/util.h"

/* A clock is moved on by at most this over a time in a file; see docs/formats/migration.md. */
#define FILE_AGE_MAX_NS 300000000000ull

struct receiver {
	const struct vmm_mig_machine *m;
	struct vmm_link *link;
	const struct vmm_recv_params *params;
	struct vmm_recv_stats *stats;
	struct vmm_stream stream;
	struct vmm_stream replies;
	uint8_t *payload;
	uint64_t *seen; /* pages written so far: others are zero without a touch */
	struct vmm_mig_state state;
	uint32_t vcpus, devices; /* pieces of state so far */
	uint64_t sections;
	struct vmm_stream_config theirs;
	struct vmm_stream_end end;
};

static int reply(struct receiver *rc, unsigned code, uint64_t load_us, const char *text)
{
	struct vmm_stream_reply_msg msg = { .code = (uint16_t)code, .load_us = load_us };
	uint8_t buf[VMM_STREAM_HEADER_BYTES + VMM_SECTION_HEADER_BYTES + VMM_STREAM_TEXT_MAX + 32];
	uint8_t *at = buf, *body;
	long n;

	if (!rc->params->live)
		return 0;
	snprintf(msg.text, sizeof(msg.text), "%s", text);
	if (!rc->replies.begun) {
		vmm_stream_header_encode(&rc->replies, at);
		at += VMM_STREAM_HEADER_BYTES;
	}
	body = at + VMM_SECTION_HEADER_BYTES;
	n = vmm_stream_reply_encode(&msg, body, VMM_STREAM_TEXT_MAX + 32);
	if (n < 0)
		return (int)n;
	vmm_section_seal(&rc->replies, VMM_SECTION_REPLY, 0, body, (size_t)n, at);
	return rc->link->write(rc->link, buf, (size_t)(body + n - buf));
}

static int bad(struct receiver *rc, const char *why)
{
	rc->stream.why = why;
	return -EBADMSG;
}

static int take_config(struct receiver *rc, const struct vmm_section *sec, char **ret_error)
{
	char differs[VMM_STREAM_TEXT_MAX];

	if (vmm_stream_config_decode(&rc->theirs, rc->payload, sec->len_bytes) < 0)
		return bad(rc, "configuration is malformed");
	vmm_mig_config_differs(&rc->theirs, &rc->m->config, differs, sizeof(differs));
	if (differs[0]) {
		vmm_mig_explain(ret_error, "this is not the VM that is configured here: %s", differs);
		return -EINVAL;
	}
	rc->stats->generation = rc->theirs.generation;
	snprintf(rc->stats->source, sizeof(rc->stats->source), "%s", rc->theirs.source);
	return reply(rc, VMM_REPLY_ACCEPT, 0, "");
}

static int take_ram(struct receiver *rc, const struct vmm_section *sec)
{
	struct vmm_ram_reader reader;
	struct vmm_ram_run run;

	if (vmm_ram_reader_init(&reader, rc->payload, sec->len_bytes) < 0)
		return bad(rc, "runs of pages are malformed");
	while (vmm_ram_reader_next(&reader, &run)) {
		uint64_t page = vmm_mig_page_of(rc->m, run.gpa, run.pages);
		const struct vmm_mig_region *reg;
		uint8_t *host;

		if (page == UINT64_MAX)
			return bad(rc, "pages outside of the VM's memory");
		reg = vmm_mig_region_of(rc->m, page);
		host = reg->host + (page - reg->first_page) * VMM_STREAM_PAGE_BYTES;
		if (run.kind == VMM_RAM_DATA) {
			memcpy(host, run.data, (size_t)run.pages * VMM_STREAM_PAGE_BYTES);
			rc->stats->data_pages += run.pages;
		} else {
			rc->stats->zero_pages += run.pages;
		}
		for (uint64_t p = page; p < page + run.pages; p++) {
			uint64_t bit = 1ull << (p % 64);

			/* A page that never held anything is zero already: touching it would allocate it. */
			if (run.kind == VMM_RAM_ZERO && rc->seen[p / 64] & bit)
				memset(host + (p - page) * VMM_STREAM_PAGE_BYTES, 0,
				       VMM_STREAM_PAGE_BYTES);
			if (run.kind == VMM_RAM_DATA)
				rc->seen[p / 64] |= bit;
		}
	}
	return 0;
}

static int take_state(struct receiver *rc, const struct vmm_section *sec)
{
	const struct vmm_stream_config *c = &rc->m->config;
	struct vmm_mig_blob *blob;

	if (sec->type == VMM_SECTION_VM && sec->instance == 0)
		blob = &rc->state.vm;
	else if (sec->type == VMM_SECTION_VCPU && sec->instance < c->cpus)
		blob = &rc->state.vcpus[sec->instance];
	else if (sec->type == VMM_SECTION_DEVICE && sec->instance < c->devices)
		blob = &rc->state.devices[sec->instance];
	else
		return bad(rc, "state of something that this VM does not have");
	if (blob->data)
		return bad(rc, "the same state a second time");
	if (sec->len_bytes > VMM_MIG_STATE_MAX)
		return bad(rc, "state is too long");
	/* One byte more, so that empty state is there too. */
	blob->data = malloc(sec->len_bytes + 1);
	if (!blob->data)
		return -ENOMEM;
	memcpy((void *)blob->data, rc->payload, sec->len_bytes);
	blob->len_bytes = sec->len_bytes;
	rc->vcpus += sec->type == VMM_SECTION_VCPU;
	rc->devices += sec->type == VMM_SECTION_DEVICE;
	return 0;
}

/* Two nodes' wall clocks may differ by anything; a monotonic clock never runs ahead of time. */
static void age_bound(struct receiver *rc)
{
	uint64_t since = rc->params->stopped_since_ns, most = 0;

	if (!since)
		return;
	if (rc->stats->end_ns > since)
		most = rc->stats->end_ns - since;
	if (rc->state.age_ns > most)
		rc->state.age_ns = most;
}

static int take_end(struct receiver *rc, const struct vmm_section *sec)
{
	const struct vmm_stream_config *c = &rc->m->config;
	uint64_t real;

	rc->stats->end_ns = vmm_mig_clock_ns(CLOCK_MONOTONIC);
	if (vmm_stream_end_decode(&rc->end, rc->payload, sec->len_bytes) < 0)
		return bad(rc, "END is malformed");
	if (rc->end.sections != sec->seq || rc->end.data_pages != rc->stats->data_pages ||
	    rc->end.zero_pages != rc->stats->zero_pages || rc->end.vcpus != rc->vcpus ||
	    rc->end.devices != rc->devices)
		return bad(rc, "totals differ from what came");
	if (!rc->state.vm.data || rc->vcpus != c->cpus || rc->devices != c->devices)
		return bad(rc, "some of the state is missing");
	rc->state.age_ns = rc->end.age_ns;
	if (!rc->params->live) {
		real = vmm_mig_clock_ns(CLOCK_REALTIME);
		if (real > rc->end.realtime_ns)
			rc->state.age_ns += real - rc->end.realtime_ns;
		age_bound(rc);
	}
	if (rc->state.age_ns > FILE_AGE_MAX_NS)
		rc->state.age_ns = FILE_AGE_MAX_NS;
	rc->state.received_ns = rc->stats->end_ns;
	rc->stats->age_ns = rc->state.age_ns;
	return 0;
}

static int take(struct receiver *rc, const struct vmm_section *sec, char **ret_error)
{
	switch (sec->type) {
	case VMM_SECTION_CONFIG:
		return take_config(rc, sec, ret_error);
	case VMM_SECTION_RAM:
		return take_ram(rc, sec);
	case VMM_SECTION_ROUND:
		rc->stats->rounds++;
		return sec->len_bytes ? bad(rc, "a round has no payload") : 0;
	case VMM_SECTION_VM:
	case VMM_SECTION_VCPU:
	case VMM_SECTION_DEVICE:
		return take_state(rc, sec);
	case VMM_SECTION_END:
		return take_end(rc, sec);
	default:
		return bad(rc, "a reply where none is due");
	}
}

/* Everything from the header to END, into memory and rc->state. */
static int receive(struct receiver *rc, char **ret_error)
{
	uint8_t head[VMM_STREAM_HEADER_BYTES], sh[VMM_SECTION_HEADER_BYTES];
	struct vmm_section sec = { 0 };
	uint64_t at = 0;
	int r;

	r = rc->link->read(rc->link, head, sizeof(head));
	rc->stats->begin_ns = vmm_mig_clock_ns(CLOCK_MONOTONIC);
	r = r ? r : vmm_stream_header_decode(&rc->stream, head);
	while (!r && !rc->stream.ended) {
		at = rc->stream.offset;
		sec.type = 0;
		r = rc->link->read(rc->link, sh, sizeof(sh));
		r = r ? r : vmm_section_open(&rc->stream, sh, &sec);
		r = r ? r : rc->link->read(rc->link, rc->payload, sec.len_bytes);
		r = r ? r : vmm_section_check(&rc->stream, &sec, rc->payload);
		r = r ? r : take(rc, &sec, ret_error);
		rc->stats->received_bytes = rc->stream.offset;
	}
	if (!r && !rc->params->live) {
		at = rc->stream.offset;
		sec.type = 0;
		if (rc->link->read(rc->link, sh, 1) != -ENODATA)
			r = bad(rc, "something follows END");
	}
	if (r == -EBADMSG)
		vmm_mig_explain(ret_error, "corrupt at offset %llu, section %s: %s", (unsigned long long)at,
			sec.type ? vmm_section_type_name(sec.type) : "header", rc->stream.why);
	else if (r == -ENODATA)
		vmm_mig_explain(ret_error, "corrupt at offset %llu, section %s: it ends there",
			(unsigned long long)at,
			sec.type ? vmm_section_type_name(sec.type) : "header");
	else if (r == -EPIPE)
		vmm_mig_explain(ret_error, "the source closed the connection before everything had come");
	else if (r)
		vmm_mig_explain(ret_error, "%s", strerror(-r));
	return r;
}

int vmm_recv(const struct vmm_mig_machine *m, struct vmm_link *link,
	     const struct vmm_recv_params *params,
	     struct vmm_recv_stats *stats, char **ret_error)
{
	struct receiver rc = { .m = m, .link = link, .params = params, .stats = stats };
	int r = 0;

	vmm_stream_init(&rc.stream);
	vmm_stream_init(&rc.replies);
	rc.payload = malloc(VMM_STREAM_PAYLOAD_MAX);
	rc.seen = calloc(vmm_mig_words(m->pages), sizeof(*rc.seen));
	if (!rc.payload || !rc.seen) {
		r = -ENOMEM;
		vmm_mig_explain(ret_error, "%s", strerror(ENOMEM));
	}
	r = r ? r : receive(&rc, ret_error);
	if (!r && rc.end.ram_hash && rc.end.ram_hash != vmm_mig_ram_hash(m)) {
		vmm_mig_explain(ret_error, "memory differs from the source's (hash over all of it)");
		r = -EBADMSG;
	}
	if (!r) {
		r = m->load(m->arg, &rc.state, ret_error);
		if (r)
			vmm_mig_explain(ret_error, "loading the state: %s", strerror(-r));
	}
	stats->load_us = stats->end_ns ? (vmm_mig_clock_ns(CLOCK_MONOTONIC) - stats->end_ns) / 1000 : 0;
	/* If READY is lost, nothing is: the cluster, not the source, says what happens next. */
	if (!r)
		(void)reply(&rc, VMM_REPLY_READY, stats->load_us, "");
	else
		(void)reply(&rc, VMM_REPLY_FAIL, 0, *ret_error ? *ret_error : strerror(-r));
	free(rc.payload);
	free(rc.seen);
	free((void *)rc.state.vm.data);
	for (unsigned i = 0; i < VMM_STREAM_CPUS_MAX; i++)
		free((void *)rc.state.vcpus[i].data);
	for (unsigned i = 0; i < VMM_STREAM_DEVICES_MAX; i++)
		free((void *)rc.state.devices[i].data);
	return r;
}

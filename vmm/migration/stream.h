/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration stream: what a VM looks like on its way to another vmm or to a
 * file (docs/formats/migration.md has the byte offsets).
 *
 *   stream  = header, section...            each direction of a connection is one stream
 *   section = 40-byte header, payload
 *
 * Every section header holds the hash of its payload and a chain hash over all
 * headers so far, so that a lost, repeated, moved or altered section is found at
 * its own place.  The hash finds accidents, not attacks: between nodes TLS does that.
 *
 * Pure: no I/O, no allocation.  All bytes that come in are hostile; what is wrong
 * with them is -EBADMSG and a word in vmm_stream.why.
 */
#ifndef VMM_MIGRATION_STREAM_H
#define VMM_MIGRATION_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_types.h"

#define VMM_STREAM_VERSION	  1u
#define VMM_STREAM_HEADER_BYTES	  32u
#define VMM_SECTION_HEADER_BYTES  40u
#define VMM_STREAM_PAGE_BYTES	  4096u
#define VMM_STREAM_BATCH_PAGES	  256u		       /* data pages of a RAM section, at most */
#define VMM_STREAM_BATCH_RUNS	  256u		       /* runs of a RAM section, at most */
#define VMM_STREAM_RAM_HEAD_BYTES (8u + 16u * VMM_STREAM_BATCH_RUNS)
#define VMM_STREAM_PAYLOAD_MAX	  (2u << 20)	       /* bytes of any payload */
#define VMM_STREAM_TEXT_MAX	  256u		       /* bytes of a reason, with its NUL */
#define VMM_STREAM_CPUS_MAX	  256u
#define VMM_STREAM_DEVICES_MAX	  256u

enum vmm_section_type {
	VMM_SECTION_CONFIG = 1, /* what machine this is; always first */
	VMM_SECTION_RAM = 2,	/* runs of pages */
	VMM_SECTION_ROUND = 3,	/* the pages of one pass are all sent */
	VMM_SECTION_VM = 4,	/* clock and interrupt controllers; once */
	VMM_SECTION_VCPU = 5,	/* instance = vCPU; once each */
	VMM_SECTION_DEVICE = 6, /* instance = device; once each */
	VMM_SECTION_END = 7,	/* totals; nothing follows */
	VMM_SECTION_REPLY = 8,	/* destination to source */
};

enum vmm_stream_reply {
	VMM_REPLY_ACCEPT = 1, /* the machine is the same: send */
	VMM_REPLY_READY = 2,  /* everything arrived, was checked and loaded; paused */
	VMM_REPLY_FAIL = 3,   /* never ready, and never will be */
};

/* One direction, written or read. Start with vmm_stream_init(). */
struct vmm_stream {
	uint64_t chain;
	uint64_t seq;	 /* sections so far */
	uint64_t offset; /* bytes so far: where the next section starts */
	bool begun;	 /* the header was there */
	bool ended;	 /* END was there */
	const char *why; /* of the last -EBADMSG; static text */
};

struct vmm_section {
	uint16_t type;
	uint16_t instance;
	uint32_t len_bytes;
	uint64_t payload_hash;
	uint64_t offset; /* of its header in the stream */
	uint64_t seq;
};

/* What must be the same on both sides, but for the generation and the source's name. */
struct vmm_stream_config {
	char name[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	char source[CL_NAME_MAX]; /* node that sends, may be empty; for the log only */
	uint64_t generation;
	uint64_t memory_bytes;
	uint32_t cpus;
	uint32_t devices;
	uint64_t machine_digest; /* of everything else that the guest can see */
};

enum vmm_ram_kind {
	VMM_RAM_DATA = 0,
	VMM_RAM_ZERO = 1,
};

struct vmm_ram_run {
	uint64_t gpa;
	uint32_t pages;
	uint16_t kind;
	const uint8_t *data; /* of VMM_RAM_DATA: pages * 4096 bytes, borrowed */
};

/*
 * A RAM payload under construction.  The pages are copied in, because the guest
 * may change its own while they are hashed and sent.
 */
struct vmm_ram_batch {
	uint8_t *buf; /* VMM_STREAM_RAM_HEAD_BYTES + VMM_STREAM_BATCH_PAGES pages; borrowed */
	uint32_t runs;
	uint32_t data_pages;
	uint32_t zero_pages;
};

struct vmm_ram_reader {
	const uint8_t *run;
	const uint8_t *data;
	uint32_t left;
};

struct vmm_stream_end {
	uint64_t data_pages;
	uint64_t zero_pages;
	uint64_t sections;    /* before this one */
	uint64_t age_ns;      /* since the guest's clock was read, when this was written */
	uint64_t realtime_ns; /* the writer's wall clock then; counts for a file only */
	uint64_t ram_hash;    /* of all memory, 0 = not computed */
	uint32_t vcpus;
	uint32_t devices;
};

struct vmm_stream_reply_msg {
	uint16_t code; /* enum vmm_stream_reply */
	uint64_t load_us;
	char text[VMM_STREAM_TEXT_MAX];
};

uint64_t vmm_stream_hash(uint64_t seed, const void *data, size_t len_bytes);
bool vmm_page_is_zero(const void *page);
const char *vmm_section_type_name(unsigned type);

void vmm_stream_init(struct vmm_stream *s);
/* The 32 bytes that open a stream. */
void vmm_stream_header_encode(struct vmm_stream *s, uint8_t *out);
int vmm_stream_header_decode(struct vmm_stream *s, const uint8_t *in);
/* Seals a payload: writes its 40-byte header to out and advances the chain. */
void vmm_section_seal(struct vmm_stream *s, unsigned type, unsigned instance, const void *payload,
		      size_t len_bytes, uint8_t *out);
/* Checks 40 bytes; on success the caller reads ret->len_bytes of payload and asks vmm_section_check. */
int vmm_section_open(struct vmm_stream *s, const uint8_t *in, struct vmm_section *ret);
int vmm_section_check(struct vmm_stream *s, const struct vmm_section *sec, const void *payload);

/* Payloads.  Encoders return the length or -EMSGSIZE, decoders 0 or -EBADMSG. */
long vmm_stream_config_encode(const struct vmm_stream_config *c, void *out, size_t cap_bytes);
int vmm_stream_config_decode(struct vmm_stream_config *c, const void *in, size_t len_bytes);
long vmm_stream_end_encode(const struct vmm_stream_end *e, void *out, size_t cap_bytes);
int vmm_stream_end_decode(struct vmm_stream_end *e, const void *in, size_t len_bytes);
long vmm_stream_reply_encode(const struct vmm_stream_reply_msg *m, void *out, size_t cap_bytes);
int vmm_stream_reply_decode(struct vmm_stream_reply_msg *m, const void *in, size_t len_bytes);

void vmm_ram_batch_init(struct vmm_ram_batch *b, uint8_t *buf);
/* False when the batch is full: send it, start again and repeat the call. */
bool vmm_ram_batch_add(struct vmm_ram_batch *b, uint64_t gpa, const void *page);
bool vmm_ram_batch_empty(const struct vmm_ram_batch *b);
/* Finishes the payload in place: *ret_payload points into buf. Returns its length. */
size_t vmm_ram_batch_finish(struct vmm_ram_batch *b, const uint8_t **ret_payload);

/* Checks a whole RAM payload (counts, alignment, lengths, reserved bits) before the first run is given out. */
int vmm_ram_reader_init(struct vmm_ram_reader *r, const void *payload, size_t len_bytes);
bool vmm_ram_reader_next(struct vmm_ram_reader *r, struct vmm_ram_run *ret);

#endif

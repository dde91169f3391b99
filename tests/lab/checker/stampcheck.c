// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stampcheck IMAGE [--acks FILE]... [--skip KIND]... [--json]
 *
 * Reads a test guest's disk (an image, a file under /clusterstorage, a device)
 * and the acknowledgements that clients outside heard, and says in one line
 * whether two ever wrote and whether anything acknowledged is lost.
 *
 * Exit: 0 good, 1 bad, 2 it could not judge.  The image may be in use: slots that were
 * empty or torn at the first look are read again.  Never writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lab/checker/check.h"

#define CHUNK_BYTES (1u << 20)

struct acks {
	struct check_ack *list;
	size_t count, cap, unreadable;
};

struct image {
	int fd;
	uint8_t *chunk;
	struct stamp_super super;
	struct check_slot *slots;
};

static bool ack_parse(const char *text, struct check_ack *ret_ack)
{
	uint64_t generation, mono, wall, ram;
	uint8_t boot_id[STAMP_ID_BYTES];
	char boot[33], hash[17];
	int used = 0;

	if (sscanf(text, "ack %" SCNu64 " %" SCNu64 " %32s %" SCNu64 " %" SCNu64 " %16s %" SCNx64 "%n",
		   &ret_ack->seq, &generation, boot, &mono, &wall, hash, &ram, &used) != 7)
		return false;
	if (strlen(hash) != 16 || !stamp_id_parse(boot, boot_id))
		return false;
	ret_ack->hash = strtoull(hash, NULL, 16);
	return text[used] == '\r' || text[used] == '\n';
}

static int acks_load(struct acks *acks, const char *path)
{
	FILE *f = fopen(path, "re");
	size_t cap = 0;
	char *line = NULL, *at;
	ssize_t len;

	if (!f)
		return -errno;
	while ((len = getline(&line, &cap, f)) > 0) {
		at = strstr(line, "ack ");
		if (!at || line[len - 1] != '\n')
			continue; /* other text, or a last line that is still being written */
		if (acks->count == acks->cap) {
			size_t bigger = acks->cap ? acks->cap * 2 : 4096;
			void *p = reallocarray(acks->list, bigger, sizeof(*acks->list));

			if (!p)
				break;
			acks->list = p;
			acks->cap = bigger;
		}
		if (ack_parse(at, &acks->list[acks->count]))
			acks->count++;
		else
			acks->unreadable++;
	}
	free(line);
	fclose(f);
	return 0;
}

static int image_read(struct image *im, uint64_t offset, size_t len_bytes)
{
	size_t done = 0;

	while (done < len_bytes) {
		ssize_t n = pread(im->fd, im->chunk + done, len_bytes - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

static void slot_take(struct check_slot *slot, const uint8_t *bytes)
{
	int rc = stamp_decode(bytes, &slot->stamp);

	slot->state = rc == 0 ? CHECK_SLOT_STAMP :
				(rc == -ENODATA ? CHECK_SLOT_EMPTY : CHECK_SLOT_BAD);
	slot->hash = rc == 0 ? stamp_hash(bytes) : 0;
}

/* All slots from 'from' on, so that what the guest wrote behind our back is seen in order. */
static int slots_load(struct image *im, uint64_t from)
{
	const uint64_t per = CHUNK_BYTES / STAMP_BYTES;
	int rc;

	for (uint64_t at = from - from % 8; at < im->super.slots; at += per) {
		uint64_t n = im->super.slots - at < per ? im->super.slots - at : per;

		rc = image_read(im, stamp_slot_offset(at), n * STAMP_BYTES);
		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < n; i++)
			slot_take(&im->slots[at + i], im->chunk + i * STAMP_BYTES);
	}
	return 0;
}

/*
 * The first slot that was not a stamp although a later one is: the guest may have
 * written it after we looked.  Returns the number of slots if there is none.
 */
static uint64_t hole_find(const struct image *im)
{
	uint64_t hole = im->super.slots, last = 0;

	for (uint64_t i = 0; i < im->super.slots; i++)
		if (im->slots[i].state != CHECK_SLOT_EMPTY)
			last = i;
	for (uint64_t i = 0; i <= last && hole == im->super.slots; i++)
		if (im->slots[i].state != CHECK_SLOT_STAMP ||
		    (i && im->slots[i].stamp.seq > im->slots[i - 1].stamp.seq + 1))
			hole = i ? i - 1 : 0;
	return hole;
}

static int image_load(struct image *im, const char *path)
{
	uint64_t hole = 0;
	int rc;

	im->chunk = aligned_alloc(4096, CHUNK_BYTES);
	im->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (im->fd < 0 && errno == EINVAL)
		im->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (im->fd < 0 || !im->chunk)
		return -errno;
	rc = image_read(im, 0, STAMP_SUPER_BYTES);
	if (rc == 0)
		rc = stamp_super_decode(im->chunk, &im->super);
	if (rc < 0)
		return rc;
	im->slots = calloc(im->super.slots, sizeof(*im->slots));
	if (!im->slots)
		return -ENOMEM;
	for (int look = 0; look < 4 && hole < im->super.slots; look++) {
		if (look) /* not from a cache of the first look */
			posix_fadvise(im->fd, 0, 0, POSIX_FADV_DONTNEED);
		rc = slots_load(im, hole);
		if (rc < 0)
			return rc;
		hole = hole_find(im);
	}
	return 0;
}

static void line_make(const struct check_result *r, bool good, char *out, size_t cap_bytes)
{
	size_t used;

	if (good)
		snprintf(out, cap_bytes,
			 "GOOD: %" PRIu64 " stamps in one chain (%" PRIu64 "..%" PRIu64
			 "), %zu boots, %zu generations, %" PRIu64 " acknowledged ones all there",
			 r->last_seq ? r->last_seq - r->first_seq + 1 : 0, r->first_seq,
			 r->last_seq, r->boots, r->segments_count, r->acks_checked);
	if (good)
		return;
	used = snprintf(out, cap_bytes, "BAD");
	for (unsigned k = 0; k < CHECK_KINDS && used < cap_bytes; k++)
		if (r->counts[k])
			used += (size_t)snprintf(out + used, cap_bytes - used,
						 "%s %s (%" PRIu64 " times, first at stamp %" PRIu64
						 ")", used > 3 ? ";" : ":", check_kind_text(k),
						 r->counts[k], r->first[k].seq);
}

static void json_print(const struct check_result *r, bool good, const char *line,
		       const struct acks *acks, const struct image *im)
{
	size_t n = r->segments_count < CHECK_SEGMENTS ? r->segments_count : CHECK_SEGMENTS;

	printf("{\"good\": %s, \"line\": \"%s\", \"slots\": %" PRIu64 ", \"first_seq\": %" PRIu64
	       ", \"last_seq\": %" PRIu64 ", \"boots\": %zu, \"acks_checked\": %" PRIu64
	       ", \"acks_outside\": %" PRIu64 ", \"acks_unreadable\": %zu, \"counts\": {",
	       good ? "true" : "false", line, im->super.slots, r->first_seq, r->last_seq, r->boots,
	       r->acks_checked, r->acks_outside, acks->unreadable);
	for (unsigned k = 0; k < CHECK_KINDS; k++)
		printf("%s\"%s\": %" PRIu64, k ? ", " : "", check_kind_name(k), r->counts[k]);
	printf("}, \"segments\": [");
	for (size_t i = 0; i < n; i++) {
		const struct check_segment *g = &r->segments[i];
		char boot[33];

		stamp_id_text(g->boot_id, boot);
		printf("%s{\"boot\": \"%s\", \"generation\": %" PRIu64 ", \"first_seq\": %" PRIu64
		       ", \"last_seq\": %" PRIu64 ", \"first_wall_ns\": %" PRIu64
		       ", \"last_wall_ns\": %" PRIu64 ", \"largest_gap_ns\": %" PRIu64 "}",
		       i ? ", " : "", boot, g->generation, g->first_seq, g->last_seq,
		       g->first_wall_ns, g->last_wall_ns, g->largest_gap_ns);
	}
	printf("]}\n");
}

static bool kind_from_name(const char *name, unsigned *ret_kind)
{
	for (unsigned k = 0; k < CHECK_KINDS; k++)
		if (!strcmp(name, check_kind_name(k))) {
			*ret_kind = k;
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "acks", required_argument, NULL, 'a' },
					       { "skip", required_argument, NULL, 's' },
					       { "json", no_argument, NULL, 'j' },
					       { NULL, 0, NULL, 0 } };
	static struct check_result result;
	struct acks acks = { 0 };
	struct image im = { .fd = -1 };
	bool json = false, wrong = false, good;
	unsigned skip = 0, kind;
	char line[1536];
	int c, rc;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'a' && (rc = acks_load(&acks, optarg)) < 0) {
			fprintf(stderr, "stampcheck: %s: %s\n", optarg, strerror(-rc));
			return 2;
		}
		if (c == 's' && kind_from_name(optarg, &kind))
			skip |= 1u << kind;
		else if (c == 's' || c == '?')
			wrong = true;
		json |= c == 'j';
	}
	if (wrong || optind != argc - 1) {
		fprintf(stderr, "usage: stampcheck IMAGE [--acks FILE]... [--skip KIND]... [--json]\n");
		return 2;
	}
	rc = image_load(&im, argv[optind]);
	if (rc < 0) {
		fprintf(stderr, "stampcheck: %s: %s\n", argv[optind],
			rc == -EBADMSG	? "no superblock of stamps" :
			rc == -ENODATA ? "nothing was ever written" :
					  strerror(-rc));
		return 2;
	}
	good = check_run(&(struct check_input){ .slots = im.slots, .slots_count = im.super.slots,
						.disk_id = im.super.disk_id, .acks = acks.list,
						.acks_count = acks.count, .skip = skip },
			 &result);
	line_make(&result, good, line, sizeof(line));
	if (json)
		json_print(&result, good, line, &acks, &im);
	else
		printf("stampcheck: %s\n", line);
	free(im.slots);
	free(im.chunk);
	free(acks.list);
	close(im.fd);
	return good ? 0 : 1;
}

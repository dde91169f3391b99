// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The program that runs in a test guest: every few milliseconds it writes a
 * chained stamp to its disk, flushed, moves a checked memory pattern about, reads
 * back, and tells its TCP clients of each stamp when the disk has it.
 *
 * It trusts nothing but its disk: after a guest restart it goes on where the
 * last stamp ends.  The generation comes from the disk's serial number ("gen-N",
 * asked of the VMM again and again), else from --generation, else it is one more than the
 * last on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "tests/lab/guest/ram.h"
#include "tests/lab/guest/ring.h"
#include "tests/lab/guest/serve.h"
#include "tests/lab/guest/stamp.h"

#define GENERATION_LOOK_NS 25000000ull
#define READ_BACK_EVERY	   16

struct options {
	const char *disk;
	unsigned port, interval_ms, ram_mib, swaps, tell_every;
	unsigned size_mib; /* of the disk, no more than this is used; 0: all */
	unsigned long long generation; /* 0: not told */
	unsigned long long count;      /* 0: for ever */
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* Not secret, only unlike any other boot's: never waits for the kernel's entropy. */
static void random_id(uint8_t out[STAMP_ID_BYTES])
{
	uint64_t now = clock_ns(CLOCK_REALTIME);

	if (getrandom(out, STAMP_ID_BYTES, GRND_INSECURE) != (ssize_t)STAMP_ID_BYTES)
		memcpy(out, &now, sizeof(now));
}

/* N of "gen-N" in /sys/block/DISK/serial, each read of which asks the VMM; 0 if not offered. */
static uint64_t serial_generation(const char *disk)
{
	const char *base = strrchr(disk, '/');
	char path[128], text[32] = "";
	unsigned long long n;
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/serial", base ? base + 1 : disk);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return sscanf(text, "gen-%llu", &n) == 1 ? n : 0;
}

static int options_parse(int argc, char **argv, struct options *ret_o)
{
	static const struct option longs[] = {
		{ "disk", required_argument, NULL, 'd' },
		{ "port", required_argument, NULL, 'p' },
		{ "interval-ms", required_argument, NULL, 'i' },
		{ "ram-mib", required_argument, NULL, 'r' },
		{ "swaps", required_argument, NULL, 's' },
		{ "generation", required_argument, NULL, 'g' },
		{ "tell-every", required_argument, NULL, 't' },
		{ "size-mib", required_argument, NULL, 'z' },
		{ "count", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*ret_o = (struct options){ .disk = "/dev/vda", .port = 7777, .interval_ms = 5,
				   .ram_mib = 8, .swaps = 1 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;

		switch (c) {
		case 'd': ret_o->disk = optarg; break;
		case 'p': ret_o->port = (unsigned)n; break;
		case 'i': ret_o->interval_ms = (unsigned)n; break;
		case 'r': ret_o->ram_mib = (unsigned)n; break;
		case 's': ret_o->swaps = (unsigned)n; break;
		case 'g': ret_o->generation = n; break;
		case 't': ret_o->tell_every = (unsigned)n; break;
		case 'z': ret_o->size_mib = (unsigned)n; break;
		case 'c': ret_o->count = n; break;
		default: return -EINVAL;
		}
	}
	return optind == argc && ret_o->ram_mib && ret_o->ram_mib <= 4096 ? 0 : -EINVAL;
}

static int ram_make(struct ram *ram, unsigned mib, uint64_t seed)
{
	size_t pages = (size_t)mib << 8;
	uint64_t *words = aligned_alloc(4096, pages * 4096);
	uint64_t *seen = calloc(pages, sizeof(*seen));

	if (!words || !seen) {
		free(words);
		free(seen);
		return -ENOMEM;
	}
	ram_init(ram, words, seen, pages, seed);
	return 0;
}

static void tell(const struct stamp *s, uint64_t hash)
{
	struct serve_ack ack = { .stamp = *s, .hash = hash };
	char text[256];

	serve_ack_text(&ack, text, sizeof(text));
	printf("ack %s\n", text);
	fflush(stdout);
}

static void run(const struct options *o, struct ring *ring, struct ram *ram, struct stamp *s)
{
	uint64_t looked_ns = clock_ns(CLOCK_MONOTONIC), hash, n;

	for (uint64_t i = 0; !o->count || i < o->count; i++) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		if (now - looked_ns >= GENERATION_LOOK_NS) {
			n = serial_generation(o->disk);
			if (n)
				s->generation = n;
			looked_ns = now;
		}
		ram_step(ram, o->swaps, 2);
		s->mono_ns = clock_ns(CLOCK_MONOTONIC);
		s->wall_ns = clock_ns(CLOCK_REALTIME);
		s->ram_hash = ram->sum;
		s->ram_bad = ram->bad;
		s->read_bad = ring->read_bad;
		hash = ring_append(ring, s);
		if (o->port)
			serve_publish(s, hash);
		if (i == 0)
			printf("stamper: first stamp seq=%llu generation=%llu\n",
			       (unsigned long long)s->seq, (unsigned long long)s->generation);
		if (o->tell_every && i % o->tell_every == 0)
			tell(s, hash);
		fflush(stdout);
		if (hash % READ_BACK_EVERY == 0)
			ring_read_back(ring);
		usleep(o->interval_ms * 1000);
	}
}

int main(int argc, char **argv)
{
	static struct ring ring;
	struct stamp stamp = { 0 };
	uint8_t disk_id[STAMP_ID_BYTES];
	struct options o;
	struct ram ram;
	char boot[33];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (options_parse(argc, argv, &o) < 0) {
		fprintf(stderr, "usage: stamper [--disk D] [--port P, 0 = none] [--interval-ms N] "
				"[--ram-mib N] [--swaps N] [--generation N] [--tell-every N] "
				"[--size-mib N] [--count N]\n");
		return 2;
	}
	random_id(disk_id);
	random_id(stamp.boot_id);
	rc = ring_open(&ring, o.disk, (uint64_t)o.size_mib << 20, disk_id);
	if (rc < 0) {
		fprintf(stderr, "stamper: %s: %s\n", o.disk,
			rc == -EBADMSG ? "holds something that is not ours" : strerror(-rc));
		return 1;
	}
	rc = ram_make(&ram, o.ram_mib, ring.rng);
	if (rc == 0 && o.port)
		rc = serve_start(o.port);
	if (rc < 0) {
		fprintf(stderr, "stamper: start: %s\n", strerror(-rc));
		return 1;
	}
	stamp.generation = serial_generation(o.disk);
	if (!stamp.generation)
		stamp.generation = o.generation ? o.generation : ring.last_generation + 1;
	stamp_id_text(stamp.boot_id, boot);
	printf("stamper: boot %s, %llu slots, last stamp %llu\n", boot,
	       (unsigned long long)ring.slots, (unsigned long long)ring.last_seq);
	run(&o, &ring, &ram, &stamp);
	return ring.read_bad || ram.bad ? 1 : 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hand for lab tests of csvd, without clusterd and without a vmm:
 *
 *   csvtool format DEVICE NAME CLUSTER-UUID VOLUME-UUID
 *   csvtool term DEVICE
 *   csvtool hold VOLUME PATH VM GENERATION SECONDS   opens through libcsv; each block gets a stamp
 *            {generation, sequence}, read back at once; prints events, the longest gap and the count
 *   csvtool check FILE GENERATION     reads the stamps: whole, of one generation, newest sequence
 *   csvtool move VOLUME PATH VM GENERATION   prepare, wait for a line on stdin, activate, print the ms
 */
#include "csv/libcsv.h"
#include "csv/lun.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u

struct stamp {
	uint64_t magic;
	uint64_t generation;
	uint64_t sequence;
	uint64_t offset;
};

static int last_event;
static bool is_new_fd;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void on_event(void *arg, struct csv_disk *disk, enum csv_event event)
{
	printf("event %s\n", event == CSV_EVENT_CHANGED	 ? "changed"
			     : event == CSV_EVENT_FENCED ? "fenced"
							 : "displaced");
	fflush(stdout);
	last_event = event;
	is_new_fd = event == CSV_EVENT_CHANGED;
}

static int failed(const char *what, int rc)
{
	printf("%s: %s\n", what, strerror(-rc));
	return 1;
}

static int do_format(char **a)
{
	struct csv_lun_format f = {.name = a[1], .force = true};
	char error[CSV_LUN_TEXT_MAX] = "";
	struct csv_lun *lun;
	int rc;

	if (csv_uuid_parse(a[2], f.cluster_uuid) || csv_uuid_parse(a[3], f.volume_uuid))
		return failed("uuid", -EINVAL);
	rc = csv_lun_open(a[0], &lun, error);
	if (!rc)
		rc = csv_lun_format(lun, &f, error);
	if (rc)
		printf("%s\n", error);
	return rc ? failed("format", rc) : 0;
}

static int do_term(char **a)
{
	char error[CSV_LUN_TEXT_MAX] = "";
	struct csv_lun *lun;
	struct csv_term t;
	int rc = csv_lun_open(a[0], &lun, error);

	if (!rc)
		rc = csv_lun_term_read(lun, &t);
	if (rc)
		return failed("term", rc);
	printf("%llu %u %s %x\n", (unsigned long long)t.term, t.owner, csv_term_state_name(t.state),
	       t.clients);
	return 0;
}

static int do_hold(char **a)
{
	uint64_t generation = strtoull(a[3], NULL, 10), sequence = 0, size;
	double end = now_ms() + atof(a[4]) * 1e3, gap = 0, last;
	struct csv_client *c;
	struct csv_disk *d;
	void *buf, *back;
	int rc;

	rc = csv_client_new(NULL, a[2], on_event, NULL, &c);
	if (rc)
		return failed("connect", rc);
	rc = csv_disk_open(c, a[0], a[1], generation, 60000, &d);
	if (rc)
		return failed("open", rc);
	size = csv_disk_size(d);
	printf("open %s %llu\n", csv_disk_mode_get(d) == CSV_DISK_DIRECT ? "direct" : "redirected",
	       (unsigned long long)size);
	fflush(stdout);
	if (posix_memalign(&buf, BLOCK, BLOCK) || posix_memalign(&back, BLOCK, BLOCK))
		return failed("memory", -ENOMEM);
	for (last = now_ms(); now_ms() < end; sequence++) {
		struct stamp s = {0x706d617473766373, generation, sequence, sequence * BLOCK % size};
		double t;

		memset(buf, (int)(sequence & 0xff), BLOCK);
		memcpy(buf, &s, sizeof(s));
		csv_client_service(c);
		if (pwrite(csv_disk_fd(d), buf, BLOCK, (off_t)s.offset) != BLOCK ||
		    pread(csv_disk_fd(d), back, BLOCK, (off_t)s.offset) != BLOCK) {
			int err = errno;

			/* csvd may be away for a while; the vmm waits, too. */
			for (int i = 0; i < 18000 && !last_event; i++) {
				usleep(10000);
				csv_client_service(c);
			}
			if (!is_new_fd) {
				printf("stopped at %llu: %s\n", (unsigned long long)sequence,
				       strerror(err));
				return last_event ? 3 : 1;
			}
			is_new_fd = false;
			last_event = 0;
			sequence--;
			continue;
		}
		is_new_fd = false;
		last_event = 0;
		if (memcmp(buf, back, BLOCK))
			return failed("read back", -EIO);
		t = now_ms();
		if (t - last > gap)
			gap = t - last;
		last = t;
	}
	if (fdatasync(csv_disk_fd(d)))
		return failed("fdatasync", -errno);
	printf("done %llu longest gap %.1f ms\n", (unsigned long long)sequence, gap);
	csv_client_free(c);
	return 0;
}

static int do_check(char **a)
{
	uint64_t generation = strtoull(a[1], NULL, 10), highest = 0, n = 0;
	int fd = open(a[0], O_RDONLY);
	static char buf[256 * BLOCK];
	struct stat st;
	ssize_t have = 0;

	if (fd < 0 || fstat(fd, &st))
		return failed(a[0], -errno);
	for (uint64_t off = 0; off < (uint64_t)st.st_size; off += BLOCK) {
		struct stamp s;

		const char *at = buf + off % sizeof(buf);

		if (at == buf)
			have = pread(fd, buf, sizeof(buf), (off_t)off);
		if (have < at + BLOCK - buf)
			return failed("read", have < 0 ? -errno : -EIO);
		memcpy(&s, at, sizeof(s));
		if (!s.magic)
			continue;
		for (unsigned i = sizeof(s); i < BLOCK; i++)
			if ((unsigned char)at[i] != (s.sequence & 0xff))
				return failed("torn stamp", -EIO);
		if (s.generation > generation || s.offset != off)
			return failed("stamp of another writer", -EIO);
		if (s.generation == generation && s.sequence > highest)
			highest = s.sequence;
		n++;
	}
	printf("stamps %llu highest %llu\n", (unsigned long long)n, (unsigned long long)highest);
	return 0;
}

static int do_move(char **a)
{
	struct csv_client *c;
	struct csv_disk *d;
	double start;
	char line[16];
	int rc = csv_client_new(NULL, a[2], on_event, NULL, &c);

	if (!rc)
		rc = csv_disk_prepare(c, a[0], a[1], 60000, &d);
	if (rc)
		return failed("prepare", rc);
	printf("prepared\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	start = now_ms();
	rc = csv_disk_activate(d, strtoull(a[3], NULL, 10), 60000);
	if (rc)
		return failed("activate", rc);
	printf("active in %.1f ms\n", now_ms() - start);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 0;
	csv_client_free(c);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **a);
	} commands[] = {
		{"format", 4, do_format}, {"term", 1, do_term},	  {"hold", 5, do_hold},
		{"check", 2, do_check},	  {"move", 4, do_move},
	};

	for (size_t i = 0; i < CL_ARRAY_LEN(commands); i++)
		if (argc > 1 && !strcmp(argv[1], commands[i].name) && argc - 2 == commands[i].args)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: csvtool format|term|hold|check|move ...\n");
	return 2;
}

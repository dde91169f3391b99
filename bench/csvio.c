// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * csvio --op read|write --bytes N --block N --depth N (--file PATH | --volume V --path P)
 *
 * Moves N bytes with O_DIRECT in blocks, depth of them at once (a thread each), and prints
 * one line of JSON. The same loop for a raw device, a file under /clusterstorage and a disk
 * opened through libcsv, so that the figures can be set beside each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "csv/libcsv.h"

#define DEPTH_MAX 64u

struct job {
	int fd;
	bool write;
	uint64_t bytes, block;
	atomic_uint_fast64_t next; /* block to do */
	atomic_int error;
};

static void *job_run(void *arg)
{
	struct job *job = arg;
	void *buf = aligned_alloc(4096, job->block);
	uint64_t i;

	if (!buf) {
		job->error = ENOMEM;
		return NULL;
	}
	memset(buf, 0x5a, job->block);
	while ((i = atomic_fetch_add(&job->next, 1)) < job->bytes / job->block && !job->error) {
		off_t at = (off_t)(i * job->block);
		ssize_t n = job->write ? pwrite(job->fd, buf, job->block, at) :
					 pread(job->fd, buf, job->block, at);

		if (n != (ssize_t)job->block)
			job->error = n < 0 ? errno : EIO;
	}
	free(buf);
	return NULL;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int measure(struct job *job, unsigned depth, const char *how)
{
	pthread_t threads[DEPTH_MAX];
	unsigned started = 0;
	double began = now_s(), took;

	while (started < depth && !pthread_create(&threads[started], NULL, job_run, job))
		started++;
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (job->write && !job->error && fsync(job->fd) < 0)
		job->error = errno;
	took = now_s() - began;
	if (job->error || !started) {
		fprintf(stderr, "csvio: %s: %s\n", job->write ? "write" : "read",
			strerror(job->error ? job->error : EAGAIN));
		return 1;
	}
	printf("{\"how\": \"%s\", \"op\": \"%s\", \"block\": %llu, \"depth\": %u, \"bytes\": %llu, "
	       "\"seconds\": %.6f, \"bytes_per_s\": %.0f, \"ops_per_s\": %.1f}\n",
	       how, job->write ? "write" : "read", (unsigned long long)job->block, depth,
	       (unsigned long long)job->bytes, took, (double)job->bytes / took,
	       (double)(job->bytes / job->block) / took);
	return 0;
}

/* The bench's disk has no other user, so no event matters while it runs. */
static void on_event(void *arg, struct csv_disk *disk, enum csv_event event)
{
	fprintf(stderr, "csvio: the disk changed under way (event %d): measure again\n", event);
}

static int measure_libcsv(struct job *job, unsigned depth, const char *volume, const char *path)
{
	struct csv_client *client = NULL;
	struct csv_disk *disk = NULL;
	int rc = csv_client_new(NULL, "csvio", on_event, NULL, &client);

	if (rc == 0)
		rc = csv_disk_open(client, volume, path, 1, 60000, &disk);
	if (rc < 0) {
		fprintf(stderr, "csvio: %s/%s: %s\n", volume, path, strerror(-rc));
		csv_client_free(client);
		return 1;
	}
	job->fd = csv_disk_fd(disk);
	rc = measure(job, depth,
		     csv_disk_mode_get(disk) == CSV_DISK_DIRECT ? "direct" : "redirected");
	csv_disk_close(disk);
	csv_client_free(client);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "op", required_argument, NULL, 'o' },	    { "bytes", required_argument, NULL, 'n' },
		{ "block", required_argument, NULL, 'b' },  { "depth", required_argument, NULL, 'd' },
		{ "file", required_argument, NULL, 'f' },   { "volume", required_argument, NULL, 'v' },
		{ "path", required_argument, NULL, 'p' },   { NULL, 0, NULL, 0 },
	};
	const char *op = "", *file = NULL, *volume = NULL, *path = NULL;
	struct job job = { .bytes = 64 << 20, .block = 256 << 10, .fd = -1 };
	unsigned depth = 4;
	int c, rc;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'o': op = optarg; break;
		case 'n': job.bytes = strtoull(optarg, NULL, 10); break;
		case 'b': job.block = strtoull(optarg, NULL, 10); break;
		case 'd': depth = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f': file = optarg; break;
		case 'v': volume = optarg; break;
		case 'p': path = optarg; break;
		default: return 2;
		}
	job.write = !strcmp(op, "write");
	if ((!job.write && strcmp(op, "read")) || !file == !(volume && path) || !depth ||
	    depth > DEPTH_MAX || !job.block || job.block % 4096 || job.bytes % job.block) {
		fprintf(stderr, "usage: csvio --op read|write [--bytes N] [--block N, multiple of "
				"4096] [--depth 1..64] (--file PATH | --volume V --path P)\n");
		return 2;
	}
	if (!file)
		return measure_libcsv(&job, depth, volume, path);
	job.fd = open(file, (job.write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (job.fd < 0) {
		fprintf(stderr, "csvio: %s: %s\n", file, strerror(errno));
		return 1;
	}
	rc = measure(&job, depth, "file");
	close(job.fd);
	return rc;
}

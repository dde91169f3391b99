// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * csvio --op read|write --bytes N --block N --depth N [--async] (--file PATH... | --volume V --path P)
 *
 * Moves N bytes with O_DIRECT in blocks, depth of them at once, and prints one line of JSON: a
 * thread for each that waits for its own, or with --async one thread that submits them (Linux AIO).  With several
 * files block n goes to file n modulo their number.  The same loop for a raw device, a file under /clusterstorage and
 * a disk opened through libcsv, so that the figures can be set beside each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "csv/libcsv.h"

#define DEPTH_MAX 64u
#define FILES_MAX 16u

struct job {
	int fds[FILES_MAX];
	unsigned n_fds;
	bool write;
	bool async;
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
		off_t at = (off_t)(i / job->n_fds * job->block);
		int fd = job->fds[i % job->n_fds];
		ssize_t n = job->write ? pwrite(fd, buf, job->block, at) :
					 pread(fd, buf, job->block, at);

		if (n != (ssize_t)job->block)
			job->error = n < 0 ? errno : EIO;
	}
	free(buf);
	return NULL;
}

static long submit(struct job *job, aio_context_t context, struct iocb *cb)
{
	uint64_t i = atomic_fetch_add(&job->next, 1);

	if (i >= job->bytes / job->block || job->error)
		return 0;
	cb->aio_lio_opcode = job->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	cb->aio_fildes = (uint32_t)job->fds[i % job->n_fds];
	cb->aio_offset = (int64_t)(i / job->n_fds * job->block);
	cb->aio_nbytes = job->block;
	cb->aio_data = (uint64_t)(uintptr_t)cb;
	if (syscall(SYS_io_submit, context, 1, &cb) == 1)
		return 1;
	job->error = errno;
	return 0;
}

/* What is in flight when an error comes is still waited for: the buffers are its own. */
static void async_run(struct job *job, unsigned depth)
{
	struct iocb cbs[DEPTH_MAX] = { 0 };
	uint8_t *bufs = aligned_alloc(4096, depth * job->block);
	aio_context_t context = 0;
	long flying = 0;

	if (!bufs || syscall(SYS_io_setup, depth, &context) < 0) {
		job->error = bufs ? errno : ENOMEM;
		free(bufs);
		return;
	}
	memset(bufs, 0x5a, depth * job->block);
	for (unsigned i = 0; i < depth; i++) {
		cbs[i].aio_buf = (uint64_t)(uintptr_t)(bufs + i * job->block);
		flying += submit(job, context, &cbs[i]);
	}
	while (flying) {
		struct io_event done;

		if (syscall(SYS_io_getevents, context, 1, 1, &done, NULL) != 1)
			continue;
		flying--;
		if (done.res != (int64_t)job->block)
			job->error = done.res < 0 ? (int)-done.res : EIO;
		flying += submit(job, context, (struct iocb *)(uintptr_t)done.data);
	}
	syscall(SYS_io_destroy, context);
	free(bufs);
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

	if (job->async)
		async_run(job, depth);
	while (!job->async && started < depth && !pthread_create(&threads[started], NULL, job_run, job))
		started++;
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < job->n_fds; i++)
		if (job->write && !job->error && fsync(job->fds[i]) < 0)
			job->error = errno;
	took = now_s() - began;
	if (job->error || (!started && !job->async)) {
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
	job->fds[0] = csv_disk_fd(disk);
	job->n_fds = 1;
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
		{ "path", required_argument, NULL, 'p' },   { "async", no_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	const char *op = "", *files[FILES_MAX], *volume = NULL, *path = NULL;
	struct job job = { .bytes = 64 << 20, .block = 256 << 10 };
	unsigned n_files = 0;
	unsigned depth = 4;
	int c, rc;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'o': op = optarg; break;
		case 'n': job.bytes = strtoull(optarg, NULL, 10); break;
		case 'b': job.block = strtoull(optarg, NULL, 10); break;
		case 'd': depth = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f':
			if (n_files == FILES_MAX)
				return 2;
			files[n_files++] = optarg;
			break;
		case 'a': job.async = true; break;
		case 'v': volume = optarg; break;
		case 'p': path = optarg; break;
		default: return 2;
		}
	job.write = !strcmp(op, "write");
	if ((!job.write && strcmp(op, "read")) || !n_files == !(volume && path) || !depth ||
	    depth > DEPTH_MAX || !job.block || job.block % 4096 || job.bytes % job.block) {
		fprintf(stderr, "usage: csvio --op read|write [--bytes N] [--block N, multiple of "
				"4096] [--depth 1..64] [--async] (--file PATH... | --volume V "
				"--path P)\n");
		return 2;
	}
	if (!n_files)
		return measure_libcsv(&job, depth, volume, path);
	for (; job.n_fds < n_files; job.n_fds++) {
		int fd = open(files[job.n_fds], (job.write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);

		if (fd < 0) {
			fprintf(stderr, "csvio: %s: %s\n", files[job.n_fds], strerror(errno));
			return 1;
		}
		job.fds[job.n_fds] = fd;
	}
	rc = measure(&job, depth, "file");
	for (unsigned i = 0; i < job.n_fds; i++)
		close(job.fds[i]);
	return rc;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a write that was under way when its host was fenced land afterwards?  On a LUN whose writes
 * take seconds (dm-delay under LIO): A writes, B fences A meanwhile, then nothing may change any
 * more. The same with plain PREEMPT, which is why it is never used: there the late write is wanted,
 * or this test could not fail.
 *
 * usage: pr_held A B    (two nexuses, two initiators, one scratch LUN)
 */
#include "scsi3pr/pr_dev.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEY_A 0xc500000100000001ull
#define KEY_B 0xc500000200000001ull
#define LBA   64u
#define OLD   0x11u
#define NEW   0x22u

struct writer {
	struct scsi3pr_dev *dev;
	atomic_int result; /* 1 = under way */
};

static void *write_run(void *arg)
{
	struct writer *writer = arg;

	atomic_store(&writer->result, pr_dev_write_block(writer->dev, LBA, NEW));
	return NULL;
}

/* The block's value as B reads it, or -errno. */
static int value_read(struct scsi3pr_dev *dev)
{
	struct pr_command command = {
		.data = dev->answer,
		.data_bytes = dev->block_bytes,
		.timeout_ms = dev->timeout_ms,
	};
	int ret;

	command.cdb_bytes = pr_read10_encode(LBA, 1, command.cdb);
	ret = pr_dev_execute(dev, &command, "READ");
	return ret < 0 ? ret : dev->answer[0];
}

/* Who makes the reservation matters to LIO: it aborts for that nexus only. */
static int setup(struct scsi3pr_dev *a, struct scsi3pr_dev *b, bool victim_reserves)
{
	int ret = scsi3pr_register(a, KEY_A, false);

	if (ret == 0)
		ret = scsi3pr_clear(a, KEY_A);
	if (ret == 0)
		ret = scsi3pr_register(a, KEY_A, false);
	if (ret == 0)
		ret = scsi3pr_register(b, KEY_B, false);
	if (ret == 0)
		ret = scsi3pr_reserve(victim_reserves ? a : b, victim_reserves ? KEY_A : KEY_B, 0,
				      NULL);
	if (ret == 0)
		ret = pr_dev_write_block(b, LBA, OLD);
	if (ret < 0)
		fprintf(stderr, "%s%s\n", scsi3pr_error(a), scsi3pr_error(b));
	return ret;
}

enum how { FENCE, PREEMPT_ABORT, PREEMPT };

static int cut_off(struct scsi3pr_dev *b, enum how how)
{
	struct scsi3pr_fence f;

	if (how != FENCE)
		return scsi3pr_preempt(b, KEY_B, KEY_A, SCSI3PR_EXCLUSIVE_ACCESS_AR,
				       how == PREEMPT_ABORT);
	scsi3pr_fence(b, KEY_B, KEY_A, &f);
	if (f.proof != SCSI3PR_FENCED)
		fprintf(stderr, "%s\n", f.text);
	return f.proof == SCSI3PR_FENCED ? 0 : -EIO;
}

/* 1 = the block changed after the answer, 0 = not, -1 = the test did not come about. */
static int try_on(struct scsi3pr_dev *a, struct scsi3pr_dev *b, enum how how, bool victim_reserves)
{
	static const char *const names[] = { "scsi3pr_fence", "PREEMPT AND ABORT", "PREEMPT" };
	struct writer writer = { .dev = a, .result = 1 };
	struct timespec from, to;
	pthread_t thread;
	int first, last = -1, ret;

	if (setup(a, b, victim_reserves) < 0)
		return -1;
	pthread_create(&thread, NULL, write_run, &writer);
	usleep(500000);
	if (atomic_load(&writer.result) != 1) {
		fprintf(stderr, "the write was over before the fence: the LUN is not slow\n");
		pthread_join(thread, NULL);
		return -1;
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	ret = cut_off(b, how);
	clock_gettime(CLOCK_MONOTONIC, &to);
	first = value_read(b);
	pthread_join(thread, NULL);
	for (int i = 0; i < 6; i++) {
		sleep(1);
		last = value_read(b);
	}
	printf("%s, reservation made by %s: answered after %.1f s, block 0x%02x then, 0x%02x at "
	       "last; the writer got %d\n",
	       names[how], victim_reserves ? "the victim" : "the survivor",
	       (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9, first,
	       last, atomic_load(&writer.result));
	if (ret < 0 || first < 0 || last < 0)
		return -1;
	return first != last;
}

/* New sessions each time: libiscsi gives one up that is answered TASK ABORTED. */
static int late_write(char **names, enum how how, bool victim_reserves)
{
	struct scsi3pr_dev *a = NULL, *b = NULL;
	char error[SCSI3PR_TEXT_MAX];
	int ret = -1;

	if (scsi3pr_open(names[0], 0, &a, error) < 0 || scsi3pr_open(names[1], 0, &b, error) < 0) {
		fprintf(stderr, "%s\n", error);
	} else {
		ret = try_on(a, b, how, victim_reserves);
		scsi3pr_clear(b, KEY_B);
	}
	scsi3pr_close(a);
	scsi3pr_close(b);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned bad = 0, late = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: pr_held A B\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int reserves = 0; reserves < 2; reserves++) {
		int got = late_write(argv + 1, FENCE, reserves);

		printf("%s\n", got == 0	  ? "ok nothing landed after the fence"
			       : got == 1 ? "NOT OK A LATE WRITE"
					  : "NOT OK not tried");
		bad += got != 0;
		late += late_write(argv + 1, PREEMPT_ABORT, reserves) == 1;
	}
	late += late_write(argv + 1, PREEMPT, false) == 1;
	printf("%s without the fence's reset a late write was seen in %u of 3\n",
	       late ? "ok" : "NOT OK", late);
	return bad != 0 || late == 0;
}

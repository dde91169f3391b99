/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread a LUN; see watch_scsi3pr.h.
 *
 *   second 0.0  another node's PREEMPT AND ABORT takes our key; our writes fail from here on
 *   0.0 - 1.0   the next check sees it: csvd down (no direct I/O from this node), VMs of the volume
 *               pause with their next I/O or with REPLICA_FREEZE, the core is told
 */
#include "clusterd/watch_scsi3pr.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clusterd/csvd_linux.h"
#include "clusterd/daemon.h"
#include "common/cl_log.h"
#include "scsi3pr/scsi3pr.h"

#define DOWN_MS 5000

/* The thread's own but for stop; two references: the loop's and the thread's. */
struct cd_watch {
	struct cd *cd;
	char volume[CL_NAME_MAX];
	char lun[CORE_LUN_MAX];
	uint64_t key;
	int wake_fd;
	atomic_bool stop;
	atomic_int refs;
};

struct watch_notice {
	struct cd_watch *watch;
	char text[SCSI3PR_TEXT_MAX + 64];
	bool lost;
	uint64_t seen_ms; /* not 0: all is well, and was when the look began */
};

static void watch_put(struct cd_watch *watch)
{
	if (atomic_fetch_sub(&watch->refs, 1) != 1)
		return;
	close(watch->wake_fd);
	free(watch);
}

static void notice_run(void *arg)
{
	struct watch_notice *notice = arg;
	struct cd_watch *watch = notice->watch;
	struct cd *cd = watch->cd;

	if (!atomic_load(&watch->stop)) {
		if (notice->seen_ms) {
			replica_key_seen(cd->replica, cd_now_ms(), watch->volume, notice->seen_ms);
		} else if (notice->lost) {
			cd_drive_note(cd, "local", watch->volume, "registered", "lost",
				      notice->text);
			replica_key_lost(cd->replica, cd_now_ms(), watch->volume);
			cd_drive_settle(cd);
		} else {
			cl_warning("volume %s: %s", watch->volume, notice->text);
		}
	}
	watch_put(watch);
	free(notice);
}

static void notice_post(struct cd_watch *watch, bool lost, uint64_t seen_ms, const char *text)
{
	struct watch_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		abort();
	atomic_fetch_add(&watch->refs, 1);
	notice->watch = watch;
	notice->lost = lost;
	notice->seen_ms = seen_ms;
	snprintf(notice->text, sizeof(notice->text), "%s", text);
	cd_post_call(watch->cd->post, notice_run, notice);
}

static void direct_io_stop(struct cd_watch *watch, const char *why)
{
	json_t *result;
	char *error;

	if (atomic_load(&watch->stop))
		return;
	cd_csvd_call("down", json_pack("{s:s s:s}", "volume", watch->volume, "reason", why),
		     DOWN_MS, &result, &error);
	json_decref(result);
	free(error);
}

/* A path that answers; NULL and text if none does. */
static struct scsi3pr_dev *path_open(const char *id, unsigned *next, char *text)
{
	struct scsi3pr_lun lun;
	struct scsi3pr_dev *dev;
	int rc = scsi3pr_lun_find(id, &lun);

	snprintf(text, SCSI3PR_TEXT_MAX, "LUN %s is not seen by this node any more", id);
	if (rc < 0 && rc != -ENODEV)
		snprintf(text, SCSI3PR_TEXT_MAX, "LUN %s: the disks of this node cannot be looked at: %s", id,
			 strerror(-rc));
	if (rc < 0)
		return NULL;
	for (unsigned i = 0; i < lun.n_paths; i++) {
		unsigned p = (*next + i) % lun.n_paths;

		if (scsi3pr_open(lun.path[p], 10000, &dev, text) == 0) {
			*next = p;
			return dev;
		}
	}
	return NULL;
}

static bool is_loss(const struct scsi3pr_check *check)
{
	return check->health == SCSI3PR_LOST_KEY || check->health == SCSI3PR_LOST_RESERVATION;
}

/*
 * A loss ends every VM of this node, so it is looked at twice: what was taken away stays away, and
 * storage refuses the writes in between by itself.
 */
static void look(struct scsi3pr_dev *dev, uint64_t key, struct scsi3pr_check *ret_check)
{
	struct scsi3pr_check first;

	scsi3pr_check(dev, key, ret_check);
	if (!is_loss(ret_check))
		return;
	first = *ret_check;
	scsi3pr_check(dev, key, ret_check);
	if (!is_loss(ret_check))
		cl_warning("%s; at a second look it was as it should be: not a loss", first.text);
}

static void *watch_thread(void *arg)
{
	struct cd_watch *watch = arg;
	struct scsi3pr_dev *dev = NULL;
	bool silent = false, lost = false;
	unsigned next = 0;
	uint64_t looked_ms;

	while (!atomic_load(&watch->stop)) {
		struct pollfd pfd = { .fd = watch->wake_fd, .events = POLLIN };
		struct scsi3pr_check check = { .health = SCSI3PR_NO_ANSWER };

		looked_ms = cd_now_ms();
		if (!dev)
			dev = path_open(watch->lun, &next, check.text);
		if (dev)
			look(dev, watch->key, &check);
		if (check.health == SCSI3PR_NO_ANSWER) {
			/* Says nothing of the reservation: another path, another time. */
			if (!silent)
				notice_post(watch, false, 0, check.text);
			silent = true;
			scsi3pr_close(dev);
			dev = NULL;
			next++;
		} else {
			silent = false;
		}
		if (is_loss(&check)) {
			if (!lost) {
				direct_io_stop(watch, check.text);
				notice_post(watch, true, 0, check.text);
			}
			lost = true;
		} else if (check.health == SCSI3PR_HEALTHY) {
			lost = false;
			notice_post(watch, false, looked_ms, "");
		}
		poll(&pfd, 1, CD_WATCH_MS);
	}
	scsi3pr_close(dev);
	watch_put(watch);
	return NULL;
}

struct cd_watch *cd_watch_start(struct cd *cd, const char *volume, const char *lun, uint64_t key)
{
	struct cd_watch *watch = calloc(1, sizeof(*watch));
	sigset_t all, old;
	pthread_t thread;

	if (!watch)
		return NULL;
	watch->cd = cd;
	watch->key = key;
	snprintf(watch->volume, sizeof(watch->volume), "%s", volume);
	snprintf(watch->lun, sizeof(watch->lun), "%s", lun);
	watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	atomic_store(&watch->refs, 2);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (watch->wake_fd < 0 || pthread_create(&thread, NULL, watch_thread, watch) != 0) {
		cl_error("volume %s: its LUN cannot be watched: no thread", volume);
		if (watch->wake_fd >= 0)
			close(watch->wake_fd);
		free(watch);
		watch = NULL;
	} else {
		pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return watch;
}

void cd_watch_stop(struct cd_watch *watch)
{
	uint64_t one = 1;

	if (!watch)
		return;
	atomic_store(&watch->stop, true);
	if (write(watch->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
	watch_put(watch);
}

uint64_t cd_watch_key(const struct cd_watch *watch)
{
	return watch->key;
}

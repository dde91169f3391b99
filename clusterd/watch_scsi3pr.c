/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread a LUN; see watch_scsi3pr.h.
 *
 *   second 0.0  another node's PREEMPT AND ABORT takes our key; our writes fail from here on
 *   0.0 - 1.0   the next check sees it: csvd down (no direct I/O from this node), VMs of the volume
 *               pause with their next I/O or with REPLICA_FREEZE, the core is told
 *
 * A session that was made anew is another I_T nexus: the key stands, and nothing that is sent here
 * counts.  It cannot be registered again from here (the fence that would forbid it may be under
 * way): the same as a key that is gone.  No answer says nothing of the reservation; how long there
 * was none is told each second, and the core decides how long is too long.
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

#define DOWN_MS	    5000
#define APTPL_LOOKS 60u

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

/* The thread's. */
struct watch_state {
	struct scsi3pr_dev *dev;
	char data[SCSI3PR_PATH_MAX]; /* csvd's path to the LUN, "" until it is known */
	bool silent, lost;
	uint64_t answer_ms; /* the last one by that path */
};

struct watch_notice {
	struct cd_watch *watch;
	char text[SCSI3PR_TEXT_MAX + 64];
	enum { NOTICE_TEXT, NOTICE_SEEN, NOTICE_LOST, NOTICE_MUTE, NOTICE_APTPL } what;
	uint64_t ms; /* SEEN: all was well when the look began, then; MUTE: for so long there was no
			answer */
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
		switch (notice->what) {
		case NOTICE_SEEN:
			replica_key_seen(cd->replica, cd_now_ms(), watch->volume, notice->ms);
			break;
		case NOTICE_LOST:
			cd_drive_note(cd, "local", watch->volume, "registered", "lost",
				      notice->text);
			replica_key_lost(cd->replica, cd_now_ms(), watch->volume);
			cd_drive_settle(cd);
			break;
		case NOTICE_MUTE:
			replica_storage_mute(cd->replica, cd_now_ms(), watch->volume, notice->ms);
			cd_drive_settle(cd);
			break;
		case NOTICE_APTPL:
			cd_drive_note(cd, "local", watch->volume, "APTPL on", "APTPL off",
				      notice->text);
			break;
		default:
			cl_warning("volume %s: %s", watch->volume, notice->text);
			break;
		}
	}
	watch_put(watch);
	free(notice);
}

static void notice_post(struct cd_watch *watch, int what, uint64_t ms, const char *text)
{
	struct watch_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		abort();
	atomic_fetch_add(&watch->refs, 1);
	notice->watch = watch;
	notice->what = what;
	notice->ms = ms;
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

static bool is_path(const struct scsi3pr_lun *lun, const char *path)
{
	for (unsigned i = 0; i < lun->n_paths; i++)
		if (strcmp(lun->path[i], path) == 0)
			return true;
	return false;
}

/* The path by which csvd has the volume; "" as long as it does not say one that this LUN has. */
static void data_path_ask(const struct cd_watch *watch, char *ret_path, size_t cap)
{
	json_t *status = NULL, *v;
	struct scsi3pr_lun lun;
	char *error = NULL;
	size_t i;

	if (scsi3pr_lun_find(watch->lun, &lun) < 0)
		return;
	if (cd_csvd_call("status", NULL, DOWN_MS, &status, &error) == 0)
		json_array_foreach(json_object_get(status, "volumes"), i, v)
		{
			const char *name = json_string_value(json_object_get(v, "name")),
				   *device = json_string_value(json_object_get(v, "device"));

			if (name && device && strcmp(name, watch->volume) == 0 &&
			    is_path(&lun, device))
				snprintf(ret_path, cap, "%s", device);
		}
	json_decref(status);
	free(error);
}

/* A path that opens, the one of the data before others; NULL and text if none does. */
static struct scsi3pr_dev *path_open(const char *id, const char *data, unsigned *next, char *text)
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
	/* Not by its name alone: that may be another's by now. */
	if (is_path(&lun, data) && scsi3pr_open(data, 10000, &dev, text) == 0)
		return dev;
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
	return check->health == SCSI3PR_LOST_KEY || check->health == SCSI3PR_LOST_RESERVATION ||
	       check->health == SCSI3PR_LOST_NEXUS;
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

/*
 * The last REGISTER's APTPL counts for all of the LUN's registrations: anybody's tool can have
 * turned it off, and at its next loss of power the target would let in whom we fenced.  REGISTER
 * with the own key for the own key turns it on; without that key, where we were fenced, it is
 * refused.
 */
static void aptpl_look(struct cd_watch *watch, struct scsi3pr_dev *dev)
{
	struct scsi3pr_capabilities caps;
	char text[sizeof(((struct watch_notice *)0)->text)];
	int rc;

	if (scsi3pr_capabilities_read(dev, &caps) < 0 || !caps.persist_capable ||
	    caps.persist_active)
		return;
	rc = scsi3pr_register_exact(dev, watch->key, watch->key, true);
	snprintf(text, sizeof(text),
		 "its target would have forgotten all keys at a loss of power (PTPL_A 0); %s%.120s",
		 rc < 0 ? "turning APTPL on failed: " : "APTPL is on again",
		 rc < 0 ? scsi3pr_error(dev) : "");
	notice_post(watch, NOTICE_APTPL, 0, text);
}

/* What one look found, told.  False: the path is of no more use. */
static bool looked(struct cd_watch *watch, struct watch_state *s, uint64_t looked_ms,
		   struct scsi3pr_check *check)
{
	bool by_data = !s->data[0] || (s->dev && strcmp(scsi3pr_name(s->dev), s->data) == 0);
	bool answer = check->health != SCSI3PR_NO_ANSWER;

	if (is_loss(check)) {
		if (!s->lost) {
			direct_io_stop(watch, check->text);
			notice_post(watch, NOTICE_LOST, 0, check->text);
		}
		s->lost = true;
	} else if (answer) {
		s->lost = false;
	}
	if (answer && by_data) {
		s->silent = false;
		s->answer_ms = cd_now_ms();
		if (check->health == SCSI3PR_HEALTHY)
			notice_post(watch, NOTICE_SEEN, looked_ms, "");
		return true;
	}
	if (answer)
		snprintf(check->text, sizeof(check->text),
			 "its data goes by %.64s, which does not answer; %.64s does", s->data,
			 scsi3pr_name(s->dev));
	if (!s->silent)
		notice_post(watch, NOTICE_TEXT, 0, check->text);
	s->silent = true;
	notice_post(watch, NOTICE_MUTE, cd_now_ms() - s->answer_ms, check->text);
	return false;
}

static void *watch_thread(void *arg)
{
	struct cd_watch *watch = arg;
	struct watch_state s = { .answer_ms = cd_now_ms() };
	unsigned next = 0, looks = 0;

	while (!atomic_load(&watch->stop)) {
		struct pollfd pfd = { .fd = watch->wake_fd, .events = POLLIN };
		struct scsi3pr_check check = { .health = SCSI3PR_NO_ANSWER };
		uint64_t now_ms = cd_now_ms();

		if (!s.data[0])
			data_path_ask(watch, s.data, sizeof(s.data));
		if (!s.dev)
			s.dev = path_open(watch->lun, s.data, &next, check.text);
		if (s.dev)
			look(s.dev, watch->key, &check);
		if (!looked(watch, &s, now_ms, &check)) {
			/* Says nothing of the reservation: another path, another time. */
			scsi3pr_close(s.dev);
			s.dev = NULL;
			next += check.health == SCSI3PR_NO_ANSWER;
		} else if (check.health == SCSI3PR_HEALTHY && looks++ % APTPL_LOOKS == 0) {
			aptpl_look(watch, s.dev);
		}
		poll(&pfd, 1, CD_WATCH_MS);
	}
	scsi3pr_close(s.dev);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvd: every cluster shared volume of this node.  main() makes the folders, takes the lock that says that no
 * other csvd lives, opens the sockets and runs the loop of the control socket; everything else happens in
 * threads.  It decides nothing about the cluster: clusterd tells it by the control socket.
 */
#include "csv/vol.h"

#include "common/cl_log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config.h"

#define TICK_MS 2000

uint64_t csvd_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static int dir_from(char *ret, const char *variable, const char *standard, mode_t mode)
{
	const char *value = getenv(variable);

	if (snprintf(ret, CSVD_PATH, "%s", value && *value ? value : standard) >= (int)CSVD_PATH)
		return -ENAMETOOLONG;
	if (mkdir(ret, mode) && errno != EEXIST)
		return -errno;
	return 0;
}

/*
 * A csvd that was killed holds it until its last thread has ended, I/O in flight included.  The pid in it tells
 * clusterd whom to end, whatever the program is called.
 */
static int lock_take(struct csvd *d)
{
	char path[CSVD_PATH + 16], pid[24];
	int fd;

	snprintf(path, sizeof(path), "%s/csvd.lock", d->run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (int i = 0; i < 300; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB)) {
			snprintf(pid, sizeof(pid), "%d\n", getpid());
			if (ftruncate(fd, 0) || pwrite(fd, pid, strlen(pid), 0) < 0)
				return -errno;
			return 0;
		}
		usleep(100000);
	}
	return -EADDRINUSE;
}

static int start(struct csvd *d, const char **ret_what)
{
	char path[CSVD_PATH + 16];
	struct rlimit files = {65536, 65536};
	int rc;

	*ret_what = "folders";
	rc = dir_from(d->run_dir, "HOLDFAST_RUN_DIR", "/run/holdfast", 0755);
	if (!rc)
		rc = dir_from(d->state_dir, "HOLDFAST_STATE_DIR", "/var/lib/holdfast", 0700);
	if (!rc)
		rc = dir_from(d->storage_dir, "HOLDFAST_STORAGE_DIR", "/clusterstorage", 0755);
	snprintf(path, sizeof(path), "%s/csvd", d->run_dir);
	if (!rc && mkdir(path, 0700) && errno != EEXIST)
		rc = -errno;
	if (rc)
		return rc;
	*ret_what = "another csvd lives";
	rc = lock_take(d);
	if (rc)
		return rc;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	/* We are on the way of writeback: reclaim must not wait for us while we wait for memory. */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	if (getrandom(&d->instance, sizeof(d->instance), 0) != sizeof(d->instance))
		return -EIO;
	rc = csv_map_init();
	if (rc)
		cl_warning("device-mapper: %s; no volume can be attached until it is there", strerror(-rc));
	d->instance = d->instance >> 1 | 1; /* a number in JSON, and never 0 */
	d->rpc_fd = d->disk_fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	*ret_what = "csv.sock";
	rc = csv_disksock_start(d);
	if (rc)
		return rc;
	*ret_what = "csvd.sock";
	snprintf(path, sizeof(path), "%s/csvd.sock", d->run_dir);
	return cl_ctl_server_new(path, 0600, csvd_control, d, &d->ctl);
}

static void stop(struct csvd *d)
{
	char error[CSVD_TEXT];

	/* Disks of VMs keep their devices; a csvd after us takes them over. */
	for (struct csv_vol *v = d->vols; v; v = v->next) {
		if (v->owner && csvd_release(v, v->state.term, error))
			cl_error("%s", error);
		csv_link_stop(v);
		(void)csv_front_umount(v, true);
	}
}

/* Not in the loop: what it does may wait for a LUN, and the loop must always hear clusterd. */
static void *tick_main(void *arg)
{
	for (;;) {
		usleep(TICK_MS * 1000);
		csvd_tick(arg);
	}
	return NULL;
}

static void loop(struct csvd *d)
{
	struct pollfd p[2];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	p[0] = (struct pollfd){.fd = cl_ctl_server_fd(d->ctl), .events = POLLIN};
	p[1] = (struct pollfd){.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN};
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents & POLLIN)
			return;
		if (p[0].revents)
			cl_ctl_server_service(d->ctl);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	static struct csvd d;
	const char *what;
	pthread_t ticker;
	sigset_t set;
	int c, rc;

	while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		if (c == 'V') {
			printf("csvd %s\n", PACKAGE_VERSION);
			return 0;
		}
		printf("usage: csvd [--help | --version]\n"
		       "Cluster shared volumes of this node; started and told what to do by clusterd.\n"
		       "See csvd(8).\n");
		return c == 'h' ? 0 : 2;
	}
	if (optind < argc) {
		fprintf(stderr, "csvd: '%s' is not an option\n", argv[optind]);
		return 2;
	}
	cl_log_init("csvd", CL_LOG_INFO);
	if (geteuid()) {
		cl_error("must be started as root");
		return 1;
	}
	umask(0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	rc = start(&d, &what);
	if (rc) {
		cl_error("cannot start: %s: %s", what, strerror(-rc));
		return 1;
	}
	if (pthread_create(&ticker, NULL, tick_main, &d)) {
		cl_error("cannot start: no thread");
		return 1;
	}
	cl_notice("ready");
	loop(&d);
	stop(&d);
	return 0;
}

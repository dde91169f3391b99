/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clusterd: wires the loop, IPC, workers and, once this node is in a cluster,
 * the replica and corosync.  Its end, however it comes, ends nothing else: VMs and csvd go on and
 * are found again.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clusterd/corosync_files_exec.h"
#include "clusterd/daemon.h"
#include "clusterd/logs_linux.h"
#include "clusterd/paths_linux.h"
#include "clusterd/roles_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "config.h"
#include "csv/map.h"

#define TIMER_NS	 (100 * QB_TIME_NS_IN_MSEC)
#define COROSYNC_WAIT_MS 10000u
#define WORK_THREADS	 48u
#define FENCE_THREADS	 16u
#define FILES_MAX	 65536u

uint64_t cd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t cd_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static int32_t on_post(int32_t fd, int32_t events, void *arg)
{
	cd_post_run(((struct cd *)arg)->post);
	return 0;
}

static int32_t on_signal(int32_t sig, void *arg)
{
	struct cd *cd = arg;

	cl_notice("signal %d: clusterd stops; VMs and volumes go on", sig);
	qb_loop_stop(cd->loop);
	return 0;
}

static int run_dir_make(void)
{
	char path[CD_PATH_MAX];
	int rc = cd_path_mkdirs(cd_path_dir(CD_DIR_RUN), 0755);

	cd_path(path, sizeof(path), CD_DIR_RUN, "vm");
	if (rc == 0)
		rc = cd_path_mkdirs(path, 0711);
	if (rc == 0)
		rc = cd_path_mkdirs(cd_path_dir(CD_DIR_STORAGE), 0755);
	return rc;
}

/* One clusterd a node.  The lock lives as long as the process. */
static int lock_take(void)
{
	char path[CD_PATH_MAX], text[24];
	int fd;

	cd_path(path, sizeof(path), CD_DIR_RUN, "clusterd.pid");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		cl_error("%s: %s", path,
			 errno == EWOULDBLOCK ? "another clusterd runs on this node" :
						strerror(errno));
		return -errno;
	}
	snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* ---- corosync: started when it is not there ------------------------------------------------- */

struct start_job {
	struct cd_job job;
	struct cd *cd;
	int rc;
	char error[1024];
};

static void start_run(struct cd_job *base)
{
	struct start_job *job = (struct start_job *)base;

	job->rc = cd_corosync_start(false, job->error, sizeof(job->error));
}

static void start_done(struct cd_job *base)
{
	struct start_job *job = (struct start_job *)base;

	if (job->rc < 0)
		cl_warning("%s", job->error);
	job->cd->corosync_try_ms = cd_now_ms() + COROSYNC_WAIT_MS;
	free(job);
}

static void corosync_keep(struct cd *cd)
{
	struct start_job *job;

	if (!cd->member || cd->link_up || cd_now_ms() < cd->corosync_try_ms)
		return;
	job = calloc(1, sizeof(*job));
	if (!job)
		return;
	cd->corosync_try_ms = UINT64_MAX;
	job->cd = cd;
	job->job = (struct cd_job){ .run = start_run,
				    .done = start_done,
				    .key = cd_pool_key("corosync", "") };
	cd_pool_submit(cd->work, &job->job);
}

/* ---- logs ----------------------------------------------------------------------------------- */

struct logs_job {
	struct cd_job job;
	struct cd *cd;
};

static void logs_run(struct cd_job *base __attribute__((unused)))
{
	(void)cd_logs_bound(CD_LOG_BYTES_MAX, CD_LOGS_BYTES_MAX);
}

static void logs_done(struct cd_job *base)
{
	((struct logs_job *)base)->cd->logs_ms = cd_now_ms() + CD_LOGS_EVERY_MS;
	free(base);
}

static void logs_keep(struct cd *cd)
{
	struct logs_job *job;

	if (cd_now_ms() < cd->logs_ms)
		return;
	job = calloc(1, sizeof(*job));
	if (!job)
		return;
	cd->logs_ms = UINT64_MAX;
	job->cd = cd;
	job->job = (struct cd_job){ .run = logs_run, .done = logs_done };
	cd_pool_submit(cd->work, &job->job);
}

static void on_timer(void *arg)
{
	struct cd *cd = arg;
	qb_loop_timer_handle timer;

	qb_loop_timer_add(cd->loop, QB_LOOP_HIGH, TIMER_NS, cd, on_timer, &timer);
	cd_drive_timer(cd);
	corosync_keep(cd);
	logs_keep(cd);
}

/* Before anything of ours asks for them.  Without, this node goes on with what it has, and says so. */
static void roles_ensure(const struct cd *cd)
{
	char error[CD_PATH_MAX + 256];
	int rc = cd_roles_ensure(cd->self.name, error, sizeof(error));

	if (rc < 0)
		cl_error("%s", error);
	else if (rc > 0)
		cl_notice("%d certificates for the roles of this node were made", rc);
}

static int member_start(struct cd *cd)
{
	CL_CLEANUP_FREE char *error = NULL;
	char path[CD_PATH_MAX];
	int rc;

	cd_path(path, sizeof(path), CD_DIR_STATE, "node.json");
	rc = cd_node_file_read(path, &cd->self, &error);
	if (rc == -ENOENT) {
		cl_notice("not in a cluster: waiting for `clusterctl cluster create` or `join`");
		return 0;
	}
	if (rc == 0) {
		free(error);
		error = NULL;
		roles_ensure(cd);
		rc = cd_drive_start(cd, NULL, &error);
	}
	if (rc < 0) {
		cl_error("%s", error ? error : strerror(-rc));
		return rc;
	}
	cl_notice("node %s (%u) of cluster %s", cd->self.name, cd->self.id, cd->self.cluster);
	cd_cluster_tokens_load(cd);
	cd_ports_listen(cd);
	return 0;
}

static int cd_run(struct cd *cd)
{
	qb_loop_signal_handle sig;
	int rc;

	cd->loop = qb_loop_create();
	if (!cd->loop)
		return -ENOMEM;
	rc = cd_post_new(&cd->post);
	if (rc == 0)
		rc = cd_pool_new(cd->post, WORK_THREADS, &cd->work);
	if (rc == 0)
		rc = cd_pool_new(cd->post, FENCE_THREADS, &cd->fence);
	if (rc == 0)
		rc = qb_loop_poll_add(cd->loop, QB_LOOP_HIGH, cd_post_fd(cd->post), POLLIN, cd, on_post);
	if (rc == 0)
		rc = cd_ipc_new(cd->loop, NULL, cd_request, cd, &cd->ipc);
	if (rc < 0) {
		cl_error("cannot start: %s", strerror(-rc));
		return rc;
	}
	qb_loop_signal_add(cd->loop, QB_LOOP_HIGH, SIGTERM, cd, on_signal, &sig);
	qb_loop_signal_add(cd->loop, QB_LOOP_HIGH, SIGINT, cd, on_signal, &sig);
	rc = member_start(cd);
	if (rc < 0)
		return rc;
	on_timer(cd);
	qb_loop_run(cd->loop);
	cd_ipc_free(cd->ipc);
	return 0;
}

static void usage(FILE *to)
{
	fprintf(to, "usage: clusterd [--help] [--version]\n"
		    "Runs in the foreground; see clusterd(8).\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { 0 } };
	struct rlimit core = { 0, 0 }, files = { FILES_MAX, FILES_MAX };
	struct cd *cd;
	int c, rc;

	while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			printf("clusterd %s\n", PACKAGE_VERSION);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc) {
		fprintf(stderr, "clusterd: '%s' is not an option\n", argv[optind]);
		return 2;
	}
	cl_log_init("clusterd", CL_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	umask(0022);
	/* Keys are in memory. */
	setrlimit(RLIMIT_CORE, &core);
	/* What a shell that starts us by hand may have lowered; the unit says the same. */
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		cl_warning("descriptors cannot be raised to %u: %s", FILES_MAX, strerror(errno));
	if (run_dir_make() < 0 || lock_take() < 0) {
		cl_error("cannot start: %s", cd_path_dir(CD_DIR_RUN));
		return 1;
	}
	/* Kept: a device must be put down even when no descriptor is left. */
	rc = csv_map_init();
	if (rc < 0)
		cl_info("device-mapper: %s", strerror(-rc));
	cd = calloc(1, sizeof(*cd));
	if (!cd || cd_lease_open(cd) < 0)
		return 1;
	return cd_run(cd) < 0 ? 78 : cd->exit_status; /* 78: EX_CONFIG, do not restart in a loop */
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts vmm-tunnel; see tunnel_linux.h. */
#include "clusterd/tunnel_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clusterd/daemon.h"
#include "clusterd/exec_linux.h"
#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"

#define REPORT_MS 45000 /* more than the tunnel takes to connect and for the handshake */

/* Numbers of what it is passed (exec_linux.h). */
#define STREAM_FD "3"
#define OTHER_FD  "4"

static int spawn(const struct cd_tunnel *t, const char *how, const char *where, const char *report,
		 int stream_fd, int other_fd)
{
	char program[CD_PATH_MAX], tls[CD_PATH_MAX], log[CD_PATH_MAX], uid[16],
		cgroup[CL_NAME_MAX + 16];
	const char *argv[16] = { program, "--tls",    tls,	 "--peer", t->peer, "--uid",
				 uid,	  "--stream", STREAM_FD, how,	   where };
	CL_CLEANUP_CLOSE int log_fd = -1;
	pid_t pid;

	if (report) {
		argv[11] = "--report";
		argv[12] = report;
	}
	cd_path_program(program, sizeof(program), "vmm-tunnel");
	cd_path(tls, sizeof(tls), CD_DIR_STATE, "tls");
	cd_path(log, sizeof(log), CD_DIR_RUN, "vm/%s/tunnel.log", t->vm);
	snprintf(uid, sizeof(uid), "%u", (unsigned)t->uid);
	snprintf(cgroup, sizeof(cgroup), "tunnel-%s", t->vm);
	log_fd = cd_exec_log(log);
	if (log_fd < 0)
		return log_fd;
	return cd_exec_spawn(&(struct cd_exec){ .argv = argv,
						.log_fd = log_fd,
						.cgroup = cgroup,
						.own_pids = true,
						.pass_fds = { stream_fd, other_fd } },
			     &pid);
}

static int pair_make(int *ret_ours, int *ret_its)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ret_ours = pair[0];
	*ret_its = pair[1];
	return 0;
}

/* The line that it says once the peer is there (empty) or is not. */
static int report_read(int fd, char *error, size_t cap_bytes)
{
	uint64_t end = cd_now_ms() + REPORT_MS;
	size_t len = 0;
	char text[256];

	while (len < sizeof(text) && !memchr(text, '\n', len)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = cd_now_ms();
		ssize_t n = 0;

		if (now >= end) {
			snprintf(error, cap_bytes, "vmm-tunnel says nothing");
			return -ETIMEDOUT;
		}
		if (poll(&p, 1, (int)(end - now)) > 0)
			n = read(fd, text + len, sizeof(text) - len);
		else
			continue;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			snprintf(error, cap_bytes, "vmm-tunnel ended at once");
			return -EIO;
		}
		len += (size_t)n;
	}
	text[len ? len - 1 : 0] = '\0';
	snprintf(error, cap_bytes, "%s", text);
	return text[0] ? -EIO : 0;
}

int cd_tunnel_connect(const struct cd_tunnel *t, const char *address, unsigned port, char *error,
		      size_t cap_bytes)
{
	CL_CLEANUP_CLOSE int ours = -1, its = -1, told = -1, says = -1;
	char where[CORE_ADDRESS_MAX + 16];
	int rc = pair_make(&ours, &its), report[2];

	if (rc == 0 && pipe2(report, O_CLOEXEC) < 0)
		rc = -errno;
	if (rc == 0) {
		told = report[0];
		says = report[1];
		snprintf(where, sizeof(where), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address,
			 port);
		rc = spawn(t, "--connect", where, OTHER_FD, its, says);
	}
	if (rc < 0) {
		snprintf(error, cap_bytes, "vmm-tunnel: %s", strerror(-rc));
		return rc;
	}
	/* Its end alone keeps them open now. */
	close(cl_steal_fd(&says));
	close(cl_steal_fd(&its));
	rc = report_read(told, error, cap_bytes);
	return rc < 0 ? rc : cl_steal_fd(&ours);
}

int cd_tunnel_listen(const struct cd_tunnel *t, int listen_fd)
{
	CL_CLEANUP_CLOSE int ours = -1, its = -1;
	int rc = pair_make(&ours, &its);

	if (rc == 0)
		rc = spawn(t, "--listen", OTHER_FD, NULL, its, listen_fd);
	return rc < 0 ? rc : cl_steal_fd(&ours);
}

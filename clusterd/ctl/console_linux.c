/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial console of a VM of this node on our terminal, until Ctrl-]. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "clusterd/ctl/ctl.h"
#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"

#define LEAVE 0x1d /* Ctrl-] */

static int write_all(int fd, const char *data, ssize_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, (size_t)len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= n;
		}
	}
	return 0;
}

static void relay(int fd)
{
	struct pollfd pfd[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	char buf[4096];

	for (;;) {
		ssize_t n;
		char *leave;

		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return;
		if (pfd[1].revents) {
			n = read(fd, buf, sizeof(buf));
			if (n <= 0 || write_all(1, buf, n) < 0)
				return;
		}
		if (pfd[0].revents) {
			n = read(0, buf, sizeof(buf));
			if (n <= 0) {
				pfd[0].fd = -1; /* input is over; go on showing */
				continue;
			}
			leave = memchr(buf, LEAVE, (size_t)n);
			if (leave)
				n = leave - buf;
			if (write_all(fd, buf, n) < 0 || leave)
				return;
		}
	}
}

int ctl_console(struct ctl *ctl, const char *vm)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	CL_CLEANUP_CLOSE int fd = -1;
	struct termios old, raw;
	bool tty = isatty(0) && tcgetattr(0, &old) == 0;
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/%s/serial.sock", vm);
	if (strlen(path) >= sizeof(addr.sun_path))
		return ctl_error(ctl, CTL_FAILED, "ENAMETOOLONG", "%s is too long", path);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return ctl_error(ctl, CTL_FAILED, "ENOTCONN", "%s: %s", path, strerror(errno));
	if (tty) {
		fprintf(stderr, "connected to %s; leave with Ctrl-]\n", vm);
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	relay(fd);
	if (tty) {
		tcsetattr(0, TCSANOW, &old);
		fprintf(stderr, "\n");
	}
	return CTL_OK;
}

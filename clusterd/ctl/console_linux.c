/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial console of a VM on our terminal, until Ctrl-] or the console's end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "clusterd/console_linux.h"
#include "clusterd/ctl/ctl.h"
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

int ctl_console(struct ctl *ctl, const char *vm, const char *node, const char *address)
{
	CL_CLEANUP_CLOSE int fd = -1;
	struct termios old, raw;
	bool tty = isatty(0) && tcgetattr(0, &old) == 0;
	char error[512];

	if (address) {
		fd = cd_console_remote(address, node, vm, error, sizeof(error));
	} else {
		fd = cd_console_local(vm);
		snprintf(error, sizeof(error), "VM %s: its serial line: %s", vm,
			 fd < 0 ? strerror(-fd) : "");
	}
	if (fd < 0)
		return ctl_error(ctl, CTL_FAILED, "ENOTCONN", "%s", error);
	signal(SIGPIPE, SIG_IGN);
	if (tty) {
		fprintf(stderr, "connected to %s on node %s; leave with Ctrl-]\n", vm, node);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TCP ports that clusterd listens on, at this node's cluster address: who takes a connection of which.
 * An address that is not there yet (a network that comes up late) is tried again.
 */
#include "clusterd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clusterd/console_linux.h"
#include "clusterd/join_gnutls.h"
#include "common/cl_log.h"
#include "common/cl_tls.h"

#define AGAIN_NS (2 * QB_TIME_NS_IN_SEC)

static void console_take(struct cd *cd, int fd)
{
	int rc = cd_console_serve(fd);

	if (rc < 0 && rc != -EAGAIN)
		cl_warning("a console for another node: %s", strerror(-rc));
}

static const struct {
	unsigned port;
	void (*take)(struct cd *cd, int fd); /* the connection is its own then */
} ports[CD_PORTS] = {
	{ CD_JOIN_PORT, cd_cluster_admit },
	{ CD_CONSOLE_PORT, console_take },
};

static int32_t on_connection(int32_t fd, int32_t events, void *arg)
{
	struct cd_port *port = arg;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (conn >= 0)
		ports[port - port->cd->ports].take(port->cd, conn);
	return 0;
}

static void listen_try(void *arg)
{
	struct cd_port *port = arg;
	struct cd *cd = port->cd;
	unsigned number = ports[port - cd->ports].port;
	qb_loop_timer_handle timer;
	int fd = cl_tcp_listen(cd->self.address, number);

	if (fd < 0) {
		if (port->error != fd)
			cl_warning("%s port %u: %s; trying again", cd->self.address, number,
				   strerror(-fd));
		port->error = fd;
		qb_loop_timer_add(cd->loop, QB_LOOP_LOW, AGAIN_NS, port, listen_try, &timer);
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	qb_loop_poll_add(cd->loop, QB_LOOP_LOW, fd, POLLIN, port, on_connection);
}

void cd_ports_listen(struct cd *cd)
{
	for (unsigned i = 0; i < CD_PORTS; i++) {
		cd->ports[i] = (struct cd_port){ .cd = cd };
		listen_try(&cd->ports[i]);
	}
}

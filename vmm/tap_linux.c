/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tap set-up by ioctl.  See tap.h. */
#include "vmm/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "vmm/text.h"

static void name_set(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof(*ifr));
	strncpy(ifr->ifr_name, name, IFNAMSIZ - 1);
}

static int bridge_add(int sock, const char *name, const char *bridge, char **ret_error)
{
	struct ifreq ifr;
	int mtu;

	name_set(&ifr, bridge);
	if (ioctl(sock, SIOCGIFMTU, &ifr) < 0)
		return vmm_error(ret_error, errno, "bridge %s: %s", bridge, strerror(errno));
	mtu = ifr.ifr_mtu;
	name_set(&ifr, name);
	ifr.ifr_mtu = mtu;
	if (ioctl(sock, SIOCSIFMTU, &ifr) < 0)
		return vmm_error(ret_error, errno, "tap %s: set MTU %d: %s", name, mtu,
				 strerror(errno));
	name_set(&ifr, bridge);
	ifr.ifr_ifindex = (int)if_nametoindex(name);
	if (ioctl(sock, SIOCBRADDIF, &ifr) < 0 && errno != EBUSY)
		return vmm_error(ret_error, errno, "tap %s: add to bridge %s: %s", name, bridge,
				 strerror(errno));
	return 0;
}

int vmm_tap_open(const char *name, const char *bridge, char **ret_error)
{
	CL_CLEANUP_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	CL_CLEANUP_CLOSE int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr;
	int r;

	if (fd < 0 || sock < 0)
		return vmm_error(ret_error, errno, "/dev/net/tun: %s", strerror(errno));
	name_set(&ifr, name);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return vmm_error(ret_error, errno, "tap %s: %s", name, strerror(errno));
	if (bridge[0]) {
		r = bridge_add(sock, name, bridge, ret_error);
		if (r < 0)
			return r;
	}
	name_set(&ifr, name);
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		return vmm_error(ret_error, errno, "tap %s: %s", name, strerror(errno));
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		return vmm_error(ret_error, errno, "tap %s: bring up: %s", name, strerror(errno));
	return cl_steal_fd(&fd);
}

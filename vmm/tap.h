/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tap device, put on a bridge.  Needs CAP_NET_ADMIN to open, nothing afterwards. */
#ifndef VMM_TAP_H
#define VMM_TAP_H

/*
 * Opens (makes, if it does not exist) tap `name`, gives it the bridge's MTU, adds it to bridge
 * (empty: to none) and brings it up.  Non-blocking fd that carries whole Ethernet frames, or
 * -errno with *ret_error (malloc'ed). The tap goes with the fd if this made it.
 */
int vmm_tap_open(const char *name, const char *bridge, char **ret_error);

#endif

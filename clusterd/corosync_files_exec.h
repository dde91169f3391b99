/* SPDX-License-Identifier: GPL-2.0-or-later */
/* corosync's files and service on this node.  Blocking: workers only. */
#ifndef CD_COROSYNC_FILES_EXEC_H
#define CD_COROSYNC_FILES_EXEC_H

#include <stddef.h>

#include "clusterd/corosync_conf.h"

#define CD_AUTHKEY_BYTES 256u

/* Writes corosync.conf (and authkey, if not NULL); what was there and is not ours is kept aside. 0 or -errno. */
int cd_corosync_write(const struct cd_conf *conf, const void *authkey, size_t authkey_bytes);
/* Starts (or restarts) the service and waits until votequorum answers. 0 or -errno, one line. */
int cd_corosync_start(bool restart, char *error, size_t cap_bytes);
/* Tells the running corosync of a changed file. */
int cd_corosync_reload(char *error, size_t cap_bytes);
/* Takes away what create or join wrote when they fail. */
void cd_corosync_undo(void);

#endif

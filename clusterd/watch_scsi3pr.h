/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watch over a LUN's registration: once a second own key and the reservation are read, and a
 * block.  When either is gone or the block is refused, at two looks, this node was fenced, the
 * target forgot or the session is another: direct I/O is stopped at once, then the core is told.  A
 * LUN that does not answer is told too, and once a minute whether the target keeps registrations
 * over a power loss.
 */
#ifndef CD_WATCH_SCSI3PR_H
#define CD_WATCH_SCSI3PR_H

#include <stdint.h>

struct cd;
struct cd_watch;

#define CD_WATCH_MS 1000

/* Loop thread. volume and lun are copied. */
struct cd_watch *cd_watch_start(struct cd *cd, const char *volume, const char *lun, uint64_t key);
/* No report after this returned. Frees watch when its thread is through. NULL is fine. */
void cd_watch_stop(struct cd_watch *watch);
uint64_t cd_watch_key(const struct cd_watch *watch);

#endif

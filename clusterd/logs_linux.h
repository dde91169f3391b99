/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logs in the run folder, which is memory: csvd.log, and vmm.log and serial.log of each VM.  What a
 * guest or a peer makes somebody write must not fill it: no disk journal, no socket, no VM's start
 * would find room.
 */
#ifndef CD_LOGS_LINUX_H
#define CD_LOGS_LINUX_H

#include <stdint.h>

#define CD_LOG_BYTES_MAX  (4u << 20)
#define CD_LOGS_BYTES_MAX (64u << 20)
#define CD_LOGS_EVERY_MS  2000u

/*
 * Cuts each log that is longer than each_max, and all to an equal share when they hold more than
 * total_max (or an eighth of the file system) together.  The last part of a log stays; who writes
 * goes on appending.  Links and other than regular files are left alone.  Blocking; one thread at a
 * time.  Returns how many were cut.
 */
unsigned cd_logs_bound(uint64_t each_max, uint64_t total_max);

#endif

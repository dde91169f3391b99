/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the test's vmm and csvd share: one thread, a control socket, a tick, records on the LUN. */
#ifndef TESTS_CLUSTER_FAKE_H
#define TESTS_CLUSTER_FAKE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cl_ctl.h"

#define FAKE_TICK_MS 25

uint64_t fake_now_ms(void);
/* Unique for each process of each boot: "N1-1234-567890". */
const char *fake_instance(void);
void fake_reply_text(struct cl_ctl_server *server, struct cl_ctl_request req, const char *key,
		     const char *value);
/* One line to stderr, which is the program's log. */
void fake_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

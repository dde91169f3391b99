/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's TCP port: one text line a request (README.md of this folder).
 * A thread of its own answers, so that clients hear from the guest also while
 * its disk is held.
 */
#ifndef LAB_SERVE_H
#define LAB_SERVE_H

#include <stdint.h>

#include "tests/lab/guest/stamp.h"

struct serve_ack {
	struct stamp stamp;
	uint64_t hash;
};

/* Listens on every address and starts the thread. 0 or -errno. */
int serve_start(unsigned port);
/* A stamp is durable: followers are told.  Any thread; never blocks on a client. */
void serve_publish(const struct stamp *stamp, uint64_t hash);
/* "SEQ GENERATION BOOT MONO_NS WALL_NS HASH RAM_HASH", what follows the word ack. */
int serve_ack_text(const struct serve_ack *ack, char *out, int cap_bytes);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many may stand at a door before they have proved who they are.  A service asks before it
 * makes a thread, and lets go of the ticket when the peer is known.
 *
 * Decides: at most `total` at once and `each` of one origin (an address, a uid).  When all places
 * are taken, the one that has been silent longest is cut off if it had grace_ms, so that silence
 * keeps nobody out for long; who came in vain comes again.  Says in one line a few seconds what was
 * refused, never a line a peer.
 *
 * Any thread.
 */
#ifndef CL_GATE_H
#define CL_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CL_GATE_SAY_MS 5000u

struct cl_gate_place {
	bool taken;
	int fd; /* borrowed: open until the ticket is given back */
	uint64_t who;
	uint64_t since_ms;
};

struct cl_gate {
	pthread_mutex_t lock;
	unsigned total, each;
	uint32_t grace_ms; /* 0: nobody is cut off */
	struct cl_gate_place *places;
	uint64_t said_ms;
	unsigned unsaid;
};

/* 0 or -ENOMEM. */
int cl_gate_init(struct cl_gate *gate, unsigned total, unsigned each, uint32_t grace_ms);
void cl_gate_fini(struct cl_gate *gate);
/* A ticket (>= 0), or -EAGAIN: no place; the caller closes fd. */
int cl_gate_enter(struct cl_gate *gate, uint64_t who, int fd);
/* Before fd is closed or handed on. A ticket < 0 is none. */
void cl_gate_leave(struct cl_gate *gate, int ticket);
/* True when a line about a refusal is due; *ret_more: refusals since the last line, this one left
 * out. */
bool cl_gate_say(struct cl_gate *gate, unsigned *ret_more);

/* Who is at the other end of a TCP connection: the same number for the same address (IPv6: the same
 * /64). */
uint64_t cl_gate_address(int fd, char *ret_text, size_t cap_bytes);

#endif

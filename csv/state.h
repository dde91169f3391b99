/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of one volume on one node, with its reason and since when.  It is worked out from a
 * few facts, never set by hand, so that every state has its explanation.
 *
 *              owner known, connected          reclaims answered
 *   PAUSED ──────────────────────────> RECLAIM ─────────────────> DIRECT
 *     ^  ^                                │                        │ │ │ path lost
 *     │  └────── connection lost ─────────┴────────────────────────┘ │ └──> BLOCK_REDIRECTED
 *     │                                                               │ redirect asked
 *     └── moved ── DRAINING <── release (owner's node) ───────────────┴────> FS_REDIRECTED
 *   any ── down: key or reservation lost ──> DOWN (only a new attach leaves it)
 *
 *   DIRECT            data straight to the LUN where a layout allows it
 *   BLOCK_REDIRECTED  this node has no path to the LUN: data goes through the owner
 *   FS_REDIRECTED     somebody asked for it: data goes through the owner
 *   PAUSED            no owner to talk to: what needs one waits; disks laid out keep running
 *   DRAINING          this node is giving the volume up: new operations wait, old ones end
 *   RECLAIM           the new owner is told what this node has open
 *   DOWN              nothing may be written from here any more
 *
 * Pure.
 */
#ifndef CSV_STATE_H
#define CSV_STATE_H

#include <stdbool.h>
#include <stdint.h>

#define CSV_REASON_MAX 160u

enum csv_state {
	CSV_STATE_DIRECT = 0,
	CSV_STATE_BLOCK_REDIRECTED,
	CSV_STATE_FS_REDIRECTED,
	CSV_STATE_PAUSED,
	CSV_STATE_DRAINING,
	CSV_STATE_RECLAIM,
	CSV_STATE_DOWN,
};

enum csv_input {
	CSV_IN_OWNER,	      /* n = owner's node id, 0 = nobody; term */
	CSV_IN_CONNECTED,     /* to the owner of that term */
	CSV_IN_RECLAIMED,
	CSV_IN_DISCONNECTED,  /* text: why */
	CSV_IN_RELEASE,	      /* n = 1 draining starts, 0 it is over */
	CSV_IN_REDIRECT,      /* n = 1 on, 0 off */
	CSV_IN_PATH,	      /* n = 1 the LUN can be reached, 0 not; text: what was seen */
	CSV_IN_DOWN,	      /* text: reason */
};

struct csv_volume_state {
	enum csv_state state;
	char reason[CSV_REASON_MAX];
	uint64_t since_ms;
	/* the facts */
	uint32_t owner;
	uint64_t term;
	bool connected;
	bool reclaimed;
	bool releasing;
	bool redirect;
	bool path_lost;
	bool down;
	char lost[CSV_REASON_MAX]; /* why the connection, the path or the volume went */
};

const char *csv_state_name(enum csv_state state);
void csv_state_init(struct csv_volume_state *s, uint64_t now_ms);
/* Takes in a fact. True if state or reason changed. text may be NULL. */
bool csv_state_input(struct csv_volume_state *s, enum csv_input input, uint64_t n, uint64_t term,
		     const char *text, uint64_t now_ms);
/* Metadata and redirected data may be sent to the owner. */
bool csv_state_active(const struct csv_volume_state *s);
/* Data may go straight to the LUN under a layout. */
bool csv_state_direct(const struct csv_volume_state *s);

#endif

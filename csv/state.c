/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Works the state of a volume on a node out of the facts.  Never acts: the client does.
 */
#include "csv/state.h"

#include <string.h>

static const char *const names[] = {
	[CSV_STATE_DIRECT] = "direct",
	[CSV_STATE_BLOCK_REDIRECTED] = "block-redirected",
	[CSV_STATE_FS_REDIRECTED] = "fs-redirected",
	[CSV_STATE_PAUSED] = "paused",
	[CSV_STATE_DRAINING] = "draining",
	[CSV_STATE_RECLAIM] = "reclaim",
	[CSV_STATE_DOWN] = "down",
};

const char *csv_state_name(enum csv_state state)
{
	return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static void text_set(char *to, const char *from)
{
	size_t n = strlen(from);

	if (n >= CSV_REASON_MAX)
		n = CSV_REASON_MAX - 1;
	memcpy(to, from, n);
	to[n] = 0;
}

static enum csv_state work_out(const struct csv_volume_state *s, const char **ret_reason)
{
	if (s->down) {
		*ret_reason = s->lost[0] ? s->lost : "this node may not write to the volume";
		return CSV_STATE_DOWN;
	}
	if (s->releasing) {
		*ret_reason = "this node gives the volume up";
		return CSV_STATE_DRAINING;
	}
	if (!s->owner) {
		*ret_reason = "no owner is known";
		return CSV_STATE_PAUSED;
	}
	if (!s->connected) {
		*ret_reason = s->lost[0] ? s->lost : "connecting to the owner";
		return CSV_STATE_PAUSED;
	}
	if (!s->reclaimed) {
		*ret_reason = "the owner is told what is open here";
		return CSV_STATE_RECLAIM;
	}
	if (s->redirect) {
		*ret_reason = "redirection was asked for";
		return CSV_STATE_FS_REDIRECTED;
	}
	if (s->path_lost) {
		*ret_reason = s->lost[0] ? s->lost : "this node has no path to the LUN";
		return CSV_STATE_BLOCK_REDIRECTED;
	}
	*ret_reason = "normal";
	return CSV_STATE_DIRECT;
}

void csv_state_init(struct csv_volume_state *s, uint64_t now_ms)
{
	const char *reason;

	memset(s, 0, sizeof(*s));
	s->since_ms = now_ms;
	s->state = work_out(s, &reason);
	text_set(s->reason, reason);
}

bool csv_state_input(struct csv_volume_state *s, enum csv_input input, uint64_t n, uint64_t term,
		     const char *text, uint64_t now_ms)
{
	enum csv_state was = s->state;
	const char *reason;
	bool changed;

	switch (input) {
	case CSV_IN_OWNER:
		if (term < s->term)
			return false;
		if (n != s->owner || term != s->term) {
			s->connected = false;
			s->reclaimed = false;
			s->lost[0] = 0;
		}
		s->owner = (uint32_t)n;
		s->term = term;
		break;
	case CSV_IN_CONNECTED:
		s->connected = s->owner != 0;
		s->reclaimed = false;
		break;
	case CSV_IN_RECLAIMED:
		s->reclaimed = s->connected;
		break;
	case CSV_IN_DISCONNECTED:
		s->connected = false;
		s->reclaimed = false;
		text_set(s->lost, text ? text : "");
		break;
	case CSV_IN_RELEASE:
		s->releasing = n != 0;
		break;
	case CSV_IN_REDIRECT:
		s->redirect = n != 0;
		break;
	case CSV_IN_PATH:
		s->path_lost = n == 0;
		text_set(s->lost, text ? text : "");
		break;
	case CSV_IN_DOWN:
		if (s->down)
			return false;
		s->down = true;
		text_set(s->lost, text ? text : "");
		break;
	}
	s->state = work_out(s, &reason);
	changed = s->state != was || strncmp(s->reason, reason, CSV_REASON_MAX - 1);
	text_set(s->reason, reason);
	if (s->state != was)
		s->since_ms = now_ms;
	return changed;
}

bool csv_state_active(const struct csv_volume_state *s)
{
	return s->state == CSV_STATE_DIRECT || s->state == CSV_STATE_BLOCK_REDIRECTED ||
	       s->state == CSV_STATE_FS_REDIRECTED;
}

bool csv_state_direct(const struct csv_volume_state *s)
{
	return s->state == CSV_STATE_DIRECT;
}

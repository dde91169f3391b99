/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is free on a volume: the owner is asked every SPACE_EVERY_MS while there is one.  For people only: nothing
 * decides by it, and a figure that is old says how old it is.
 */
#include "csv/vol.h"

#include "common/cl_log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPACE_EVERY_MS	 5000
#define SPACE_TIMEOUT_MS 2000
#define NAP_US		 250000

static void space_ask(struct csv_vol *v, struct csv_rpc_msg *m, struct csv_rpc_msg *r)
{
	const struct csv_statfs *s = &r->statfs;

	memset(m, 0, sizeof(*m));
	if (csv_call_timeout(v, CSV_OP_STATFS, m, r, SPACE_TIMEOUT_MS))
		return;
	pthread_mutex_lock(&v->lock);
	v->space.bytes = s->blocks * s->bsize;
	v->space.free_bytes = s->bavail * s->bsize;
	v->space.since_ms = csvd_now_ms();
	pthread_mutex_unlock(&v->lock);
}

/* Ends by itself when the volume is detached; a volume is never freed. */
static void *space_thread(void *arg)
{
	struct csv_vol *v = arg;
	struct csv_rpc_msg *m = calloc(1, sizeof(*m)), *r = calloc(1, sizeof(*r));
	uint64_t next_ms = 0;
	bool active, stopping;

	while (m && r) {
		pthread_mutex_lock(&v->lock);
		stopping = v->stopping;
		active = csv_state_active(&v->state);
		pthread_mutex_unlock(&v->lock);
		if (stopping)
			break;
		if (active && csvd_now_ms() >= next_ms) {
			space_ask(v, m, r);
			next_ms = csvd_now_ms() + SPACE_EVERY_MS;
		}
		usleep(NAP_US);
	}
	free(m);
	free(r);
	return NULL;
}

void csv_space_start(struct csv_vol *v)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, space_thread, v)) {
		cl_warning("volume %s: no thread: what is free is not shown", v->name);
		return;
	}
	pthread_detach(thread);
}

json_t *csv_space_status(struct csv_vol *v)
{
	struct csv_space s;

	pthread_mutex_lock(&v->lock);
	s = v->space;
	pthread_mutex_unlock(&v->lock);
	if (!s.since_ms)
		return json_null();
	return json_pack("{s:I,s:I,s:I}", "total", (json_int_t)s.bytes, "free",
			 (json_int_t)s.free_bytes, "age_ms", (json_int_t)(csvd_now_ms() - s.since_ms));
}

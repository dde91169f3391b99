/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holds the guest back by a thread of its own; see throttle.h. */
#include "vmm/migration/throttle.h"

#include <time.h>

#include "vmm/migration/machine.h"

#define THROTTLE_WINDOW_NS 50000000l

void vmm_throttle_init(struct vmm_throttle *t, const struct vmm_mig_machine *m)
{
	*t = (struct vmm_throttle){ .m = m };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->cond, NULL);
}

void vmm_throttle_fini(struct vmm_throttle *t)
{
	vmm_throttle_end(t);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->cond);
}

static void throttle_wait(struct vmm_throttle *t, long ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += ns;
	ts.tv_sec += ts.tv_nsec / 1000000000l;
	ts.tv_nsec %= 1000000000l;
	if (!t->stop)
		pthread_cond_timedwait(&t->cond, &t->lock, &ts);
}

static void *throttle_main(void *arg)
{
	struct vmm_throttle *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		long held = THROTTLE_WINDOW_NS / 100 * (long)t->pct;

		t->m->hold(t->m->arg, true);
		throttle_wait(t, held);
		t->m->hold(t->m->arg, false);
		throttle_wait(t, THROTTLE_WINDOW_NS - held);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

void vmm_throttle_set(struct vmm_throttle *t, uint32_t pct)
{
	pthread_mutex_lock(&t->lock);
	t->pct = pct;
	pthread_mutex_unlock(&t->lock);
	if (pct && !t->started)
		t->started = pthread_create(&t->thread, NULL, throttle_main, t) == 0;
}

void vmm_throttle_end(struct vmm_throttle *t)
{
	if (!t->started)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	t->started = false;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds a guest back that writes faster than the link carries: in each window it may run (100 - pct) %
 * of the time.  One thread uses it.
 */
#ifndef VMM_MIGRATION_THROTTLE_H
#define VMM_MIGRATION_THROTTLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vmm_mig_machine;

/* lock guards stop and pct. */
struct vmm_throttle {
	const struct vmm_mig_machine *m;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop;
	uint32_t pct;
};

void vmm_throttle_init(struct vmm_throttle *t, const struct vmm_mig_machine *m);
void vmm_throttle_set(struct vmm_throttle *t, uint32_t pct);
/* The guest runs freely when it returns. */
void vmm_throttle_end(struct vmm_throttle *t);
void vmm_throttle_fini(struct vmm_throttle *t);

#endif

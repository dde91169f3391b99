/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A read-write lock whose writer gets its turn.  glibc's default lets readers pass a waiting writer for ever: with
 * I/O that never pauses a recall would never be answered.  No thread may read-lock one twice.
 */
#ifndef CSV_FAIRLOCK_H
#define CSV_FAIRLOCK_H

#include <pthread.h>

static inline void csv_fairlock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

#endif

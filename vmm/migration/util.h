/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sender, receiver and files share. */
#ifndef VMM_MIGRATION_UTIL_H
#define VMM_MIGRATION_UTIL_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of a clock. */
uint64_t vmm_mig_clock_ns(clockid_t id);
static inline uint64_t vmm_mig_now_ns(void)
{
	return vmm_mig_clock_ns(CLOCK_MONOTONIC);
}
/* The reason of a failure (malloc'ed); the first that is given stays. */
void vmm_mig_explain(char **ret_error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif

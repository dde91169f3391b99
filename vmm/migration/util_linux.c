/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/migration/util.h"

#include <stdarg.h>
#include <stdio.h>

uint64_t vmm_mig_clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void vmm_mig_explain(char **ret_error, const char *format, ...)
{
	va_list ap;

	if (*ret_error)
		return;
	va_start(ap, format);
	if (vasprintf(ret_error, format, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
}

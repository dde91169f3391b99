/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scope clean-up by attribute, for I/O code.  CL_CLEANUP_FREE and
 * CL_CLEANUP_CLOSE release at scope exit; cl_steal_ptr() and cl_steal_fd()
 * hand the object over so that it survives the scope.
 */
#ifndef CL_CLEANUP_H
#define CL_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cl_cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void cl_cleanup_close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define CL_CLEANUP_FREE	 __attribute__((cleanup(cl_cleanup_free_ptr)))
#define CL_CLEANUP_CLOSE __attribute__((cleanup(cl_cleanup_close_fd)))

#define cl_steal_ptr(p)                                                                            \
	__extension__({                                                                            \
		__typeof__(p) cl_tmp_ = (p);                                                       \
		(p) = NULL;                                                                        \
		cl_tmp_;                                                                           \
	})

static inline int cl_steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging for programs (not for libraries and never for pure code): one line to
 * standard error with the wall clock in milliseconds, the program's name and a
 * level.  Control bytes are escaped, so that a name from a guest or the wire cannot forge lines.
 * Under systemd standard error is the journal.
 */
#ifndef CL_LOG_H
#define CL_LOG_H

enum cl_log_level {
	CL_LOG_ERROR = 0,   /* something of the cluster failed */
	CL_LOG_WARNING = 1, /* recovered */
	CL_LOG_NOTICE = 2,  /* a change of state that an operator should see */
	CL_LOG_INFO = 3,
	CL_LOG_DEBUG = 4,
};

/* ident is borrowed for the life of the program.  HOLDFAST_DEBUG=1 raises level to DEBUG. */
void cl_log_init(const char *ident, enum cl_log_level level);
void cl_log(enum cl_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define cl_error(...)	cl_log(CL_LOG_ERROR, __VA_ARGS__)
#define cl_warning(...) cl_log(CL_LOG_WARNING, __VA_ARGS__)
#define cl_notice(...)	cl_log(CL_LOG_NOTICE, __VA_ARGS__)
#define cl_info(...)	cl_log(CL_LOG_INFO, __VA_ARGS__)
#define cl_debug(...)	cl_log(CL_LOG_DEBUG, __VA_ARGS__)

#endif

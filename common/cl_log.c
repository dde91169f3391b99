/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cl_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *log_ident = "holdfast";
static enum cl_log_level log_level = CL_LOG_INFO;

void cl_log_init(const char *ident, enum cl_log_level level)
{
	const char *debug = getenv("HOLDFAST_DEBUG");

	log_ident = ident;
	log_level = debug && !strcmp(debug, "1") ? CL_LOG_DEBUG : level;
}

void cl_log(enum cl_log_level level, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "notice", "info", "debug" };
	char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 128];
	struct timespec now;
	struct tm tm;
	va_list args;
	int len;

	if (level > log_level)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = snprintf(line, sizeof(line), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s[%d] %s: %s\n",
		       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		       tm.tm_sec, now.tv_nsec / 1000000, log_ident, (int)getpid(), names[level],
		       text);
	if (len > 0)
		(void)!write(STDERR_FILENO, line, (size_t)len);
}

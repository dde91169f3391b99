/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/cluster/fake.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests/cluster/target.h"

uint64_t fake_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

const char *fake_instance(void)
{
	static char text[64];

	if (!text[0])
		snprintf(text, sizeof(text), "N%u-%d-%llu", target_node(), getpid(),
			 (unsigned long long)fake_now_ms());
	return text;
}

void fake_reply_text(struct cl_ctl_server *server, struct cl_ctl_request req, const char *key,
		     const char *value)
{
	cl_ctl_reply(server, req, json_pack("{s:s}", key, value));
}

void fake_say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "%llu ", (unsigned long long)fake_now_ms());
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
}

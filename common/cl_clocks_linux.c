/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The clocks of this machine, for leases (cl_moment.h).  What each does when the machine is a
 * virtual one and its hypervisor stops it and lets it go on, or moves or restores it:
 *
 *                     stop, goes on      moved, restored
 *   CLOCK_BOOTTIME    stands still       stands still      by kvm-clock, or under emulation
 *                     runs on            stands still      by the TSC
 *   TSC               runs on            stands still      emulated (TCG): stands still, always
 *   RTC               runs on            runs on           unless it was told to follow the guest
 * (clock=vm)
 *
 * CLOCK_REALTIME is no clock of its own: it counts as BOOTTIME does, and people and NTP set it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_lease.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <x86intrin.h>
#endif

#define RTCS_MAX 8

/* "" if it cannot be read. */
static void text_of(const char *path, char *ret, size_t cap)
{
	CL_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, ret, cap - 1);

	ret[n > 0 ? n : 0] = '\0';
}

/* The one of the board (an RTC of another kind may be anything). */
static int rtc_open(void)
{
	const char *file = getenv("HOLDFAST_RTC_FILE");
	char path[64], name[64];
	unsigned i;

	/* Seconds as text, for tests where the machine has no such clock. */
	if (file)
		return open(file, O_RDONLY | O_CLOEXEC);
	for (i = 0; i < RTCS_MAX; i++) {
		(void)snprintf(path, sizeof(path), "/sys/class/rtc/rtc%u/name", i);
		text_of(path, name, sizeof(name));
		if (strncmp(name, "rtc_cmos", 8) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "/sys/class/rtc/rtc%u/since_epoch", i);
		return open(path, O_RDONLY | O_CLOEXEC);
	}
	return -1;
}

#ifdef __x86_64__
static bool tsc_constant(void)
{
	char text[8192];

	text_of("/proc/cpuinfo", text, sizeof(text));
	return strstr(text, " constant_tsc") != NULL;
}

/* Told by every hypervisor that does not hide; one that hides has no kvm-clock. */
static bool may_stop(void)
{
	unsigned a, b, c = 0, d;
	char source[32];

	text_of("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
		sizeof(source));
	return !__get_cpuid(1, &a, &b, &c, &d) || (c & 1u << 31) || strcmp(source, "tsc\n") != 0;
}

/* The read that was disturbed least: what lies between it and BOOTTIME spoils the rate. */
static uint64_t tsc_read(uint64_t *ret_boot_ms)
{
	uint64_t best = UINT64_MAX, tsc = 0;
	unsigned i;

	for (i = 0; i < 4; i++) {
		uint64_t before = __rdtsc(), boot_ms = cl_lease_now_ms(), took = __rdtsc() - before;

		if (took < best) {
			best = took;
			tsc = before;
			*ret_boot_ms = boot_ms;
		}
	}
	return tsc ? tsc : 1;
}
#else
static bool tsc_constant(void)
{
	return false;
}

static bool may_stop(void)
{
	return true;
}

static uint64_t tsc_read(uint64_t *ret_boot_ms)
{
	*ret_boot_ms = cl_lease_now_ms();
	return 0;
}
#endif

uint64_t cl_lease_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void cl_clocks_open(struct cl_clocks *clocks)
{
	clocks->rtc_fd = rtc_open();
	clocks->tsc = tsc_constant();
	clocks->may_stop = may_stop();
}

void cl_clocks_close(struct cl_clocks *clocks)
{
	if (clocks->rtc_fd >= 0)
		close(clocks->rtc_fd);
	clocks->rtc_fd = -1;
}

/* The driver gives up on a clock that is just being updated: once more. */
static uint64_t rtc_read(int fd)
{
	char text[32];
	unsigned tries;

	for (tries = 0; tries < 3; tries++) {
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

		if (n > 0) {
			text[n] = '\0';
			return strtoull(text, NULL, 10);
		}
	}
	return 0;
}

bool cl_clocks_read(const struct cl_clocks *clocks, bool rtc, bool tsc, struct cl_moment *ret_now)
{
	struct cl_moment now = { 0 };
	bool whole = true;

	/* In this order: see cl_moment.h. */
	if (rtc && clocks->rtc_fd >= 0) {
		now.rtc_s = rtc_read(clocks->rtc_fd);
		whole = now.rtc_s != 0;
	}
	if (tsc && clocks->tsc)
		now.tsc = tsc_read(&now.boot_ms);
	else
		now.boot_ms = cl_lease_now_ms();
	*ret_now = now;
	return whole;
}

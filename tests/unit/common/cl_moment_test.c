/* SPDX-License-Identifier: GPL-2.0-or-later */
/* common/cl_moment.c: what each clock can say of a lease, and that none of them is believed alone.
 */
#include "common/cl_moment.h"

#include <string.h>

#include "tests/unit/unit.h"

#define LEASE_MS 10000u

static struct cl_moments past;
static struct cl_lease lease;
static struct cl_moment now;

/* All clocks go on; the TSC with 2 GHz. */
static void go(unsigned ms)
{
	static uint64_t real_ms;

	now.boot_ms += ms;
	now.tsc += ms * 2000000ull;
	real_ms += ms;
	now.rtc_s = 1700000000 + real_ms / 1000;
}

static void ticks(unsigned n)
{
	while (n--) {
		go(100);
		cl_moments_add(&past, &now);
	}
}

/* A world of so many seconds. */
static void begin(void)
{
	memset(&past, 0, sizeof(past));
	memset(&lease, 0, sizeof(lease));
	now = (struct cl_moment){ .boot_ms = 5000, .rtc_s = 1700000000, .tsc = 1 };
	ticks(50);
}

static bool give(void)
{
	return cl_lease_give(&lease, &past, now.boot_ms + LEASE_MS, now.boot_ms);
}

static void goes_on(void)
{
	begin();
	CU_ASSERT(!cl_lease_wants_rtc(&lease));
	CU_ASSERT(give());
	CU_ASSERT(cl_lease_wants_rtc(&lease) && cl_lease_wants_tsc(&lease));
	CU_ASSERT(cl_lease_left_ms(&lease, &now) > LEASE_MS - 1500);
	go(8900);
	CU_ASSERT(cl_lease_left_ms(&lease, &now) > 0);
	go(1100);
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &now), 0);
	/* Ended is ended. */
	begin();
	CU_ASSERT(give());
	CU_ASSERT(cl_lease_give(&lease, &past, 0, 0));
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &now), 0);
}

/* Each clock that goes on ends the lease; so do one that is gone, and one that went back. */
static void one_clock_is_enough(void)
{
	struct cl_moment then;

	begin();
	CU_ASSERT(give());
	then = now;
	then.rtc_s += 60; /* BOOTTIME and an emulated TSC stood still */
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
	then = now;
	then.tsc += 60 * 2000000000ull;
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
	then = now;
	then.boot_ms += 60000;
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
	then = now;
	then.rtc_s = 0;
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
	then = now;
	then.tsc = 0;
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
	then = now;
	then.tsc -= 1000000000; /* a restored machine, its boot elsewhere */
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
	then = now;
	then.rtc_s -= 1; /* set right */
	CU_ASSERT(cl_lease_left_ms(&lease, &then) > 0);
	then.rtc_s -= 2;
	CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &then), 0);
}

/* A beat went out, the machine stood still for a minute, then its answer is read: a proof of back
 * then. */
static void proof_of_before(void)
{
	uint64_t sent_ms;
	unsigned wait;

	for (wait = 0; wait <= 300; wait += 20) {
		begin();
		go(wait);
		sent_ms = now.boot_ms;
		now.rtc_s += 60;
		now.tsc += 60 * 2000000000ull;
		cl_moments_add(&past, &now);
		CU_ASSERT(cl_lease_give(&lease, &past, sent_ms + LEASE_MS, sent_ms));
		CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &now), 0);
		lease.tsc_until = 0; /* not even without that one */
		CU_ASSERT_EQUAL(cl_lease_left_ms(&lease, &now), 0);
		lease.rtc_until_s = 0;
		CU_ASSERT(cl_lease_left_ms(&lease, &now) > 0); /* by BOOTTIME it would hold */
	}
	/* What is sent afterwards counts. */
	begin();
	now.rtc_s += 60;
	for (wait = 0; wait < 5; wait++) {
		now.boot_ms += 100;
		cl_moments_add(&past, &now);
	}
	CU_ASSERT(give());
	CU_ASSERT(cl_lease_left_ms(&lease, &now) > 0);
}

/* A stop while it is measured makes the TSC look fast; that is put right, and never the other way.
 */
static void the_rate(void)
{
	begin();
	CU_ASSERT_EQUAL(past.tsc_khz, 2000000);
	now.tsc += 60 * 2000000000ull;
	ticks(20);
	CU_ASSERT_EQUAL(past.tsc_khz, 2000000);
	now.tsc = 5;
	ticks(20);
	CU_ASSERT_EQUAL(past.tsc_khz, 2000000);
	/* Not known yet, or not there: it is not asked. */
	memset(&past, 0, sizeof(past));
	ticks(3);
	CU_ASSERT(give());
	CU_ASSERT(!cl_lease_wants_tsc(&lease) && cl_lease_wants_rtc(&lease));
	now.tsc = now.rtc_s = 0;
	memset(&past, 0, sizeof(past));
	cl_moments_add(&past, &now);
	now.boot_ms += 1;
	CU_ASSERT(give());
	CU_ASSERT(!cl_lease_wants_tsc(&lease) && !cl_lease_wants_rtc(&lease));
	CU_ASSERT(cl_lease_left_ms(&lease, &now) > 0);
}

static void forgotten(void)
{
	struct cl_moment m;
	uint64_t at_ms;

	begin();
	at_ms = now.boot_ms;
	CU_ASSERT(cl_moments_find(&past, at_ms, &m));
	CU_ASSERT(m.boot_ms < at_ms && m.boot_ms + 2 * CL_MOMENT_MS >= at_ms);
	CU_ASSERT(!cl_moments_find(&past, 1, &m));
	ticks(2 * CL_MOMENTS + 10);
	CU_ASSERT(!cl_moments_find(&past, at_ms, &m));
	CU_ASSERT(give());
	CU_ASSERT(!cl_lease_give(&lease, &past, at_ms + LEASE_MS, at_ms));
	CU_ASSERT(cl_lease_left_ms(&lease, &now) > 0);
}

UNIT_MAIN("cl_moment", { "a lease ends by itself", goes_on },
	  { "one clock is enough", one_clock_is_enough },
	  { "a proof of before a stop", proof_of_before }, { "the rate of the TSC", the_rate },
	  { "the past is short", forgotten })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When pre-copy stops: guests that write slower and faster than a link of 100 MB/s. */
#include "vmm/migration/precopy.h"
#include "tests/unit/unit.h"

#define MB 1000000ull

/* A guest with ram bytes that writes rate bytes a second while it may run. */
static enum vmm_precopy_verdict run(struct vmm_precopy *p, uint64_t ram, uint64_t rate)
{
	enum vmm_precopy_verdict v;
	uint64_t send = ram;

	do {
		uint64_t us = send / 100 + 1; /* 100 MB/s */
		uint64_t dirty = us * rate / 1000000 * (100 - p->throttle_pct) / 100;

		v = vmm_precopy_round(p, send, us, dirty < ram ? dirty : ram);
		send = dirty < ram ? dirty : ram;
	} while (v == VMM_PRECOPY_AGAIN);
	return v;
}

static void slow_writer(void)
{
	struct vmm_precopy p = { .downtime_us = 300000, .state_us = 5000, .fixed_us = 5000,
				 .rounds_max = 40 };

	CU_ASSERT_EQUAL(run(&p, 1000 * MB, 20 * MB), VMM_PRECOPY_SWITCH);
	CU_ASSERT(p.round <= 3);
	CU_ASSERT_EQUAL(p.throttle_pct, 0);
	CU_ASSERT(p.est_downtime_us <= 300000);
}

static void idle_guest(void)
{
	struct vmm_precopy p = { .downtime_us = 300000, .state_us = 5000, .fixed_us = 5000,
				 .rounds_max = 40 };

	CU_ASSERT_EQUAL(run(&p, 256 * MB, 0), VMM_PRECOPY_SWITCH);
	CU_ASSERT_EQUAL(p.round, 1);
	CU_ASSERT_EQUAL(p.est_downtime_us, 10000);
}

static void fast_writer_is_throttled(void)
{
	struct vmm_precopy p = { .downtime_us = 300000, .state_us = 5000, .fixed_us = 5000,
				 .rounds_max = 40 };

	CU_ASSERT_EQUAL(run(&p, 1000 * MB, 400 * MB), VMM_PRECOPY_SWITCH);
	CU_ASSERT(p.throttle_pct > 0);
	CU_ASSERT(p.est_downtime_us <= 300000);
}

static void fast_writer_is_left_alone(void)
{
	struct vmm_precopy p = { .downtime_us = 300000, .state_us = 5000, .fixed_us = 5000,
				 .rounds_max = 40, .no_throttle = true };

	CU_ASSERT_EQUAL(run(&p, 1000 * MB, 400 * MB), VMM_PRECOPY_GIVE_UP);
	CU_ASSERT_EQUAL(p.throttle_pct, 0);
	CU_ASSERT(p.round <= 1 + VMM_PRECOPY_STALLS_PLAIN);
	/* One that converges by itself does not need it. */
	p = (struct vmm_precopy){ .downtime_us = 300000, .rounds_max = 40, .no_throttle = true };
	CU_ASSERT_EQUAL(run(&p, 1000 * MB, 50 * MB), VMM_PRECOPY_SWITCH);
}

static void hopeless(void)
{
	/* Even the most that throttling gives writes 100 MB/s: never below 10 ms. */
	struct vmm_precopy p = { .downtime_us = 10000, .rounds_max = 30 };

	CU_ASSERT_EQUAL(run(&p, 1000 * MB, 4000 * MB), VMM_PRECOPY_GIVE_UP);
	CU_ASSERT_EQUAL(p.round, 30);
	CU_ASSERT_EQUAL(p.throttle_pct, VMM_PRECOPY_THROTTLE_MAX);
	p = (struct vmm_precopy){ .downtime_us = 10000, .rounds_max = 30, .switch_anyway = true };
	CU_ASSERT_EQUAL(run(&p, 1000 * MB, 4000 * MB), VMM_PRECOPY_SWITCH);
	CU_ASSERT_EQUAL(p.round, 30);
}

static void state_takes_too_long(void)
{
	/* More passes do not help: it switches and says what to expect. */
	struct vmm_precopy p = { .downtime_us = 300000, .state_us = 400000, .rounds_max = 40 };

	CU_ASSERT_EQUAL(run(&p, 100 * MB, MB), VMM_PRECOPY_SWITCH);
	CU_ASSERT_EQUAL(p.round, VMM_PRECOPY_STATE_PASSES);
	CU_ASSERT(p.est_downtime_us >= 400000);
	CU_ASSERT_EQUAL(p.throttle_pct, 0);
}

static void tiny_passes_do_not_measure(void)
{
	struct vmm_precopy p = { .downtime_us = 1, .rounds_max = 9 };

	CU_ASSERT_EQUAL(vmm_precopy_round(&p, 100 * MB, 1000000, 4096), VMM_PRECOPY_AGAIN);
	CU_ASSERT_EQUAL(p.bandwidth_bps, 100 * MB);
	CU_ASSERT_EQUAL(vmm_precopy_round(&p, 4096, 20000, 4096), VMM_PRECOPY_AGAIN);
	CU_ASSERT_EQUAL(p.bandwidth_bps, 100 * MB);
	/* No bandwidth known and something pending: never below the target. */
	p = (struct vmm_precopy){ .downtime_us = 300000, .rounds_max = 9 };
	CU_ASSERT_EQUAL(vmm_precopy_round(&p, 0, 0, 100 * MB), VMM_PRECOPY_AGAIN);
}

UNIT_MAIN("migration precopy", { "slow writer", slow_writer }, { "idle guest", idle_guest },
	  { "fast writer is throttled", fast_writer_is_throttled }, 
	  { "fast writer is left alone", fast_writer_is_left_alone }, { "hopeless", hopeless },
	  { "state takes too long", state_takes_too_long },
	  { "tiny passes do not measure", tiny_passes_do_not_measure })

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases by several clocks; see cl_moment.h. */
#include "common/cl_moment.h"

static uint64_t word(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void word_set(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

bool cl_lease_wants_rtc(const struct cl_lease *lease)
{
	return word(&lease->rtc_until_s) != 0;
}

bool cl_lease_wants_tsc(const struct cl_lease *lease)
{
	return word(&lease->tsc_until) != 0;
}

uint64_t cl_lease_left_ms(const struct cl_lease *lease, const struct cl_moment *now)
{
	uint64_t until_ms = word(&lease->until_ms), rtc_until_s = word(&lease->rtc_until_s),
		 tsc_until = word(&lease->tsc_until), left_ms;

	if (until_ms <= now->boot_ms)
		return 0;
	left_ms = until_ms - now->boot_ms;
	/* A clock that went back was set, or the machine is another one: it says nothing of this
	 * lease. */
	if (tsc_until && (!now->tsc || now->tsc < word(&lease->tsc_from) || now->tsc >= tsc_until))
		return 0;
	if (!rtc_until_s)
		return left_ms;
	if (!now->rtc_s || now->rtc_s + CL_RTC_BACK_S < word(&lease->rtc_from_s) ||
	    now->rtc_s >= rtc_until_s)
		return 0;
	if (left_ms > (rtc_until_s - now->rtc_s) * 1000)
		left_ms = (rtc_until_s - now->rtc_s) * 1000;
	return left_ms;
}

/* The rate of the TSC: the lowest counts, since a stop of BOOTTIME makes it look higher. */
static void rate(struct cl_moments *past, const struct cl_moment *now)
{
	uint64_t ms = now->boot_ms - past->base.boot_ms, khz;

	if (!now->tsc || now->tsc < past->base.tsc || !past->base.tsc) {
		past->base = *now;
		return;
	}
	if (ms < 1000)
		return;
	khz = (now->tsc - past->base.tsc) / ms;
	if (khz && (!past->tsc_khz || khz < past->tsc_khz))
		past->tsc_khz = khz;
	past->base = *now;
}

void cl_moments_add(struct cl_moments *past, const struct cl_moment *now)
{
	const struct cl_moment *last = &past->at[(past->next + CL_MOMENTS - 1) % CL_MOMENTS];

	if (past->count && now->boot_ms < last->boot_ms + CL_MOMENT_MS)
		return;
	rate(past, now);
	past->at[past->next] = *now;
	past->next = (past->next + 1) % CL_MOMENTS;
	if (past->count < CL_MOMENTS)
		past->count++;
}

bool cl_moments_find(const struct cl_moments *past, uint64_t boot_ms, struct cl_moment *ret)
{
	unsigned i;

	for (i = 1; i <= past->count; i++) {
		const struct cl_moment *m = &past->at[(past->next + CL_MOMENTS - i) % CL_MOMENTS];

		/* Not the same: BOOTTIME may have stood still between that moment and this. */
		if (m->boot_ms < boot_ms) {
			*ret = *m;
			return true;
		}
	}
	return false;
}

bool cl_lease_give(struct cl_lease *lease, const struct cl_moments *past, uint64_t until_ms,
		   uint64_t proof_ms)
{
	struct cl_moment from;
	uint64_t for_ms;

	if (!until_ms) {
		word_set(&lease->until_ms, 0);
		return true;
	}
	if (!cl_moments_find(past, proof_ms, &from) || until_ms <= from.boot_ms)
		return false;
	for_ms = until_ms - from.boot_ms;
	/* Longer by one clock after the other: in between the others still end it. */
	word_set(&lease->tsc_until,
		 from.tsc && past->tsc_khz ? from.tsc + for_ms * past->tsc_khz : 0);
	word_set(&lease->tsc_from, from.tsc);
	word_set(&lease->rtc_until_s, from.rtc_s ? from.rtc_s + for_ms / 1000 : 0);
	word_set(&lease->rtc_from_s, from.rtc_s);
	if (proof_ms)
		word_set(&lease->proof_ms, proof_ms);
	word_set(&lease->until_ms, until_ms);
	return true;
}

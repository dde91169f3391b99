/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lease by several clocks.  CLOCK_BOOTTIME of a machine that is itself a virtual one may stand
 * still while its hypervisor has stopped, moved or restored it; the clocks beside it here may not.
 * None of them is good for all (docs/decisions/lease.md), so a lease holds only while *each* says
 * so.
 *
 *   moment  what all clocks said at one time.  The others are read before BOOTTIME: a stop
 *           between makes them older, never younger
 *   lease   ends at a moment: so much after the one at which its proof began, on each clock by
 * itself
 *
 * Decides what clocks say of a lease.  Reads no clock (cl_clocks_linux.c does).
 */
#ifndef CL_MOMENT_H
#define CL_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

struct cl_moment {
	uint64_t boot_ms; /* CLOCK_BOOTTIME */
	uint64_t rtc_s;	  /* the machine's real-time clock; 0: not looked at */
	uint64_t tsc;	  /* cycles of the processor; 0: not looked at */
};

#define CL_LEASE_MAGIC 0x31455341454c4648ull /* "HFLEASE1" */
#define CL_RTC_BACK_S                                                                              \
	1u /* it is set right by the kernel now and then, and counts whole seconds                 \
	    */

/* The first bytes of the lease page (docs/formats/lease.md): each is written as one word. */
struct cl_lease {
	uint64_t magic;
	uint64_t until_ms;   /* 0: ended */
	uint64_t proof_ms;   /* when the node was last sure to be heard by a majority; for people */
	uint64_t rtc_from_s; /* not before */
	uint64_t rtc_until_s; /* 0: this clock is not asked */
	uint64_t tsc_from;
	uint64_t tsc_until; /* 0: this clock is not asked */
};

/*
 * What is left of the lease by the clock that leaves least, in ms; 0: it is over, or a clock that
 * the page asks for was not read.  Of the TSC it is only known whether it is over.
 */
uint64_t cl_lease_left_ms(const struct cl_lease *lease, const struct cl_moment *now);
bool cl_lease_wants_rtc(const struct cl_lease *lease);
bool cl_lease_wants_tsc(const struct cl_lease *lease);

/* The past, so that a lease that begins at a moment of BOOTTIME can end on every clock. */
#define CL_MOMENTS   256u
#define CL_MOMENT_MS 200u /* from one that is kept to the next, at least */

struct cl_moments {
	struct cl_moment at[CL_MOMENTS]; /* a ring; BOOTTIME always rises */
	unsigned next, count;
	struct cl_moment base; /* the rate of the TSC is measured from here */
	uint64_t tsc_khz;      /* the lowest that was seen, 0: not known.  A stop makes it higher */
};

void cl_moments_add(struct cl_moments *past, const struct cl_moment *now);
/* The last one that is earlier than that.  False: none is known. */
bool cl_moments_find(const struct cl_moments *past, uint64_t boot_ms, struct cl_moment *ret);
/*
 * Makes lease end at until_ms (0: it has ended), given for a proof that began at proof_ms: on the
 * other clocks as much later than the last moment before proof_ms as on BOOTTIME.  False: that
 * moment is not known any more, and nothing changed.  How it reads while it changes: as the earlier
 * end of both.
 */
bool cl_lease_give(struct cl_lease *lease, const struct cl_moments *past, uint64_t until_ms,
		   uint64_t proof_ms);

#endif

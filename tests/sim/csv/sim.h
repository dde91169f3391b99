/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Simulator of one volume's owner and its clients.  One seed, one run, the same each time.  The
 * owner's rules are the shipped csv/layout.c; what is right is decided by a model of blocks that
 * knows nothing of it.
 */
#ifndef TESTS_SIM_CSV_SIM_H
#define TESTS_SIM_CSV_SIM_H

#include <stdbool.h>
#include <stdint.h>

/* What a run did: a simulator that does nothing finds nothing. */
enum csv_sim_kind {
	CSV_SIM_WRITE,
	CSV_SIM_CHANGE,
	CSV_SIM_GRANT,
	CSV_SIM_XOPEN,
	CSV_SIM_FENCE,
	CSV_SIM_RECLAIM,
	CSV_SIM_OWNER,
	CSV_SIM_KINDS,
};

struct csv_sim_result {
	unsigned done[CSV_SIM_KINDS];
	char why[160]; /* "": no violation */
};

/* True if no rule was broken. */
bool csv_sim_run(uint64_t seed, bool trace, struct csv_sim_result *ret);

#endif

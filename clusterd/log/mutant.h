/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Planted bugs of the log; see clusterd/core/mutant.h.  Nothing of it is in what is shipped. */
#ifndef CLUSTERD_LOG_MUTANT_H
#define CLUSTERD_LOG_MUTANT_H

#ifdef HF_MUTANTS
extern int core_mutant;
#define LOG_MUTANT(n) (core_mutant == (n))
#else
#define LOG_MUTANT(n) 0
#endif

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Planted bugs.  The simulator compiles the same sources once more with HF_MUTANTS, to prove that
 * its oracles notice each of them; in what is shipped CORE_MUTANT() is the constant false and
 * leaves nothing behind.
 */
#ifndef CLUSTERD_CORE_MUTANT_H
#define CLUSTERD_CORE_MUTANT_H

#ifdef HF_MUTANTS
extern int core_mutant;
#define CORE_MUTANT(n) (core_mutant == (n))
#else
#define CORE_MUTANT(n) 0
#endif

#endif

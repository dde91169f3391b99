/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Planted bugs of the owner's rules: compiled into the simulator's second form only (HF_MUTANTS).  In what is
 * shipped CSV_MUTANT() is the constant false and nothing remains of it.
 */
#ifndef CSV_MUTANT_H
#define CSV_MUTANT_H

#ifdef HF_MUTANTS
extern int csv_mutant;
#define CSV_MUTANT(n) (csv_mutant == (n))
#else
#define CSV_MUTANT(n) 0
#endif

#endif

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The oracles must notice each planted bug.
exec "${top_builddir:-.}/tests/sim/simulator-mutants" --mutants --seeds "${MUTANT_SEEDS:-10000}"

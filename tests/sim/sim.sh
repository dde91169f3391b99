#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A few hundred fault schedules through the shipped log and core, and through the owner's table.
"${top_builddir:-.}/tests/sim/csv/simulator" --seeds "${SEEDS:-1000}" || exit 1
exec "${top_builddir:-.}/tests/sim/simulator" --seeds "${SEEDS:-300}"

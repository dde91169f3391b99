#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A few hundred fault schedules through the shipped log and core.
exec "${top_builddir:-.}/tests/sim/simulator" --seeds "${SEEDS:-300}"

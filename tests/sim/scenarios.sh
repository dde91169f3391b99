#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The incidents of others, and our own, one file each.
exec "${top_builddir:-.}/tests/sim/simulator" --scenario "${srcdir:-.}"/tests/scenarios/*.scn

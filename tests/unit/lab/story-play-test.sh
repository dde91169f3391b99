#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
exec python3 -B "$top_srcdir/tests/unit/lab/story-play.py"

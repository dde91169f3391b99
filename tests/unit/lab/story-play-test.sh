#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
top_srcdir=${top_srcdir:-../../..}
export top_srcdir
exec python3 -B "$top_srcdir/tests/unit/lab/story-play.py"

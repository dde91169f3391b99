# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: medians, tables, the verdict on a ratio."""
import os
import statistics
import sys

sys.dont_write_bytecode = True
SOURCE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(SOURCE, "tests", "lab", "scenarios"))

from story.tools import Lab, StoryError  # noqa: E402,F401  (for the benchmarks)


def median(values):
    return statistics.median(values) if values else None


def flag(ok):
    """A ratio that misses its bound is a defect that someone has to explain."""
    return "" if ok else "  <-- DEFECT TO EXPLAIN"


def table(heads, rows):
    """Columns as wide as they must be; the first left, the others right."""
    text = [heads] + [[str(c) for c in r] for r in rows]
    widths = [max(len(r[i]) for r in text) for i in range(len(heads))]
    return "\n".join("  ".join(c.ljust(w) if i == 0 or i == len(heads) - 1 else c.rjust(w)
                               for i, (c, w) in enumerate(zip(r, widths))).rstrip() for r in text)

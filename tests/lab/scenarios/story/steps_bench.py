# SPDX-License-Identifier: GPL-2.0-or-later
"""--measure: the benchmarks, in the same run as the story. They measure and flag; a slow machine fails no claim."""
import json
import os
import sys

from .story import VOLUME
from .tools import SOURCE, run


def bench(story, name, *args):
    done = run([sys.executable, os.path.join(SOURCE, "bench", name), *args, "--json"], 1800)
    return json.loads(done.out)


def boot(story, row):
    story.now("boot of our vmm and of QEMU, in turns")
    r = bench(story, "boot", "--node", story.cluster.live[-1], "--runs", "3")
    story.figures["boot"] = r
    row["measured"]["vmm"] = f"{r['vmm_median_ms']} ms"
    row["measured"]["qemu microvm"] = f"{r['qemu_median_ms']} ms"
    row["measured"]["ratio"] = f"{r['ratio']:.2f}" + ("" if r["ok"] else " (defect to explain)")


def io(story, row):
    story.now("I/O on the raw LUN, through libcsv, through the mount")
    node = next((n for n in story.cluster.live if n != story.cluster.volume(VOLUME)["owner"]),
                story.cluster.live[0])
    r = bench(story, "io", "--node", node, "--volume", VOLUME, "--runs", "3")
    story.figures["io"] = r
    for x in r["rows"]:
        row["measured"][f"{x['op']} {x['block'] >> 10} KiB x{x['depth']} of raw"] = (
            f"libcsv {x['ratio']['libcsv']:.2f} mount {x['ratio']['fuse']:.2f}"
            + ("" if x["ok"] else " (defect to explain)"))
        if "explained" in x:
            e = x["explained"]
            row["measured"][f"{x['op']} {x['block'] >> 10} KiB x{x['depth']}, other ways"] = (
                f"mount, {e['files']} files {e['files_ratio']:.2f}, asynchronous {e['async_ratio']:.2f}")


STEPS = [
    ("bench-boot", "boot time beside QEMU", boot),
    ("bench-io", "I/O beside the raw LUN", io),
]

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real clusterds on real corosync under random faults.

usage: cluster.py [--seeds N] [--first SEED] [--jobs N] [--logs DIR]      in the build folder

Each schedule is three nodes in namespaces of its own (mount, pid, net, ipc, uts), which end with its process 1 and with this program:
nothing outside is touched, and nothing is left, however it ends. The nodes' root is an overlay of the lab's root tree. Prints a line a
schedule; a violation leaves its logs in DIR and ends with 1. Exit 77 names what is missing.
"""
import argparse
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LIMIT_S = 700
NAMESPACES = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"]


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def root_find(build):
    for place in (os.environ.get("LAB_CACHE"), f"{build}/lab", f"{TOP}/build/lab"):
        for tree in sorted(glob.glob(f"{place}/root-*/")) if place else ():
            if os.path.exists(f"{tree}/usr/sbin/corosync") and os.path.exists(f"{tree}/usr/bin/python3"):
                return tree.rstrip("/")
    return None


def schedule(seed, root, build, logs):
    result = f"{logs}/{seed}"
    for old in (result, result + ".out"):
        if os.path.exists(old):
            os.unlink(old)
    base = "/mnt"
    with open(result + ".out", "wb") as out:
        process = subprocess.Popen([*NAMESPACES, sys.executable, f"{HERE}/schedule.py", str(seed), root, build, base, result],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            status = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return seed, 2, f"BROKEN seed {seed}: no end after {LIMIT_S} s; see {result}.out"
    try:
        with open(result, encoding="utf-8") as file:
            line = file.read().strip()
    except OSError:
        return seed, 2, f"BROKEN seed {seed}: status {status}; see {result}.out"
    return seed, status, line + ("" if status == 0 else f"; see {result}.logs")


def main():
    parser = argparse.ArgumentParser(description="real clusterds under random faults")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--logs", default="cluster-logs")
    options = parser.parse_args()
    build = os.getcwd()
    if not os.path.exists(f"{build}/tests/cluster/clusterd"):
        print(f"{build}/tests/cluster/clusterd is not built", file=sys.stderr)
        return 99
    if os.getuid() != 0:
        skip("needs root for namespaces")
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        skip("no namespaces here")
    root = root_find(build)
    if not root:
        skip("no lab root tree with corosync and python3 (tests/lab/lab build-root makes it)")
    for program in ("ip", "nsenter"):
        if not shutil.which(program):
            skip(f"{program} is missing")
    if subprocess.run([sys.executable, f"{HERE}/oracle.py"], check=False).returncode:
        return 1
    os.makedirs(options.logs, exist_ok=True)
    logs = os.path.abspath(options.logs)
    began, bad, done = time.monotonic(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for future in concurrent.futures.as_completed([pool.submit(schedule, seed, root, build, logs) for seed in seeds]):
            _, status, line = future.result()
            print(line, flush=True)
            done += 1
            bad += status != 0
    print(f"{done} schedules, {bad} bad, {time.monotonic() - began:.0f} s")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())

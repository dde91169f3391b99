#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Kills the real store at each of its system calls and lets each of its writes fail.

usage: crash.py [--at-least N] [--jobs N]     in the build folder, which holds ./store_crash

A kill: SIGKILL on entry of the N-th call of each kind that touches files, of the whole sequence from the first creation on, and then of
the restart that follows a kill. After each the store must be what a number of whole operations makes, between the last that was reported
durable and the last that was issued; or not be there at all before its creation was over.
A failure: EIO of the N-th write or sync must end the store with one line and nothing may be called durable after it; a full disk (ENOSPC)
must be waited out. A planted lie proves in every run that the comparison can fail. Exit 77 names what is missing.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

CALLS = ("pwrite64 pread64 fsync fdatasync ftruncate rename renameat renameat2 unlink unlinkat openat close fcntl mmap munmap lseek "
         "newfstatat fallocate").split()
WRITES = ("pwrite64", "fsync", "fdatasync", "ftruncate")
LINE = re.compile(r"^(\d+)\s+(\w+)\(")


class Trouble(Exception):
    pass


def program(args, strace=(), limit=300):
    """Returns (status, lines); the status of a killed program is 137 here."""
    command = ([STRACE, "-f", "-qq", *strace] if strace else []) + [PROGRAM, *args]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit, check=False)
    status = 137 if done.returncode in (-9, 137) else done.returncode
    return status, done.stdout.splitlines()


def calls_of(args, work, marker):
    """How many calls of each kind a thread makes before the marker is written, and in all: {name: (skip, last)}."""
    trace = os.path.join(work, "trace")
    status, lines = program(args, ("-o", trace, "-e", "trace=" + ",".join(CALLS) + ",write"))
    if status != 0:
        raise Trouble(f"{' '.join(args)} without faults ends with {status}: {lines[-1:]}")
    before, count, seen = {}, {}, marker is None
    with open(trace, encoding="utf-8", errors="replace") as file:
        for text in file:
            match = LINE.match(text)
            if not match:
                continue
            thread, name = match.groups()
            if name == "write":
                seen = seen or marker in text
                continue
            count[thread, name] = count.get((thread, name), 0) + 1
            if not seen:
                before[thread, name] = count[thread, name]
    points = {}
    for (thread, name), last in count.items():
        skip = before.get((thread, name), 0) if (thread, name) in before else 0
        for number in range(skip + 1, last + 1):
            points.setdefault(name, set()).add(number)
    return points


def last_number(lines, word):
    found = [int(text.split()[1]) for text in lines if text.startswith(word + " ")]
    return found[-1] if found else 0


def state_check(lines, folder, lie=False):
    """What is there must lie between what was durable and what was issued."""
    durable, issued = last_number(lines, "durable"), last_number(lines, "issued")
    if lie:
        durable, issued = issued + 1, issued + 1
    status, words = program(["verify", folder])
    word = words[-1] if words else ""
    if word == "none" and status == 0:
        if "created 0" in lines:
            raise Trouble("the file is gone")
        return
    if status != 0 or not word.startswith("state "):
        raise Trouble(f"after durable {durable}, issued {issued}: {word or status}")
    if not any(durable <= int(text.split()[1]) <= issued for text in words):
        raise Trouble(f"{' or '.join(words)}, but durable {durable}, issued {issued}")


def fresh():
    return tempfile.mkdtemp(dir=WORK)


def kill_point(name, number):
    folder = fresh()
    status, lines = program(["run", folder], ("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"))
    if status not in (0, 137):
        raise Trouble(f"ended with {status}: {lines[-1:]}")
    state_check(lines, folder)
    shutil.rmtree(folder)
    return status == 137


def restart_point(name, number, old, lines):
    folder = fresh()
    shutil.copytree(old, folder, dirs_exist_ok=True)
    status, _ = program(["verify", folder], ("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"))
    if status not in (0, 137):
        raise Trouble(f"ended with {status}")
    state_check(lines, folder)
    shutil.rmtree(folder)
    return status == 137


def error_point(name, number, error):
    folder = fresh()
    trace = folder + ".trace"
    status, lines = program(["run", folder], ("-y", "-o", trace, "-e", f"trace={name}", "-e",
                                              f"inject={name}:error={error}:when={number}"))
    with open(trace, encoding="utf-8", errors="replace") as file:
        of_log = any("state.db-wal>" in text and "INJECTED" in text for text in file)
    text = " ".join(lines)
    if error == "ENOSPC":
        if status not in (0, 3) or (status == 0 and "end 0" not in lines):
            raise Trouble(f"was not waited out: {status} {lines[-1:]}")
    elif status not in (0, 3, 4):
        raise Trouble(f"ended with {status}: {lines[-1:]}")
    elif status != 0:
        told = [word for word in lines if word.startswith(("over: ", "refused: "))]
        if len(told) != 1 or lines[-1] != told[0]:
            raise Trouble(f"not one clear line at the end: {text[-200:]}")
        if "/state.db" not in told[0]:
            raise Trouble(f"the line names no file: {told[0]}")
    elif of_log and name in ("fsync", "fdatasync"):
        # What a checkpoint could not write is in the log still and is written again.
        raise Trouble("a sync of the write-ahead log failed and the store went on")
    state_check(lines, folder)
    shutil.rmtree(folder)
    os.unlink(trace)
    return status in (3, 4)


def points_run(title, pool, jobs):
    """jobs: [(what, function, arguments)]; returns (made, hit); every failure is printed."""
    futures = {pool.submit(function, *arguments): what for what, function, arguments in jobs}
    bad = hit = 0
    for future in concurrent.futures.as_completed(futures):
        try:
            hit += bool(future.result())
        except (Trouble, subprocess.SubprocessError, OSError) as trouble:
            bad += 1
            print(f"FAILED {title}, {futures[future]}: {trouble}")
    print(f"{title}: {len(jobs)} points, {hit} took effect, {bad} bad")
    return hit, bad


def main():
    parser = argparse.ArgumentParser(description="crash points of the store")
    parser.add_argument("--at-least", type=int, default=200, help="fewer kills that took effect are a failure (200)")
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 2), help="at once; they wait for the disk most of the time")
    options = parser.parse_args()
    hits = bad = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        points = calls_of(["run", fresh()], WORK, "begin")
        jobs = [(f"{name} {number}", kill_point, (name, number)) for name in sorted(points) for number in sorted(points[name])]
        got = points_run("killed while writing", pool, jobs)
        hits, bad = hits + got[0], bad + got[1]

        # A store that was killed late has all of its work in the write-ahead log still.
        old = fresh()
        last = max(points["pwrite64"])
        _, old_lines = program(["run", old], ("-e", "trace=pwrite64", "-e", f"inject=pwrite64:signal=KILL:when={last}"))
        again = fresh()
        shutil.copytree(old, again, dirs_exist_ok=True)
        points_again = calls_of(["verify", again], WORK, None)
        jobs = [(f"{name} {number}", restart_point, (name, number, old, old_lines))
                for name in sorted(points_again) if name in WRITES + ("unlink",) for number in sorted(points_again[name])]
        got = points_run("killed while restarting", pool, jobs)
        hits, bad = hits + got[0], bad + got[1]

        jobs = [(f"{error} of {name} {number}", error_point, (name, number, error))
                for error in ("EIO", "ENOSPC") for name in WRITES if error == "EIO" or name == "pwrite64"
                for number in sorted(points.get(name, ()))]
        bad += points_run("errors", pool, jobs)[1]
    # The comparison must be able to fail.
    folder = fresh()
    _, lines = program(["run", folder])
    try:
        state_check(lines, folder, lie=True)
        bad += 1
        print("FAILED: a planted lie was not noticed")
    except Trouble as trouble:
        print(f"planted lie noticed: {trouble}")
    if hits < options.at_least:
        bad += 1
        print(f"FAILED: only {hits} kills took effect, {options.at_least} are wanted")
    print(f"{hits} crash points, {bad} bad")
    return bad != 0


if __name__ == "__main__":
    PROGRAM = os.path.abspath("store_crash")
    STRACE = shutil.which("strace")
    if not STRACE:
        print("skipped: strace is missing")
        sys.exit(77)
    if subprocess.run([STRACE, "-qq", "-e", "inject=fdatasync:error=EIO:when=1", "true"], capture_output=True, check=False).returncode:
        print("skipped: strace cannot trace here")
        sys.exit(77)
    WORK = tempfile.mkdtemp(prefix="hf-crash-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        code = main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(code)

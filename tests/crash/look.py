#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets each system call of each look fail: an error is never "there is none" and never "it is done".

usage: look.py [--at-least N] [--jobs N] [SCENARIO ...]     in the build folder, which holds ./look_crash

look_crash makes a world in which something is there, and looks. Of each kind of call that it makes then, the first, and the
first with all after it, fail with each error that the kernel may give there; the others with one of them, by turns. Its last line must not say
WRONG, and it must come to an end. The scenario "lie" looks as the code of before did: what it concludes must be noticed.
Of a kind that is made often the first ten and the last two are taken. Exit 77 names what is missing.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

DESCRIPTOR = ("EMFILE", "ENFILE", "ENOMEM", "EINTR")
ERRORS = {
    "openat": (*DESCRIPTOR, "EACCES", "EIO"),
    "ioctl": ("ENOMEM", "EIO", "EINTR", "EACCES", "EBUSY"),
    "read": ("EIO", "ENOMEM", "EINTR"),
    "pread64": ("EIO", "ENOMEM"),
    "getdents64": ("EIO", "ENOMEM"),
    "readlink": ("EACCES", "ENOMEM"),
    "fcntl": ("ENOMEM", "ENOLCK", "EINTR"),
    "flock": ("ENOLCK", "EINTR"),
    "statfs": ("EIO", "ENOMEM"),
    "newfstatat": ("EACCES", "EIO"),
    "mmap": ("ENOMEM",),
    "brk": ("ENOMEM",),
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC",),
    "rename": ("ENOSPC", "EACCES"),
    "chmod": ("EACCES",),
    "pidfd_open": ("EMFILE", "ENFILE", "ENOMEM"),
    "pidfd_send_signal": ("EACCES",),
    "kill": ("EPERM",),
    "poll": ("ENOMEM", "EINTR"),
    "socket": ("EMFILE", "ENFILE", "ENOMEM"),
    "connect": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN",),
    "clone": ("EAGAIN",),
}
LINE = re.compile(r"^(\d+)\s+(\w+)\(")
LIMIT_S = 60


class Trouble(Exception):
    pass


def run(scenario, strace):
    """Returns (status, whether it came to "begin", its last line)."""
    folder = tempfile.mkdtemp(dir=WORK)
    try:
        done = subprocess.run([*ALONE, STRACE, "-f", "-qq", *strace, PROGRAM, scenario, folder], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise Trouble("it does not come to an end") from late
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = done.stdout.splitlines()
    return done.returncode, "begin" in lines, lines[-1] if lines else ""


def some(numbers):
    """All of up to twelve; else the first ten and the last two."""
    numbers = sorted(numbers)
    return numbers if len(numbers) <= 12 else numbers[:10] + numbers[-2:]


def points_of(scenario):
    """The calls after "begin" of the thread that says it, and all of threads that it starts then: {name: numbers}."""
    handle, trace = tempfile.mkstemp(dir=WORK)
    os.close(handle)
    status, _, line = run(scenario, ("-o", trace, "-e", "trace=" + ",".join(set(ERRORS) | {"write"})))
    if status != 0 or not line.startswith("safe"):
        raise Trouble(f"without faults: {status} {line}")
    count, found, looker = {}, {}, None
    with open(trace, encoding="utf-8", errors="replace") as file:
        for text in file:
            match = LINE.match(text)
            if not match:
                continue
            thread, name = match.groups()
            count[thread, name] = count.get((thread, name), 0) + 1
            if '"begin' in text:
                looker, known = thread, {of for of, _ in count}
            elif looker and (thread == looker or thread not in known) and name in ERRORS:
                found.setdefault(name, set()).add(count[thread, name])
    os.unlink(trace)
    return {name: some(numbers) for name, numbers in found.items()}


def point(scenario, name, when, error):
    status, begun, line = run(scenario, ("-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={when}"))
    # Numbers are of a thread: that of the one who looks may have been another's, before the world was made.
    if not begun:
        return False
    if not line.startswith("safe"):
        raise Trouble(line if line.startswith("WRONG") else f"ended with {status}: {line}")
    return True


def jobs_of(scenario):
    for name, numbers in sorted(points_of(scenario).items()):
        errors = ERRORS[name]
        for at, number in enumerate(numbers):
            for error in errors if at == 0 else (errors[at % len(errors)],):
                yield name, str(number), error
        for error in errors if len(numbers) > 1 else ():
            if error != "EINTR":  # what is interrupted each time is asked each time
                yield name, f"{numbers[0]}+", error


def play(scenario, pool):
    """Returns (points that came to a conclusion, complaints)."""
    try:
        jobs = list(jobs_of(scenario))
    except Trouble as trouble:
        return 0, [f"{scenario}: {trouble}"]
    futures = {pool.submit(point, scenario, *job): job for job in jobs}
    made, bad = 0, []
    for future in concurrent.futures.as_completed(futures):
        name, when, error = futures[future]
        try:
            made += bool(future.result())
        except (Trouble, OSError) as trouble:
            bad.append(f"{scenario}, {error} of {name} {when}: {trouble}")
    return made, bad


def main():
    parser = argparse.ArgumentParser(description="looks that fail")
    parser.add_argument("--at-least", type=int, default=300, help="fewer points are a failure (300)")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 2))
    parser.add_argument("scenario", nargs="*")
    options = parser.parse_args()
    known = subprocess.run([PROGRAM, "list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    made, bad = 0, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for scenario in options.scenario or [name for name in known if name != "lie"]:
            got, complaints = play(scenario, pool)
            print(f"{scenario}: {got} points, {len(complaints)} bad", flush=True)
            made, bad = made + got, bad + complaints
        lies = play("lie", pool)[1]
    for text in bad:
        print(f"FAILED {text}")
    if not any("WRONG" in text for text in lies):
        bad.append("lie")
        print("FAILED: a planted lie was not noticed")
    else:
        print(f"planted lie noticed: {lies[0]}")
    if not options.scenario and made < options.at_least:
        bad.append("few")
        print(f"FAILED: only {made} points came to a conclusion, {options.at_least} are wanted")
    print(f"{made} points, {len(bad)} bad")
    return bool(bad)


if __name__ == "__main__":
    PROGRAM = os.path.abspath("look_crash")
    STRACE = shutil.which("strace")
    if not STRACE:
        print("skipped: strace is missing")
        sys.exit(77)
    if subprocess.run([STRACE, "-qq", "-e", "inject=fdatasync:error=EIO:when=1", "true"], capture_output=True, check=False).returncode:
        print("skipped: strace cannot trace here")
        sys.exit(77)
    # With a /proc of its own a walk through it has few calls, and all of them are met; the machine's processes are not ours to look at.
    ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        ALONE = []
    WORK = tempfile.mkdtemp(prefix="hf-look-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        code = main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(code)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab as a Python object, bounded waiting, progress on the terminal."""
import concurrent.futures
import gzip
import json
import os
import shlex
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.dirname(HERE))
from labtool import shell as labshell  # noqa: E402
from labtool.config import Lab as LabInstance, LabError  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
PATIENCE = float(os.environ.get("HF_PATIENCE") or 1)  # multiplies every bound: slow machines


class StoryError(Exception):
    """A claim that did not hold, or something that did not come: one line for people."""


def claim(ok, text):
    if not ok:
        raise StoryError(text)


def wait(what, seconds, probe, step=0.3):
    """The first true value of probe(); the bound is generous and only a bound."""
    seconds *= PATIENCE
    end, seen = time.monotonic() + seconds, ""
    while True:
        try:
            value = probe()
            if value:
                return value
        except StoryError as e:
            seen = str(e)
        if time.monotonic() > end:
            raise StoryError(f"gave up after {seconds:.0f} s waiting for {what}"
                             + (f"; last seen: {seen}" if seen else ""))
        time.sleep(step)


def together(*calls):
    """Runs them beside each other; what they return, in their order. The first that failed is raised.

    A story that is told to end does not wait for them.
    """
    futures = [concurrent.futures.Future() for _ in calls]

    def one(call, future):
        try:
            future.set_result(call())
        except BaseException as e:  # it is raised where it is waited for
            future.set_exception(e)
    for call, future in zip(calls, futures):
        threading.Thread(target=one, args=(call, future), daemon=True).start()
    return [f.result() for f in futures]


class Progress:
    """One line a step: rewritten on a terminal, plain lines elsewhere."""

    def __init__(self):
        self.began = time.monotonic()
        self.live = sys.stdout.isatty()
        self.open = False
        self.lock = threading.Lock()

    def _put(self, text, end):
        with self.lock:
            self._put_locked(text, end)

    def _put_locked(self, text, end):
        stamp = f"[{time.monotonic() - self.began:6.1f} s] "
        if self.live:
            width = os.get_terminal_size().columns if sys.stdout.isatty() else 200
            sys.stdout.write("\r\033[K" + (stamp + text)[:max(width - 1, 20)
                                                        if end == "" else None])
            sys.stdout.write(end)
        elif end:
            sys.stdout.write(stamp + text + end)
        sys.stdout.flush()
        self.open = self.live and end == ""

    def now(self, text):
        """What is going on; on a terminal the next line takes its place."""
        self._put("  .. " + text, "" if self.live else "\n")

    def line(self, text):
        self._put(text, "\n")


class Done:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def said(self):
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1] if lines else "no output"


def run(argv, seconds=300, stdin=None, check=True, cwd=None):
    """Run a program of this machine; bytes or text in, text out."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    try:
        p = subprocess.run(argv, input=stdin, stdin=None if stdin is not None
                           else subprocess.DEVNULL, capture_output=True, check=False, cwd=cwd,
                           timeout=seconds * PATIENCE)
    except subprocess.TimeoutExpired:
        raise StoryError(f"'{shlex.join(argv)}' did not end within "
                         f"{seconds * PATIENCE:.0f} s") from None
    except OSError as e:
        raise StoryError(f"{argv[0]}: {e.strerror}") from None
    done = Done(argv, p.returncode, p.stdout.decode(errors="replace"),
                p.stderr.decode(errors="replace"))
    if check and done.code != 0:
        raise StoryError(f"'{shlex.join(argv)}' ended with status {done.code}: {done.said()}")
    return done


class Lab:
    """tests/lab/lab; machines are n1, n2, ... and san."""

    def __init__(self):
        self.tool = os.path.join(os.path.dirname(HERE), "lab")
        self.instance = LabInstance()
        self.locks = {}
        self._netns = None
        self._status = None

    def call(self, *args, seconds=600, check=True, stdin=None):
        return run([self.tool, *args], seconds, stdin, check)

    def status(self):
        done = self.call("status", "--json", check=False)
        try:
            return json.loads(done.out)
        except ValueError:
            raise StoryError(f"lab status said no JSON: {done.said()}") from None

    def is_up(self):
        return self.status().get("state") == "up"

    def netns(self):
        if not self._netns:
            self._netns = self.call("netns").out.strip()
        return self._netns

    def argv(self, node, argv):
        """How a command is run in a node, over the connection that is kept (`lab exec`, without its start)."""
        try:
            with self.locks.setdefault(node, threading.Lock()):
                labshell.connect(self.instance, node)
        except LabError as e:
            raise StoryError(str(e)) from None
        return labshell.exec_argv(self.instance, node, list(argv))

    def exec(self, node, *argv, seconds=120, check=True, stdin=None):
        done = run(self.argv(node, argv), seconds, stdin, False)
        if check and done.code != 0:
            raise StoryError(f"on {node}: '{shlex.join(argv)}' ended with status {done.code}: {done.said()}")
        return done

    def shell(self, node, line, seconds=120, check=True, stdin=None):
        return self.exec(node, "sh", "-c", line, seconds=seconds, check=check, stdin=stdin)

    def put(self, node, path, data):
        """Bytes into a file of a node."""
        self.shell(node, f"gunzip -c > {shlex.quote(path)}", seconds=300,
                   stdin=gzip.compress(data, 1))

    def exec_popen(self, node, *argv, stdout):
        return subprocess.Popen(self.argv(node, argv), stdin=subprocess.DEVNULL, stdout=stdout,
                                stderr=subprocess.DEVNULL)

    def device(self, lun):
        return self.luns()[lun - 1]["device"]

    def luns(self):
        """They stay what they are as long as the lab is up."""
        if not self._status:
            self._status = self.status()
        return self._status["luns"]

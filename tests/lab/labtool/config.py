# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, addresses and places of one lab instance, and small helpers that every part uses.

Nothing here touches the machine except to read and write the instance's own state file.
"""
import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SOURCE = os.path.dirname(os.path.dirname(HERE))
MAX_NODES = 9
MAX_LUNS = 8
NETS = ("mgmt", "cluster", "storage", "vm")  # eth0..eth3
NET_BASE = {"mgmt": "10.77.0", "cluster": "10.77.1", "storage": "10.77.2", "vm": "10.77.3"}
IQN = "iqn.2026-11.example.holdfast"


class LabError(Exception):
    """An error for people: one clear line."""


def host_number(machine):
    """Last byte of every address of a machine: the SAN is 2, node n is 10 + n."""
    return 2 if machine == "san" else 10 + int(machine[1:])


def address(machine, net):
    return f"{NET_BASE[net]}.{host_number(machine)}"


def lun_serial(lun):
    """Unit serial of a LUN; LIO makes the NAA id of its first 25 hex digits."""
    return f"{lun:08x}-401d-fa57-0000-{lun:012x}"


def lun_id(lun):
    return "naa.6001405" + lun_serial(lun).replace("-", "")[:25]


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def run(argv, check=True, **kw):
    """Run a program quietly; on failure raise with what it said."""
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("stderr", subprocess.STDOUT)
    kw.setdefault("stdin", subprocess.DEVNULL)
    try:
        done = subprocess.run(argv, check=False, text=True, **kw)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed on this machine") from None
    if check and done.returncode != 0:
        last = (done.stdout or "").strip().splitlines()[-1:] or ["no output"]
        raise LabError(f"{' '.join(argv[:6])} failed with status {done.returncode}: {last[0]}")
    return done


class Lab:
    """One instance: its names, its directories and its state (a dict kept in lab.json)."""

    def __init__(self):
        self.name = os.environ.get("LAB_NAME") or "holdfast"
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,23}", self.name):
            raise LabError(f"LAB_NAME '{self.name}' must be 1 to 24 of a-z, 0-9 and '-'")
        cache = os.environ.get("LAB_CACHE") or os.path.join(SOURCE, "build", "lab")
        self.cache = os.path.abspath(cache)
        if not re.fullmatch(r"[\w./+@:~-]+", self.cache):
            raise LabError(f"the path {self.cache} holds characters that QEMU's options cannot "
                           "carry; set LAB_CACHE to a plain one")
        self.ns = f"lab-{self.name}"
        self.dir = os.path.join(self.cache, "run", self.name)
        self.sock = f"/run/holdfast-lab/{self.name}"  # short: socket paths have 107 bytes
        self.share = os.path.join(self.dir, "share")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def tag(self, machine):
        """The -name by which a QEMU of this instance is known for certain."""
        return f"holdfast-lab/{self.name}/{machine}"

    def load(self):
        try:
            with open(self.path("lab.json"), encoding="utf-8") as f:
                return json.load(f)
        except FileNotFoundError:
            raise LabError(f"lab '{self.name}' is not up (lab up starts it)") from None
        except ValueError:
            raise LabError(f"{self.path('lab.json')} is damaged; lab down clears it") from None

    def save(self, state):
        tmp = self.path("lab.json.new")
        with open(tmp, "w", encoding="utf-8") as f:
            json.dump(state, f, indent=1)
        os.replace(tmp, self.path("lab.json"))

    @contextlib.contextmanager
    def lock(self):
        """Serialises what changes the instance (up, down, power, links)."""
        os.makedirs("/run/holdfast-lab", mode=0o700, exist_ok=True)
        fd = os.open(f"/run/holdfast-lab/{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                     0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def machines(state):
    return ["san"] + [f"n{i}" for i in range(1, state["nodes"] + 1)]


def check_machine(state, machine):
    if machine not in machines(state):
        raise LabError(f"no machine '{machine}' in this lab; there are {' '.join(machines(state))}")


def wait_until(what, seconds, probe, step=0.2):
    """Wait for a condition; the bound is generous and only a bound."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"gave up after {seconds} s waiting for {what}")
        time.sleep(step)

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenarios survive and upgrade, played on a cluster of dictionaries: the lab is slow, their own mistakes need not wait for it.

What the product does is not tested here, only that the stories ask, judge and tell to their end; and that they fail when a guest
boots anew where it must not.
"""
import importlib.machinery
import json
import os
import sys
import tempfile
import time
import types

sys.dont_write_bytecode = True
SCENARIOS = os.path.join(os.environ["top_srcdir"], "tests/lab/scenarios")
sys.path.insert(0, SCENARIOS)
from story import cluster, follow, steps_double, steps_faults, steps_moves, steps_setup, story, tools  # noqa: E402

load = [importlib.machinery.SourceFileLoader(n, os.path.join(SCENARIOS, n)).load_module()
        for n in ("survive", "upgrade")]
survive, upgrade = load
TICK = 0.0005  # seconds between two stamps


class World:
    """Three nodes, one volume, two VMs."""

    def __init__(self, live_works=True, forgetful=False):
        self.live_works, self.forgetful = live_works, forgetful
        self.state = dict.fromkeys(("n1", "n2", "n3"), "up")
        self.keys = {n: f"c5ab0{i}0000000001" for i, n in enumerate(self.state)}
        self.at, self.owner = {"a": "n1", "b": "n2"}, "n1"
        self.generation, self.boot = {"a": 1, "b": 1}, {"a": "a0", "b": "b0"}
        self.events, self.pids, self.new, self.level = [], {}, set(), 2

    def up(self, but=None):
        return next(n for n, s in self.state.items() if s == "up" and n != but)

    def move(self, vm, node):
        self.at[vm] = node
        self.generation[vm] += 1
        if self.forgetful:
            self.boot[vm] += "x"
        self.events.append({"object": "vm", "name": vm, "n1": 5 << 20, "n2": 77, "text": "the source has sent everything"})

    def lose(self, node):
        self.state[node] = "lost"
        for vm in [v for v, n in self.at.items() if n == node]:
            self.at[vm], self.boot[vm] = self.up(), self.boot[vm] + "x"
            self.generation[vm] += 1
        self.owner = self.up() if self.owner == node else self.owner
        self.events += [{"object": o, "name": n, "new": s} for o, n, s in (
            ("node", node, "lost"), ("node", node, "fenced"), ("volume", "vol1", "active"), ("vm", "a", "starting"))]

    def back(self, node):
        self.state[node] = "up"
        self.keys[node] = self.keys[node][:-1] + str(int(self.keys[node][-1]) + 1)

    def pid(self, node, program):
        return self.pids.setdefault((node, program), str(100 + len(self.pids)))


WORLD = World()


class Lab:
    tool, instance = "lab", None

    def call(self, *args, **_):
        if args[0] == "power-off" or args[-1] == "down" and args[0] == "link":
            WORLD.lose(args[1])
        if args[0] == "power-on" or args[-1] == "up" and args[0] == "link":
            WORLD.back(args[1])
        return tools.Done(args, 0, "", "")

    def status(self):
        return {"accel": "none", "luns": self.luns(),
                "machines": [{"name": n, "addresses": {"cluster": "192.0.2.1"}} for n in WORLD.state]}

    def luns(self):
        return [{"id": "naa.1", "device": "/dev/1"}, {"id": "naa.2", "device": "/dev/2"}]

    def device(self, lun):
        return f"/dev/{lun}"

    def shell(self, node, line, **_):
        out = ""
        if "sg_persist" in line:
            out = "".join(f"    0x{WORLD.keys[n]}\n" for n, s in WORLD.state.items() if s != "lost")
            out += "====\n    type: Exclusive Access, all registrants\n"
        elif "saved" in line:
            out = "VM a: saved 4096 bytes in 250 ms, the last 40 of them paused\n"
        elif "/proc/mounts" in line:
            out = "1\n"
        elif "readlink" in line:
            out = "".join(f"{p} /{p}{'' if (node, p) in WORLD.new else ' (deleted)'}\n" for p in ("clusterd", "csvd"))
        return tools.Done([line], 0, out, "")

    def exec(self, node, *argv, **_):
        out, code = "", 0
        if argv[0] == "pgrep":
            out = WORLD.pid(node, argv[2]) if WORLD.state[node] != "lost" else ""
        elif argv[0] == "kill":
            for (at, program), pid in WORLD.pids.items():
                if at == node and pid in argv:
                    WORLD.pids[(at, program)] = pid + "0"
                    WORLD.new.add((node, program))
        elif argv[0].endswith("stampcheck"):
            code = int("/dev/2" in argv)
            out = json.dumps({"good": not code, "line": "so it is", "last_seq": 5, "acks_checked": 5, "acks_unreadable": 0,
                              "acks_outside": 0, "counts": {"chain": code}})
        return tools.Done(argv, code, out, "")


class Cluster(cluster.Cluster):
    def ctl(self, node, *args, seconds=0, check=True):
        w, verb = WORLD, args[:2]
        if verb == ("vm", "migrate"):
            if "--live" in args and not w.live_works and len(w.new) < 6:
                return {"exit": 1, "error": "the other side does not understand"}
            w.move(args[2], args[args.index("--to") + 1])
        elif verb == ("node", "pause"):
            w.state[args[2]] = "paused"
            for vm in [v for v, n in w.at.items() if n == args[2]]:
                w.move(vm, w.up())
            w.owner = w.up() if w.owner == args[2] else w.owner
        elif verb == ("node", "resume"):
            w.state[args[2]] = "up"
        elif verb == ("volume", "move"):
            w.owner = args[3]
        elif verb == ("cluster", "level") and "--raise" in args:
            w.level = 3
        vms = [{"name": v, "state": "running", "node": n, "generation": w.generation[v]} for v, n in w.at.items()]
        return {"exit": 0, "text": "", "address": "", "token": "", "quorate": True, "votes": {"total": 3, "expected": 3},
                "vms": vms, "vm": next((v for v in vms if v["name"] == args[-1]), None), "level": w.level,
                "volumes": [{"name": "vol1", "state": "active", "owner": w.owner, "term": 1, "attached": list(w.state)}],
                "nodes": {n: 3 if (n, "csvd") in w.new else 2 for n in w.state} if verb == ("cluster", "level") else
                [{"name": n, "state": s, "pr_key": w.keys[n]} for n, s in w.state.items()]}


class Follower(follow.Follower):
    def __init__(self, _lab, name, _address, _path):
        self.name, self.acks, self.notes, self.sent, self.at = name, [], [], {}, time.time()

    def read(self):
        while self.at < time.time():
            self.at += TICK
            self.acks.append(follow.Ack(self.at, "c", len(self.acks), WORLD.generation.get(self.name, 1),
                                        WORLD.boot.get(self.name, "d"), self.at, self.at))
        return self.acks

    def bytes(self):
        return b"." * len(self.read())

    def stop(self):
        pass


class Watch:
    first = cluster.EventWatch.first

    def __init__(self, *_):
        self.begin = len(WORLD.events)

    def since(self, _):
        return [{**e, "heard": time.time()} for e in WORLD.events[self.begin:]]

    def stop(self):
        pass


def play(world, of, steps):
    """The story's rows and figures; its error, if it ended with one."""
    global WORLD
    WORLD = world
    of.stage_build = lambda _: None
    tale = of(types.SimpleNamespace(build="."))
    tale.new = empty
    try:
        for name, title, func in steps:
            if not name.startswith("bench"):
                tale.step(title, func)
    except tools.StoryError as e:
        return tale, str(e)
    return tale, None


for module in (story, steps_double, steps_faults, steps_moves, steps_setup, *load):
    for name, fake in (("Lab", Lab), ("Cluster", Cluster), ("Follower", Follower), ("EventWatch", Watch)):
        if hasattr(module, name):
            setattr(module, name, fake)
failed = 0


def check(what, ok, seen=""):
    global failed
    if not ok:
        print(f"FAIL: {what}: {seen}")
        failed = 1


with tempfile.TemporaryDirectory() as empty:
    story.SOURCE = upgrade.SOURCE = empty
    tale, error = play(World(), story.Story, survive.STEPS)
    check("survive comes to its end", error is None, error)
    moved = {k: (tale.figures.get(k) or {}).get("sent_bytes") for k in ("live_migration", "quick_migration")}
    check("both moves have their bytes", moved == {"live_migration": 5 << 20, "quick_migration": 4096}, moved)
    check("and their copy time", tale.figures["quick_migration"]["copy_ms"] == 250 and tale.figures["live_migration"]["copy_ms"] == 77)
    check("the figures are JSON", json.loads(json.dumps(tale.result(True)))["steps"][0]["parts"])
    check("each step has its time", all(r["step"][:46] in tale.times() for r in tale.rows))
    tale, error = play(World(forgetful=True), story.Story, survive.STEPS)
    check("a guest that boots anew in a move is no move", error and "booted anew" in error, error)
    for live in (True, False):
        tale, error = play(World(live_works=live), upgrade.Upgrade, upgrade.STEPS)
        check("upgrade comes to its end", error is None, error)
        check("it says how the VM moved", tale.how == dict.fromkeys(("old to new", "new to old"), "live" if live else "quick"), tale.how)
    tale, error = play(World(forgetful=True), upgrade.Upgrade, upgrade.STEPS)
    check("an upgrade that reboots the VM fails", error and "booted anew" in error, error)
if failed:
    print(tale.table())
sys.exit(failed)

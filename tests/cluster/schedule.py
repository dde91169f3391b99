#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One schedule: a cluster is set up, operators work, faults come by the seed, everything is healed, and the oracles judge.

usage: schedule.py SEED ROOT BUILD BASE RESULT      as process 1 of namespaces that cluster.py made. Writes one line to RESULT.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import oracle  # noqa: E402
import world as worlds  # noqa: E402

NODES = 3
TOKEN_MS = 2000
FAULTS_S = 28
CONVERGE_S = 100
SETUP_S = 150
VMS = ("v0", "v1", "v2")
NAMES = ("c0", "c1", "c2", "c3")


class Operators:
    """Two who change the configuration and move VMs about, each at a node that the dice choose; what they were told is kept."""

    def __init__(self, world, seed):
        self.world, self.over = world, threading.Event()
        self.history, self.acknowledged, self.lock = [], 0, threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(random.Random(f"{seed}/op/{i}"), i), daemon=True) for i in range(2)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)

    def work(self, dice, which):
        while not self.over.is_set():
            node = dice.choice(self.world.nodes)
            if which == 0 or dice.random() < 0.4:
                self.configure(dice, node)
            else:
                self.move(dice, node)
            self.over.wait(dice.uniform(0.05, 0.6))

    def configure(self, dice, node):
        name, what = dice.choice(NAMES), dice.choice(("create", "delete"))
        args = ["vm", what, name] + (["--kernel", "/shared/kernel", "--memory", "64M"] if what == "create" else [])
        call = time.monotonic()
        status, answer = node.ctl("--timeout", "8", *args, timeout=12)
        end = time.monotonic()
        if status == 0 and answer.get("state", "done") == "done":
            outcome = "ok"
        elif status == 1 and answer.get("code") == "EEXIST" and what == "create":
            outcome = "exists"
        elif status == 1 and answer.get("code") == "ENOENT" and what == "delete":
            outcome = "absent"
        elif status in (2, 3):
            return  # nobody was asked
        else:
            outcome = "unknown"
        with self.lock:
            self.history.append((name, what, call, end if outcome != "unknown" else float("inf"), outcome))
            self.acknowledged += outcome == "ok"
        self.world.note(f"{node.name}: {what} {name}: {outcome} {answer.get('error') or ''}")

    def move(self, dice, node):
        name = dice.choice(VMS)
        target = dice.choice(self.world.nodes).name
        args = dice.choice((["vm", "migrate", name, "--to", target, "--live"], ["vm", "migrate", name, "--to", target, "--live"],
                            ["vm", "migrate", name, "--to", target, "--quick"], ["vm", "stop", name], ["vm", "start", name],
                            ["volume", "move", "data", target]))
        status, answer = node.ctl("--no-wait", "--timeout", "8", *args, timeout=12)
        self.world.note(f"{node.name}: {' '.join(args)}: {status} {answer.get('error') or answer.get('state') or ''}")


class Faults:
    """What goes wrong, one after another, sometimes two at once; each kind may be missing from a seed altogether."""

    def __init__(self, world, dice):
        self.world, self.dice = world, dice
        kinds = [self.kill, self.kill, self.pause, self.pause_node, self.power, self.isolate, self.one_way, self.between, self.storage]
        self.kinds = dice.sample(kinds, dice.randint(2, 5))

    def run(self):
        end = time.monotonic() + FAULTS_S
        while time.monotonic() < end:
            time.sleep(self.dice.uniform(0.2, 4))
            node = self.dice.choice(self.world.nodes)
            fault = self.dice.choice(self.kinds)
            hold = self.dice.choice((0.3, 1, 2.5, 5, 9, 15))
            fault(node, min(hold, max(0.3, end - time.monotonic())))

    def note(self, node, text):
        self.world.note(f"FAULT {node.name}: {text}")

    def wait(self, seconds):
        time.sleep(seconds)

    def kill(self, node, _hold):
        name = self.dice.choice(("clusterd", "clusterd", "corosync", "csvd", "vmm"))
        self.note(node, f"kill {name} ({node.signal(signal.SIGKILL, name)})")

    def pause(self, node, hold):
        name = self.dice.choice(("clusterd", "corosync", "vmm", "csvd"))
        self.note(node, f"pause {name} {hold:.1f} s")
        node.signal(signal.SIGSTOP, name)
        self.wait(hold)
        node.signal(signal.SIGCONT, name)

    def pause_node(self, node, hold):
        self.note(node, f"pause everything {hold:.1f} s")
        node.signal(signal.SIGSTOP)
        self.wait(hold)
        node.signal(signal.SIGCONT)
        node.signal(signal.SIGCONT)

    def power(self, node, hold):
        self.note(node, f"power off {hold:.1f} s")
        node.power_off()
        self.wait(hold)
        node.boot()

    def others(self, node):
        return [other for other in self.world.nodes if other is not node]

    def isolate(self, node, hold):
        self.note(node, f"isolated {hold:.1f} s")
        for other in self.others(node):
            self.world.cut(node, other)
        self.wait(hold)
        self.world.heal_network()

    def one_way(self, node, hold):
        other = self.dice.choice(self.others(node))
        self.note(node, f"what it sends to {other.name} is lost {hold:.1f} s")
        self.world.cut(node, other, "one")
        self.wait(hold)
        self.world.heal_network()

    def between(self, node, hold):
        other = self.dice.choice(self.others(node))
        self.note(node, f"cut from {other.name} {hold:.1f} s")
        self.world.cut(node, other)
        self.wait(hold)
        self.world.heal_network()

    def storage(self, node, hold):
        silent = self.dice.random() < 0.4
        self.note(node, f"storage {'answers' if silent else 'commands'} lost {hold:.1f} s")
        bit = 1 << node.number
        self.world.storage(0 if silent else bit, bit if silent else 0)
        self.wait(hold)
        self.world.storage()


def wait_for(what, seconds, check):
    """Until check() is true; it may say in a string what is missing."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        last = check()
        if last is True:
            return
        if time.monotonic() > deadline:
            raise oracle.Violation(f"{what}: not within {seconds} s: {last}")
        time.sleep(0.3)


def must(node, *args, seconds=60):
    """A set-up step, tried until it works or says that it was done."""
    def check():
        status, answer = node.ctl("--timeout", "30", *args, timeout=40)
        return True if status == 0 or answer.get("code") == "EEXIST" else f"{' '.join(args)}: {status} {answer.get('error')}"
    wait_for(node.name, seconds, check)


def all_up(world):
    for node in world.nodes:
        status, view = node.ctl("status", timeout=10)
        if status != 0:
            return f"{node.name}: status {status}"
        states = {item["name"]: item["state"] for item in view["nodes"]}
        if len(states) != len(world.nodes) or any(state != "up" for state in states.values()):
            return f"{node.name} sees {states}"
    return True


def out_for_cause(world):
    """An operator takes nodes out of quarantine, where three losses within the hour put them; fewer losses would be no cause."""
    status, view = world.nodes[0].ctl("status", timeout=10)
    for item in view["nodes"] if status == 0 else ():
        if item["state"] != "quarantined":
            continue
        if item["losses"] < 3:
            raise oracle.Violation(f"{item['name']} is in quarantine after {item['losses']} losses")
        status, answer = world.nodes[0].ctl("node", "resume", item["name"], timeout=10)
        world.note(f"out of quarantine after {item['losses']} losses: {item['name']}: {status} {answer.get('error') or ''}")


def back(world):
    out_for_cause(world)
    return all_up(world)


def set_up(world):
    first = world.nodes[0]
    for node in world.nodes:
        node.boot()
    must(first, "cluster", "create", "demo", "--address", "10.99.0.1", "--token-ms", str(TOKEN_MS))
    for node in world.nodes[1:]:
        def join(node=node):
            status, answer = first.ctl("cluster", "token", timeout=20)
            if status != 0:
                return f"token: {answer}"
            status, answer = node.ctl("--timeout", "60", "cluster", "join", "10.99.0.1", "--token", answer["token"], "--address",
                                      f"10.99.0.{node.number}", timeout=70)
            return True if status == 0 else f"join: {status} {answer}"
        wait_for(f"{node.name} joins", SETUP_S, join)
    wait_for("set-up", SETUP_S, lambda: all_up(world))
    must(first, "volume", "add", "data", "--lun", worlds.LUN)
    for name in VMS:
        must(first, "vm", "create", name, "--kernel", "/shared/kernel", "--memory", "128M", "--disk", f"data/{name}.img,size=1M")
        must(first, "vm", "start", name)


def settled(world):
    """True when every node says the same and the VMs are as they should be."""
    views = []
    for node in world.nodes:
        status, view = node.ctl("status", timeout=10)
        if status != 0:
            return f"{node.name}: status {status}"
        views.append(view)
    marks = [(view["log"]["epoch"], view["log"]["seq"], view["log"]["commit"]) for view in views]
    if len(set(marks)) != 1:
        return f"logs end at {marks}"
    for node, view in zip(world.nodes, views):
        states = {item["name"]: item["state"] for item in view["nodes"]}
        if any(state != "up" for state in states.values()):
            return f"{node.name} sees {states}"
        moving = [job for job in view["jobs"] if job["state"] == "running"]
        if moving:
            return f"{node.name}: jobs run: {[(job['command'], job['name']) for job in moving]}"
    reference = {item["name"]: (item["state"], item["node"], item["generation"], item["run"]) for item in views[0]["vms"]}
    for node, view in zip(world.nodes[1:], views[1:]):
        mine = {item["name"]: (item["state"], item["node"], item["generation"], item["run"]) for item in view["vms"]}
        if mine != reference:
            return f"{node.name} says {mine}, n1 says {reference}"
    found = {}
    for node in world.nodes:
        for name, pids in node.vmms().items():
            found.setdefault(name, []).extend([node.name] * len(pids))
    for name, (state, where, _, run) in reference.items():
        there = found.pop(name, [])
        if name not in VMS:
            continue
        if run and (state != "running" or there != [where]):
            return f"{name} is {state} at {where}, processes at {there}"
        if not run and (state != "stopped" or there):
            return f"{name} is {state}, processes at {there}"
    return True if not found else f"processes of no VM: {found}"


def start_all(world):
    """What operators stopped and what gave up shall run again."""
    for name in VMS:
        for node in world.nodes:
            if node.ctl("--no-wait", "--timeout", "10", "vm", "start", name, timeout=12)[0] == 0:
                break


def lies(world, operators, names):
    """A second copy of a VM, started by hand beside the first, and a change that nobody made: both must be noticed."""
    view = world.nodes[0].ctl("status")[1]
    vm = next(item for item in view["vms"] if item["name"] == VMS[0])
    other = next(node for node in world.nodes if node.name != vm["node"])
    before = len(world.writes())
    source = f"/run/holdfast/vm/{vm['name']}"
    holder = next(node for node in world.nodes if node.name == vm["node"])
    _, config = holder.run("cat", f"{source}/config.json")
    with open(f"{world.shared}/lie.json", "w", encoding="utf-8") as file:
        file.write(re.sub(r'"paused": true', '"paused": false', config))
    other.run("mkdir", "-p", source)
    liar = subprocess.Popen(["nsenter", "-t", str(other.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "env", f"HF_TEST_NODE={other.number}",
                             "/hf/tests/cluster/libexec/vmm", "--config", "/shared/lie.json"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def both():
            mine = [line.split() for line in world.writes()[before:]]
            who = [words[1] for words in mine if len(words) == 6 and words[3] == f"vm/{vm['name']}" and words[2] == "written"]
            second = str(other.number)
            return second in who and str(holder.number) in who[who.index(second):] or f"writes of nodes {who[-5:]}"
        wait_for("the planted second copy and the first write in turn", 30, both)
    finally:
        liar.kill()
        liar.wait()
    for what, check, args in (("a second running copy", oracle.writes_check, (world.writes(),)),
                              ("a lost change", oracle.history_check, (operators.history + [("lie", "create", 0, 1, "ok")], names))):
        try:
            check(*args)
        except oracle.Violation:
            continue
        raise oracle.Violation(f"the oracle is blind: {what} was planted and not noticed")


def play(seed, root, build, base):
    world = worlds.World(root, build, base, NODES)
    began = time.monotonic()
    try:
        set_up(world)
        ready = time.monotonic()
        world.note(f"set up in {ready - began:.1f} s")
        operators = Operators(world, seed)
        faults = Faults(world, random.Random(f"{seed}/faults"))
        faults.run()
        operators.stop()
        world.note("HEAL")
        healed = time.monotonic()
        world.heal()
        wait_for("after healing all nodes are up", CONVERGE_S, lambda: back(world))
        start_all(world)
        wait_for("after healing everything settles", CONVERGE_S, lambda: settled(world))
        converged = time.monotonic() - healed
        world.note(f"converged in {converged:.1f} s")
        accepted, refused, _ = oracle.writes_check(world.writes())
        view = world.nodes[0].ctl("status")[1]
        names = {item["name"] for item in view["vms"]}
        oracle.history_check(operators.history, names)
        entries = oracle.logs_check([f"{base}/n{node.number}/state/state.db" for node in world.nodes])
        lies(world, operators, names)
        kinds = ",".join(sorted({kind.__name__ for kind in faults.kinds}))
        return (f"ok seed {seed}: set up {ready - began:.0f} s, converged {converged:.0f} s; {accepted} writes, {refused} refused; "
                f"{len(operators.history)} changes, {operators.acknowledged} acknowledged; {entries} entries equal; faults {kinds}")
    finally:
        for node in world.nodes:
            node.power_off()
        world.target.kill()


def main():
    seed, root, build, base, result = int(sys.argv[1]), *sys.argv[2:6]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    worlds.sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", base)
    try:
        line, code = play(seed, root, build, base), 0
    except oracle.Violation as violation:
        line, code = f"VIOLATION seed {seed}: {violation}", 1
    except Exception as trouble:  # pylint: disable=broad-except
        line, code = f"BROKEN seed {seed}: {type(trouble).__name__}: {trouble}", 2
    if code:
        keep = result + ".logs"
        shutil.rmtree(keep, ignore_errors=True)
        shutil.copytree(f"{base}/shared/logs", keep)
        shutil.copy(f"{base}/shared/writes", keep)
        for number in range(1, NODES + 1):
            for source, name in ((f"n{number}/upper/var/log/corosync/corosync.log", f"n{number}.corosync.log"),
                                 (f"n{number}/state/state.db", f"n{number}.state.db"), (f"n{number}/state/state.db-wal", f"n{number}.state.db-wal")):
                if os.path.exists(f"{base}/{source}"):
                    shutil.copy(f"{base}/{source}", f"{keep}/{name}")
    with open(result, "w", encoding="utf-8") as file:
        file.write(line + "\n")
    return code


def process_one():
    """Reaps whatever loses its parent; a namespace of a node ends only when the last of its processes was reaped."""
    child = os.fork()
    if child == 0:
        return
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)


if __name__ == "__main__":
    process_one()
    sys.exit(main())

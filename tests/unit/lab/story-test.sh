#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The judgements that the story makes in Python, against answers made up here.
exec python3 -B - <<'PY'
import gzip
import json
import os
import subprocess
import sys
import types

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/lab/scenarios"))
from story import steps_faults, steps_moves, verify  # noqa: E402
from story.cluster import EventWatch  # noqa: E402
from story.follow import Follower  # noqa: E402
from story.story import Story  # noqa: E402
from story.tools import StoryError, together  # noqa: E402

failed = 0


def check(what, ok):
    global failed
    if not ok:
        print(f"FAIL: {what}")
        failed = 1


def refused(what, func, *args):
    try:
        func(*args)
    except StoryError:
        return
    check(what + " is refused", False)


# A client's log: two connections, two boots, a pause of 0.5 s as heard and 0.2 s in the guest.
log = "story-test.log"
with open(log, "w") as f:
    for i, (heard, conn, boot, mono) in enumerate(
            [(10.0, 1, "aa", 1.0), (10.1, 1, "aa", 1.1), (10.6, 1, "aa", 1.3), (20.0, 2, "bb", 0.5),
             (20.1, 2, "bb", 0.6)], 1):
        f.write(f"{int(heard * 1e9)} {conn} ack {i} 1 {boot} {int(mono * 1e9)} 0 "
                "00000000000000ff 00000000000000ff\n")
    f.write("21000000000 2 note lost: x\n21 2 note half a li")
fol = Follower.__new__(Follower)
fol.name, fol.path, fol.acks, fol.notes, fol.offset, fol.rest, fol.proc, fol.sent = \
    "a", log, [], [], 0, b"", None, {}
check("five stamps", len(fol.read()) == 5 and len(fol.notes) == 1)
check("gap", fol.gap(9.9, 11) == {"client_ms": 500, "guest_ms": 200})
check("gap over a restart counts no guest time", fol.gap(10.05, 30)["guest_ms"] == 200)
check("connections", fol.connections(0) == {"1", "2"} and fol.connections(15) == {"2"})
check("the half line is left out", fol.bytes().endswith(b"lost: x\n"))
check("the first after a moment", fol.wait_ack(10.05, count=2).heard == 10.1)
check("the first of another boot", fol.wait_ack(0, boot_not="aa", count=2).heard == 20.0)


# Only what is new of a log goes to a node, all of it to one that has lost it.
class Node:
    file, sent = b"", []

    def shell(self, node, line, stdin=None, **_):
        data = gzip.decompress(stdin)
        if "exit 9" in line and f" = {len(self.file)} ]" not in line:
            return types.SimpleNamespace(code=9, said=str)
        self.file = (self.file if ">>" in line else b"") + data
        self.sent.append(len(data))
        return types.SimpleNamespace(code=0, said=str)


node = Node()
verify.acks_send(node, "n1", fol, "/tmp/x")
with open(log, "a") as f:
    f.write("ne\n22 2 note more\n")
verify.acks_send(node, "n1", fol, "/tmp/x")
check("the log is whole", node.file == fol.bytes() and node.sent[1] < node.sent[0])
node.file = b"something else"
verify.acks_send(node, "n1", fol, "/tmp/x")
check("and whole again after a power cut", node.file == fol.bytes() and node.sent[2] == len(node.file))
os.unlink(log)

# sg_persist's words.
held = "  PR generation=0x4, Reservation follows:\n    Key=0x0\n" \
       "    scope: LU_SCOPE,  type: Exclusive Access, all registrants\n"
KEYS = "  PR generation=0x4, 2 registered reservation keys follow:\n    0xc5ab010000000001\n" \
       "    0xc5ab020000000002\n"


class FakeLab:
    def __init__(self, r, k):
        self.r, self.k = r, k

    def shell(self, node, line, seconds=0):
        return types.SimpleNamespace(out=self.k + "====\n" + self.r)


cluster = types.SimpleNamespace(live=["n1", "n2"], nodes=lambda: {
    "n1": {"pr_key": "c5ab010000000001"}, "n2": {"pr_key": "0xC5AB020000000002"},
    "n3": {"pr_key": "c5ab030000000003"}})
good = verify.reservations_good
check("type 8, right keys", good(FakeLab(held, KEYS), cluster, "/dev/x")["keys"][0][:4] == "c5ab")
refused("no reservation", good, FakeLab("there is NO reservation held\n", KEYS), cluster, "/dev/x")
refused("type 5", good, FakeLab(held.replace("all registrants", "registrants only"), KEYS), cluster,
        "/dev/x")
refused("a stranger's key", good, FakeLab(held, KEYS + "    0xdead\n"), cluster, "/dev/x")
refused("a missing key", good, FakeLab(held, KEYS.replace("0xc5ab02", "0xc5ab01")), cluster, "/dev/x")
refused("a key that should be gone", good, FakeLab(held, KEYS), cluster, "/dev/x",
        ["c5ab010000000001"])


# The way back, split.
class FakeWatch:
    times = {("node", "n1", "lost"): 102.0, ("node", "n1", "fenced"): 103.5,
             ("volume", "vol1", "active"): 104.0, ("vm", "a", "starting"): 104.25}

    def first(self, moment, obj, name, states):
        return next((t for (o, n, s), t in self.times.items()
                     if (o, n) == (obj, name) and s in states and t >= moment), None)


f = steps_faults.recovery_figures(None, FakeWatch(), 100.0, "n1", "a", 112.25)
check(f"split {f}", f == {"total_ms": 12250, "detection_ms": 2000, "fencing_ms": 1500,
                          "volume_ms": 500, "hold_ms": 250, "boot_ms": 8000})


# A watch tells what comes, and nothing of what was: an earlier move is not the figure of this one.
class Events:
    live = {"id": 7, "object": "vm", "name": "a", "n1": 11, "n2": 12, "text": "the source has sent everything and is paused"}
    now = {"id": 9, "object": "vm", "name": "a", "n1": 21, "n2": 22, "text": "the source has sent everything and is paused"}

    def __init__(self):
        self.lab = self

    def ctl(self, *_):
        return {"events": [{"id": 6}, self.live]}

    def exec_popen(self, node, *argv, stdout):
        check("the watch begins with the last event", argv[argv.index("--since") + 1] == "6")
        return subprocess.Popen(["printf", "%s\\n", json.dumps(self.live), json.dumps(self.now)], stdout=stdout)


watch = EventWatch(Events(), "n1")
check("live: bytes and copy time of this move", steps_moves.copy_live(watch, "a") == {"sent_bytes": 21, "copy_ms": 22})
watch.stop()
said = types.SimpleNamespace(out="VM a: saved 4096 bytes in 250 ms, the last 40 of them paused\n")
story = types.SimpleNamespace(lab=types.SimpleNamespace(shell=lambda *_, **__: said))
check("quick: bytes and copy time of the save", steps_moves.copy_quick(story, "n1", "a") ==
      {"sent_bytes": 4096, "copy_ms": 250, "paused_ms": 40})
said.out = ""
refused("no word of the save", steps_moves.copy_quick, story, "n1", "a")

# Where the time goes, and things done beside each other.
os.environ["HF_SETUP"] = "packages that are missing=3\nbuild=40"
story = Story.__new__(Story)
story.part, story.rows = None, [{"step": "x", "seconds": 2.0, "parts": []}]
story.progress = types.SimpleNamespace(now=lambda text: None)
story.now("one")
story.now("two")
story.part_ends()
check("parts of a step", [p[0] for p in story.rows[0]["parts"]] == ["one", "two"] and story.part is None)
check("the table of times", "set-up: build" in story.times() and "45.0s" in story.times())
check("together keeps the order", together(lambda: 1, lambda: 2) == [1, 2])


def fails():
    raise StoryError("x")


refused("together with one that fails", together, fails, lambda: 1)
sys.exit(failed)
PY

# SPDX-License-Identifier: GPL-2.0-or-later
"""The deliberate double start: no cluster, no reservation, no lock; the checker must catch it.

Two nodes start one VM by hand on one LUN that the cluster does not know. If the checker calls the disk good
after that, then nothing that it said before was worth anything, and the story fails.
"""
import json
import os
import time

from . import verify
from .follow import Follower
from .tools import StoryError, claim, wait

VMM = "/usr/libexec/holdfast/vmm"
DIR = "/run/holdfast-double"
ADDRESSES = ("10.77.3.121", "10.77.3.122")
SIZE_MIB = 8


def config(story, number):
    return {
        "name": f"double{number}", "uuid": f"00000000-0000-4000-8000-00000000000{number}",
        "generation": number, "memory_mib": 128, "cpus": 1,
        "kernel": f"{verify.TEST_DIR}/vmlinuz", "initrd": f"{verify.TEST_DIR}/initrd",
        "append": f"console=ttyS0 quiet hf.ip={ADDRESSES[number - 1]}/24 hf.size_mib={SIZE_MIB}",
        "uid": 65534, "disks": [{"file": story.scratch}],
        "nets": [{"tap": f"double{number}", "bridge": "vmbr0", "mac": f"52:54:00:dd:00:0{number}"}],
        "run_dir": DIR, "tls_dir": "/var/lib/holdfast/tls"}


def start(story, node, number):
    text = json.dumps(config(story, number))
    story.lab.shell(node, f"mkdir -p -m 700 {DIR} && cat > {DIR}/config.json && cd / && "
                    f"(setsid {VMM} --config {DIR}/config.json > {DIR}/out 2>&1 < /dev/null & "
                    f"echo $! > {DIR}/pid)", stdin=text)


def end(story, node):
    story.lab.shell(node, f"[ -f {DIR}/pid ] && kill -KILL $(cat {DIR}/pid); rm -rf {DIR}; "
                    "for l in double1 double2; do ip link del $l; done 2>/dev/null; true",
                    check=False)


def double_start(story, row):
    nodes = story.cluster.live[:2]
    judge = story.cluster.live[-1]
    clients = []
    story.lab.exec(nodes[0], "dd", "if=/dev/zero", f"of={story.scratch}", "bs=1M",
                   f"count={SIZE_MIB + 1}", "oflag=direct", seconds=300)
    try:
        for number, node in enumerate(nodes, 1):
            path = os.path.join(story.work, f"acks.double{number}")
            if os.path.exists(path):
                os.unlink(path)
            story.now(f"starting one VM by hand on {node}, guards off")
            start(story, node, number)
            clients.append(Follower(story.lab, f"double{number}", ADDRESSES[number - 1], path))
        for client in clients:
            client.wait_ack(0, count=20)
        story.now("two guests write to one disk")
        both = time.time()
        for client in clients:
            wait(f"stamps of {client.name} beside the other's", 300,
                 lambda c=client: len([a for a in c.read() if a.heard > both]) > 50)
    except StoryError as e:
        said = [story.lab.shell(n, f"tail -n 3 {DIR}/out", check=False).out.strip() for n in nodes]
        raise StoryError(f"{e}; the vmms said: {said}") from None
    finally:
        for node in nodes:
            end(story, node)
        for client in clients:
            client.stop()
    v = verify.stampcheck(story.lab, judge, story.scratch, clients)
    caught = {k: n for k, n in v["counts"].items() if n}
    claim(not v["good"], f"the checker did not see a double start: {v['line']}")
    claim(any(k in caught for k in ("chain", "ack-changed", "disk")),
          f"the checker saw a double start as something else: {v['line']}")
    row["measured"]["caught as"] = " ".join(sorted(caught))
    row["verified"].append(f"{nodes[0]} and {nodes[1]} ran one VM on one LUN; checker: "
                           f"{v['line'][:160]}")
    story.figures["double_start"] = caught


STEPS = [("double", "deliberate double start, guards off", double_start)]

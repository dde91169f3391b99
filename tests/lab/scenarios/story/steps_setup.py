# SPDX-License-Identifier: GPL-2.0-or-later
"""From nothing to a VM that runs on the cluster shared volume."""
import time

from .story import VOLUME
from .tools import claim, together, wait


def lab_up(story, row):
    story.now("building and staging")
    story.stage_build()
    story.now("three nodes and a SAN are starting")
    began = time.monotonic()
    story.lab.call("up", "--nodes", "3", "--luns", "2", "--stage", story.stage, seconds=1800)
    row["measured"]["lab up"] = f"{time.monotonic() - began:.0f} s"
    status = story.lab.status()
    story.figures["accel"] = status.get("accel")
    row["verified"].append(f"3 nodes ({status.get('accel')}), LUN {status['luns'][0]['id']}")


def cluster_create(story, row):
    c, first = story.cluster, story.node_names[0]
    story.now("clusterd answers")
    for node in story.node_names:
        story.lab.shell(node, "i=0; while ! pgrep -x clusterd >/dev/null && [ $i -lt 120 ]; do "
                        "sleep 0.5; i=$((i+1)); done; pgrep -x clusterd", seconds=90)
    story.now("cluster create")
    at = {m["name"]: m["addresses"] for m in story.lab.status()["machines"]}
    c.ctl(first, "cluster", "create", "demo", "--address", at[first]["cluster"])
    for node in story.node_names[1:]:
        story.now(f"{node} joins")
        token = c.ctl(first, "cluster", "token")
        c.ctl(node, "cluster", "join", token["address"], "--token", token["token"],
              "--address", at[node]["cluster"])
    c.wait_nodes("up", story.node_names)

    def whole():
        now = c.status()
        votes = now["votes"]
        claim(now["quorate"] and votes["total"] == votes["expected"] == len(story.node_names),
              f"quorate {now['quorate']}, votes {votes['total']} of {votes['expected']}")
        return now
    status = wait("every node's vote to count", 120, whole)
    row["verified"].append(f"{len(status['nodes'])} nodes up, quorate, "
                           f"{status['votes']['total']} votes of {status['votes']['expected']}")


def volume_add(story, row):
    lun = story.lab.luns()[0]["id"]
    story.now(f"volume add {VOLUME} --lun {lun}")
    story.cluster.ask("volume", "add", VOLUME, "--lun", lun, seconds=600)
    v = story.cluster.wait_volume(VOLUME)
    line = f"grep -c ' /clusterstorage/{VOLUME} fuse' /proc/mounts"
    seen = together(*[lambda n=n: story.lab.shell(n, line, check=False).out.strip() for n in story.node_names])
    for node, count in zip(story.node_names, seen):
        claim(count == "1", f"/clusterstorage/{VOLUME} is not there on {node}")
    row["verified"] += [f"/clusterstorage/{VOLUME} on every node, owner {v['owner']}",
                        story.check_all()]


def vm_boot(story, row):
    for vm in ("a", "b"):
        story.now(f"vm create {vm}")
        story.vm_create(vm)
    story.now("vm start a and b")
    began = time.time()
    for vm in ("a", "b"):
        story.cluster.ask("vm", "start", vm, "--no-wait", seconds=600)
    for vm in ("a", "b"):
        story.cluster.wait_vm(vm, "running")
        first = story.follower(vm).wait_ack(began, what="the first stamp")
        row["measured"][f"start of both to first stamp of {vm}"] = f"{first.heard - began:.1f} s"
    for vm in ("a", "b"):
        story.follower(vm).settle()
    row["verified"].append(story.check_all())


STEPS = [
    ("lab", "the lab: three nodes, a SAN", lab_up),
    ("cluster", "cluster create, token, join", cluster_create),
    ("volume", "volume add", volume_add),
    ("boot", "vm create, start: two guests write stamps", vm_boot),
]

# SPDX-License-Identifier: GPL-2.0-or-later
"""What nobody planned: clusterd killed, a power cut, a cut cluster network."""
import time

from .story import VOLUME, pids
from .tools import StoryError, claim, wait


def sigkill(story, row):
    """clusterd dies where the VM runs and where the volume is owned: nothing may notice."""
    c, follower = story.cluster, story.follower("a")
    follower.settle()
    nodes = sorted({c.vm_node("a"), c.volume(VOLUME)["owner"]})
    before, vm_before, vol_before = follower.last(), c.vm("a"), c.volume(VOLUME)
    procs = {n: {p: pids(story.lab, n, p) for p in ("vmm", "csvd")} for n in nodes}
    old = {n: pids(story.lab, n, "clusterd") for n in nodes}
    began = time.time()
    for n in nodes:
        story.now(f"SIGKILL of clusterd on {n}")
        claim(old[n], f"no clusterd runs on {n}")
        story.lab.exec(n, "kill", "-KILL", *old[n])
    for n in nodes:
        def back(n=n):
            new = pids(story.lab, n, "clusterd")
            return bool(new) and new != old[n]
        wait(f"clusterd on {n} to be started again", 120, back)
    c.wait_nodes("up", c.live)
    vm_now = c.wait_vm("a", "running")
    vol_now = c.wait_volume(VOLUME)
    follower.settle()
    after = follower.last()
    claim(after.boot == before.boot and after.connection == before.connection,
          "VM a was disturbed: another boot or another connection")
    claim(vm_now["generation"] == vm_before["generation"] and vm_now["node"] == vm_before["node"],
          f"VM a went from {vm_before['node']}/{vm_before['generation']} to "
          f"{vm_now['node']}/{vm_now['generation']}")
    claim(vol_now["owner"] == vol_before["owner"] and vol_now["term"] == vol_before["term"],
          "the volume changed hands")
    for n in nodes:
        for p, was in procs[n].items():
            claim(pids(story.lab, n, p) == was, f"{p} on {n} is not the same process any more")
    gap = follower.gap(began, time.time())
    row["measured"]["gap"] = f"{gap['client_ms']} ms"
    row["verified"] += [f"clusterd killed on {' and '.join(nodes)}: same vmm and csvd processes, same "
                        "owner, term and generation, same connection", story.check_all()]
    story.figures["clusterd_sigkill"] = {"gap_client_ms": gap["client_ms"]}


def recovery_figures(story, watch, cut, lost, vm, first):
    """The way back split into its parts, by when a survivor's clusterctl told of each."""
    def at(obj, name, states):
        return watch.first(cut, obj, name, states)
    marks = [("detection", at("node", lost, ("lost", "fencing", "fenced"))),
             ("fencing", at("node", lost, ("fenced", "down"))),
             ("volume", at("volume", VOLUME, ("active",))),
             ("hold", at("vm", vm, ("starting",))),
             ("boot", first)]
    out, before = {"total_ms": round((first - cut) * 1000)}, cut
    for name, moment in marks:
        if moment is None:
            out[f"{name}_ms"] = None
            continue
        out[f"{name}_ms"] = round(max(moment - before, 0) * 1000)
        before = max(before, moment)
    return out


def say_recovery(row, f):
    parts = ", ".join(f"{k[:-3]} {f[k] / 1000:.1f}" for k in
                      ("detection_ms", "fencing_ms", "volume_ms", "hold_ms", "boot_ms")
                      if f.get(k) is not None)
    row["measured"]["to first stamp"] = f"{f['total_ms'] / 1000:.1f} s ({parts})"


def lose_node(story, row, lost, how, power):
    """Take a node away; its VM a must come back elsewhere. Returns the figures; the disks are not looked at yet."""
    c, follower = story.cluster, story.follower("a")
    survivors = [n for n in c.live if n != lost]
    key = c.nodes()[lost]["pr_key"]
    before = follower.last()
    watch = story.watch(survivors[0])
    asked = time.time()
    how()
    c.live = survivors
    story.now(f"{lost} is gone; VM a has to come back")
    first = follower.wait_ack(asked, boot_not=before.boot, what="the restarted guest's first stamp")
    last_old = [a for a in follower.acks if a.boot == before.boot][-1]
    # A power cut comes some time after it was asked for: not before the last stamp that was heard. A node
    # that is only cut off goes on writing until it is fenced.
    cut = max(asked, last_old.heard) if power else asked
    story.now("VM a and the volume after it")
    vm = c.wait_vm("a", "running")
    claim(vm["node"] in survivors, f"VM a is at {vm['node']}, which is gone")
    claim(first.generation > before.generation,
          f"the restarted guest has generation {first.generation}, not above {before.generation}")
    c.wait_volume(VOLUME)
    figures = recovery_figures(story, watch, cut, lost, "a", first.heard)
    watch.stop()
    say_recovery(row, figures)
    row["verified"].append(f"VM a came back on {vm['node']}, generation {before.generation} to "
                           f"{first.generation}")
    row["verified"].append(f"{lost} fenced: " + story.check_keys(gone=[key]))
    return figures


def come_back(story, row, lost, how):
    """The lost node becomes a member again, with a key of its new incarnation.

    What is on the disks after the loss is looked at while it boots.
    """
    c = story.cluster
    old = c.nodes()[lost]["pr_key"]
    began = time.time()
    story.now(f"{lost} is let back")
    how()
    story.follower("a").settle()
    row["verified"].append(f"without {lost}: " + "; ".join(story.check_disks()))
    story.now(f"{lost} comes back")
    c.wait_nodes("up", [lost], 600)
    c.live = [n for n in story.node_names if n in c.live or n == lost]
    c.wait_volume(VOLUME)
    new = c.nodes()[lost]["pr_key"]
    claim(new != old, f"{lost} came back with the key {old} of the incarnation that was fenced")
    row["measured"]["back in the cluster"] = f"{time.time() - began:.0f} s"
    row["verified"].append(f"{lost} is back: " + story.check_all(gone=[old]))


def power_cut(story, row):
    c = story.cluster
    node = c.vm_node("a")
    if c.volume(VOLUME)["owner"] != node:
        story.now(f"volume move {VOLUME} {node}")
        c.ask("volume", "move", VOLUME, node, seconds=300)
        c.wait_volume(VOLUME)
    claim(c.volume(VOLUME)["owner"] == node, f"the volume did not move to {node}")
    story.follower("a").settle()
    row["verified"].append(f"{node} ran VM a and owned {VOLUME} when its power was cut")
    story.figures["power_cut"] = lose_node(
        story, row, node, lambda: story.lab.call("power-off", node), True)
    c.wait_vm("b", "running")
    come_back(story, row, node, lambda: story.lab.call("power-on", node))


def cluster_cut(story, row):
    c = story.cluster
    owner, node = c.volume(VOLUME)["owner"], c.vm_node("a")
    if node == owner:
        owner = next(n for n in reversed(c.live) if n != node)
        story.now(f"volume move {VOLUME} {owner}")
        c.ask("volume", "move", VOLUME, owner, seconds=300)
        c.wait_volume(VOLUME)
    claim(c.volume(VOLUME)["owner"] == owner != c.vm_node("a"), f"VM a is at {owner}, the owner")
    story.follower("a").settle()
    story.figures["cluster_network_cut"] = lose_node(
        story, row, node, lambda: story.lab.call("link", node, "cluster", "down"), False)

    def stopped():
        left = pids(story.lab, node, "vmm")
        if left:
            raise StoryError(f"vmm processes {left}")
        return True
    wait(f"{node} to stop its VMs by itself", 300, stopped)
    row["verified"].append(f"{node}, cut off but alive and with its storage, stopped its VMs by "
                           "itself")
    come_back(story, row, node, lambda: story.lab.call("link", node, "cluster", "up"))


STEPS = [
    ("sigkill", "SIGKILL of clusterd", sigkill),
    ("power", "power cut of VM's node and volume's owner", power_cut),
    ("network", "cluster network cut, storage up", cluster_cut),
]

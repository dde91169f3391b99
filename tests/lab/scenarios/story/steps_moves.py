# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned moves: live migration, quick migration, a drain."""
import time

from .tools import StoryError, claim

SETTLE_S = 4


def other_node(story, vm, avoid=()):
    """A live node where the VM is not."""
    at = story.cluster.vm_node(vm)
    for node in reversed(story.cluster.live):
        if node != at and node not in avoid:
            return at, node
    raise StoryError(f"no other node for VM {vm}")


def move(story, row, vm, how):
    """One migration: the connection lasts, the boot lasts, the generation rises. Fills the figures."""
    follower = story.follower(vm)
    follower.settle(SETTLE_S)
    source, target = other_node(story, vm)
    watch = story.watch(target)
    before = follower.last()
    calm = follower.gap(time.time() - SETTLE_S, time.time())
    began = time.time()
    story.now(f"{vm} moves from {source} to {target} ({how})")
    said = story.cluster.ctl(target, "vm", "migrate", vm, "--to", target, f"--{how}", seconds=600)
    total = time.time() - began
    vm_now = story.cluster.wait_vm(vm, "running")
    claim(vm_now["node"] == target, f"VM {vm} is at {vm_now['node']}, not at {target}")
    follower.wait_ack(time.time(), count=20)
    follower.settle(SETTLE_S)
    end = time.time()
    after = follower.last()
    gap = follower.gap(began, end)
    claim(after.boot == before.boot, f"VM {vm} booted anew: it was not moved but restarted")
    claim(after.connection == before.connection,
          f"the TCP connection to VM {vm} did not last: {follower.notes[-3:]}")
    claim(after.generation > before.generation,
          f"generation stayed {after.generation} over the move")
    row["verified"] += [f"{vm}: {source} to {target}, one TCP connection throughout, same boot, "
                        f"generation {before.generation} to {after.generation}"]
    figures = {"total_ms": round(total * 1000), "gap_client_ms": gap["client_ms"],
               "gap_guest_ms": gap["guest_ms"], "gap_before_client_ms": calm["client_ms"],
               "gap_before_guest_ms": calm["guest_ms"], "text": said.get("text"),
               **migration_events(watch, vm, began)}
    watch.stop()
    row["measured"].update({
        "gap": f"{gap['client_ms']} ms (guest's clock {gap['guest_ms']} ms, at rest "
               f"{calm['client_ms']} ms)", "total": f"{total:.1f} s"})
    if figures.get("sent_bytes"):
        row["measured"]["sent"] = f"{figures['sent_bytes'] / (1 << 20):.1f} MiB"
    return figures


def migration_events(watch, vm, began):
    """Bytes that went over, and the time that the vmm took, as the cluster's events tell."""
    for e in watch.since(began):
        text = e.get("text") or ""
        if e.get("object") == "vm" and e.get("name") == vm and e.get("n1"):
            if "sent everything" in text:
                return {"sent_bytes": e["n1"], "copy_ms": e.get("n2")}
            if "saved" in text:
                return {"sent_bytes": e["n1"]}
    return {}


def live(story, row):
    story.figures["live_migration"] = move(story, row, "a", "live")
    row["verified"].append(story.check_all())


def quick(story, row):
    story.figures["quick_migration"] = move(story, row, "a", "quick")
    row["verified"].append(story.check_all())


def drain(story, row):
    c = story.cluster
    node = c.vm_node("a")
    if c.vm_node("b") != node:
        story.now(f"b goes to {node} too")
        c.ask("vm", "migrate", "b", "--to", node, "--live", seconds=600)
    for vm in ("a", "b"):
        story.follower(vm).settle(2)
    before = {vm: story.follower(vm).last() for vm in ("a", "b")}
    began = time.time()
    story.now(f"node pause {node} --drain")
    avoid = next(n for n in c.live if n != node)
    c.ctl(avoid, "node", "pause", node, "--drain", seconds=900)
    took = time.time() - began
    for vm in ("a", "b"):
        at = c.wait_vm(vm, "running")["node"]
        claim(at != node, f"VM {vm} is still on the drained node {node}")
        story.follower(vm).wait_ack(time.time(), count=20)
        after = story.follower(vm).last()
        claim(after.boot == before[vm].boot, f"VM {vm} booted anew in the drain")
        claim(after.connection == before[vm].connection, f"VM {vm}: the connection did not last")
        gap = story.follower(vm).gap(began, time.time())
        row["measured"][f"gap of {vm}"] = f"{gap['client_ms']} ms"
    state = c.nodes()[node]["state"]
    claim(state == "paused", f"{node} is {state} after the drain")
    row["measured"]["drain"] = f"{took:.1f} s"
    row["verified"] += [f"both VMs left {node}, same boots, same connections", story.check_all()]
    story.now(f"node resume {node}")
    c.ask("node", "resume", node, seconds=300)
    c.wait_nodes("up", [node])
    story.figures["drain"] = {"total_ms": round(took * 1000)}


STEPS = [
    ("live", "live migration under load", live),
    ("quick", "quick migration (save, restore)", quick),
    ("drain", "drain of a node with two VMs", drain),
]

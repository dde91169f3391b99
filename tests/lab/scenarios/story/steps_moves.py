# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned moves: live migration, quick migration, a drain."""
import re
import time

from .tools import StoryError, claim, wait

SETTLE = 100  # acknowledgements: how long a guest is heard before and after a move


def other_node(story, vm, like=None):
    """A live node where the VM is not; where another VM is, if that may be."""
    c = story.cluster
    at = c.vm_node(vm)
    first = [c.vm_node(like)] if like else []
    for node in first + list(reversed(c.live)):
        if node != at:
            return at, node
    raise StoryError(f"no other node for VM {vm}")


def move(story, row, vm, how, like=None):
    """One migration: the connection lasts, the boot lasts, the generation rises. Fills the figures."""
    follower = story.follower(vm)
    source, target = other_node(story, vm, like)
    watch = story.watch(target)
    rest = time.time()
    follower.settle(SETTLE)
    before = follower.last()
    calm = follower.gap(rest, time.time())
    began = time.time()
    story.now(f"{vm} moves from {source} to {target} ({how})")
    said = story.cluster.ctl(target, "vm", "migrate", vm, "--to", target, f"--{how}", seconds=600)
    total = time.time() - began
    vm_now = story.cluster.wait_vm(vm, "running")
    claim(vm_now["node"] == target, f"VM {vm} is at {vm_now['node']}, not at {target}")
    follower.settle(SETTLE)
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
               **(copy_live(watch, vm) if how == "live" else copy_quick(story, source, vm))}
    watch.stop()
    row["measured"].update({
        "gap": f"{gap['client_ms']} ms (guest's clock {gap['guest_ms']} ms, at rest "
               f"{calm['client_ms']} ms)", "total": f"{total:.1f} s"})
    row["measured"]["sent"] = f"{figures['sent_bytes'] / (1 << 20):.1f} MiB in {figures['copy_ms']} ms"
    return figures


def copy_live(watch, vm):
    """Bytes that went over, and the time until the source paused, as the cluster's events tell."""
    def told():
        for e in watch.since(0):
            if (e.get("object"), e.get("name")) == ("vm", vm) and "sent everything" in (e.get("text") or ""):
                return {"sent_bytes": e["n1"], "copy_ms": e["n2"]}
        return None
    return wait("the event that the source has sent everything", 60, told)


def copy_quick(story, source, vm):
    """The same of a save: the source's log says both. The last words of that VM are this save's."""
    said = story.lab.shell(source, f"grep -h 'VM {vm}: saved [0-9]' /var/log/clusterd.log | tail -n 1", check=False).out
    m = re.search(r"saved (\d+) bytes in (\d+) ms, the last (\d+) of them paused", said)
    claim(m, f"{source} logged no save of VM {vm}: {said.strip()!r}")
    return {"sent_bytes": int(m[1]), "copy_ms": int(m[2]), "paused_ms": int(m[3])}


def live(story, row):
    story.figures["live_migration"] = move(story, row, "a", "live")
    row["verified"].append(story.check_all())


def quick(story, row):
    # to where b is: the drain that comes next takes both from there
    story.figures["quick_migration"] = move(story, row, "a", "quick", like="b")
    row["verified"].append(story.check_all())


def drain(story, row):
    c = story.cluster
    node = c.vm_node("a")
    if c.vm_node("b") != node:
        story.now(f"b goes to {node} too")
        c.ask("vm", "migrate", "b", "--to", node, "--live", seconds=600)
    for vm in ("a", "b"):
        story.follower(vm).settle()
    before = {vm: story.follower(vm).last() for vm in ("a", "b")}
    began = time.time()
    story.now(f"node pause {node} --drain")
    avoid = next(n for n in c.live if n != node)
    c.ctl(avoid, "node", "pause", node, "--drain", seconds=900)
    took = time.time() - began
    for vm in ("a", "b"):
        at = c.wait_vm(vm, "running")["node"]
        claim(at != node, f"VM {vm} is still on the drained node {node}")
        story.follower(vm).settle(20)
        after = story.follower(vm).last()
        claim(after.boot == before[vm].boot, f"VM {vm} booted anew in the drain")
        claim(after.connection == before[vm].connection, f"VM {vm}: the connection did not last")
        gap = story.follower(vm).gap(began, time.time())
        row["measured"][f"gap of {vm}"] = f"{gap['client_ms']} ms"
    state = c.nodes()[node]["state"]
    claim(state == "paused", f"{node} is {state} after the drain")
    row["measured"]["drain"] = f"{took:.1f} s"
    story.now(f"node resume {node}")
    c.ask("node", "resume", node, seconds=300)
    c.wait_nodes("up", [node])
    row["verified"] += [f"both VMs left {node}, same boots, same connections", story.check_all()]
    story.figures["drain"] = {"total_ms": round(took * 1000)}


STEPS = [
    ("live", "live migration under load", live),
    ("quick", "quick migration (save, restore)", quick),
    ("drain", "drain of a node with two VMs", drain),
]

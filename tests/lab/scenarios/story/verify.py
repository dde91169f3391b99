# SPDX-License-Identifier: GPL-2.0-or-later
"""The judges: stampcheck on the guests' disks, sg_persist on the LUN. Neither is part of the product."""
import json
import re
import shlex

from .tools import StoryError, claim

TEST_DIR = "/usr/lib/holdfast-test"


def stampcheck(lab, node, image, followers, limit_s=600):
    """Runs the checker on a node over an image and what clients heard; its verdict."""
    args = []
    for i, f in enumerate(followers):
        path = f"/tmp/acks.{f.name}.{i}"
        lab.put(node, path, f.bytes())
        args += ["--acks", path]
    done = lab.exec(node, f"{TEST_DIR}/stampcheck", image, *args, "--json", seconds=limit_s,
                    check=False)
    try:
        verdict = json.loads(done.out)
    except ValueError:
        raise StoryError(f"the checker could not judge {image} on {node}: {done.said()}") from None
    claim((done.code == 0) == verdict["good"], "the checker's status and verdict differ")
    return verdict


def disk_good(lab, node, vm, image, follower):
    """The disk of a VM of the story holds every promise."""
    v = stampcheck(lab, node, image, [follower])
    claim(v["good"], f"VM {vm}, read on {node}: {v['line']}")
    claim(v["acks_checked"] > 0, f"VM {vm}: nothing was acknowledged, so nothing is proven")
    claim(v["acks_unreadable"] == 0, f"VM {vm}: {v['acks_unreadable']} lines of the client's log "
          "cannot be read")
    claim(v["acks_outside"] == 0, f"VM {vm}: {v['acks_outside']} acknowledged stamps are older "
          "than the ring holds; make the disk larger")
    return v


def reservations(lab, node, device):
    """(type text or None, sorted list of keys) as sg_persist sees them."""
    quoted = shlex.quote(device)
    keys = lab.shell(node, f"sg_persist -n -i -k {quoted}", seconds=60).out
    held = lab.shell(node, f"sg_persist -n -i -r {quoted}", seconds=60).out
    kind = re.search(r"type:\s*(.+)", held)
    return (kind.group(1).strip() if kind else None,
            sorted(k.lower() for k in re.findall(r"^\s+0x([0-9a-fA-F]+)\s*$", keys, re.M)))


def reservations_good(lab, cluster, device, gone=()):
    """Type 8 is held, and the keys are exactly those of the live nodes; gone are keys that must not be there."""
    node = cluster.live[0]
    kind, keys = reservations(lab, node, device)
    claim(kind, f"{device}: no reservation is held")
    claim("exclusive access, all registrants" in kind.lower(),
          f"{device}: the reservation is '{kind}', not type 8 (Exclusive Access, All Registrants)")
    nodes = cluster.nodes()
    want = sorted(nodes[n]["pr_key"].lower().removeprefix("0x") for n in cluster.live)
    have = sorted(set(keys))
    claim(have == want, f"{device}: keys registered {have}, the live nodes' are {want}")
    for key in gone:
        claim(key.lower().removeprefix("0x") not in have, f"{device}: key {key} is still there")
    return {"type": kind, "keys": have}

# SPDX-License-Identifier: GPL-2.0-or-later
"""The judges: stampcheck on the guests' disks, sg_persist on the LUN. Neither is part of the product."""
import gzip
import json
import re
import shlex

from .tools import StoryError, claim

TEST_DIR = "/usr/lib/holdfast-test"


def acks_send(lab, node, follower, path):
    """What a client heard, into a file of the node; of a log that has grown only what is new."""
    data = follower.bytes()
    had = follower.sent.get((node, path), 0)
    quoted = shlex.quote(path)
    # a node that was off has lost it: the size says so
    line = (f"[ \"$(stat -c %s {quoted} 2>/dev/null)\" = {had} ] || exit 9; gunzip -c >> {quoted}" if had
            else f"gunzip -c > {quoted}")
    done = lab.shell(node, line, seconds=300, check=False, stdin=gzip.compress(data[had:], 1))
    if had and done.code == 9:
        follower.sent.pop((node, path))
        return acks_send(lab, node, follower, path)
    claim(done.code == 0, f"the log of {follower.name}'s client does not reach {node}: {done.said()}")
    follower.sent[(node, path)] = len(data)
    return path


def stampcheck(lab, node, image, followers, limit_s=600):
    """Runs the checker on a node over an image and what clients heard; its verdict."""
    args = []
    for i, f in enumerate(followers):
        args += ["--acks", acks_send(lab, node, f, f"/tmp/acks.{f.name}.{i}")]
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
    keys, _, held = lab.shell(node, f"sg_persist -n -i -k {quoted} && echo ==== && "
                              f"sg_persist -n -i -r {quoted}", seconds=60).out.partition("====\n")
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

# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's networks: one network namespace, a bridge for each network, a tap for each NIC.

Everything lives inside the namespace and goes with it. The host side has an address on the
management and on the VM network only.
"""
import os
import signal
import time

from .config import MAX_NODES, NET_BASE, NETS, LabError, machines, run


def netns_exists(lab):
    return os.path.exists(f"/run/netns/{lab.ns}")


def nics(machine):
    return ("mgmt", "storage") if machine == "san" else NETS


def tap_name(machine, net):
    return f"{machine}-{net}"


def mac(machine, net):
    number = 0 if machine == "san" else int(machine[1:])
    assert number <= MAX_NODES
    return f"52:54:00:77:{NETS.index(net):02x}:{number:02x}"


def create(lab, state):
    """Namespace, bridges and taps, by one batch of ip(8)."""
    run(["ip", "netns", "add", lab.ns])
    lines = ["link set lo up"]
    for net in NETS:
        bridge = f"br-{net}"
        lines.append(f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        if net in ("mgmt", "vm"):
            lines.append(f"addr add {NET_BASE[net]}.1/24 dev {bridge}")
        lines.append(f"link set {bridge} up")
    for machine in machines(state):
        for net in nics(machine):
            tap = tap_name(machine, net)
            lines.append(f"tuntap add dev {tap} mode tap")
            lines.append(f"link set {tap} master br-{net} up")
    enter = ["ip", "netns", "exec", lab.ns]
    run([*enter, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
         "net.ipv6.conf.default.disable_ipv6=1"], check=False)
    batch = lab.path("ip.batch")
    with open(batch, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    run(["ip", "-n", lab.ns, "-b", batch])


def ancestors():
    """This process and those above it: never to be killed."""
    pid, out = os.getpid(), set()
    while pid > 0:
        out.add(pid)
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                pid = int(f.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return out


def processes(lab):
    """Processes that live in the lab's namespace, our own line excepted."""
    if not netns_exists(lab):
        return []
    done = run(["ip", "netns", "pids", lab.ns], check=False)
    return [int(p) for p in done.stdout.split() if p.isdigit() and int(p) not in ancestors()]


def destroy(lab):
    """End what still runs in the namespace, then the namespace with all its devices."""
    if not netns_exists(lab):
        return
    for sig, seconds in ((signal.SIGTERM, 2), (signal.SIGKILL, 10)):
        for pid in processes(lab):
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass
        end = time.monotonic() + seconds
        while processes(lab) and time.monotonic() < end:
            time.sleep(0.1)
    left = processes(lab)
    if left:
        raise LabError(f"processes {left} in {lab.ns} do not end")
    run(["ip", "netns", "del", lab.ns])

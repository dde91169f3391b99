#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Process 1 of a node: makes its root and keeps clusterd running, as systemd would.

node.py enter ID ROOT BUILD BASE   in fresh mount, pid, net, ipc and uts namespaces: builds the root tree (an overlay of the lab's) and goes on in it
node.py run ID                     inside
"""
import os
import signal
import subprocess
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))

SERVICE = """#!/bin/sh
# What `service corosync start|restart` does where there is no init.
[ "$1" = corosync ] || exit 1
pid=$(cat /run/corosync.pid 2>/dev/null)
if [ "$2" = restart ] && [ -n "$pid" ] && kill "$pid" 2>/dev/null; then
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
	kill -9 "$pid" 2>/dev/null
fi
[ "$2" = start ] && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && exit 0
rm -f /run/corosync.pid
exec /usr/sbin/corosync
"""


def sh(*args):
    subprocess.run(args, check=True, stdin=subprocess.DEVNULL)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb" if isinstance(data, bytes) else "w") as file:
        file.write(data)


def disk_of_sysfs(base):
    """The one LUN, as the kernel would show it."""
    naa = bytes.fromhex("60014050000000000000000000000001")
    page = bytes([0, 0x83, 0, 4 + len(naa), 0x01, 0x03, 0, len(naa)]) + naa
    disk = base + "/block/sda"
    write(disk + "/device/type", "0\n")
    write(disk + "/device/vpd_pg83", page)
    write(disk + "/device/vendor", "TEST\n")
    write(disk + "/device/model", "target\n")
    write(disk + "/size", f"{64 << 21}\n")
    write(disk + "/queue/logical_block_size", "512\n")


def enter(number, lower, build, base):
    home, root = f"{base}/n{number}", f"{base}/n{number}/root"
    for name in ("upper", "work", "root", "state"):
        os.makedirs(f"{home}/{name}", exist_ok=True)
    sh("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={home}/upper,workdir={home}/work", root)
    for name in ("shared", "hf", "hf-src", "var/lib/holdfast", "clusterstorage", "etc/corosync", "var/lib/corosync", "var/log/corosync"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    for name in ("run", "tmp", "sys", "dev", "var/lib/corosync"):
        sh("mount", "-t", "tmpfs", "tmpfs", f"{root}/{name}")
    for name in ("null", "zero", "random", "urandom", "full", "tty"):
        write(f"{root}/dev/{name}", "")
        sh("mount", "--bind", f"/dev/{name}", f"{root}/dev/{name}")
    os.makedirs(f"{root}/dev/shm")
    for name in ("dev/shm", "tmp"):
        os.chmod(f"{root}/{name}", 0o1777)
    os.makedirs(f"{root}/run/lock", exist_ok=True)
    disk_of_sysfs(f"{root}/sys")
    sh("mount", "-t", "proc", "proc", f"{root}/proc")
    sh("mount", "--bind", f"{base}/shared", f"{root}/shared")
    sh("mount", "--bind", f"{base}/shared/volumes", f"{root}/clusterstorage")
    sh("mount", "--bind", f"{home}/state", f"{root}/var/lib/holdfast")
    sh("mount", "--bind", build, f"{root}/hf")
    sh("mount", "--bind", HERE, f"{root}/hf-src")
    write(f"{home}/boot_id", str(uuid.uuid4()) + "\n")
    sh("mount", "--bind", f"{home}/boot_id", f"{root}/proc/sys/kernel/random/boot_id")
    write(f"{root}/usr/local/sbin/service", SERVICE)
    os.chmod(f"{root}/usr/local/sbin/service", 0o755)
    write(f"{root}/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"10.99.0.{i} n{i}\n" for i in range(1, 10)))
    sh("hostname", f"n{number}")
    os.chroot(root)
    os.chdir("/")
    os.execv("/usr/bin/python3", ["python3", "/hf-src/node.py", "run", str(number)])


def run(number):
    """Waits for the network, then clusterd for ever; adopts and reaps what is left by its parents."""
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOLDFAST_LIBEXEC_DIR": "/hf/tests/cluster/libexec",
           "HF_TEST_NODE": str(number), "HOLDFAST_DEBUG": "1", "LANG": "C"}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while not os.path.exists(f"/shared/go.{number}"):
        time.sleep(0.02)
    log = os.open(f"/shared/logs/n{number}.clusterd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    daemon, since = None, 0.0
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if daemon and pid == daemon:
                os.write(log, f"-- clusterd ended with status {status}\n".encode())
                daemon = None
        if not daemon and time.monotonic() - since >= 1:
            since = time.monotonic()
            daemon = os.fork()
            if daemon == 0:
                os.dup2(log, 1)
                os.dup2(log, 2)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.execve("/hf/tests/cluster/clusterd", ["clusterd"], env)
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "enter":
        enter(int(sys.argv[2]), *sys.argv[3:6])
    else:
        run(int(sys.argv[2]))

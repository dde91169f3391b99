# SPDX-License-Identifier: GPL-2.0-or-later
"""The nodes of one schedule: namespaces, a network that can be cut, a LUN that can be unplugged, faults.

Lives in namespaces of its own (cluster.py makes them), so whatever happens here ends with process 1: nothing of it is ever seen outside.
"""
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LUN = "naa.60014050000000000000000000000001"
CONTROL = 0xffffffff
NOWHERE = "02:00:00:00:00:ff"


def sh(*args, check=True, timeout=30):
    return subprocess.run(args, check=check, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout).stdout


def mac(number):
    return f"02:00:00:00:00:{number:02x}"


def kernel_file(path):
    """What passes for a 64-bit bzImage where only its header is looked at."""
    head = bytearray(4096)
    head[0x1f1] = 1
    head[0x1fe:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    head[0x206:0x208] = b"\x0f\x02"
    head[0x236] = 1
    with open(path, "wb") as file:
        file.write(head)


def spaces(pid):
    """The PID namespace of a process and the one around it: a vmm has one of its own inside of its node's."""
    with open(f"/proc/{pid}/ns/pid", encoding="ascii") as own:
        around = fcntl.ioctl(own, 0xb702)  # NS_GET_PARENT
        try:
            return os.readlink(f"/proc/{pid}/ns/pid"), os.readlink(f"/proc/self/fd/{around}")
        finally:
            os.close(around)


class Node:
    def __init__(self, world, number):
        self.world, self.number, self.name = world, number, f"n{number}"
        self.process, self.pid, self.space = None, 0, ""

    @property
    def up(self):
        return self.process is not None

    def boot(self):
        world = self.world
        go = f"{world.shared}/go.{self.number}"
        if os.path.exists(go):
            os.unlink(go)
        log = open(f"{world.shared}/logs/{self.name}.init.log", "ab")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--propagation", "private",
             sys.executable, f"{HERE}/node.py", "enter", str(self.number), world.root, world.build, world.base],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        deadline = time.monotonic() + 60
        while True:
            with open(children, encoding="ascii") as file:
                words = file.read().split()
            if words:
                self.pid = int(words[0])
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: no process 1")
            time.sleep(0.01)
        self.space = os.readlink(f"/proc/{self.pid}/ns/pid")
        veth = f"v{self.number}"
        sh("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "address", mac(self.number), "netns", str(self.pid))
        sh("ip", "link", "set", veth, "master", "br0", "up")
        self.ip("link", "set", "lo", "up")
        self.ip("addr", "add", f"10.99.0.{self.number}/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        for other in world.nodes:
            if other is not self:
                self.path(other, (self, other) not in world.cuts)
        with open(go, "w", encoding="ascii"):
            pass

    def power_off(self):
        """Everything of it is gone at once; what it had written stays."""
        if self.process:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        self.process, self.pid = None, 0

    def ip(self, *args):
        sh("nsenter", "-t", str(self.pid), "-n", "ip", *args)

    def path(self, other, there):
        """What is sent to another node goes there, or nowhere."""
        self.ip("neigh", "replace", f"10.99.0.{other.number}", "lladdr", mac(other.number) if there else NOWHERE, "dev", "eth0", "nud", "permanent")

    def pids(self, name=None):
        """Processes of this node (as seen from here), process 1 last."""
        found = []
        for text in os.listdir("/proc"):
            if not text.isdigit():
                continue
            try:
                if self.space not in spaces(text):
                    continue
                with open(f"/proc/{text}/comm", encoding="ascii") as file:
                    comm = file.read().strip()
            except OSError:
                continue
            if name is None or comm == name:
                found.append(int(text))
        return sorted(found, reverse=True)

    def signal(self, number, name=None):
        count = 0
        for pid in self.pids(name) if self.up else ():
            try:
                os.kill(pid, number)
                count += 1
            except ProcessLookupError:
                pass
        return count

    def vmms(self):
        """{VM: [pid]} of this node."""
        found = {}
        for pid in self.pids("vmm"):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    match = re.search(rb"/vm/([^/]+)/config.json", file.read())
            except OSError:
                continue
            if match:
                found.setdefault(match.group(1).decode(), []).append(pid)
        return found

    def run(self, *args, timeout=30):
        """A program inside; (status, stdout), status None when it did not end in time."""
        if not self.up:
            return 3, ""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "env", f"HF_TEST_NODE={self.number}", *args]
        process = subprocess.Popen(enter, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, ""
        return process.returncode, out

    def ctl(self, *args, timeout=30):
        """clusterctl --json: (status, object)."""
        status, out = self.run("/hf/clusterd/ctl/clusterctl", "--json", *args, timeout=timeout)
        try:
            return status, json.loads(out)
        except ValueError:
            return status, {}


class World:
    def __init__(self, root, build, base, count):
        self.root, self.build, self.base, self.shared = root, build, base, f"{base}/shared"
        self.cuts, self.drop, self.silent = set(), 0, 0
        for name in ("logs", "volumes/data"):
            os.makedirs(f"{self.shared}/{name}")
        kernel_file(f"{self.shared}/kernel")
        self.log = open(f"{self.shared}/logs/schedule.log", "a", encoding="utf-8", buffering=1)
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "br0", "type", "bridge")
        sh("ip", "link", "set", "br0", "up")
        self.target = subprocess.Popen([f"{build}/tests/cluster/target", f"{self.shared}/target.sock", f"{self.shared}/writes"],
                                       stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not os.path.exists(f"{self.shared}/target.sock"):
            if self.target.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the target does not start")
            time.sleep(0.01)
        self.nodes = [Node(self, number) for number in range(1, count + 1)]
        self.began = time.monotonic()

    def note(self, text):
        self.log.write(f"{time.monotonic():.3f} +{time.monotonic() - self.began:.1f} {text}\n")

    def writes(self):
        with open(f"{self.shared}/writes", encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    # ---- faults ----

    def cut(self, one, other, way="both"):
        """way: both, or one (what `one` sends is lost)."""
        for a, b in ((one, other), (other, one)) if way == "both" else ((one, other),):
            self.cuts.add((a, b))
            if a.up:
                a.path(b, False)

    def heal_network(self):
        cuts, self.cuts = self.cuts, set()
        for a, b in cuts:
            if a.up:
                a.path(b, True)

    def storage(self, drop=0, silent=0):
        """Nodes (bits by number) whose commands, or whose answers, are lost on the way."""
        self.drop, self.silent = drop, silent
        packet = struct.pack("=II16sIIII", CONTROL, 0, b"", 0, 0, drop, silent)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(f"{self.shared}/target.sock")
            sock.send(packet)
            sock.recv(65536 + 512)

    def heal(self):
        self.heal_network()
        self.storage()
        for node in self.nodes:
            if node.up:
                # Twice: what was forked while the first pass went on.
                node.signal(signal.SIGCONT)
                node.signal(signal.SIGCONT)
            else:
                node.boot()

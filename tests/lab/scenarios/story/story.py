# SPDX-License-Identifier: GPL-2.0-or-later
"""What the steps share: the lab, the cluster, the VMs and their clients, the table that comes out."""
import json
import os
import shutil
import subprocess
import time

from . import verify
from .cluster import Cluster, EventWatch
from .follow import Follower
from .tools import SOURCE, Lab, Progress, StoryError, claim, run, together, wait

VOLUME = "vol1"
SWITCH = "vmbr0"
VMS = {"a": "10.77.3.101", "b": "10.77.3.102"}
DISK_MIB = 32  # 65 000 stamps, eleven minutes at one in 10 ms: more than a whole story writes; it is read after each step
STORAGE = "/clusterstorage"


class Story:
    def __init__(self, options):
        self.options = options
        self.build = os.path.abspath(options.build)
        self.stage = os.path.join(SOURCE, "build", "lab", "stage")
        self.logs = os.path.join(SOURCE, "build", "logs", "survive")
        self.work = os.path.join(SOURCE, "build", "survive")
        os.makedirs(self.work, exist_ok=True)
        self.lab = Lab()
        self.node_names = ["n1", "n2", "n3"]
        self.cluster = Cluster(self.lab, self.node_names)
        self.progress = Progress()
        self.rows = []
        self.part = None  # (what, since): what the step is at
        self.figures = {}
        self.followers = {}
        self.watches = []

    # -- the cluster ---------------------------------------------------------------------------

    @property
    def device(self):
        return self.lab.device(1)

    @property
    def scratch(self):
        """The second LUN: no part of the cluster; for the double start and the raw figures."""
        return self.lab.device(2)

    def image(self, vm):
        return f"{STORAGE}/{VOLUME}/{vm}.img"

    def follower(self, vm):
        if vm not in self.followers:
            self.followers[vm] = Follower(self.lab, vm, VMS[vm],
                                          os.path.join(self.work, f"acks.{vm}"))
        return self.followers[vm]

    def watch(self, node):
        w = EventWatch(self.cluster, node)
        self.watches.append(w)
        return w

    def close(self):
        for x in [*self.followers.values(), *self.watches]:
            x.stop()

    # -- telling -------------------------------------------------------------------------------

    def now(self, text):
        self.part_ends(text)
        self.progress.now(text)

    def part_ends(self, then=None):
        """The time of what was going on, for the table at the end."""
        moment = time.monotonic()
        if self.part and self.rows:
            self.rows[-1]["parts"].append([self.part[0], round(moment - self.part[1], 1)])
        self.part = (then, moment) if then else None

    def disk_check(self, vm, follower, at):
        reader = next((n for n in reversed(self.cluster.live) if n != at), self.cluster.live[0])
        v = verify.disk_good(self.lab, reader, vm, self.image(vm), follower)
        return f"{vm}: {v['last_seq']} stamps, {v['acks_checked']} acknowledged"

    def check_disks(self):
        """Every guest's disk, read where the guest is not, against what its client heard."""
        self.now("checking the disks of VMs " + " ".join(self.followers))
        at = {v["name"]: v["node"] for v in self.cluster.status()["vms"]}
        return together(*[lambda vm=vm, f=f: self.disk_check(vm, f, at[vm])
                          for vm, f in self.followers.items()]) if self.followers else []

    def check_keys(self, gone=()):
        self.now("comparing the reservations")
        r = verify.reservations_good(self.lab, self.cluster, self.device, gone)
        return f"type 8, {len(r['keys'])} keys"

    def check_all(self, gone=()):
        """After each step: every guest's disk, and the reservations. Returns one line."""
        return "; ".join([*self.check_disks(), self.check_keys(gone)])

    def step(self, title, func):
        began = time.monotonic()
        row = {"step": title, "ok": False, "verified": [], "measured": {}, "parts": []}
        self.rows.append(row)
        self.now(title)
        try:
            func(self, row)
            row["ok"] = True
        except StoryError as e:
            row["error"] = str(e)
            raise
        finally:
            self.part_ends()
            row["seconds"] = round(time.monotonic() - began, 1)
            measured = ", ".join(f"{k} {v}" for k, v in row["measured"].items())
            self.progress.line(f"{'ok  ' if row['ok'] else 'FAIL'} {title}"
                               + (f": {measured}" if measured else "")
                               + (f": {row['error']}" if "error" in row else ""))
            for text in row["verified"]:
                self.progress.line(f"       {text}")

    # -- set-up --------------------------------------------------------------------------------

    def stage_build(self):
        """The build, and the guest beside it, into the folder that the lab installs in its nodes."""
        if not os.path.exists(os.path.join(self.build, "Makefile")):
            raise StoryError(f"{self.build} is not a configured build (--build DIR)")
        run(["make", "-s", "-C", self.build], 1800)
        shutil.rmtree(self.stage, ignore_errors=True)
        run(["make", "-s", "-C", self.build, "install", f"DESTDIR={self.stage}"], 600)
        claim(os.path.exists(os.path.join(self.stage, "usr/sbin/clusterd")),
              f"{self.stage} has no usr/sbin/clusterd: configure with --prefix=/usr "
              "--sysconfdir=/etc --localstatedir=/var")
        self.stage_guest()

    def stage_guest(self):
        root = os.environ.get("LAB_CACHE") or os.path.join(SOURCE, "build", "lab")
        target = os.path.join(self.stage, verify.TEST_DIR.lstrip("/"))
        os.makedirs(target, exist_ok=True)
        run([os.path.join(SOURCE, "tests/lab/guest/mkguest"), "--root", os.path.join(root, "root"),
             "--stamper", os.path.join(self.build, "tests/lab/guest/stamper"), "--out", target])
        for program in ("tests/lab/checker/stampcheck", "bench/csvio"):
            shutil.copy(os.path.join(self.build, program), target)

    def vm_create(self, name):
        self.cluster.ask(
            "vm", "create", name, "--memory", "256M", "--cpus", "2",
            "--kernel", f"{verify.TEST_DIR}/vmlinuz", "--initrd", f"{verify.TEST_DIR}/initrd",
            "--append", f"console=ttyS0 quiet hf.ip={VMS[name]}/24 hf.interval_ms=10 hf.swaps=4",
            "--disk", f"{VOLUME}/{name}.img,size={DISK_MIB}M", "--net", SWITCH, seconds=600)

    def attach(self):
        """Go on with a cluster that is up already (--attach)."""
        try:
            status = self.cluster.status()
        except StoryError:
            return  # no cluster yet: the step that makes one comes first
        self.node_names = [n["name"] for n in status["nodes"]]
        self.cluster.all = list(self.node_names)
        self.cluster.live = [n["name"] for n in status["nodes"] if n["state"] == "up"]
        for vm in status["vms"]:
            if vm["name"] in VMS and vm["state"] == "running":
                self.follower(vm["name"]).wait_ack(time.time())

    # -- results -------------------------------------------------------------------------------

    def collect_logs(self):
        """What every node knows, for whoever looks into a failure."""
        shutil.rmtree(self.logs, ignore_errors=True)
        os.makedirs(self.logs)
        for name in os.listdir(self.work):
            if name.startswith("acks."):
                shutil.copy(os.path.join(self.work, name), self.logs)
        script = ("for f in /var/log/*.log /run/holdfast/vm/*/*.log /var/log/holdfast/*; do "
                  "[ -f $f ] && echo \"==== $f\" && tail -c 400000 $f; done; "
                  "echo '==== dmesg'; dmesg; echo '==== ps'; ps axww -o pid,ppid,stat,etime,args; "
                  "echo '==== dm'; dmsetup table; dmsetup info; echo '==== mounts'; cat /proc/mounts; "
                  "echo '==== status'; timeout 20 clusterctl status --json; "
                  "echo '==== events'; timeout 20 clusterctl events; "
                  "echo '==== keys'; for d in /dev/sd?; do timeout 20 sg_persist -n -i -k $d; "
                  "timeout 20 sg_persist -n -i -r $d; done")
        san = ("dmesg; cd /sys/kernel/config/target/core/iblock_0; for f in */pr/res_*; do "
               "echo \"== $f\"; cat $f; done")
        for node in self.node_names + ["san"]:
            try:
                done = self.lab.shell(node, san if node == "san" else script, seconds=90, check=False)
                text = done.out + done.err
            except StoryError as e:
                text = str(e)
            with open(os.path.join(self.logs, f"{node}.txt"), "w", encoding="utf-8") as f:
                f.write(text)
            try:
                text = self.lab.call("console", node, "--log", check=False, seconds=30).out
            except StoryError as e:
                text = str(e)
            with open(os.path.join(self.logs, f"{node}.console"), "w", encoding="utf-8") as f:
                f.write(text)
        return self.logs

    def result(self, ok):
        return {"ok": ok, "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(time.monotonic() - self.progress.began, 1), "setup": self.setup(),
                "steps": self.rows, "figures": self.figures}

    @staticmethod
    def setup():
        """What quickstart did before: [[step, seconds], ...]."""
        pairs = [w.rpartition("=") for w in os.environ.get("HF_SETUP", "").split("\n") if "=" in w]
        return [[name, int(s)] for name, _, s in pairs if s.isdigit()]

    def times(self):
        """Where the time went, for people."""
        total = sum(r["seconds"] for r in self.rows) + sum(s for _, s in self.setup())
        lines = ["", f"{'WHERE THE TIME WENT':46} {'TIME':>8}  LONGEST PARTS"]
        for name, seconds in self.setup():
            lines.append(f"{'set-up: ' + name:46} {seconds:7.1f}s")
        for r in self.rows:
            parts = sorted(r["parts"], key=lambda p: -p[1])[:3]
            lines.append(f"{r['step'][:46]:46} {r['seconds']:7.1f}s  "
                         + ", ".join(f"{what} {s:.0f}" for what, s in parts if s >= 1))
        return "\n".join([*lines, f"{'all of it':46} {total:7.1f}s"])

    def table(self):
        """The final table, for people."""
        lines = ["", f"{'STEP':46} {'RESULT':6} {'TIME':>7}  MEASURED"]
        for r in self.rows:
            measured = ", ".join(f"{k} {v}" for k, v in r["measured"].items())
            lines.append(f"{r['step'][:46]:46} {'ok' if r['ok'] else 'FAILED':6} "
                         f"{r['seconds']:6.1f}s  {measured}")
            for text in r["verified"]:
                lines.append(f"{'':6}verified: {text}")
            if "error" in r:
                lines.append(f"{'':6}error: {r['error']}")
        return "\n".join(lines)

    def save(self, path, ok):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(self.result(ok), f, indent=1)
        os.replace(path + ".new", path)


def pids(lab, node, program):
    """Process ids of a program on a node."""
    return sorted(lab.exec(node, "pgrep", "-x", program, check=False).out.split())


def popen_quiet(argv):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


__all__ = ["Story", "VMS", "VOLUME", "SWITCH", "STORAGE", "pids", "popen_quiet", "wait"]

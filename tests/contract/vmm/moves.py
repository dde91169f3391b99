#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two vmms and a guest of our own on this machine's KVM: live migration, save and restore, and every way in which they
must fail.

Needs root and a /dev/kvm that runs integer code (an emulating one will do); else it is skipped. The guest (counter.S)
checks its own memory and prints a counter and its TSC, so that a lost page, a second run or a clock that went
back is seen. All in a network namespace of its own. No absolute time is asserted; figures are shown.
"""
import importlib.machinery
import importlib.util
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.realpath(os.environ.get("top_srcdir") or os.path.join(os.path.dirname(__file__), "../../.."))
BUILD = os.path.realpath(os.environ.get("top_builddir") or os.path.join(TOP, "build"))
VMM = os.path.join(BUILD, "vmm/vmm")
os.environ["VMM_TUNNEL"] = os.path.join(BUILD, "vmm/tunnel/vmm-tunnel")
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("vmmctl", os.path.join(TOP, "tests/lab/vmm/vmmctl"))
vmmctl = importlib.util.module_from_spec(importlib.util.spec_from_loader("vmmctl", loader))
loader.exec_module(vmmctl)
WAIT = 120  # seconds for anything: machines are slow
UID = 64077


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


class Failed(Exception):
    pass


def need(ok, what):
    if not ok:
        raise Failed(what)
    print(f"  ok: {what}", flush=True)


def wait(what, probe, seconds=WAIT):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = probe()
        if got:
            print(f"  ok: {what}", flush=True)
            return got
        time.sleep(0.02)
    raise Failed(f"gave up waiting: {what}")


class Refused(Exception):
    def __init__(self, code, error):
        super().__init__(f"{code}: {error}")
        self.code = code


class Control:
    """A connection to control.sock that keeps events."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.settimeout(WAIT)
        self.rest, self.events, self.serial = b"", [], 0

    def line(self):
        while b"\n" not in self.rest:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def call(self, verb, log=subprocess.DEVNULL, fd=None, **args):
        self.serial += 1
        own, then = vmmctl.handed(verb, args, log)
        fd = own if fd is None else fd
        vmmctl.send(self.sock, json.dumps({"id": self.serial, "do": verb, **args}).encode() + b"\n", fd)
        while True:
            msg = self.line()
            if "event" in msg:
                self.events.append(msg)
            elif msg["ok"]:
                then(True)
                return msg["result"]
            else:
                then(False)
                raise Refused(msg["code"], msg["error"])

    def event(self, *names):
        while True:
            for i, e in enumerate(self.events):
                if e["event"] in names:
                    del self.events[:i + 1]
                    return e
            self.events.append(self.line())


class Vm:
    """One vmm process. What its serial line says is collected by a thread."""

    def __init__(self, top, name, generation=1, options=(), **config):
        self.dir = os.path.join(top, name)
        run = os.path.join(self.dir, "run")
        os.makedirs(run, exist_ok=True)
        os.chmod(self.dir, 0o711)
        self.config = os.path.join(self.dir, "config.json")
        with open(self.config, "w", encoding="ascii") as f:
            json.dump({"name": "mig", "uuid": "5a3c2b10-0000-4000-8000-000000000077", "generation": generation,
                       "memory_mib": 64, "cpus": 2, "kernel": f"{top}/kernel", "uid": UID, "append": "", "disks": [],
                       "nets": [], "run_dir": run, "downtime_ms": 300,
                       "paused": False, **config}, f)
        self.log = open(os.path.join(self.dir, "start.log"), "wb")  # noqa: SIM115
        self.proc = subprocess.Popen([VMM, "--config", self.config, "--foreground", *options], stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log)
        self.said, self.path = b"", run
        self.control = None
        end = time.monotonic() + WAIT
        while not self.control and time.monotonic() < end:
            try:
                self.control = Control(f"{run}/control.sock")
            except OSError:
                if self.proc.poll() is not None:
                    break
                time.sleep(0.02)
        if self.control:
            threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(f"{self.path}/serial.sock")
            while True:
                got = s.recv(65536)
                if not got:
                    return
                self.said += got
        except OSError:
            pass

    def state(self):
        return self.control.call("status")["state"]

    def text(self):
        with open(os.path.join(self.dir, "start.log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def ended(self):
        try:
            return self.proc.wait(WAIT)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{self.dir}: the vmm does not end") from e

    def goes_on(self, what):
        before = len(self.said)
        wait(f"the guest goes on {what}", lambda: len(self.said) > before + 2000)

    def quiet(self):
        """What it has said, once it says no more."""
        n = len(self.said)
        time.sleep(0.2)
        return n if len(self.said) == n else 0

    def last(self):
        """Counter and TSC of the last whole line."""
        lines = self.said.split(b"\n")
        counter, tsc = lines[-2].split()
        return int(counter, 16), int(tsc, 16)


class Lease:
    """The page that clusterd writes: until when VMs of this node may run, in ms of CLOCK_BOOTTIME."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(b"HFLEASE1" + bytes(4088))

    def set(self, seconds, rtc=(0, 0), tsc=(0, 0)):
        now = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
        with open(self.path, "r+b") as f:
            f.seek(8)
            f.write(struct.pack("<QQQQQQ", now + int(seconds * 1000) if seconds else 0, now, *rtc, *tsc))


def check_output(what, *parts):
    """The guest found no wrong page; counter and TSC rise, over all the vmms that it ran in."""
    n, counter, tsc = 0, 0, 0
    for part in parts:
        if b"!" in part:
            raise Failed(f"{what}: the guest found a page that is not what it wrote")
        for line in part.split(b"\n")[1:-1]:
            words = line.split()
            if len(words) != 2 or len(line) != 33:
                raise Failed(f"{what}: the serial line garbled {line!r}")
            c, t = int(words[0], 16), int(words[1], 16)
            # Lines between two listeners are lost, never repeated.
            if c <= counter or t <= tsc:
                raise Failed(f"{what}: counter {c:#x} after {counter:#x}, TSC {t:#x} after {tsc:#x}")
            n, counter, tsc = n + 1, c, t
    need(n > 50, f"{what}: memory right, counter and clock rise over {n} lines")


def certificates(top):
    script = """
set -e
cd "$1"
for ca in good bad; do
    openssl ecparam -name prime256v1 -genkey -noout -out $ca.key
    openssl req -x509 -new -key $ca.key -subj "/CN=$ca" -days 30 -out $ca.pem
done
for n in n1:good n2:good bad:bad; do
    d=tls-${n%:*}; ca=${n#*:}; cn=${n%:*}; [ $cn != bad ] || cn=n2
    mkdir $d
    openssl ecparam -name prime256v1 -genkey -noout -out $d/node.key
    openssl req -new -key $d/node.key -subj "/CN=$cn" |
        openssl x509 -req -CA $ca.pem -CAkey $ca.key -set_serial 2 -days 30 -out $d/node.pem
    cp $ca.pem $d/ca.pem
    chmod 600 $d/*
done
"""
    subprocess.run(["sh", "-c", script, "sh", top], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Test:
    def __init__(self, top):
        self.top, self.n, self.port = top, 0, 7410
        self.vms = []

    def vm(self, role, **kw):
        self.n += 1
        v = Vm(self.top, f"{role}{self.n}", **kw)
        self.vms.append(v)
        return v

    def started(self, role, **kw):
        v = self.vm(role, **kw)
        if not v.control:
            raise Failed(f"{role}: the vmm does not start: {v.text().strip()}")
        return v

    def incoming(self, role, tls="n2", peer="n1", **kw):
        self.port += 1
        v = self.started(role, options=["--incoming"], **kw)
        wait("the destination waits", lambda: v.state() == "incoming")
        v.control.call("receive", log=v.log, at=f"127.0.0.1:{self.port}", peer=peer, tls=f"{self.top}/tls-{tls}")
        return v

    def migrate(self, a, peer="n2", port=None, tls=None, **kw):
        a.control.events.clear()
        tls = tls or ("n2" if peer == "n1" else "n1")
        a.control.call("migrate", to=f"127.0.0.1:{port or self.port}", peer=peer, tls=f"{self.top}/tls-{tls}", **kw)

    def refused(self, code, what, call):
        try:
            call()
        except Refused as e:
            need(e.code == code, f"{what} refused: {e}")
            return
        raise Failed(f"{what} is not refused")

    def no_tunnel(self, a, pattern, what, **kw):
        """Nothing is handed in: the vmm hears of none of it."""
        try:
            self.migrate(a, **kw)
        except vmmctl.Refused as e:
            need(pattern in str(e), f"{what}: {e}")
            need(a.state() == "running", "and it runs on")
            return
        raise Failed(f"{what} is not refused")

    def fails(self, a, pattern, what, **kw):
        self.migrate(a, **kw)
        e = a.control.event("migration-failed", "migration-switched")
        need(e["event"] == "migration-failed" and pattern in e["error"] and e["state"] == "running",
             f"{what}: {e.get('error')}")
        need(a.state() == "running", "and it runs on")

    # --- the tests, in the order in which they are run; each gives the VM that runs -------------------------------

    def sandbox(self, a):
        with open(f"/proc/{a.proc.pid}/status", encoding="ascii") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        need(status["Uid"] == "\t".join([str(UID)] * 4) and status["Gid"] == "\t".join([str(UID)] * 4), "own user and group")
        need(all(int(status[c], 16) == 0 for c in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")), "no capability")
        need(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "no new privileges, system calls filtered")
        need(os.getsid(a.proc.pid) == a.proc.pid, "a session of its own")
        for task in os.listdir(f"/proc/{a.proc.pid}/task"):
            with open(f"/proc/{a.proc.pid}/task/{task}/status", encoding="ascii") as f:
                if "Seccomp:\t2" not in f.read():
                    raise Failed(f"thread {task} has no filter")

    def second(self, a):
        """A run folder has one vmm: another with the same configuration ends before it touched anything."""
        run = f"{a.dir}/run"
        before = {n: os.lstat(f"{run}/{n}").st_ino for n in os.listdir(run)}
        size = os.stat(f"{run}/serial.log").st_size
        for options in ([], ["--restore", "/nonexist"]):
            r = subprocess.run([VMM, "--config", a.config, "--foreground", *options], capture_output=True, text=True,
                               timeout=WAIT, check=False)
            need(r.returncode == 1 and "another vmm runs there" in r.stderr, f"a second vmm is refused: {r.stderr.strip()}")
        need({n: os.lstat(f"{run}/{n}").st_ino for n in os.listdir(run)} == before and
             os.stat(f"{run}/serial.log").st_size >= size, "and the first has its files")
        with open(f"{run}/vmm.pid", encoding="ascii") as f:
            need(int(f.read()) == a.proc.pid, "its pid is the first's")
        a.goes_on("beside it")

    def live(self, a, tls, peer, generation, **kw):
        """a moves to a new vmm, as the cluster would have it: commit, then resume with the next generation."""
        b = self.incoming("in", tls=tls, peer=peer, generation=generation - 1)
        self.migrate(a, peer=tls, **kw)
        e = a.control.event("migration-switched", "migration-failed")
        need(e["event"] == "migration-switched", f"switched: {e}")
        b.control.event("migration-ready")
        r = b.control.call("resume", generation=generation)
        a.control.call("migrate-finish", outcome="committed")
        source = e
        end = b.control.call("status")
        need(end["generation"] == generation and end["state"] == "running", f"it runs with generation {generation}")
        b.goes_on("at the destination")
        need(a.ended() == 0, "the source has ended")
        print(f"    sent {source['sent'] >> 10} KiB, {source['rounds']} passes, {source['total_ms']} ms; estimated "
              f"{source['est_downtime_ms']} ms, paused to sent {source['switch_us']} us, load "
              f"{end['migration']['load_us']} us, guest stopped {r['downtime_us']} us", flush=True)
        return b

    def must_fail(self, a):
        c = a.control
        self.refused("EOPNOTSUPP", "an unknown verb", lambda: c.call("fly"))
        self.refused("EINVAL", "migrate without arguments", lambda: c.call("migrate"))
        self.refused("EINVAL", "migrate throttled a little",
                     lambda: c.call("migrate", fd=socket.socketpair()[0].detach(), peer="n2", throttle=0.5))
        pair = socket.socketpair()
        with socket.create_server(("127.0.0.1", 7498)) as s, socket.create_connection(("127.0.0.1", 7498)) as tcp:
            for name, fd in (("TCP", tcp.fileno()), ("a listening TCP socket", s.fileno()),
                             ("a socket that is not connected", socket.socket(socket.AF_UNIX).detach()),
                             ("datagrams", socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].detach()),
                             ("a file", os.open("/dev/null", os.O_RDWR))):
                self.refused("EINVAL", f"migrate over {name}", lambda fd=fd: c.call("migrate", fd=os.dup(fd), peer="n2"))
        self.refused("EINVAL", "save into a socket", lambda: c.call("save", fd=os.dup(pair[0].fileno())))
        self.refused("EINVAL", "save into a file that is not empty", lambda: c.call("save", fd=os.open(self.vms[0].config, os.O_RDWR)))
        self.refused("EINVAL", "receive of a running VM", lambda: c.call("receive", fd=os.dup(pair[0].fileno()), peer="n2"))
        self.refused("EINVAL", "migrate-finish of a running VM", lambda: c.call("migrate-finish", outcome="committed"))
        self.refused("ENOENT", "cancel of nothing", lambda: c.call("migrate-cancel"))
        need(c.call("migrate-finish", outcome="aborted") == {}, "migrate-finish aborted is harmless for a VM that runs")
        self.no_tunnel(a, "cannot connect", "nobody listens", port=7499)
        stranger = self.incoming("stranger", tls="bad")
        self.no_tunnel(a, "not of this cluster", "a destination with another CA")
        wait("which still waits", lambda: stranger.state() == "incoming")
        stranger.control.call("quit")
        stranger.ended()
        picky = self.incoming("picky", peer="n9")
        self.fails(a, "closed", "a destination that expects another node")
        wait("it says so", lambda: "node n1 was refused: expected is node n9" in picky.text())
        self.no_tunnel(a, "is node n2, expected is node n7", "a destination that is not the one asked for", peer="n7")
        picky.control.call("quit")
        picky.ended()
        other = self.incoming("other", memory_mib=96)
        self.fails(a, "64 MiB of memory, configured here are 96", "another machine")
        need(other.ended() == 1, "that destination ends with an error")
        noise = self.incoming("noise")
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n" * 100)
        wait("noise on the port is refused", lambda: "refused: TLS" in noise.text())
        noise.control.call("quit")
        noise.ended()
        a.goes_on("after all that")

    def strangers(self, a):
        """Who connects and says nothing, however many, does not keep the peer out or waiting for their time-out."""
        b = self.incoming("besieged")
        silent = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(12)]
        self.migrate(a)
        e = a.control.event("migration-switched", "migration-failed")
        need(e["event"] == "migration-switched" and "timed out" not in b.text(), "the peer came in past silent strangers")
        b.control.event("migration-ready")
        for s in silent:
            s.close()
        a.control.call("migrate-finish", outcome="aborted")
        b.control.call("quit")
        b.ended()
        a.goes_on("after strangers")

    def cancel(self, a):
        b = self.incoming("cancelled")
        self.migrate(a, bandwidth_bps=200000)
        need(a.state() == "migrating", "a slow migration is under way")
        a.control.call("migrate-cancel")
        e = a.control.event("migration-failed")
        need(e["error"] == "cancelled", "cancelled")
        wait("it runs on", lambda: a.state() == "running")
        need(b.ended() == 1, "the destination ends")
        a.goes_on("after a cancel")

    def killed(self, a):
        b = self.incoming("killed")
        self.migrate(a, bandwidth_bps=200000)
        wait("memory is under way", lambda: a.control.call("status").get("migration", {}).get("sent", 0) > 500000 or
             b.control.call("status").get("migration", {}).get("received", 0) > 500000)
        b.proc.send_signal(signal.SIGKILL)
        e = a.control.event("migration-failed")
        need(e["state"] == "running", f"destination killed midway: {e['error']}")
        a.goes_on("after that")

    def stopped_peer(self, a):
        """A destination that hangs after END: the source waits, however long, until it is told."""
        b = self.incoming("hung")
        self.migrate(a)
        a.control.event("migration-switched")
        b.control.event("migration-ready")
        self.refused("EBUSY", "cancel after the switch-over", lambda: a.control.call("migrate-cancel"))
        self.refused("EINVAL", "resume of a switched source", lambda: a.control.call("resume"))
        self.refused("ESTALE", "resume without a generation", lambda: b.control.call("resume"))
        self.refused("ESTALE", "resume with an old generation", lambda: b.control.call("resume", generation=1))
        b.proc.send_signal(signal.SIGKILL)
        said = len(a.said)
        time.sleep(2)
        need(a.state() == "switched" and len(a.said) == said, "the destination died after READY: the source still waits")
        a.control.call("migrate-finish", outcome="aborted")
        need(a.state() == "running", "aborted: it runs on")
        a.goes_on("after an abort")

    def told_early(self, a):
        """END is out and the destination cannot answer: told to abort, the source does so at once."""
        b = self.incoming("silent")
        self.migrate(a, bandwidth_bps=20000000, throttle=False)
        b.proc.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        b.proc.send_signal(signal.SIGCONT)
        a.control.event("migration-switched")
        a.control.call("migrate-finish", outcome="aborted")
        need(a.state() == "running", "aborted right after the switch-over: it runs on")
        b.control.call("quit")
        b.ended()
        a.goes_on("after an early abort")

    def save(self, a, generation):
        folder = os.path.join(self.top, "save")
        os.mkdir(folder)
        self.refused("EINVAL", "a save without a file", lambda: a.control.call("save"))
        with open("/dev/full", "wb") as f:
            self.refused("EINVAL", "a save into a device", lambda: a.control.call("save", fd=os.dup(f.fileno())))
        need(a.state() == "running" and not os.listdir(folder), "it runs on and nothing is left")
        r = a.control.call("save", path=f"{folder}/vm")
        need(a.state() == "saved" and os.listdir(folder) == ["vm"], f"saved, {r['bytes'] >> 10} KiB in {r['total_ms']} ms")
        self.refused("ESTALE", "resume of a saved VM with another generation", lambda: a.control.call("resume", generation=99))
        said = a.said
        a.control.call("quit")
        need(a.ended() == 0, "ended")
        with open(f"{folder}/vm", "rb") as f:
            data = bytearray(f.read())
        for what, bad in (("altered", data[:len(data) // 3] + bytes([data[len(data) // 3] ^ 1]) + data[len(data) // 3 + 1:]),
                          ("cut", data[:-9]), ("empty", b""), ("longer", data + b"x"), ("not a VM", b"\x7fELF" * 4096)):
            with open(f"{folder}/bad", "wb") as f:
                f.write(bad)
            v = self.vm("bad", options=["--restore", f"{folder}/bad"])
            need(v.ended() == 1, f"a file that is {what} is refused")
            lines = [x for x in v.text().splitlines() if " error: " in x]
            need(len(lines) == 1 and "corrupt at offset" in lines[0], lines[0].split(" error: ")[1] if lines else "no line")
        b = self.started("restored", options=["--restore", f"{folder}/vm"], generation=generation - 1)
        wait("restored", lambda: b.state() == "ready")
        held = [os.readlink(f"/proc/{b.proc.pid}/fd/{n}") for n in os.listdir(f"/proc/{b.proc.pid}/fd")]
        need(not any(folder in h for h in held), "the file is not kept open")
        time.sleep(0.3)
        need(not b.said, "it does not run yet")
        self.refused("ESTALE", "resume without a generation", lambda: b.control.call("resume"))
        b.control.call("resume", generation=generation)
        b.goes_on("restored")
        check_output("over save and restore", said, b.said)
        return b

    def frozen(self, a, what):
        wait(f"frozen {what}", lambda: a.control.call("status")["frozen"])
        n = wait("what was written has been read", lambda: a.quiet())
        time.sleep(0.5)
        need(len(a.said) == n, f"the guest does not execute {what}")

    def board_clock(self, lease):
        """The real-time clock runs on while the node stands still: read by the guard and before frames and requests leave."""
        rtc = f"{self.top}/rtc"

        def says(seconds):
            with open(rtc + ".new", "w", encoding="ascii") as f:
                f.write(f"{seconds}\n".ljust(12))
            with open(rtc, "r+b") as f, open(rtc + ".new", "rb") as new:
                f.write(new.read())

        with open(rtc, "w", encoding="ascii") as f:
            f.write("5000\n".ljust(12))
        os.environ["HOLDFAST_RTC_FILE"] = rtc
        lease.set(3600, rtc=(5000, 5010))
        try:
            c = self.started("clocked", lease=lease.path)
        finally:
            del os.environ["HOLDFAST_RTC_FILE"]
        c.goes_on("while both clocks say so")
        says(5009)
        c.goes_on("in the lease's last second")
        says(5060)
        e = c.control.event("lease")
        need(e["frozen"] is True and "stood still" in e["reason"], f"a minute that BOOTTIME did not count: {e['reason']}")
        self.frozen(c, "after that minute")
        lease.set(3600, rtc=(5059, 5069))
        c.control.event("lease")
        c.goes_on("with a lease that began after it")
        c.control.call("quit")
        need(c.ended() == 0, "it ends")

    def lease(self):
        """A VM runs only while its node's lease does, whatever else is being done with it."""
        lease, other = Lease(f"{self.top}/lease1"), Lease(f"{self.top}/lease2")
        other.set(3600)
        bad = self.vm("no-lease", lease=f"{self.top}/kernel")
        need(bad.ended() == 1 and "not a lease page" in bad.text(), "what is no lease page is refused")
        a = self.started("leased", lease=lease.path)
        wait("it has started", lambda: a.state() == "running")
        need(not a.said, "without a lease it does not run")
        lease.set(3600)
        a.goes_on("with a lease")
        e = a.control.event("lease")
        need(e["frozen"] is False, f"it says so: {e['reason']}")
        lease.set(0.3)
        e = a.control.event("lease")
        need(e["frozen"] is True and "no word from the cluster for 0." in e["reason"], f"the lease ends: {e['reason']}")
        self.frozen(a, "by the lease's end")
        for what, clock in (("the TSC is beyond", {"tsc": (1, 2)}), ("the TSC went back", {"tsc": (2**63, 2**63 + 1)}),
                            ("the real-time clock is beyond", {"rtc": (1, 2)})):
            lease.set(3600)
            a.control.event("lease")
            lease.set(3600, **clock)
            e = a.control.event("lease")
            need(e["frozen"] is True and "clock" in e["reason"], f"{what}: {e['reason']}")
            self.frozen(a, "by another clock")
        lease.set(3600)
        a.control.event("lease")
        lease.set(0.3)
        a.control.event("lease")
        self.board_clock(lease)
        need(a.state() == "running", "its state is what it was")
        a.control.call("pause")
        a.control.call("resume")
        self.frozen(a, "after pause and resume")
        a.control.call("pause")
        lease.set(3600)
        wait("the lease goes on", lambda: not a.control.call("status")["frozen"])
        n = len(a.said)
        time.sleep(0.5)
        need(a.state() == "paused" and len(a.said) == n, "a paused VM is not resumed by it")
        a.control.call("resume")
        a.goes_on("with the lease, resumed")
        b = self.incoming("leased-in", lease=other.path)
        self.migrate(a, bandwidth_bps=2000000)
        lease.set(0)
        self.frozen(a, "in the middle of a migration")
        e = a.control.event("migration-switched", "migration-failed")
        need(e["event"] == "migration-switched", f"which goes on: {e}")
        b.control.event("migration-ready")
        b.control.call("resume", generation=2)
        a.control.call("migrate-finish", outcome="committed")
        b.goes_on("where there is a lease")
        need(a.ended() == 0, "the source has ended")
        check_output("over frosts and a move", a.said, b.said)
        folder = os.path.join(self.top, "save-frozen")
        os.mkdir(folder)
        other.set(0)
        self.frozen(b, "again")
        b.control.call("save", path=f"{folder}/vm")
        need(b.state() == "saved", "a frozen VM can be saved")
        b.control.call("quit")
        need(b.ended() == 0, "and ended")

    def run(self):
        a = self.started("a")
        try:
            wait("the guest runs on this KVM", lambda: len(a.said) > 2000, 60)
        except Failed:
            skip(f"the guest does not run on this machine's KVM: {a.text().strip()[-200:]}")
        self.sandbox(a)
        self.second(a)
        b = self.live(a, "n2", "n1", 2, verify=True)
        c = self.live(b, "n1", "n2", 3, verify=True)
        d = self.live(c, "n2", "n1", 4)
        e = self.live(d, "n1", "n2", 5)
        check_output("over four moves", a.said, b.said, c.said, d.said, e.said)
        self.must_fail(e)
        self.strangers(e)
        self.cancel(e)
        self.killed(e)
        self.stopped_peer(e)
        self.told_early(e)
        check_output("over all failures", a.said, b.said, c.said, d.said, e.said)
        f = self.save(e, 6)
        e.control = None
        f.control.call("pause")
        n = len(f.said)
        time.sleep(0.3)
        need(f.state() == "paused" and len(f.said) <= n + 4096, "paused")
        f.control.call("resume")
        f.goes_on("after a pause")
        b = self.incoming("quitted", generation=6)
        self.migrate(f, bandwidth_bps=200000)
        f.control.call("quit")
        need(f.ended() == 0, "quit in the middle of a migration")
        need(b.ended() == 1, "its destination ends")
        b = self.incoming("unwanted")
        b.proc.send_signal(signal.SIGTERM)
        need(b.ended() == 0, "a destination that nobody came to ends when told")
        self.lease()


def usable_kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as e:
        skip(f"/dev/kvm: {e.strerror}")


def main():
    if os.environ.get("SANITIZERS") == "yes":
        skip("a sanitizer's run-time library makes system calls that the vmm's filter kills")
    if os.geteuid() != 0:
        skip("needs root")
    for tool in ("openssl", "unshare", "ip", "objcopy"):
        if not shutil.which(tool):
            skip(f"{tool} is missing")
    usable_kvm()
    if os.environ.get("VMM_MOVES_INSIDE") != "1":
        os.environ["VMM_MOVES_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, os.path.realpath(__file__)])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    top = tempfile.mkdtemp(prefix="vmm-moves.")
    os.chmod(top, 0o711)
    test = Test(top)
    try:
        cc = os.environ.get("CC", "cc").split()
        subprocess.run([*cc, "-c", "-o", f"{top}/counter.o", f"{TOP}/tests/contract/vmm/counter.S"], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", f"{top}/counter.o", f"{top}/kernel"], check=True)
        certificates(top)
        test.run()
    except (Failed, EOFError, Refused, OSError) as e:
        print(f"FAILED: {e!r}")
        for v in test.vms[-3:]:
            print(f"--- {v.dir}\n{v.text()[-1500:]}")
        return 1
    finally:
        for v in test.vms:
            if v.proc.poll() is None:
                v.proc.kill()
                v.proc.wait()
        shutil.rmtree(top, ignore_errors=True)
    print("all of it held")
    return 0


sys.exit(main())

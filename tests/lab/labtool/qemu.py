# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU a machine: starting, finding, cutting, pausing it, and QMP.

A QEMU is ours when its command line carries this instance's -name; that is read from /proc each
time, so a crash of the tool loses nothing and a pid that was used again is never killed.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from . import accel, net
from . import root as roottree
from .config import LabError, wait_until


def find_all(lab):
    """{machine: pid} of the running QEMUs of this instance."""
    found = {}
    prefix = lab.tag("")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                argv = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if not os.path.basename(argv[0]).startswith("qemu-system") or "-name" not in argv[:-1]:
            continue
        name = argv[argv.index("-name") + 1]
        if name.startswith(prefix):
            found[name[len(prefix):]] = int(entry)
    return found


def is_running(lab, machine):
    return find_all(lab).get(machine)


def command(lab, state, machine):
    boot = os.path.join(state["root"], "lab-boot")
    san = machine == "san"
    memory = state["san_memory"] if san else state["memory"]
    cpus = 1 if san else state["cpus"]
    disks = [lab.path(machine, "disk.ext4")]  # vda; the SAN's LUNs follow, the root is the last
    if san:
        disks += [lab.path(f"lun{i}.img") for i in range(1, state["luns"] + 1)]
    root_name = "vd" + "abcdefghijklmnop"[len(disks)]
    argv = ["ip", "netns", "exec", lab.ns, "qemu-system-x86_64", "-name", lab.tag(machine),
            "-M", "q35", *accel.options(state["accel"]), "-smp", str(cpus), "-m", str(memory),
            "-nodefaults", "-no-user-config", "-display", "none", "-rtc", "clock=host",
            "-kernel", os.path.join(boot, "vmlinuz-node"),
            "-initrd", lab.path(machine, "initrd"),
            "-append", "console=ttyS0 quiet loglevel=4 net.ifnames=0 panic=5 mitigations=off "
                       "random.trust_cpu=on nowatchdog audit=0 "
                       f"{accel.kernel_options(state['accel'], state.get('tsc_khz'))} "
                       f"lab.root={root_name} lab.node={machine} lab.host={net_host(machine)}",
            "-device", "virtio-rng-pci",
            "-chardev", f"socket,id=con,path={lab.sock}/{machine}.con,server=on,wait=off,"
                        f"logfile={lab.path(machine, 'console.log')},logappend=on",
            "-serial", "chardev:con",
            "-qmp", f"unix:{lab.sock}/{machine}.qmp,server=on,wait=off"]
    argv += ["-virtfs", f"local,path={lab.share},mount_tag=lab,security_model=none,readonly=on,"
                        "multidevs=remap"]
    for i, disk in enumerate(disks):
        # a power cut ends QEMU, not this machine: what it wrote stays in the host's page cache
        argv += ["-drive", f"if=none,id=d{i},file={disk},format=raw,cache=unsafe,discard=unmap",
                 "-device", f"virtio-blk-pci,drive=d{i}"]
    argv += ["-drive", f"if=none,id=root,file={state['root']}.ext4,format=raw,readonly=on",
             "-device", "virtio-blk-pci,drive=root"]
    for name in net.nics(machine):
        argv += ["-netdev", f"tap,id={name},ifname={net.tap_name(machine, name)},script=no,"
                            "downscript=no",
                 "-device", f"virtio-net-pci,netdev={name},id=nic-{name},"
                            f"mac={net.mac(machine, name)},romfile="]
    return argv


def net_host(machine):
    return 2 if machine == "san" else 10 + int(machine[1:])


def start(lab, state, machine):
    os.makedirs(lab.path(machine), exist_ok=True)
    disk = lab.path(machine, "disk.ext4")
    if not os.path.exists(disk):
        shutil.rmtree(disk + ".new", ignore_errors=True)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto",
                        os.path.join(state["root"], "lab-boot", "disk.ext4"), disk + ".new"],
                       check=True)
        os.rename(disk + ".new", disk)
    roottree.node_initramfs(state["root"], lab.path(machine, "initrd"))
    for kind in ("qmp", "con", "ssh"):
        if os.path.exists(f"{lab.sock}/{machine}.{kind}"):
            os.unlink(f"{lab.sock}/{machine}.{kind}")
    log = lab.path(machine, "qemu.log")
    with open(log, "ab") as f:
        process = subprocess.Popen(command(lab, state, machine), stdin=subprocess.DEVNULL,
                                   stdout=f, stderr=f, cwd="/", start_new_session=True)

    def up():
        if process.poll() is not None:
            with open(log, encoding="utf-8", errors="replace") as g:
                last = (g.read().strip().splitlines() or ["it said nothing"])[-1]
            raise LabError(f"QEMU of {machine} ended at once: {last} (log {log})")
        return os.path.exists(f"{lab.sock}/{machine}.qmp")

    wait_until(f"QEMU of {machine}", 60, up, 0.05)
    for name, how in state["links"].get(machine, {}).items():
        if how == "down":
            qmp(lab, machine, "set_link", name=f"nic-{name}", up=False)


def cut(lab, machine):
    """A power cut: SIGKILL, and wait until the kernel has taken the process away."""
    pid = is_running(lab, machine)
    if not pid:
        return False
    os.kill(pid, signal.SIGKILL)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
    wait_until(f"the end of QEMU {pid}", 30, lambda: not is_alive(pid), 0.02)
    return True


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def qmp(lab, machine, execute, **arguments):
    """One QMP command; returns what it answered."""
    path = f"{lab.sock}/{machine}.qmp"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(30)
        try:
            s.connect(path)
            stream = s.makefile("rw", encoding="utf-8")
            answer = json.loads(stream.readline())
            for request in ({"execute": "qmp_capabilities"},
                            {"execute": execute, "arguments": arguments}):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
        except (OSError, ValueError) as e:
            raise LabError(f"the QEMU of {machine} does not answer ({e})") from None
    if "error" in answer:
        raise LabError(f"QEMU of {machine} refused {execute}: {answer['error']['desc']}")
    return answer["return"]


def run_state(lab, machine):
    """'off', 'running', 'paused' or 'silent'."""
    if not is_running(lab, machine):
        return "off"
    try:
        return "paused" if qmp(lab, machine, "query-status")["status"] == "paused" else "running"
    except LabError:
        return "silent"


def uptime(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        ticks = int(f.read().rpartition(")")[2].split()[19])
    with open("/proc/uptime", encoding="utf-8") as f:
        now = float(f.read().split()[0])
    return now - ticks / os.sysconf("SC_CLK_TCK")


def wall():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

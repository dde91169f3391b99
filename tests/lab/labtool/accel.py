# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds out by trying whether KVM can carry the nodes: a real Linux kernel must reach user space
and must see vmx or svm there, so that the nodes can run VMs themselves. Else emulation.

The answer is kept for this boot of the host. LAB_ACCEL=kvm|tcg overrides it.
"""
import json
import os
import subprocess

from . import root as roottree
from .config import LabError, say

PROBE = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
flags=$(/bin/busybox grep -o -m1 -w -E 'vmx|svm' /proc/cpuinfo | /bin/busybox head -n 1)
echo "lab-probe: user space, nested=${flags:-none}"
/bin/busybox poweroff -f
"""
SECONDS = 20


def boot_id():
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as f:
        return f.read().strip()


def probe(lab, root):
    """('kvm' or 'tcg', why)"""
    if not os.path.exists("/dev/kvm"):
        return "tcg", "there is no /dev/kvm"
    version = roottree.kernel_version(root, True)
    initrd = os.path.join(lab.cache, "probe.cpio")
    roottree.initramfs(root, initrd, version, (), PROBE)
    say(f"trying whether KVM can carry nodes (at most {SECONDS} s, once a boot of this machine)")
    argv = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
            "-kernel", os.path.join(root, "lab-boot", "vmlinuz-guest"), "-initrd", initrd,
            "-append", "console=ttyS0 quiet panic=-1"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        text = done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        text = (e.stdout or b"").decode(errors="replace")
    if "lab-probe: user space, nested=" not in text:
        return "tcg", "a Linux kernel under KVM did not reach user space"
    if "nested=none" in text:
        return "tcg", "KVM works but does not nest"
    return "kvm", "KVM works and nests"


def find(lab, root):
    wanted = os.environ.get("LAB_ACCEL")
    if wanted:
        if wanted not in ("kvm", "tcg"):
            raise LabError(f"LAB_ACCEL is '{wanted}'; kvm and tcg are known")
        return wanted
    path = os.path.join(lab.cache, "accel.json")
    try:
        with open(path, encoding="utf-8") as f:
            kept = json.load(f)
        if kept["boot_id"] == boot_id():
            return kept["accel"]
    except (OSError, ValueError, KeyError):
        pass
    with roottree.build_lock(lab):
        accel, why = probe(lab, root)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump({"boot_id": boot_id(), "accel": accel, "why": why}, f)
        os.replace(path + ".new", path)
    say(f"nodes run with {'KVM' if accel == 'kvm' else 'emulation (TCG)'}: {why}")
    return accel


def why(lab):
    try:
        with open(os.path.join(lab.cache, "accel.json"), encoding="utf-8") as f:
            return json.load(f)["why"]
    except (OSError, ValueError, KeyError):
        return "set by LAB_ACCEL"


def options(accel):
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    # No XSAVE: TCG does not intercept a nested guest's XSETBV, so KVM in the node never learns its XCR0 and a stock
    # kernel in it prints a long warning at each boot.
    return ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "EPYC,+svm,+npt,-xsave",
            "-machine", "pit=off"]


def cpus(accel):
    """Of a node. Emulated nodes with two reset by themselves under load (triple faults of the node or of its nested
    guest, three times in three stories on two busy cores), and are slower: processors of one node that interrupt
    each other are dear to emulate."""
    return 2 if accel == "kvm" else 1


def kernel_options(accel, khz):
    """Emulated CPUs share the host's TSC, which a kernel cannot know; HPET reads are dear there.

    Left to measure it, a kernel on a busy machine was five times wrong by the PIT and a quarter
    by the HPET: that node's clock, and every time-out in it, ran that much too fast.
    """
    if accel != "tcg":
        return ""
    return "tsc=reliable" + (f" tsc_early_khz={khz}" if khz else "")

# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in the machines: ssh over the management network, one kept connection a machine, so
that a command costs no handshake. A power cut ends the connection and with it what ran on it."""
import contextlib
import os
import shlex
import socket
import subprocess
import time

from . import qemu
from .config import LabError, address, machines, run


def write_config(lab, state):
    lines = []
    for machine in machines(state):
        lines += [f"Host {machine}", f"  HostName {address(machine, 'mgmt')}",
                  f"  ControlPath {lab.sock}/{machine}.ssh"]
    lines += ["Host *", "  User root", f"  IdentityFile {lab.path('user_key')}",
              "  IdentitiesOnly yes", "  BatchMode yes", "  StrictHostKeyChecking yes",
              f"  UserKnownHostsFile {lab.path('known_hosts')}", "  GlobalKnownHostsFile /dev/null",
              "  HostKeyAlias lab", "  LogLevel ERROR", "  ConnectTimeout 15",
              "  ServerAliveInterval 15", "  ServerAliveCountMax 8", "  ControlMaster no",
              "  ForwardX11 no", "  ForwardAgent no",
              "  PreferredAuthentications publickey", "  KexAlgorithms curve25519-sha256",
              "  Ciphers chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"]
    with open(lab.path("ssh_config"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def enter(lab):
    return ["ip", "netns", "exec", lab.ns]


def ssh(lab):
    return [*enter(lab), "ssh", "-F", lab.path("ssh_config")]


def is_connected(lab, machine):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(f"{lab.sock}/{machine}.ssh")
            return True
        except OSError:
            return False


def connect(lab, machine, seconds=120):
    """See to it that the kept connection is there; wait for a machine that is still booting."""
    end = time.monotonic() + seconds
    while not is_connected(lab, machine):
        pid = qemu.is_running(lab, machine)
        if not pid:
            raise LabError(f"{machine} is off (lab power-on {machine} starts it)")
        try:
            os.unlink(f"{lab.sock}/{machine}.ssh")
        except FileNotFoundError:
            pass
        done = run([*ssh(lab), "-MNf", machine], check=False,
                   start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0 and is_connected(lab, machine):
            return
        if time.monotonic() > end:
            state = qemu.run_state(lab, machine)
            raise LabError(f"{machine} does not answer (its QEMU is {state}; "
                           f"see {lab.path(machine, 'console.log')})")
        time.sleep(0.3)


def disconnect(lab, machine):
    if os.path.exists(f"{lab.sock}/{machine}.ssh"):
        run([*ssh(lab), "-O", "exit", machine], check=False, timeout=20)
        with contextlib.suppress(FileNotFoundError):  # ssh may remove it meanwhile
            os.unlink(f"{lab.sock}/{machine}.ssh")


def exec_argv(lab, machine, argv, tty=False):
    options = ["-tt"] if tty else ["-T"]
    remote = [shlex.join(argv)] if argv else []
    return [*ssh(lab), "-o", "ControlMaster=no", *options, machine, *(["--"] if remote else []),
            *remote]


def call(lab, machine, argv, **kw):
    """Run a command in a machine and return the finished process (text)."""
    return run(exec_argv(lab, machine, argv), check=False, **kw)

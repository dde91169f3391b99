# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the lab."""
import argparse
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import termios
import time
import tty

from . import accel, net, qemu, shell, tsc
from . import root as roottree
from .config import (HERE, IQN, MAX_LUNS, MAX_NODES, NETS, SOURCE, Lab, LabError, address,
                     check_machine, lun_id, lun_serial, machines, run, say, wait_until)

STAGE = os.path.join(SOURCE, "build", "lab", "stage")


def size_bytes(text):
    """'4G' or '512M' as bytes."""
    units = {"M": 1 << 20, "G": 1 << 30}
    if text[-1:].upper() in units and text[:-1].isdigit() and int(text[:-1]) > 0:
        return int(text[:-1]) * units[text[-1].upper()]
    raise argparse.ArgumentTypeError(f"'{text}' is not a size like 512M or 4G")


def ranged(low, high):
    def parse(text):
        if text.isdigit() and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from {low} to {high}")
    return parse


# -- up and down ------------------------------------------------------------------------------

def write_share(lab, state):
    """What the machines read over 9p: scripts, names, keys, staged files."""
    shutil.rmtree(os.path.join(lab.share, "node"), ignore_errors=True)
    shutil.copytree(os.path.join(HERE, "node"), os.path.join(lab.share, "node"))
    keys = os.path.join(lab.share, "keys")
    os.makedirs(keys, exist_ok=True)
    boot = os.path.join(state["root"], "lab-boot")
    shutil.copy(os.path.join(boot, "host_key"), keys)
    shutil.copy(os.path.join(boot, "user_key.pub"), os.path.join(keys, "authorized_keys"))
    shutil.copy(os.path.join(boot, "user_key"), lab.path("user_key"))
    os.chmod(lab.path("user_key"), 0o600)
    with open(os.path.join(boot, "host_key.pub"), encoding="utf-8") as f:
        host_key = f.read()
    with open(lab.path("known_hosts"), "w", encoding="utf-8") as f:
        f.write(f"lab {host_key}")
    with open(os.path.join(lab.share, "vars"), "w", encoding="utf-8") as f:
        f.write(f"IQN={IQN}\nSAN={address('san', 'storage')}\nLUNS={state['luns']}\n"
                f"NODES={state['nodes']}\n")
        for i in range(1, state["luns"] + 1):
            f.write(f"SERIAL_{i}={lun_serial(i)}\n")
    with open(os.path.join(lab.share, "hosts"), "w", encoding="utf-8") as f:
        f.write("127.0.0.1 localhost\n")
        for machine in machines(state):
            for name in net.nics(machine):
                if name == "vm":
                    continue
                first = "storage" if machine == "san" else "cluster"
                names = f"{machine} {machine}-{name}" if name == first else f"{machine}-{name}"
                f.write(f"{address(machine, name)} {names}\n")


def stage_files(lab, folder):
    """Take a copy of the stage directory into the share, for now and for each later boot."""
    if not os.path.isdir(folder):
        raise LabError(f"{folder} is not a directory; make one by: make install DESTDIR={folder}")
    target = os.path.join(lab.share, "stage")
    shutil.rmtree(target + ".new", ignore_errors=True)
    run(["cp", "-a", "--no-preserve=ownership", folder, target + ".new"])
    shutil.rmtree(target, ignore_errors=True)
    os.rename(target + ".new", target)


def is_up(lab):
    return os.path.exists(lab.dir) or net.netns_exists(lab) or qemu.find_all(lab)


def need_root():
    if os.geteuid() != 0:
        raise LabError("must be run as root (it makes network namespaces and taps)")


def need_programs(*names):
    missing = [n for n in names if not shutil.which(n)]
    if missing:
        raise LabError(f"not installed on this machine: {' '.join(missing)} (./quickstart installs "
                       "what the lab needs)")


def warn_memory(args):
    """Memory is taken as it is used, so this is a warning and no refusal."""
    with open("/proc/meminfo", encoding="utf-8") as f:
        free = next(int(x.split()[1]) >> 10 for x in f if x.startswith("MemAvailable:"))
    wanted = (args.nodes * args.memory + args.san_memory) >> 20
    if free < wanted:
        say(f"{args.nodes} nodes may use {wanted} MiB, {free} MiB are free "
            "(--memory 1G asks for less)")


def wait_ready(lab, state, names, seconds):
    """Until each answers and has its part of the storage."""
    for machine in names:
        shell.connect(lab, machine, seconds)

    def ready(machine):
        return shell.call(lab, machine, ["test", "-e", "/run/lab/ready"]).returncode == 0

    for machine in names:
        if machine != "san" and "storage" in state["links"].get(machine, {}):
            continue
        wait_until(f"the storage of {machine} (lab exec {machine} -- cat /var/log/node.log)",
                   seconds, lambda m=machine: ready(m), 0.5)


def cmd_up(lab, args):
    need_root()
    need_programs("ip", "qemu-system-x86_64", "ssh", "ssh-keygen", "mke2fs", "cp")
    began = time.monotonic()
    with lab.lock():
        if is_up(lab):
            raise LabError(f"lab '{lab.name}' is up already, or left half up (lab down ends it; "
                           "LAB_NAME names another)")
        root = roottree.build(lab)
        how = accel.find(lab, root)
        warn_memory(args)
        state = {"name": lab.name, "nodes": args.nodes, "luns": args.luns,
                 "lun_bytes": args.lun_size, "memory": args.memory >> 20,
                 "cpus": args.cpus or accel.cpus(how),
                 "san_memory": args.san_memory >> 20, "accel": how, "root": root, "links": {},
                 "tsc_khz": tsc.measure_khz(),
                 "since": qemu.wall()}
        os.makedirs(lab.share)
        os.makedirs(lab.sock, mode=0o700, exist_ok=True)
        lab.save(state)
        write_share(lab, state)
        shell.write_config(lab, state)
        stage = args.stage or (STAGE if os.path.isdir(STAGE) else None)
        if stage:
            stage_files(lab, stage)
        for i in range(1, args.luns + 1):
            with open(lab.path(f"lun{i}.img"), "wb") as f:
                f.truncate(args.lun_size)
        net.create(lab, state)
        for machine in machines(state):
            qemu.start(lab, state, machine)
        say(f"{args.nodes} nodes and the SAN are booting ({how})")
        wait_ready(lab, state, machines(state), args.timeout)
    say(f"up after {time.monotonic() - began:.0f} s: {' '.join(machines(state))}"
        + ("" if stage else "; no Holdfast files staged (lab deploy DIR)"))
    return 0


def cmd_down(lab, _args):
    need_root()
    with lab.lock():
        for machine in qemu.find_all(lab):
            qemu.cut(lab, machine)
        net.destroy(lab)
        roottree.remove_tree(lab.dir)
        roottree.remove_tree(lab.sock)
        try:
            os.rmdir(os.path.join(lab.cache, "run"))
        except OSError:
            pass
    return 0


def cmd_build_root(lab, args):
    need_root()
    need_programs("mmdebstrap", "ssh-keygen", "mke2fs")
    began = time.monotonic()
    root = roottree.build(lab, args.force)
    say(f"the root tree {root} is ready ({time.monotonic() - began:.0f} s)")
    return 0


# -- looking ----------------------------------------------------------------------------------

def cmd_status(lab, args):
    try:
        state = lab.load()
    except LabError:
        left = sorted(qemu.find_all(lab)) or net.netns_exists(lab) or os.path.exists(lab.dir)
        word = "half up (lab down clears it)" if left else "down"
        print(json.dumps({"name": lab.name, "state": word.split()[0]}) if args.json
              else f"lab {lab.name}: {word}")
        return 3
    rows = []
    running = qemu.find_all(lab)
    for machine in machines(state):
        pid = running.get(machine)
        links = {n: state["links"].get(machine, {}).get(n, "up")
                 for n in net.nics(machine) if n != "mgmt"}
        rows.append({"name": machine, "state": qemu.run_state(lab, machine), "pid": pid,
                     "uptime_s": round(qemu.uptime(pid), 1) if pid else None, "links": links,
                     "addresses": {n: address(machine, n) for n in net.nics(machine) if n != "vm"}})
    luns = [{"lun": i, "id": lun_id(i), "bytes": state["lun_bytes"],
             "device": "/dev/disk/by-id/wwn-0x" + lun_id(i)[4:]}
            for i in range(1, state["luns"] + 1)]
    if args.json:
        print(json.dumps({"name": lab.name, "state": "up", "accel": state["accel"],
                          "accel_why": accel.why(lab), "netns": lab.ns, "dir": lab.dir,
                          "machines": rows, "luns": luns}, indent=1))
        return 0
    print(f"lab {lab.name}: {state['accel']}, network namespace {lab.ns}, files {lab.dir}")
    print(f"{'MACHINE':8} {'STATE':8} {'UP':>7}  {'CLUSTER':12} {'STORAGE':12} LINKS DOWN")
    for r in rows:
        down = " ".join(n for n, how in r["links"].items() if how == "down") or "-"
        up = f"{r['uptime_s']:.0f}s" if r["uptime_s"] is not None else "-"
        print(f"{r['name']:8} {r['state']:8} {up:>7}  {r['addresses'].get('cluster', '-'):12} "
              f"{r['addresses']['storage']:12} {down}")
    for entry in luns:
        print(f"LUN {entry['lun']}: {entry['id']}  {entry['bytes'] >> 20} MiB")
    return 0


def cmd_netns(lab, _args):
    lab.load()
    print(lab.ns)
    return 0


# -- commands in machines ---------------------------------------------------------------------

def cmd_exec(lab, args):
    state = lab.load()
    check_machine(state, args.machine)
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    shell.connect(lab, args.machine)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    line = shell.exec_argv(lab, args.machine, argv, tty=interactive)
    sys.stdout.flush()
    os.execvp(line[0], line)


def cmd_push(lab, args):
    state = lab.load()
    check_machine(state, args.machine)
    if not os.path.lexists(args.source):
        raise LabError(f"{args.source} does not exist on this machine")
    shell.connect(lab, args.machine)
    return scp(lab, [args.source], f"{args.machine}:{args.target}")


def cmd_pull(lab, args):
    state = lab.load()
    check_machine(state, args.machine)
    shell.connect(lab, args.machine)
    return scp(lab, [f"{args.machine}:{args.source}"], args.target)


def scp(lab, sources, target):
    line = [*shell.enter(lab), "scp", "-q", "-r", "-p", "-F", lab.path("ssh_config"), *sources,
            target]
    return subprocess.run(line, check=False, stdin=subprocess.DEVNULL).returncode


def cmd_deploy(lab, args):
    state = lab.load()
    folder = os.path.abspath(args.folder or STAGE)
    with lab.lock():
        stage_files(lab, folder)
        nodes = [m for m in machines(state) if m != "san"
                 and qemu.run_state(lab, m) == "running"]
        for machine in nodes:
            shell.connect(lab, machine)
            line = "/lab/node/refresh"
            if args.restart:
                line += "; p=$(cat /run/lab/clusterd.pid 2>/dev/null) && kill $p; true"
            done = shell.call(lab, machine, ["sh", "-c", line])
            if done.returncode != 0:
                raise LabError(f"copying to {machine} failed: {done.stdout.strip()}")
    say(f"deployed {folder} to {' '.join(nodes) or 'no running node'}"
        + ("" if args.restart else "; running programs keep the old files until restarted"))
    return 0


# -- faults -----------------------------------------------------------------------------------

def cmd_power_off(lab, args):
    state = lab.load()
    check_machine(state, args.machine)
    with lab.lock():
        if not qemu.cut(lab, args.machine):
            raise LabError(f"{args.machine} is off already")
    shell.disconnect(lab, args.machine)
    return 0


def cmd_power_on(lab, args):
    need_root()
    state = lab.load()
    check_machine(state, args.machine)
    with lab.lock():
        if qemu.is_running(lab, args.machine):
            raise LabError(f"{args.machine} is on already")
        shell.disconnect(lab, args.machine)
        qemu.start(lab, state, args.machine)
    if not args.no_wait:
        wait_ready(lab, state, [args.machine], args.timeout)
    return 0


def cmd_pause(lab, args):
    state = lab.load()
    check_machine(state, args.machine)
    now = qemu.run_state(lab, args.machine)
    pausing = args.command == "pause"
    if now == "off":
        raise LabError(f"{args.machine} is off")
    if now == ("paused" if pausing else "running"):
        raise LabError(f"{args.machine} is {now} already")
    qemu.qmp(lab, args.machine, "stop" if pausing else "cont")
    return 0


def cmd_link(lab, args):
    with lab.lock():
        state = lab.load()
        check_machine(state, args.machine)
        if args.net not in net.nics(args.machine):
            raise LabError(f"{args.machine} has no {args.net} network")
        links = state["links"].setdefault(args.machine, {})
        if args.how == "down":
            links[args.net] = "down"
        else:
            links.pop(args.net, None)
        if not links:
            del state["links"][args.machine]
        if qemu.is_running(lab, args.machine):
            qemu.qmp(lab, args.machine, "set_link", name=f"nic-{args.net}", up=args.how == "up")
        lab.save(state)
    return 0


def cmd_console(lab, args):
    state = lab.load()
    check_machine(state, args.machine)
    if args.log:
        with open(lab.path(args.machine, "console.log"), "rb") as f:
            shutil.copyfileobj(f, sys.stdout.buffer)
        return 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(f"{lab.sock}/{args.machine}.con")
        except OSError:
            raise LabError(f"{args.machine} is off") from None
        say(f"console of {args.machine}; Ctrl-] leaves it")
        old = termios.tcgetattr(0) if os.isatty(0) else None
        try:
            if old:
                tty.setraw(0)
            copy_console(s)
        finally:
            if old:
                termios.tcsetattr(0, termios.TCSADRAIN, old)
    return 0


def copy_console(s):
    watched = [s, 0]
    while True:
        for source in select.select(watched, [], [])[0]:
            if source == 0:
                data = os.read(0, 4096)
                if b"\x1d" in data:
                    return
                if data:
                    s.sendall(data)
                else:
                    watched.remove(0)
                    if not os.isatty(0):
                        time.sleep(0.5)
                        return
            else:
                data = s.recv(4096)
                if not data:
                    return
                os.write(1, data)


# -- the command line -------------------------------------------------------------------------

def parser():
    p = argparse.ArgumentParser(
        prog="lab", description="Virtual nodes n1.. and a virtual SAN ('san') on this machine. "
        "LAB_NAME (default holdfast) names the instance, LAB_CACHE (default build/lab) is where "
        "the root tree and the instance's files lie, LAB_ACCEL (kvm, tcg) overrides the probe.")
    sub = p.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name, func, text, machine=False):
        c = sub.add_parser(name, help=text, description=text)
        c.set_defaults(func=func)
        if machine:
            c.add_argument("machine", metavar="NODE", help="n1, n2, ... or san")
        return c

    c = add("up", cmd_up, "start the nodes and the SAN; wait until they answer and see the LUNs")
    c.add_argument("--nodes", type=ranged(1, MAX_NODES), default=3)
    c.add_argument("--luns", type=ranged(1, MAX_LUNS), default=2)
    c.add_argument("--lun-size", type=size_bytes, default=size_bytes("4G"), metavar="SIZE")
    c.add_argument("--memory", type=size_bytes, default=size_bytes("2G"), metavar="SIZE",
                   help="of each node")
    c.add_argument("--cpus", type=ranged(1, 8), help="of each node (default 2, emulated 1)")
    c.add_argument("--san-memory", type=size_bytes, default=size_bytes("512M"), metavar="SIZE")
    c.add_argument("--stage", metavar="DIR", help="Holdfast files to install in the nodes "
                   f"(default {os.path.relpath(STAGE, SOURCE)} if it is there)")
    c.add_argument("--timeout", type=ranged(1, 3600), default=900, metavar="SECONDS")
    c = add("status", cmd_status, "show machines, addresses and LUNs (exit status 3 when down)")
    c.add_argument("--json", action="store_true")
    c = add("exec", cmd_exec, "run a command as root in a node; its output and exit status "
            "(without a command: a shell)", True)
    c.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    c = add("push", cmd_push, "copy a file or directory into a node", True)
    c.add_argument("source")
    c.add_argument("target")
    c = add("pull", cmd_pull, "copy a file or directory out of a node", True)
    c.add_argument("source")
    c.add_argument("target")
    add("power-off", cmd_power_off, "cut the power: no shutdown", True)
    c = add("power-on", cmd_power_on, "boot a node that is off and wait until it answers", True)
    c.add_argument("--no-wait", action="store_true")
    c.add_argument("--timeout", type=ranged(1, 3600), default=900, metavar="SECONDS")
    add("pause", cmd_pause, "freeze a whole node", True)
    add("unpause", cmd_pause, "let a frozen node go on", True)
    c = add("link", cmd_link, "pull or plug a network cable of a node", True)
    c.add_argument("net", choices=[n for n in NETS if n != "mgmt"])
    c.add_argument("how", choices=["up", "down"])
    c = add("console", cmd_console, "attach to the serial console (Ctrl-] leaves)", True)
    c.add_argument("--log", action="store_true", help="print what it has shown so far instead")
    c = add("deploy", cmd_deploy, "install staged Holdfast files in all running nodes, and in "
            "each node at its next boot")
    c.add_argument("folder", nargs="?", metavar="DIR",
                   help=f"default {os.path.relpath(STAGE, SOURCE)}")
    c.add_argument("--restart", action="store_true", help="end clusterd, which is started again")
    add("down", cmd_down, "end everything and leave nothing behind")
    add("netns", cmd_netns, "print the lab's network namespace, for ip netns exec")
    c = add("build-root", cmd_build_root, "make the root tree of the nodes if it is not there")
    c.add_argument("--force", action="store_true", help="make it anew")
    return p


def main(argv):
    args = parser().parse_args(argv)
    try:
        return args.func(Lab(), args)
    except LabError as e:
        say(str(e))
        return 125 if args.command == "exec" else 1  # 1 may be the command's own
    except KeyboardInterrupt:
        say("interrupted" + ("; lab down clears what is there" if args.command == "up" else ""))
        return 130
    except BrokenPipeError:
        return 141

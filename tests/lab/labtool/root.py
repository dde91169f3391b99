# SPDX-License-Identifier: GPL-2.0-or-later
"""The root tree of the nodes: a Debian of the lab's own, built once and shared by all instances.

It is built beside its place and renamed into it when complete, so a tree that is there is whole.
No service starts while it is built (mmdebstrap forbids it by policy-rc.d), nothing is installed
on the host.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile

from .config import HERE, LabError, run, say

PACKAGES = """
bash busybox-static ca-certificates corosync coreutils dmsetup e2fsprogs fdisk fio fuse3 gdisk
init-system-helpers iproute2 iputils-ping kmod less libblkid1 libcmap4 libcpg4
libdevmapper1.02.1 libfuse3-3 libgnutls30 libiscsi-bin libiscsi7 libjansson4 libqb100
libseccomp2 libsqlite3-0 liburing2 libvotequorum8 linux-image-amd64 linux-image-cloud-amd64
lvm2 mdadm multipath-tools netcat-openbsd open-iscsi openssh-server procps psmisc
qemu-system-x86 sanlock sg3-utils socat sqlite3 strace sysvinit-utils tcpdump tgt uuid-runtime
xfsprogs gdb
""".split()
SUITE = "bookworm"
# What a node loads before it has its root; their dependencies are found in modules.dep.
BOOT_MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "virtio_rng", "9pnet_virtio", "9p",
                "overlay", "ext4", "crc32c_generic")
RECIPE = "4"  # raise it when this file changes what the tree holds


def tree_path(lab):
    """The tree's place carries a hash of what it holds, so another list makes another tree."""
    text = RECIPE + SUITE + " ".join(sorted(PACKAGES))
    return os.path.join(lab.cache, "root-" + hashlib.sha256(text.encode()).hexdigest()[:12])


def apt_sources():
    """The machine's own apt sources that carry the suite."""
    found = []
    folder = "/etc/apt/sources.list.d"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for path in ["/etc/apt/sources.list"] + [os.path.join(folder, n) for n in names]:
        if not path.endswith((".list", ".sources")) or not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8") as f:
            lines = [x for x in f if not x.lstrip().startswith("#")]
        if re.search(rf"\b{SUITE}\b(?!-)", "".join(lines)) and "main" in "".join(lines):
            found.append(path)
    if not found:
        raise LabError(f"no apt source in /etc/apt carries Debian {SUITE}: the root tree needs one")
    return found


def apt_options():
    """Proxy settings of the machine's apt, so that the tree is fetched the same way."""
    done = run(["apt-config", "dump", "--format", "%F %v%n"], check=False)
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        if re.fullmatch(r"Acquire::https?::Proxy\S*", key, re.I) and value:
            yield f'--aptopt={key} "{value}"'


def kernel_version(root, cloud):
    names = [n for n in os.listdir(os.path.join(root, "lib/modules"))
             if n.endswith("-cloud-amd64") == cloud]
    if not names:
        raise LabError(f"{root} holds no {'cloud ' if cloud else ''}kernel")
    return sorted(names)[-1]


def module_files(root, version, wanted):
    """Paths of the modules and all they need, in the order of loading; built-in ones fall away."""
    base = os.path.join(root, "lib/modules", version)
    deps, by_name = {}, {}
    with open(os.path.join(base, "modules.dep"), encoding="utf-8") as f:
        for line in f:
            path, _, rest = line.partition(":")
            deps[path] = rest.split()
            by_name[os.path.basename(path).split(".ko")[0].replace("-", "_")] = path
    out = []

    def add(path):
        for dep in reversed(deps[path]):
            add(dep)
        if path not in out:
            out.append(path)

    for name in wanted:
        if name.replace("-", "_") in by_name:
            add(by_name[name.replace("-", "_")])
    return [os.path.join(base, p) for p in out]


def write_cpio(path, entries):
    """A newc archive of (name, mode, bytes) entries, as the kernel unpacks for an initramfs."""
    with open(path + ".new", "wb") as f:
        for number, (name, mode, data) in enumerate(entries + [("TRAILER!!!", 0, b"")]):
            raw = name.encode() + b"\0"
            rdev = (5, 1) if name == "dev/console" else (0, 0)
            head = b"070701" + b"".join(b"%08x" % v for v in (
                number + 1, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0))
            for part in (head + raw, data):
                f.write(part + b"\0" * (-len(part) % 4))
    os.replace(path + ".new", path)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def initramfs(root, path, version, modules, init):
    """Static busybox, the modules and an init script."""
    entries = [(d, stat.S_IFDIR | 0o755, b"")
               for d in ("bin", "dev", "proc", "sys", "modules", "ro", "rw", "new")]
    entries.append(("dev/console", stat.S_IFCHR | 0o600, b""))
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, read(os.path.join(root, "bin/busybox"))))
    names = []
    for file in module_files(root, version, modules):
        names.append(os.path.basename(file))
        entries.append((f"modules/{names[-1]}", stat.S_IFREG | 0o644, read(file)))
    entries.append(("modules.list", stat.S_IFREG | 0o644, "\n".join(names).encode() + b"\n"))
    entries.append(("init", stat.S_IFREG | 0o755, init.encode()))
    write_cpio(path, entries)


def node_disk(root, path, size_mib=8192):
    """The disk a machine starts its life with: what must survive a power cut lies on it."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as seed:
        for part in ("var/lib", "var/log", "etc/corosync", "etc/iscsi", "root"):
            skip = shutil.ignore_patterns("dpkg", "apt") if part == "var/lib" else None
            shutil.copytree(os.path.join(root, part), os.path.join(seed, part), symlinks=True,
                            ignore=skip)
        for part in ("var/target/pr", "var/lib/holdfast", "var/lib/corosync", "var/lib/iscsi"):
            os.makedirs(os.path.join(seed, part), exist_ok=True)
        os.chmod(os.path.join(seed, "root"), 0o700)
        with open(path, "wb") as f:
            f.truncate(size_mib << 20)
        run(["mke2fs", "-q", "-t", "ext4", "-F", "-L", "lab-state", "-m", "0", "-E",
             "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", "-J", "size=32",
             "-d", seed, path])


def fill(root):
    """What the lab adds to the Debian: keys, kernels by name, first disk."""
    lab_dir = os.path.join(root, "lab-boot")
    os.makedirs(lab_dir, mode=0o700)
    os.makedirs(os.path.join(root, "lab"), exist_ok=True)
    for key in ("host_key", "user_key"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {key}", "-f",
             os.path.join(lab_dir, key)])
    for name, cloud in (("node", False), ("guest", True)):
        version = kernel_version(root, cloud)
        os.symlink(f"../boot/vmlinuz-{version}", os.path.join(lab_dir, f"vmlinuz-{name}"))
    node_disk(root, os.path.join(lab_dir, "disk.ext4"))
    for link in ("etc/mtab",):
        if not os.path.lexists(os.path.join(root, link)):
            os.symlink("../proc/self/mounts", os.path.join(root, link))


@contextlib.contextmanager
def build_lock(lab):
    os.makedirs(lab.cache, exist_ok=True)
    fd = os.open(os.path.join(lab.cache, "root.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def trees_in_use(lab):
    """Trees from which instances of this cache run."""
    folder = os.path.join(lab.cache, "run")
    out = set()
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        try:
            with open(os.path.join(folder, name, "lab.json"), encoding="utf-8") as f:
                out.add(os.path.realpath(json.load(f)["root"]))
        except (OSError, ValueError, KeyError):
            pass
    return out


def image(lab, root):
    """The tree as a read-only disk image beside it: far cheaper for emulated nodes than 9p."""
    path = root + ".ext4"
    if not os.path.exists(path):
        with build_lock(lab):
            if not os.path.exists(path):
                say("making a disk image of the root tree")
                used = int(run(["du", "-sm", root]).stdout.split()[0])
                with open(path + ".new", "wb") as f:
                    f.truncate((used * 5 // 4 + 128) << 20)
                run(["mke2fs", "-q", "-t", "ext4", "-F", "-L", "lab-root", "-m", "0", "-O",
                     "^has_journal", "-E", "nodiscard,root_owner=0:0", "-d", root, path + ".new"])
                os.rename(path + ".new", path)
    return path


def node_initramfs(root, path):
    with open(os.path.join(HERE, "node", "initramfs-init"), encoding="utf-8") as f:
        initramfs(root, path, kernel_version(root, False), BOOT_MODULES, f.read())


def debootstrap(lab, work):
    log = os.path.join(lab.cache, "root.log")
    say(f"building the nodes' root tree (once; about a minute and a half; log {log})")
    argv = ["mmdebstrap", "--variant=essential", "--mode=root", f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Install-Recommends "false"', *apt_options(),
            # the lab makes its own initramfs, so the kernels' packages need not
            "--essential-hook=mkdir -p \"$1/etc/initramfs-tools\" && "
            "echo update_initramfs=no > \"$1/etc/initramfs-tools/update-initramfs.conf\" && "
            "echo do_initrd = no > \"$1/etc/kernel-img.conf\"",
            "--dpkgopt=force-confold", "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*", SUITE, work, *apt_sources()]
    with open(log, "w", encoding="utf-8") as f:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f, check=False)
    if done.returncode != 0:
        remove_tree(work)
        errors = [x for x in read(log).decode(errors="replace").splitlines() if x.startswith("E:")]
        raise LabError(f"mmdebstrap failed (see {log}): {(errors or ['no E: line'])[0]}")


def build(lab, force=False):
    """Make the tree if it is not there in the wanted form; return its path."""
    tree = tree_path(lab)
    if not os.path.isdir(tree) or force:
        with build_lock(lab):
            if not os.path.isdir(tree) or force:
                build_locked(lab, tree)
    link = os.path.join(lab.cache, "root")
    if os.path.realpath(link) != tree and (os.path.islink(link) or not os.path.exists(link)):
        os.symlink(os.path.basename(tree), link + ".new")
        os.replace(link + ".new", link)
    image(lab, tree)
    return tree


def build_locked(lab, tree):
    if tree in trees_in_use(lab):
        raise LabError("labs run from the root tree: lab down them first")
    if not shutil.which("mmdebstrap"):
        raise LabError("mmdebstrap is not installed on this machine: the root tree needs it")
    work = os.path.join(lab.cache, "root.new")
    remove_tree(work)
    debootstrap(lab, work)
    fill(work)
    remove_tree(tree)
    if os.path.exists(tree + ".ext4"):
        os.unlink(tree + ".ext4")
    os.rename(work, tree)
    for name in os.listdir(lab.cache):  # older trees that nobody runs from
        path = os.path.join(lab.cache, name)
        if re.fullmatch(r"root-[0-9a-f]+", name) and path != tree and path not in trees_in_use(lab):
            remove_tree(path)
            if os.path.exists(path + ".ext4"):
                os.unlink(path + ".ext4")


def remove_tree(path):
    """Remove a tree of ours; refuses if something is still mounted below it."""
    if not os.path.lexists(path):
        return
    path = os.path.realpath(path)
    with open("/proc/self/mounts", encoding="utf-8") as f:
        below = [x.split()[1] for x in f if x.split()[1].startswith(path + "/")]
    for mount in sorted(below, reverse=True):
        run(["umount", mount])
    shutil.rmtree(path)

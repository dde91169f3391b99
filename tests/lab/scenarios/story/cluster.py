# SPDX-License-Identifier: GPL-2.0-or-later
"""clusterctl, asked on any node of the lab that answers."""
import json
import shlex
import threading
import time

from .tools import StoryError, wait


class Cluster:
    """nodes: the names that should answer now; the story takes out what it breaks."""

    def __init__(self, lab, nodes):
        self.lab = lab
        self.all = list(nodes)
        self.live = list(nodes)

    def ctl(self, node, *args, seconds=400, check=True):
        """One command with --json: what it said, as an object."""
        done = self.lab.exec(node, "clusterctl", *args, "--json", seconds=seconds, check=False)
        try:
            said = json.loads(done.out) if done.out.strip() else {}
        except ValueError:
            said = {"error": done.said()}
        if check and done.code != 0:
            text = said.get("error") or said.get("text") or done.said()
            raise StoryError(f"on {node}: clusterctl {shlex.join(args)}: status {done.code}: {text}")
        said["exit"] = done.code
        return said

    def ask(self, *args, avoid=(), **kw):
        """On the first node that answers: one may just be lost, and it costs a look to know."""
        last = None
        for node in [n for n in self.live if n not in avoid] or self.live:
            try:
                return self.ctl(node, *args, **kw)
            except StoryError as e:
                last = e
        raise last

    def status(self, node=None):
        return self.ctl(node, "status") if node else self.ask("status")

    def vm(self, name):
        return self.ask("vm", "show", name)["vm"]

    def vm_node(self, name):
        return self.vm(name)["node"]

    def volume(self, name):
        for v in self.ask("volume", "list")["volumes"]:
            if v["name"] == name:
                return v
        raise StoryError(f"volume {name} is not in the list")

    def nodes(self):
        return {n["name"]: n for n in self.ask("node", "list")["nodes"]}

    def wait_vm(self, name, state, seconds=400):
        def probe():
            vm = self.vm(name)
            if vm["state"] == state:
                return vm
            raise StoryError(f"{name} is {vm['state']} at {vm['node']}: {vm.get('reason')}")
        return wait(f"VM {name} to be {state}", seconds, probe)

    def wait_nodes(self, state, names, seconds=400):
        def probe():
            nodes = self.nodes()
            bad = [f"{n} is {nodes[n]['state']} ({nodes[n].get('reason')})" for n in names
                   if nodes[n]["state"] != state]
            if not bad:
                return nodes
            raise StoryError(", ".join(bad))
        return wait(f"{' '.join(names)} to be {state}", seconds, probe)

    def wait_volume(self, name, seconds=400):
        def probe():
            v = self.volume(name)
            missing = [n for n in self.live if n not in (v.get("attached") or [])]
            if v["state"] == "active" and not missing:
                return v
            raise StoryError(f"{name} is {v['state']}, owner {v['owner']}, not attached at "
                             f"{missing}: {v.get('reason')}")
        return wait(f"volume {name} to be active on {' '.join(self.live)}", seconds, probe)


class EventWatch:
    """clusterctl events --follow on one node; each event gets the time at which we heard it."""

    def __init__(self, cluster, node):
        self.node = node
        self.events = []
        self.lock = threading.Lock()
        # What happened before is not ours: after the last event that there is; that one once more, as the
        # sign that the watch has begun.
        past = cluster.ctl(node, "events").get("events") or []
        self.last = past[-1]["id"] if past else 0
        self.proc = cluster.lab.exec_popen(node, "clusterctl", "events", "--follow", "--since",
                                           str(max(self.last - 1, 0)), "--json", stdout=-1)
        self.begun = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if past and not self.begun.wait(60):
            raise StoryError(f"on {node}: clusterctl events --follow tells nothing")

    def _read(self):
        for line in self.proc.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self.begun.set()
            if isinstance(event, dict) and event.get("id", 0) > self.last:
                event["heard"] = time.time()
                with self.lock:
                    self.events.append(event)

    def since(self, moment):
        with self.lock:
            return [e for e in self.events if e["heard"] >= moment]

    def first(self, moment, obj, name, states):
        """When we first heard that an object came into one of these states, or None."""
        for e in self.since(moment):
            if e.get("object") == obj and e.get("name") == name and e.get("new") in states:
                return e["heard"]
        return None

    def stop(self):
        self.proc.kill()
        self.proc.wait()

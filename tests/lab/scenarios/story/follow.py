# SPDX-License-Identifier: GPL-2.0-or-later
"""What the clients outside heard: the log of one guest's acknowledgements and figures from it."""
import itertools
import os
import subprocess
import time
from collections import namedtuple

from .tools import StoryError, wait

Ack = namedtuple("Ack", "heard connection seq generation boot mono wall")  # times in seconds


class Follower:
    """Starts the client for one guest; the log goes on over restarts of the story."""

    def __init__(self, lab, name, address, path):
        self.name, self.address, self.path = name, address, path
        self.acks = []
        self.notes = []
        self.offset = 0
        self.rest = b""
        self.sent = {}  # of the log, by node and file: bytes that are there
        client = os.path.join(os.path.dirname(os.path.realpath(__file__)), "follow_client.py")
        self.proc = subprocess.Popen(["ip", "netns", "exec", lab.netns(), "python3", client,
                                      address, path], stdin=subprocess.DEVNULL)

    def stop(self):
        """No more is written; what was stays readable."""
        if self.proc:
            self.proc.kill()
            self.proc.wait()
            self.proc = None

    def read(self):
        """Take in what was written since the last call."""
        if self.proc and self.proc.poll() is not None:
            raise StoryError(f"the client of {self.name} ended by itself")
        try:
            with open(self.path, "rb") as f:
                f.seek(self.offset)
                data = f.read()
        except FileNotFoundError:
            return self.acks
        self.offset += len(data)
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            w = line.decode("ascii", "replace").split()
            if len(w) > 3 and w[2] == "ack":
                self.acks.append(Ack(int(w[0]) / 1e9, w[1], int(w[3]), int(w[4]), w[5],
                                     int(w[6]) / 1e9, int(w[7]) / 1e9))
            elif len(w) > 3:
                self.notes.append((int(w[0]) / 1e9, " ".join(w[3:])))
        return self.acks

    def bytes(self):
        """The log as it is, for the checker."""
        self.read()
        with open(self.path, "rb") as f:
            data = f.read(self.offset)
        return data[:data.rfind(b"\n") + 1]

    def wait_ack(self, since, seconds=400, boot_not=None, count=1, what="acknowledged stamps"):
        """Until count acknowledgements were heard after a moment; the first of them."""
        def probe():
            got = list(itertools.takewhile(lambda a: a.heard > since, reversed(self.read())))
            got = [a for a in reversed(got) if a.boot != boot_not]
            if len(got) >= count:
                return got[0]
            raise StoryError(f"{len(got)} heard, client says {self.notes[-1:]}")
        return wait(f"{what} of VM {self.name}", seconds, probe, 0.2)

    def last(self):
        acks = self.read()
        if not acks:
            raise StoryError(f"nothing was heard of VM {self.name} yet")
        return acks[-1]

    def gap(self, begin, end):
        """Largest pause between stamps in a window, in ms: as the client heard it, as the guest's clock says."""
        window = [a for a in self.read() if begin <= a.heard <= end]
        before = [a for a in self.acks if a.heard < begin][-1:]
        window = before + window
        heard = mono = 0.0
        for a, b in zip(window, window[1:]):
            heard = max(heard, b.heard - a.heard)
            if a.boot == b.boot:
                mono = max(mono, b.mono - a.mono)
        return {"client_ms": round(heard * 1000), "guest_ms": round(mono * 1000)}

    def connections(self, begin):
        """The connections that brought something since a moment."""
        return {a.connection for a in self.read() if a.heard >= begin}

    def settle(self, count=50):
        """Until the guest was heard a while: so many acknowledgements."""
        self.wait_ack(time.time(), count=count)

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""follow_client ADDRESS FILE: a client outside the cluster that writes down what a guest acknowledged.

Runs in the lab's network namespace. Each line of FILE is "RECEIVED_NS CONNECTION ack ..." or
"RECEIVED_NS CONNECTION note text". One connection is kept as long as the guest it reaches lives: when it
has been silent a while, a second one asks whether another boot answers, and only then takes its place.
"""
import select
import socket
import sys
import time

PORT = 7777
SILENT_S = 1.5


class Client:
    def __init__(self, address, path):
        self.address = address
        self.out = open(path, "a", buffering=1 << 16, encoding="ascii")  # noqa: SIM115
        self.number = time.time_ns()  # of the connection; new at each restart of this program
        self.sock = None
        self.boot = None
        self.rest = b""
        self.last_data = 0.0

    def note(self, text):
        self.out.write(f"{time.time_ns()} {self.number} note {text}\n")
        self.out.flush()

    def connect(self):
        s = socket.create_connection((self.address, PORT), timeout=1.0)
        s.settimeout(1.0)
        return s

    def follow(self, s):
        s.sendall(b"follow\n")
        s.setblocking(False)
        if self.sock:
            self.sock.close()
        self.sock, self.rest, self.boot = s, b"", None
        self.number += 1
        self.last_data = time.monotonic()
        self.note("connected")

    def other_boot(self):
        """A connection to a guest that is not the one we follow, or None."""
        s = None
        try:
            s = self.connect()
            s.sendall(b"stamp\n")
            words = s.recv(512).split()
            if len(words) > 3 and self.boot and words[3] != self.boot:
                return s
        except OSError:
            pass
        if s:
            s.close()
        return None

    def take(self, data):
        now = time.time_ns()
        self.last_data = time.monotonic()
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            words = line.split()
            if words and words[0] == b"ack" and len(words) == 8:
                self.boot = words[3]
                self.out.write(f"{now} {self.number} {line.decode('ascii', 'replace')}\n")
        self.out.flush()

    def run(self):
        while True:
            if not self.sock:
                try:
                    self.follow(self.connect())
                except OSError:
                    time.sleep(0.2)
                continue
            ready = select.select([self.sock], [], [], 0.2)[0]
            try:
                if ready:
                    data = self.sock.recv(65536)
                    if not data:
                        raise OSError("closed by the guest")
                    self.take(data)
                elif time.monotonic() - self.last_data > SILENT_S:
                    other = self.other_boot()
                    if other:
                        self.note("another boot answers")
                        self.follow(other)
            except OSError as e:
                self.note(f"lost: {e}")
                self.sock.close()
                self.sock = None


if __name__ == "__main__":
    Client(sys.argv[1], sys.argv[2]).run()

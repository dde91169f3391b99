# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures this machine's TSC frequency, which emulated CPUs share.

A kernel that measures it itself while the machine is busy can be wrong by a quarter and more; then
that node's clock, and every time-out in it, runs fast. So the nodes are told.
"""
import ctypes
import mmap
import time

RDTSC = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"  # rdtsc; shl rdx,32; or rax,rdx; ret


def reading(rdtsc):
    """(ns, ticks) of one moment: the tightest of many tries, whatever else runs here."""
    best = None
    for _ in range(200):
        before = time.monotonic_ns()
        ticks = rdtsc()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, ticks)
    return best[1], best[2]


def measure_khz(seconds=0.5):
    """kHz, or None where it cannot be measured (no executable memory)."""
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    code.write(RDTSC)
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    ns0, ticks0 = reading(rdtsc)
    time.sleep(seconds)
    ns1, ticks1 = reading(rdtsc)
    return round((ticks1 - ticks0) * 1_000_000 / (ns1 - ns0))

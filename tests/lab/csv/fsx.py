#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random writes, truncates, holes and reads of one file against a model in memory.

fsx.py FILE SEED OPERATIONS [MAX-BYTES [PLANT]]      prints the digest of the file at the end

PLANT: at that operation a byte of the file is changed behind the model's back, which must be noticed.
"""
import hashlib
import os
import random
import sys


def main():
    path, seed, operations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else 512 * 1024
    plant = int(sys.argv[5]) if len(sys.argv) > 5 else -1
    rnd = random.Random(seed)
    model = bytearray()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    for step in range(operations):
        what = rnd.random()
        off, size = rnd.randrange(limit), rnd.randrange(1, 96 * 1024)
        if rnd.random() < 0.4:
            off, size = off // 4096 * 4096, (size + 4095) // 4096 * 4096
        if what < 0.5:
            data = rnd.randbytes(size)
            done = os.pwrite(fd, data, off)
            if done != size:
                sys.exit(f"step {step}: short write {done} of {size}")
            if len(model) < off:
                model.extend(bytes(off - len(model)))
            model[off:off + size] = data
        elif what < 0.6:
            os.ftruncate(fd, off)
            if len(model) > off:
                del model[off:]
            else:
                model.extend(bytes(off - len(model)))
        elif what < 0.65:
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
        else:
            got = os.pread(fd, size, off)
            if got != bytes(model[off:off + size]):
                sys.exit(f"step {step}: read of {size} at {off} is not what was written")
        if step == plant:
            if not model:
                sys.exit("nothing to plant a fault in")
            os.pwrite(fd, bytes([model[len(model) // 2] ^ 1]), len(model) // 2)
        if os.fstat(fd).st_size != len(model):
            sys.exit(f"step {step}: size {os.fstat(fd).st_size}, expected {len(model)}")
    os.lseek(fd, 0, os.SEEK_SET)
    got = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
    if got != bytes(model):
        sys.exit("end: the file is not what was written")
    print(hashlib.md5(got).hexdigest())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold, judged from outside the product. Run alone it proves that each rule can fail."""
import sqlite3
import sys


class Violation(Exception):
    pass


def writes_check(lines):
    """Accepted writes of each object: the generation never falls, and an instance that was followed by another never writes again.

    A line of the target's log: TIME NODE written|conflict|attention OBJECT GENERATION INSTANCE. Returns (accepted, refused, objects).
    """
    last, gone, accepted, refused = {}, {}, 0, 0
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) != 6:
            continue
        _, node, outcome, thing, generation, instance = words
        if outcome != "written":
            refused += outcome == "conflict"
            continue
        accepted += 1
        generation = int(generation)
        if thing in last:
            old_generation, old_instance, old_node = last[thing]
            if generation < old_generation:
                raise Violation(f"{thing}: node {node} wrote as generation {generation} after node {old_node} had as {old_generation} "
                                f"(write {number})")
            if instance != old_instance:
                gone.setdefault(thing, set()).add(old_instance)
        if instance in gone.get(thing, ()):
            raise Violation(f"{thing}: {instance} of node {node} wrote after another copy had begun to (write {number})")
        last[thing] = generation, instance, node
    return accepted, refused, len(last)


def history_check(history, final):
    """Linearizability of the names that operators created and deleted, each name alone.

    history: [(name, "create"|"delete", call, end, outcome)], outcome "ok", "exists", "absent", or "unknown" (may have happened, or happen yet).
    final: names that are there at the end.
    """
    for name in {item[0] for item in history}:
        operations = [item[1:] for item in history if item[0] == name]
        operations.append(("read", float("inf"), float("inf"), "exists" if name in final else "absent"))
        if not linearizable(operations):
            text = "; ".join(f"{op} {call:.2f}-{end:.2f} {outcome}" for op, call, end, outcome in operations)
            raise Violation(f"VM {name}: no order explains what operators were told: {text}")


def step(there, op, outcome):
    """The state after an operation with that outcome, or None if it cannot be."""
    if outcome == "exists":
        return there if there else None
    if outcome == "absent":
        return None if there else there
    if op == "create":
        return True if not there else None
    return False if there else None


def linearizable(operations):
    """Wing and Gong's search; an unknown operation may take effect at any time after its call, or never."""
    certain = [op[3] != "unknown" for op in operations]
    seen, stack, full = set(), [(0, False)], sum(1 << i for i, sure in enumerate(certain) if sure)
    while stack:
        done, there = stack.pop()
        if done & full == full:
            return True
        if (done, there) in seen:
            continue
        seen.add((done, there))
        # Only what was called before the first of the rest had ended may come next.
        first_end = min(op[2] for i, op in enumerate(operations) if certain[i] and not done >> i & 1)
        for i, (op, call, _, outcome) in enumerate(operations):
            if done >> i & 1 or call > first_end:
                continue
            after = step(there, op, "ok" if outcome == "unknown" else outcome)
            if after is not None:
                stack.append((done | 1 << i, after))
    return False


def logs_check(paths):
    """What two nodes hold as committed is the same."""
    known = {}
    for path in paths:
        base = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            commit = dict(base.execute("SELECT key, value FROM meta")).get("commit", 0)
            rows = base.execute("SELECT seq, epoch, hash FROM entry WHERE seq <= ?", (commit,)).fetchall()
            rows += base.execute("SELECT seq, epoch, hash FROM snapshot").fetchall()
        finally:
            base.close()
        for seq, epoch, digest in rows:
            if known.setdefault(seq, (epoch, digest, path))[:2] != (epoch, digest):
                raise Violation(f"entry {seq}: {path} holds another than {known[seq][2]}")
    return len(known)


def must_fail(what, function, *args):
    try:
        function(*args)
    except Violation:
        return 0
    print(f"NOT OK: {what} was not noticed")
    return 1


def main():
    good = ["1 1 written vm/a 5 X", "2 2 conflict vm/a 4 Z", "3 1 written vm/a 5 X", "4 2 written vm/a 6 Y", "5 2 written vm/a 6 Y"]
    bad = 0
    if writes_check(good) != (4, 1, 1):
        bad += 1
    bad += must_fail("a write of an older generation", writes_check, good + ["6 1 written vm/a 5 X"])
    bad += must_fail("two copies of one generation", writes_check,
                     ["1 1 written vm/a 5 X", "2 2 written vm/a 5 Y", "3 1 written vm/a 5 X"])
    ok = [("c", "create", 0, 1, "ok"), ("c", "create", 2, 3, "exists"), ("c", "delete", 4, 9, "unknown"), ("c", "create", 5, 6, "ok")]
    history_check(ok, {"c"})
    bad += must_fail("a change that was acknowledged and is lost", history_check, ok[:1], set())
    bad += must_fail("a second creation", history_check, [("c", "create", 0, 1, "ok"), ("c", "create", 2, 3, "ok")], {"c"})
    bad += must_fail("a stale refusal", history_check, [("c", "create", 0, 1, "ok"), ("c", "delete", 2, 3, "absent")], {"c"})
    history_check([("c", "create", 0, 5, "ok"), ("c", "delete", 1, 3, "absent")], {"c"})
    print(f"{bad} rules are blind")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every order in which a few threads can take and release one lock of src/lib/lock.c.

usage: lock_protocol.py

Each step of a thread below is one atomic step of the C code on the lock's word or on the futex' queue. All states that
can be reached are visited, for each choice of up to four threads of three kinds, and none may have two holders, nor a
thread that sleeps without a bound when nothing else can happen. The kinds:

  acquire  waits for the lock, without a bound unless it met a quiet holder: lock_acquire(), which in truth
           looks now and then besides
  try      lock_try(): takes it quietly if it is free; its release wakes nobody
  until    acquire_until(), of fork: waits in bounded steps, and may go without the lock

The same search must find what is wrong with two faulty ways to wait for a time only.
"""

import itertools
import sys

FREE, HELD, WAITED, QUIET = "free", "held", "waited", "quiet"
SEARCHED = 4


def after(thread, where, **changes):
    return dict(thread, at=where, **changes)


def fast(word, thread, fault):
    """The compare-and-swap of FREE that comes first."""
    quiet = thread["kind"] == "try" or thread["kind"] == "until" and fault == "polls"
    if word == FREE:
        yield (QUIET if quiet else HELD), after(thread, "holds", quiet=quiet), None
    elif thread["kind"] == "try":
        yield word, after(thread, "ends"), None
    else:
        yield word, after(thread, "polls" if quiet else "marks"), None


def polls(word, thread, _fault):
    """Faulty: sleeps beside the waiters without being one."""
    if word != FREE:
        yield word, after(thread, "sleeps", bounded=True), None
    yield word, after(thread, "fast"), None
    yield word, after(thread, "ends"), None


def marks(word, thread, _fault):
    """The exchange with WAITED."""
    if word == FREE:
        yield WAITED, after(thread, "holds", quiet=False), None
        return
    until = thread["kind"] == "until"
    yield WAITED, after(thread, "waits", bounded=thread["bounded"] or until or word == QUIET), None
    if until:
        yield WAITED, after(thread, "goes"), None


def waits(word, thread, _fault):
    """futex compares the word and queues the thread in one step."""
    yield word, after(thread, "sleeps" if word == WAITED else "marks"), None


def sleeps(word, thread, fault):
    if thread["bounded"]:
        yield word, awake(thread, fault), None


def awake(thread, fault):
    return after(thread, "fast" if thread["kind"] == "until" and fault == "polls" else "marks")


def holds(word, thread, _fault):
    """The exchange with FREE of the release."""
    yield FREE, after(thread, "wakes" if word == WAITED and not thread["quiet"] else "ends"), None


def wakes(word, thread, _fault):
    yield word, after(thread, "ends"), "one"


def goes(word, thread, fault):
    """Out of time: the compare-and-swap of WAITED."""
    yield (QUIET if word == WAITED and fault != "only wakes" else word), after(thread, "wakes all"), None


def wakes_all(word, thread, _fault):
    yield word, after(thread, "ends"), "all"


STEPS = {"fast": fast, "polls": polls, "marks": marks, "waits": waits, "sleeps": sleeps, "holds": holds, "wakes": wakes,
         "goes": goes, "wakes all": wakes_all, "ends": lambda *_: ()}


def freeze(word, threads):
    return word, tuple(tuple(thread.items()) for thread in threads)


def successors(word, threads, fault):
    for i, thread in enumerate(threads):
        for next_word, changed, wake in STEPS[thread["at"]](word, thread, fault):
            others = threads[:i] + [changed] + threads[i + 1:]
            asleep = [j for j, other in enumerate(others) if other["at"] == "sleeps"]
            for woken in [asleep] if wake != "one" or not asleep else [[j] for j in asleep]:
                yield next_word, [awake(other, fault) if wake and j in woken else other
                                  for j, other in enumerate(others)]


def search(kinds, fault=None):
    """(what is wrong or None, the states visited)."""
    start = [{"kind": kind, "at": "fast", "quiet": False, "bounded": False} for kind in kinds]
    seen, left = {freeze(FREE, start)}, [(FREE, start)]
    while left:
        word, threads = left.pop()
        if sum(thread["at"] == "holds" for thread in threads) > 1:
            return "two hold the lock", len(seen)
        more = list(successors(word, threads, fault))
        if not more and any(thread["at"] != "ends" for thread in threads):
            return "one sleeps for ever", len(seen)
        for state in more:
            frozen = freeze(*state)
            if frozen not in seen:
                seen.add(frozen)
                left.append(state)
    return None, len(seen)


def search_all(most, fault=None):
    """What is wrong with any choice of threads, and how many states they have."""
    wrong, states = [], 0
    for count in range(1, most + 1):
        for kinds in itertools.combinations_with_replacement(("acquire", "try", "until"), count):
            found, visited = search(kinds, fault)
            states += visited
            if found:
                wrong.append("%s: %s" % (", ".join(kinds), found))
    return wrong, states


def main():
    failed = 0
    wrong, states = search_all(SEARCHED)
    print("%d states of up to %d threads" % (states, SEARCHED))
    for line in wrong:
        print("FAIL:", line)
    failed += bool(wrong)
    for fault in ("polls", "only wakes"):
        wrong, _ = search_all(3, fault)
        print("fault '%s': %s" % (fault, wrong[0] if wrong else "FAIL: not found"))
        failed += not wrong
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

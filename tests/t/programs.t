#!/usr/bin/env python3
# timeout: 600
# Every test program on four ranks: under none and, without failures and then with a kill in its middle, under pessimistic.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
for number, program in enumerate(h.programs().values()):
    with h.Folder("none") as folder:
        result = h.run(h.egida_command(program.path, program.short), folder.path, 60, program.stdin())
        expected = h.outcome(result, program.compare, program.files)
        if not tap.ok(result.status == 0 and not result.left, "%s under none" % program.name, result.tail()):
            continue
    with h.Folder("pessimistic") as folder:
        result = h.run(h.egida_command(program.path, program.short, spec="pessimistic"), folder.path, 60, program.stdin())
        why = h.difference(expected, h.outcome(result, program.compare, program.files))
        if not tap.ok(not why and not result.left, "%s under pessimistic" % program.name, why + "\n" + result.tail()):
            continue
    if not program.paced or "children" in program.traits:  # a child that runs when its parent dies is lost: README, limits
        continue
    with h.Folder("none") as folder:
        result = h.run(h.egida_command(program.path, program.paced), folder.path, 60, program.stdin())
        expected = h.outcome(result, program.compare, program.files)
        if result.status != 0:
            tap.ok(False, "%s under none, slowly" % program.name, result.tail())
            continue
    with h.Folder("kill") as folder:
        result = h.run(h.egida_command(program.path, program.paced, spec="pessimistic", options=["--inject", "kill:%d@1s" % (number % 4)]),
                       folder.path, 60, program.stdin())
        why = h.difference(expected, h.outcome(result, program.compare, program.files))
        if not why and "recovered" not in result.err:
            why = "no recovery was reported"
        tap.ok(not why and not result.left, "%s with rank %d killed after 1 s" % (program.name, number % 4), why + "\n" + result.tail())
tap.end()

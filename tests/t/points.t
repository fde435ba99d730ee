#!/usr/bin/env python3
# timeout: 400
# Kills at named points, several at once, the same rank again and again, during recovery.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

CASES = [
    ["kill:0@init"], ["kill:3@init"], ["kill:1@finalize"], ["kill:0@finalize"], ["kill:2@send#1"], ["kill:1@send#50"], ["kill:0@recv#1"],
    ["kill:3@recv#77"], ["kill:2@checkpoint"], ["kill:1@0.3s", "kill:1@recovery"],
    ["kill:0@0.8s", "kill:1@0.8s"], ["kill:0@0.8s", "kill:1@0.8s", "kill:2@0.8s", "kill:3@0.8s"],
    ["kill:2@0.5s", "kill:2@0.9s", "kill:2@1.3s"], ["kill:1@0.5s", "kill:2@recovery", "kill:2@0.6s"],
]
tap = h.Tap()
for name in ("ring", "history", "output", "absence"):
    program = h.programs()[name]
    with h.Folder("none") as folder:
        reference = h.run(h.egida_command(program.path, program.paced), folder.path, 60)
        expected = h.outcome(reference, program.compare, program.files)
        if not tap.ok(reference.status == 0, "%s under none" % name, reference.tail()):
            continue
    cases = CASES if name == "ring" else CASES[4:8] + CASES[9:12]
    for number, case in enumerate(cases):
        options = [word for point in case for word in ("--inject", point)]
        if number % 3 == 2 or "kill:2@checkpoint" in case:
            options += ["--interval", "300ms"]
        with h.Folder("points") as folder:
            result = h.run(h.egida_command(program.path, program.paced, spec="pessimistic", options=options), folder.path, 60)
            why = h.difference(expected, h.outcome(result, program.compare, program.files))
            if not why and "killed" not in result.err:
                why = "nothing was killed"
            tap.ok(not why and not result.left, "%s with %s" % (name, " ".join(options)), why + "\n" + result.tail())
tap.end()

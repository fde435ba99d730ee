#!/usr/bin/env python3
# timeout: 400
# Under specs/none.egd every program gives what it gives under a stock mpiexec. Two ranks: stock MPICH spins.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
for program in h.programs().values():
    with h.Folder("stock") as stock, h.Folder("none") as none:
        reference = h.run(["mpiexec.mpich", "-n", "2", program.path, *program.short], stock.path, 60, program.stdin())
        expected = h.outcome(reference, program.compare, program.files)
        if reference.status != 0:
            tap.ok(False, "%s under stock mpiexec" % program.name, reference.tail())
            continue
        result = h.run(h.egida_command(program.path, program.short, ranks=2), none.path, 60, program.stdin())
        why = h.difference(expected, h.outcome(result, program.compare, program.files))
        tap.ok(not why and not result.left, "%s under none is as under stock mpiexec (%.1f s, stock %.1f s)" % (
            program.name, result.seconds, reference.seconds), why + "\n" + result.tail())
tap.end()

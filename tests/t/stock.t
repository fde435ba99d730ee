#!/usr/bin/env python3
# timeout: 400
# Under specs/none.egd every program gives what it gives under a stock mpiexec. Two ranks: stock MPICH spins.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
for program in h.programs().values():
    # Debian's MPICH 4.0.2 loses a put of a post-start epoch between just two ranks of one node.
    ranks, args = (4, ["3"]) if program.name == "rma" else (2, program.short)
    with h.Folder("stock") as stock, h.Folder("none") as none:
        reference = h.run(["mpiexec.mpich", "-n", str(ranks), program.path, *args], stock.path, 60, program.stdin())
        expected = h.outcome(reference, program.compare, program.files)
        if reference.status != 0:
            tap.ok(False, "%s under stock mpiexec" % program.name, reference.tail())
            continue
        result = h.run(h.egida_command(program.path, args, ranks=ranks), none.path, 60, program.stdin())
        got = h.outcome(result, program.compare, program.files)
        if program.compare == "sorted":  # stock mpiexec does not keep lines whole: compare all bytes without their order
            expected["stdout"], got["stdout"] = bytes(sorted(expected["stdout"])), bytes(sorted(got["stdout"]))
        why = h.difference(expected, got)
        tap.ok(not why and not result.left, "%s under none is as under stock mpiexec (%.1f s, stock %.1f s)" % (
            program.name, result.seconds, reference.seconds), why + "\n" + result.tail())
tap.end()

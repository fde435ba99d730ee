#!/usr/bin/env python3
# How jobs end: the program's own status, MPI_Abort, crashes that repeat, failures without protection, output after MPI_Finalize.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
ending = os.path.join(h.PROGRAMS, "ending")


def check(what, args, spec, status, words=(), options=(), out=None):
    with h.Folder("ending") as folder:
        result = h.run(h.egida_command(ending, args, spec=spec, options=options), folder.path, 40)
        missing = [w for w in words if w not in result.err]
        good = result.status in (status if isinstance(status, tuple) else (status,)) and not missing and not result.left
        if out is not None:
            good = good and sorted(result.out.split(b"\n")) == sorted(out.split(b"\n"))
        tap.ok(good, "%s under %s: status %s" % (what, spec, status), "missing words: %s\n%s" % (missing, result.tail()))


late = b"ending late: ef1ee9880bb0a1eb\n" + b"".join(b"last words of %d\n" % r for r in range(4))
for spec in ("none", "pessimistic"):
    check("all end well", ["quiet"], spec, 0)
    check("exit(3) after MPI_Finalize", ["exit"], spec, 3)
    check("MPI_Abort(3) by rank 1", ["abort", "1"], spec, 3)
    check("exit(5) by rank 2 without MPI_Finalize", ["early", "2"], spec, 5)
    check("output from atexit", ["late"], spec, 0, out=late)
check("SIGSEGV at the same place again", ["segv", "1"], "pessimistic", 75, ["rank 1", "determin"])
check("abort() at the same place again", ["assert", "3"], "pessimistic", 75, ["rank 3", "determin"])
check("SIGSEGV without protection", ["segv", "1"], "none", 139, ["rank 1"])
check("a kill without protection", ["quiet", "0", "100000"], "none", 137, ["rank 2"], ["--inject", "kill:2@send#20"])
check("a kill in MPI_Finalize", ["late"], "pessimistic", 0, ["killed"], ["--inject", "kill:1@finalize"], out=late)
check("too many restarts", ["quiet", "0", "200000"], "pessimistic", 75, ["max-restarts"],
      ["--max-restarts", "1", "--inject", "kill:1@send#10", "--inject", "kill:1@send#20", "--inject", "kill:1@send#30"])
tap.end()

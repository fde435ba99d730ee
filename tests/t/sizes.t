#!/usr/bin/env python3
# timeout: 400
# Other numbers of ranks than four: one, odd ones, many more than processors; with a kill.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
for name in ("ring", "collectives", "communicators", "rma", "history", "modes"):
    program = h.programs()[name]
    args = {"rma": ["3", "20000"]}.get(name, ["10" if name != "history" else "400", "40000"])
    for ranks in (1, 3, 7, 16):
        with h.Folder("sizes") as folder:
            reference = h.run(h.egida_command(program.path, args, ranks=ranks), folder.path, 60)
            expected = h.outcome(reference)
        with h.Folder("sizes") as folder:
            options = ["--inject", "kill:%d@0.4s" % (ranks - 1)]
            result = h.run(h.egida_command(program.path, args, ranks=ranks, spec="pessimistic", options=options), folder.path, 60)
            why = h.difference(expected, h.outcome(result))
            tap.ok(reference.status == 0 and not why and not result.left, "%s on %d ranks with a kill (%.1f s)" % (name, ranks, result.seconds),
                   why + "\n" + reference.tail(4) + result.tail())
tap.end()

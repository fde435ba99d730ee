#!/usr/bin/env python3
# timeout: 600
# Several simulated nodes: nothing fails; ranks, nodes and agents are lost, with and without a spare; f = 2.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
programs = h.programs()
references = {}


def reference(program, ranks):
    if (program.name, ranks) not in references:
        with h.Folder("none") as folder:
            result = h.run(h.egida_command(program.path, program.paced, ranks=ranks), folder.path, 60, program.stdin())
            references[program.name, ranks] = h.outcome(result, program.compare, program.files)
    return references[program.name, ranks]


def check(name, ranks, options, spec="pessimistic", word="recovered"):
    program = programs[name]
    expected = reference(program, ranks)
    with h.Folder("nodes") as folder:
        result = h.run(h.egida_command(program.path, program.paced, ranks=ranks, spec=spec, options=options), folder.path, 60, program.stdin())
        why = h.difference(expected, h.outcome(result, program.compare, program.files))
        if not why and word and word not in result.err:
            why = "'%s' was not said" % word
        tap.ok(not why and not result.left, "%s -n %d %s %s" % (name, ranks, spec, " ".join(options)), why + "\n" + result.tail())


for name in ("ring", "workers", "rma", "bigsend", "modes", "probing", "files", "stdin", "output"):
    check(name, 4, ["--nodes", "2"], word="")
check("ring", 6, ["--nodes", "3"], spec="none", word="")
for name in ("ring", "history", "absence", "bigsend"):
    check(name, 4, ["--nodes", "2", "--inject", "kill:1@1s"])
    check(name, 4, ["--nodes", "2", "--spares", "1", "--inject", "node:1@1s"])
check("ring", 4, ["--nodes", "2", "--inject", "node:0@1s"])
check("polling", 6, ["--nodes", "3", "--inject", "node:2@0.8s"])
check("random", 6, ["--nodes", "3", "--inject", "kill:0@0.8s", "--inject", "kill:5@0.8s"])
check("output", 6, ["--nodes", "3", "--spares", "1", "--inject", "node:1@1s"])
check("history", 6, ["--nodes", "3", "--spares", "1", "--inject", "node:1@0.7s", "--inject", "kill:0@1.4s"])
check("ring", 4, ["--nodes", "2", "--inject", "agent:1@0.8s"], word="")
check("history", 4, ["--nodes", "2", "--inject", "kill:3@1s"], spec="pessimistic-nfs")
check("ring", 4, ["--nodes", "2", "--spares", "1", "--inject", "node:0@1s"], spec="pessimistic-nfs")
# images may begin while a rank waits for its determinants in the middle of a file operation
for name in ("files", "fortran_files", "cxx"):
    for _ in range(2):
        check(name, 4, ["--nodes", "2", "--interval", "200ms", "--inject", "node:1@1.08s"])
    check(name, 4, ["--nodes", "2", "--interval", "50ms", "--inject", "kill:3@1.08s"])
tap.end()

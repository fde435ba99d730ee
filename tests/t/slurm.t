#!/usr/bin/env python3
# timeout: 400
# Jobs in a real Slurm cluster on one machine, one of each scenario of tests/lab/campaign that is quick enough; and what Slurm does without Egida.
import os, random, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h
import slurmcases as cases
import slurmlab

LIMIT = 0.6  # of silence, in seconds: machines that run tests may be busy
SLOW = ("time-limit", "too-many", "two-nfs")
PROGRAMS = ("ring", "output", "files", "history", "stdin")

why = slurmlab.why_not()
if why:
    h.skip_all(why)
tap = h.Tap()
known = cases.programs()
with slurmlab.Lab() as lab:
    folder = lab.new_folder()
    status, out, err = lab.as_user("srun", "-N4", "-l", "hostname", folder=folder)
    tap.ok(status == 0 and sorted(out.split()[1::2]) == ["n1", "n2", "n3", "n4"] and "egida" not in err, "a job without Egida", err)
    status, out, err = lab.as_user("srun", "-N4", "--egida-spec=no-such-protocol", "hostname", folder=folder)
    tap.ok(status == 1 and not out and "no-such-protocol" in err, "a specification that does not exist: nothing is launched", err)
    status, out, err = lab.as_user("srun", "-N4", "--egida-spec=pessimistic", "sh", "-c", "exit 3", folder=folder)
    tap.ok(status != 0 and "egida" in err, "a program that is none of MPI ends with an error", "status %d\n%s" % (status, err))

for number, name in enumerate(cases.SCENARIOS):
    if name in SLOW:
        continue
    rng = random.Random("slurm.t %s" % name)
    with slurmlab.Lab() as lab:
        judgement = cases.judge(name, lab, rng, known[PROGRAMS[number % len(PROGRAMS)]], LIMIT, 60)
    what = "%s: %s, %s" % (name, judgement.run.program.name, "; ".join(judgement.run.what) or "nothing happened")
    tap.ok(not judgement.bad, what, "%s: %s\n%s" % (judgement.kind, judgement.why, judgement.result.tail(15)))
tap.end()

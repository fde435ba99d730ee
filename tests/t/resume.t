#!/usr/bin/env python3
# The launcher is killed: the job is put to rest and egida run --resume goes on; the output of both parts together is the undisturbed one.
import os, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
for name in ("output", "ring", "history"):
    program = h.programs()[name]
    with h.Folder("none") as folder:
        reference = h.run(h.egida_command(program.path, program.paced), folder.path, 60)
        expected = h.outcome(reference, program.compare)
    with h.Folder("resume") as folder:
        env = dict(os.environ, **{h.MARK: "resume-" + name})
        out_path = os.path.join(folder.path, "first.out")
        with open(out_path, "wb") as out, open(os.path.join(folder.path, "err"), "wb") as err:
            child = subprocess.Popen(h.egida_command(program.path, program.paced, spec="pessimistic"), cwd=folder.path, stdout=out, stderr=err,
                                     stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        time.sleep(1.2)
        child.kill()
        child.wait()
        until = time.monotonic() + 12
        while h.marked("resume-" + name) and time.monotonic() < until:
            time.sleep(0.1)
        left = h.marked("resume-" + name)
        h.sweep("resume-" + name)
        tap.ok(not left, "%s: after the launcher's death all processes end" % name, left)
        jobs = h.history(folder.path, "jobs")
        if not tap.ok(len(jobs) == 1, "%s: the job is in the history" % name, jobs):
            continue
        result = h.run([h.EGIDA, "run", "--resume", jobs[0]["job"]], folder.path, 60)
        with open(out_path, "rb") as f:
            result.out = f.read() + result.out
        why = h.difference(expected, h.outcome(result, program.compare))
        tap.ok(not why and not result.left, "%s: both parts together" % name, why + "\n" + result.tail())
with h.Folder("resume") as folder:
    result = h.run([h.EGIDA, "run", "--resume", "no-such-job"], folder.path, 20)
    tap.ok(result.status not in (0, 124) and "no-such-job" in result.err, "an unknown job", result.tail())
tap.end()

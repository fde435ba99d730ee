#!/usr/bin/env python3
# The launcher is killed: the job is put to rest and egida run --resume goes on; the output of both parts together is the undisturbed one.
# The same when everything of a job is killed at once and its determinants are on the disk.
import os, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()


def kill_node(folder, node):
    """The processes of a simulated node: its agent, the watchdogs and ranks below it."""
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
    def words(pid):
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                return f.read().decode(errors="replace").split("\0")
        except OSError:
            return []
    def children(pid):
        try:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                return [int(word) for word in f.read().split()]
        except OSError:
            return []
    for pid in pids:
        line = words(pid)
        if line[:1] == ["egida-agent"] and folder in line[1] and line[2] == str(node):
            doomed = [pid]
            for one in doomed:
                doomed += children(one)
            for one in doomed:
                try:
                    os.kill(one, 9)
                except OSError:
                    pass
            return True
    return False


def check(name, spec, options=(), all_at_once=False, node=None):
    what = "%s %s %s" % (name, spec, " ".join(options))
    program = h.programs()[name]
    with h.Folder("none") as folder:
        expected = h.outcome(h.run(h.egida_command(program.path, program.paced), folder.path, 60), program.compare)
    with h.Folder("resume") as folder:
        mark = "resume-" + name
        env = dict(os.environ, **{h.MARK: mark})
        out_path = os.path.join(folder.path, "first.out")
        with open(out_path, "wb") as out, open(os.path.join(folder.path, "err"), "wb") as err:
            child = subprocess.Popen(h.egida_command(program.path, program.paced, spec=spec, options=options), cwd=folder.path, stdout=out,
                                     stderr=err, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        h.wait_for_start(folder.path)
        time.sleep(0.5)
        if all_at_once:
            h.sweep(mark)
        child.kill()
        child.wait()
        if node is not None:
            tap.ok(kill_node(os.path.realpath(folder.path), node), "%s: node %d is lost with the launcher" % (what, node))
        until = time.monotonic() + 12
        while h.marked(mark) and time.monotonic() < until:
            time.sleep(0.1)
        left = h.marked(mark)
        h.sweep(mark)
        tap.ok(not left, "%s: after the launcher's death all processes end" % what, left)
        jobs = h.history(folder.path, "jobs")
        if not tap.ok(len(jobs) == 1, "%s: the job is in the history" % what, jobs):
            return
        result = h.run([h.EGIDA, "run", "--resume", jobs[0]["job"]], folder.path, 60)
        with open(out_path, "rb") as f:
            result.out = f.read() + result.out
        why = h.difference(expected, h.outcome(result, program.compare))
        if all_at_once and spec == "pessimistic":  # its determinants were in memory
            tap.ok(result.status == 1 and "determinants" in result.err, "%s: refused" % what, result.tail())
        else:
            tap.ok(not why and not result.left, "%s: both parts together" % what, why + "\n" + result.tail())


for name in ("output", "ring", "history"):
    check(name, "pessimistic")
    check(name, "pessimistic-nfs", ["--interval", "300ms", "--nodes", "2"], True)
check("history", "pessimistic-nfs", ["--interval", "300ms"], True)
check("ring", "pessimistic", [], True)
# the batch host is lost with a node's ranks: the others leave images and what they know of the lost ones
for name in ("ring", "history", "output"):
    check(name, "pessimistic", ["--nodes", "3"], node=1)
check("ring", "pessimistic", ["--nodes", "2", "--interval", "300ms"], node=0)
with h.Folder("resume") as folder:
    result = h.run([h.EGIDA, "run", "--resume", "no-such-job"], folder.path, 20)
    tap.ok(result.status not in (0, 124) and "no-such-job" in result.err, "an unknown job", result.tail())
tap.end()

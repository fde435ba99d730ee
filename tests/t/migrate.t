#!/usr/bin/env python3
# Ranks of a node move on request: nothing is lost, the job does not notice; what cannot be moved is refused.
import os, re, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
EGIDA = h.egida_command("x")[0]


def migrate(folder, *arguments):
    job = subprocess.run([EGIDA, "jobs", "-h", "-o", "job"], cwd=folder, capture_output=True, text=True).stdout.split()
    return subprocess.run([EGIDA, "migrate", *arguments, job[0] if job else "none"], cwd=folder, capture_output=True, text=True, timeout=30)


program = h.programs()["history"]
with h.Folder("migrate") as folder:
    expected = h.outcome(h.run(h.egida_command(program.path, ["2000", "10000"], ranks=4), folder.path), program.compare)
with h.Folder("migrate") as folder:
    results = []
    command = h.egida_command(program.path, ["2000", "10000"], ranks=4, spec="pessimistic", options=["--nodes", "2", "--spares", "1"])
    thread = threading.Thread(target=lambda: results.append(h.run(command, folder.path, 60)))
    thread.start()
    tap.ok(h.wait_for_start(folder.path), "the job runs")
    for arguments, word in ((["--from=9"], "no such node"), (["--from=n1"], "no such node"), (["--from=2"], "no ranks"),
                            (["--from=1", "--to=1"], "cannot be used"), (["--from=1", "--to=7"], "no such node")):
        done = migrate(folder.path, *arguments)
        tap.ok(done.returncode == 1 and word in done.stderr, "migrate %s: %s" % (" ".join(arguments), word), done)
    for arguments in (["--from=1"], ["--from=0", "--to=2"]):
        done = migrate(folder.path, *arguments)
        tap.ok(done.returncode == 0 and "go on elsewhere" in done.stdout, "migrate %s" % " ".join(arguments), done)
    done = migrate(folder.path, "--from=1")
    tap.ok(done.returncode == 1 and "lost already" in done.stderr, "what is empty cannot be emptied again", done)
    done = migrate(folder.path, "--from=2")
    tap.ok(done.returncode == 1 and "no other node" in done.stderr, "the last node stays", done)
    thread.join()
    why = h.difference(expected, h.outcome(results[0], program.compare))
    tap.ok(not why, "the result is that of an undisturbed run", why + "\n" + results[0].tail())
    homes = {r["node"] for r in h.history(folder.path, "ranks")}
    tap.ok(homes == {2}, "all ranks ended on the spare", homes)
done = subprocess.run([EGIDA, "migrate", "x"], capture_output=True, text=True)
tap.ok(done.returncode == 1 and "--from" in done.stderr, "--from is needed", done)
tap.end()

#!/usr/bin/env python3
# timeout: 200
# Signals of the program around failures: those that come while an image is restored, and those that come in a replay.
import os, signal, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
programs = h.programs()


def check(name, ranks, options, arguments=None, helper=None):
    program = programs[name]
    with h.Folder("signals") as folder:
        over = threading.Event()
        thread = threading.Thread(target=helper or (lambda *_: None), args=(folder.path, over))
        thread.start()
        command = h.egida_command(program.path, arguments or program.paced, ranks=ranks, spec="pessimistic", options=options)
        result = h.run(command, folder.path, 60)
        over.set()
        thread.join()
        good = result.status == 0 and result.out == b"%s: ok\n" % name.encode() and "recovered" in result.err and not result.left
        tap.ok(good, "%s -n %d %s" % (name, ranks, " ".join(options)), result.tail())


for node in range(3):
    check("signals", 6, ["--nodes", "3", "--spares", "1", "--interval", "200ms", "--inject", "node:%d@%.2fs" % (node, 0.46 + 0.1 * node)])
check("signals", 4, ["--interval", "200ms", "--inject", "kill:1@0.46s", "--inject", "kill:2@0.9s"])

poked = []


def poke(folder, over):
    """SIGUSR1 to each new incarnation."""
    seen = set()
    while not over.wait(0.02):
        ranks = subprocess.run([h.EGIDA, "ranks", "-h", "-o", "rank,pid,incarnation"], cwd=folder, capture_output=True, text=True).stdout
        for rank, pid, incarnation in (line.split() for line in ranks.splitlines()):
            if incarnation != "0" and pid.isdigit() and (rank, pid) not in seen:
                seen.add((rank, pid))
                poked.append(pid)
                os.kill(int(pid), signal.SIGUSR1)


# One of them waits when both die: what it did last is a send without a determinant before it.
check("poked", 2, ["--inject", "kill:0@1.5s", "--inject", "kill:1@1.5s"], ["10", "150000"], poke)
tap.ok(len(poked) == 2, "both were poked in their replay", str(poked))
tap.end()

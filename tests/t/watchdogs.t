#!/usr/bin/env python3
# timeout: 400
# Watchdogs that die at any moment of their start, with a command on its way to them: their ranks are started all the same.
import os, random, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

KILLS = 6  # a rank is started ten times at most
tap = h.Tap()
ring = h.programs()["ring"]
rng = random.Random(1)


def new_watchdogs(folder, seen):
    for name in os.listdir("/proc"):
        try:
            if not name.isdigit() or name in seen or not os.readlink("/proc/%s/cwd" % name).startswith(folder):
                continue
            with open("/proc/%s/cmdline" % name, "rb") as f:
                if f.read().startswith(b"egida-exec\0"):
                    seen.add(name)
                    yield int(name)
        except OSError:
            pass


def kill_watchdogs(folder, over, killed):
    seen = set()
    while not over.is_set() and len(killed) < KILLS:
        for pid in new_watchdogs(folder, seen):
            if len(seen) > 4 and len(killed) < KILLS:  # the first four start the job
                time.sleep(rng.uniform(0, 0.006))
                if os.path.exists("/proc/%d" % pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)


for number in range(8):
    with h.Folder("watchdogs") as folder:
        over, killed = threading.Event(), []
        thread = threading.Thread(target=kill_watchdogs, args=(os.path.realpath(folder.path), over, killed))
        thread.start()
        options = ["--nodes", "2", "--spares", "1", "--inject", "node:0@0.5s"]
        result = h.run(h.egida_command(ring.path, ["100", "12000"], spec="pessimistic", options=options), folder.path, 30)
        over.set()
        thread.join()
        tap.ok(result.status == 0 and killed and not result.left, "run %d: %d new watchdogs killed" % (number, len(killed)), result.tail())
tap.end()

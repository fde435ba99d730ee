#!/usr/bin/env python3
# timeout: 200
# The lab of tests/lab: two at once, users, what is shared and what is not, lost nodes, cut cables, new nodes, an end without traces.
import os, signal, subprocess, sys, tempfile, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

LAB = os.path.join(h.SOURCE, "tests", "lab")
tap = h.Tap()


def start(lab, name, *args, **options):
    """A command of the lab in folder `lab`."""
    return subprocess.Popen([os.path.join(LAB, name), *args], env=dict(os.environ, LAB_DIR=lab), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options)


def finish(child, timeout=40):
    """(status, output, errors); a status of None says that it did not end in time."""
    try:
        out, err = child.communicate(timeout=timeout)
        return child.returncode, out, err
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return (None, *child.communicate())


def do(lab, name, *args, timeout=40, **options):
    return finish(start(lab, name, *args, **options), timeout)


def until(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def namespaces():
    """Of all processes of this machine: {(kind, number)}."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("net", "mnt", "pid", "uts", "ipc"):
            try:
                found.add(os.readlink("/proc/%s/ns/%s" % (pid, kind)))
            except OSError:
                pass
    return found


def processes(lab):
    """Below the lab's first process, as pids."""
    children = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open("/proc/%d/stat" % pid) as f:
                children.setdefault(int(f.read().rpartition(")")[2].split()[1]), []).append(pid)
        except OSError:
            pass
    found = first_process(lab)
    for pid in found:
        found += children.get(pid, [])
    return found


def first_process(lab):
    try:
        with open(os.path.join(lab, "pid")) as f:
            return [int(f.read().split()[0])]
    except OSError:
        return []


def traces(lab, spaces, pids):
    """What is left of a lab that had these namespaces and processes."""
    with open("/proc/self/mountinfo") as f:
        left = ["mount " + line for line in f if lab in line]
    left += ["namespace " + s for s in spaces & namespaces()]
    left += ["process %d" % p for p in pids if os.path.exists("/proc/%d" % p)]
    left += ["link " + w for w in wires() if w in ("switch", "n1", "n2", "n3", "n4", "n5", "ctl", "login")]
    return left


def wires():
    return [os.path.basename(w) for w in os.listdir("/sys/class/net")] + (os.listdir("/run/netns") if os.path.isdir("/run/netns") else [])


def states(lab):
    return {line.split()[0]: line.split()[3] for line in do(lab, "status")[1].splitlines()[2:] if len(line.split()) > 3}


status, out, err = do("", "up", "--check")
if status:
    h.skip_all(err.strip())
with h.Folder("lab") as folder:
    a, b, c = (os.path.join(folder.path, name) for name in "abc")
    ours = namespaces()
    try:
        # ---- what cannot start ----
        plugstack = os.path.join(folder.path, "plugstack")
        with open(plugstack, "w") as f:
            f.write("required /absent-plugin.so\n")
        for args, words in ((["--nodes", "0"], ["--nodes 0", "1 to 200"]), (["--plugstack", "/absent"], ["/absent"]), (["--nodes"], ["--nodes needs a value"]),
                            (["--conf", "PriorityType=priority/absent"], ["ctl: slurmctld ended", "slurmctld-ctl.log", "priority/absent"]),
                            (["--plugstack", plugstack], ["slurmd ended", "/etc/slurm/plugstack.conf", "/absent-plugin.so"]),
                            (["--conf", "TaskPlugin=task/absent"], ["slurmd ended", "slurmd-n", "task/absent"])):
            status, out, err = do(c, "up", *args)
            missing = [w for w in words if w not in err]
            left = [n for n in (os.listdir(c) if os.path.exists(c) else []) if n not in ("log", ".egida-lab")]
            tap.ok(status in (1, 2) and not missing and not first_process(c) and not left, "up %s fails and says why" % " ".join(args),
                   "status %s, missing words %s, left %s\n%s%s" % (status, missing, left, out, err))
        status, out, err = do(folder.path, "down")
        tap.ok(status == 1 and os.path.exists(folder.path) and "not the folder of a lab" in err, "down removes labs only", err)
        do(c, "down")
        # Not below /tmp: the hosts' own is open.
        with tempfile.TemporaryDirectory(dir="/var/tmp") as closed:
            status, out, err = do(os.path.join(closed, "lab"), "up")
            tap.ok(status == 1 and "closed to other users" in err, "a folder that the users cannot reach", err)
            do(os.path.join(closed, "lab"), "down")

        # ---- two at once ----
        begin = time.monotonic()
        ups = [start(a, "up"), start(b, "up", "--nodes", "2")]
        results = [finish(child) for child in ups]
        tap.ok(all(r[0] == 0 and r[1].count("\n") == 1 and "nodes idle after" in r[1] for r in results), "two labs", results)
        tap.ok(time.monotonic() - begin < 10, "within 10 s", "%.1f s" % (time.monotonic() - begin))
        status, out, err = do(a, "as-user", "srun", "-N5", "hostname")
        tap.ok(status == 0 and sorted(out.split()) == ["n1", "n2", "n3", "n4", "n5"], "srun on all nodes", out + err)
        status, out, err = do(b, "exec", "ctl", "sinfo", "--noheader", "--format", "%D")
        tap.ok(out.strip() == "2", "the other lab has its own nodes", out + err)
        status, out, err = do(a, "up")
        tap.ok(status == 1 and "runs in " + a in err and first_process(a), "a lab that runs is left alone", err)

        # ---- users and folders ----
        shared = os.path.join(a, "shared")
        status, out, err = do(a, "as-user", "-u", "egida-u2", "srun", "-N1", "-w", "n2", "sh", "-c", "id -un; hostname; pwd; echo text >file; exit 7")
        home = os.path.join(shared, "home", "egida-u2")
        tap.ok(status == 7 and out.split() == ["egida-u2", "n2", home], "a user's job: name, home, status", out + err)
        tap.ok(os.path.exists(os.path.join(home, "file")), "files in the home are outside too")
        status, out, err = do(a, "as-user", "pwd", cwd=shared)
        tap.ok(out.strip() == shared, "a command stays in a shared folder", out + err)
        status, out, err = do(a, "as-user", "-u", "slurm", "-H", "ctl", "scontrol", "update", "nodename=n5", "comment=text")
        tap.ok(status == 0, "slurm, a user of the machine, whose home need not exist", err)
        status, out, err = do(a, "as-user", "-u", "nobody-here", "true")
        tap.ok(status == 1 and "nobody-here" in err, "unknown users", err)
        status, out, err = do(a, "exec", "n9", "true")
        tap.ok(status == 1 and "'n9'" in err and "n5" in err, "unknown hosts", err)
        do(a, "exec", "n2", "sh", "-c", "touch /tmp/private /dev/shm/private /run/private")
        status, out, err = do(a, "exec", "n3", "sh", "-c", "hostname; id -u; ls /tmp/private /dev/shm/private /run/private")
        tap.ok(out.split() == ["n3", "0"] and err.count("No such file") == 3, "exec; /tmp, /dev/shm, /run are a node's own", out + err)
        child = start(a, "exec", "n1", "sleep", "1000")
        sleeps = lambda: "sleep 1000" in do(a, "exec", "n1", "ps", "ax", "-o", "args")[1].splitlines()
        seen = until(5, sleeps)
        child.kill()
        child.communicate()
        tap.ok(seen and until(5, lambda: not sleeps()), "a command ends with its exec")

        # ---- a job loses nodes: n2 loudly, n3 without a word ----
        listen = ("import socket; s = socket.create_server(('', 9000)); c = s.accept()[0]; print('there', flush=True); c.recv(1)")
        call = ("import socket, sys, time; s = socket.create_connection((sys.argv[1], 9000), 5); print('there', flush=True); s.settimeout(3)\n"
                "try: print('end' if s.recv(1) == b'' else 'data')\n"
                "except ConnectionResetError: print('end')\n"
                "except TimeoutError: print('nothing')")
        ticks = os.path.join(shared, "ticks")
        os.mkdir(ticks)
        os.chmod(ticks, 0o777)
        # From ctl: slurmctld 22.05 tells no other host that a step has lost a node, and srun would wait for ever.
        job = start(a, "as-user", "-H", "ctl", "srun", "--no-kill", "--kill-on-bad-exit=0", "--wait=0", "-N4", "-w", "n[1-4]", "sh", "-c",
                    "while [ ! -e %s/stop ]; do date +%%s%%N >%s/$(hostname); sleep 0.1; done" % (ticks, ticks))
        ticking = lambda node: time.time() - os.stat(os.path.join(ticks, node)).st_mtime < 1
        tap.ok(until(10, lambda: len(os.listdir(ticks)) == 4), "a job on four nodes", os.listdir(ticks))
        servers = [start(a, "exec", node, sys.executable, "-c", listen) for node in ("n2", "n3")]
        listens = lambda node: ":2328 " in do(a, "exec", node, "cat", "/proc/net/tcp")[1]
        until(5, lambda: listens("n2") and listens("n3"))
        clients = [start(a, "exec", "login", sys.executable, "-c", call, node) for node in ("n2", "n3")]
        for process in servers + clients:
            process.stdout.readline()
        first = [do(a, "node-kill", "n2"), do(a, "node-kill", "--quiet", "n3")]
        tap.ok([r[0] for r in first] == [0, 0], "node-kill", first)
        heard = [finish(client)[1].strip() for client in clients]
        tap.ok(heard == ["end", "nothing"], "peers hear the end, of a quiet loss nothing", heard)
        for server in servers:
            finish(server)
        status, out, err = do(a, "exec", "n2", "true")
        tap.ok(status == 1 and "has no power" in err, "nothing runs on a node without power", err)
        status, out, err = do(a, "exec", "login", sys.executable, "-c", call, "n2")
        tap.ok("refused" not in err and status != 0, "nor does anything answer there", out + err)

        # ---- n4 loses the network ----
        reach = lambda: do(a, "exec", "ctl", "timeout", "1", "bash", "-c", ": </dev/tcp/n4/6818")[0] == 0
        before = reach()
        status = do(a, "node-cut", "n4")[0]
        tap.ok(before and status == 0 and not reach() and ticking("n4"), "a node that is cut off lives on")
        tap.ok("n4 on cut" in " ".join(do(a, "status")[1].split()), "status names it")
        tap.ok(do(a, "node-join", "n4")[0] == 0 and until(5, reach), "node-join")

        down = lambda: [n for n, s in states(a).items() if s.startswith("down")] == ["n2", "n3"]
        tap.ok(until(30, down), "Slurm misses the lost nodes", states(a))
        tap.ok(job.poll() is None and ticking("n1") and ticking("n4") and not ticking("n2"), "the job goes on with --no-kill")
        open(os.path.join(ticks, "stop"), "w").close()
        status, out, err = finish(job, 20)
        tap.ok(status == 0 and "Node failure on n2" in err, "and ends", "status %s\n%s%s" % (status, out, err))

        # ---- new nodes ----
        status, out, err = do(a, "node-revive", "n1")
        tap.ok(status == 1 and "has power" in err, "a node with power is left alone", err)
        revived = [start(a, "node-revive", node) for node in ("n2", "n3")]
        revived = [finish(child) for child in revived]
        tap.ok([r[0] for r in revived] == [0, 0] and states(a)["n2"] == states(a)["n3"] == "idle", "node-revive", (revived, states(a)))
        status, out, err = do(a, "as-user", "srun", "-N2", "-w", "n[2-3]", "sh", "-c", "hostname; ls /tmp/private /dev/shm/private")
        tap.ok(sorted(out.split()) == ["n2", "n3"] and "n2" in out and err.count("No such file") == 4, "they are empty and take jobs", out + err)
        # before Slurm has missed it
        status, out, err = do(a, "node-kill", "n5")
        status, out, err = do(a, "node-revive", "n5")
        tap.ok(status == 0, "a node may come back at once", err)
        status, out, err = do(a, "as-user", "srun", "-N5", "hostname")
        tap.ok(status == 0 and "n5" in out, "and takes jobs", out + err)

        # ---- the end ----
        for lab in (a, b):
            pids = processes(lab)
            spaces = {os.readlink("/proc/%d/ns/%s" % (p, k)) for p in pids for k in ("net", "mnt", "pid", "uts", "ipc")} - ours
            status, out, err = do(lab, "down")
            left = traces(lab, spaces, pids)
            tap.ok(status == 0 and len(pids) > 10 and len(spaces) > 10 and not left and not os.path.exists(lab), "down leaves nothing",
                   "status %s, %d processes, %d namespaces\n%s%s" % (status, len(pids), len(spaces), err, "\n".join(left)))
        tap.ok(do(a, "down")[0] == 0, "down twice")

        # ---- up dies in the middle ----
        for wait in (0.02, 0.1, 0.3):
            child = start(a, "up")
            until(5, lambda: first_process(a))
            time.sleep(wait)
            pids = processes(a)
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            pids += processes(a)
            spaces = {os.readlink("/proc/%d/ns/%s" % (p, k)) for p in pids[:1] for k in ("net", "mnt", "pid", "uts", "ipc")} - ours
            status, out, err = do(a, "down")
            tap.ok(status == 0 and spaces and not traces(a, spaces, pids) and not os.path.exists(a), "down after an up that was killed", err + "\n".join(traces(a, spaces, pids)))
        child = start(a, "up")
        until(5, lambda: first_process(a))
        pids = processes(a)
        child.terminate()
        status = finish(child)[0]
        tap.ok(status == 1 and not traces(a, set(), pids) and do(a, "down")[0] == 0, "an interrupted up ends what it began", traces(a, set(), pids))
        status, out, err = do(a, "up")
        tap.ok(status == 0, "up again in the same place", err)
        status, out, err = do(a, "down", "--keep-logs")
        tap.ok(status == 0 and os.path.exists(os.path.join(a, "log", "slurmctld-ctl.log")), "down --keep-logs", err)
    finally:
        for lab in (a, b, c):
            do(lab, "down")
tap.end()

#!/usr/bin/env python3
# timeout: 200
# Lost nodes: jobs in the lab ask the service to mark them DOWN. It does so with SlurmUser's rights, for the jobs' own nodes that are silent.
import os, shutil, signal, sqlite3, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h
import slurmlab

LAB = os.path.join(h.SOURCE, "tests", "lab")
check = subprocess.run([os.path.join(LAB, "up"), "--check"], capture_output=True, text=True)
if check.returncode:
    h.skip_all(check.stderr.strip())
tap = h.Tap()
PORT = 7411


def lab(name, *args, timeout=30):
    return subprocess.run([os.path.join(LAB, name), *args], env=dict(os.environ, LAB_DIR=at), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)


def text_of(name):
    with open(os.path.join(shared, name), errors="replace") as f:
        return f.read()


def service(user):
    """The service on `ctl`, as `user`; its folders are its own."""
    state = os.path.join(shared, "state-" + user)
    os.makedirs(state, mode=0o700)
    lab("exec", "ctl", "chown", user, state)
    with open(os.path.join(shared, user + ".err"), "w") as f:
        child = subprocess.Popen([os.path.join(LAB, "exec"), "ctl", os.path.join(shared, "egida-restartd"), "--foreground", "--config", conf, "--user", user,
                                  "--database", state], env=dict(os.environ, LAB_DIR=at), stdin=subprocess.DEVNULL, stderr=f)
    until = time.monotonic() + 10
    while "the history is" not in text_of(user + ".err") and time.monotonic() < until and child.poll() is None:
        time.sleep(0.05)
    return child


def allocate(user):
    """A job of two nodes, and their names."""
    done = lab("as-user", "-u", user, "salloc", "--no-shell", "--no-kill", "--exclusive", "-N2")
    number = done.stderr.split("allocation")[-1].split()[0]
    nodes = lab("as-user", "squeue", "-h", "-j", number, "-o", "%N").stdout.strip()
    return number, lab("as-user", "scontrol", "show", "hostnames", nodes).stdout.split()


def ask(user, service_user, job, node):
    """What the service answers to `user`."""
    done = lab("as-user", "-u", user, "env", "EGIDA_CONFIG=" + conf, "EGIDA_SERVICE_USER=" + service_user, os.path.join(shared, "service_job"), "own-" + user,
               "job-%s-%d" % (user, time.monotonic_ns()), "25", "100", job, node)
    answers = [line.partition("lost node ")[2] for line in done.stderr.splitlines() if "lost node" in line]
    return answers[0] if answers else done.stderr


def state_of(node):
    return lab("as-user", "sinfo", "-h", "-N", "-n", node, "-o", "%t %E").stdout.strip()


with h.Folder("restartd") as folder:
    os.chmod(folder.path, 0o755)
    at = os.path.join(folder.path, "lab")
    shared, conf = os.path.join(at, "shared"), os.path.join(at, "shared", "egida.conf")
    children = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        up = lab("up", "--nodes", "5")
        tap.ok(up.returncode == 0, "a lab", up.stderr)
        for source in ("egida-restartd", "tests/unit/service_job"):
            shutil.copy(os.path.join(h.BUILD, source), shared)
        with open(conf, "w") as f:
            f.write("Listen = 0.0.0.0:%d\nSocket = none\nControlService = ctl:%d\n" % (PORT, PORT))
        os.chmod(conf, 0o644)
        children.append(service("slurm"))
        mine, nodes = allocate("egida-u1")
        theirs, others = allocate("egida-u2")
        tap.ok(len(nodes) == 2 and len(others) == 2, "a job each of two users", (nodes, others))

        answer = ask("egida-u1", "slurm", mine, nodes[0])
        if "built without libslurm" in answer:
            tap.skip("lost nodes", answer)
        else:
            tap.ok("its slurmd answers" in answer and "down" not in state_of(nodes[0]), "a node that lives stays", (answer, state_of(nodes[0])))
            lab("node-kill", "--quiet", nodes[0])
            lab("node-kill", others[0])
            answer = ask("egida-u1", "slurm", theirs, others[0])
            tap.ok("is another user's" in answer and "down" not in state_of(others[0]), "of another user's job: refused", (answer, state_of(others[0])))
            answer = ask("egida-u1", "slurm", mine, others[0])
            tap.ok("does not hold the node" in answer and "down" not in state_of(others[0]), "a node of another job: refused", (answer, state_of(others[0])))
            answer = ask("egida-u1", "slurm", "4711", nodes[0])
            tap.ok("the job: " in answer, "a job that is none: refused", answer)
            answer = ask("egida-u1", "slurm", mine, nodes[0])
            tap.ok("marked DOWN" in answer and state_of(nodes[0]).startswith("down") and "egida: does not answer, lost by job " + mine in state_of(nodes[0]),
                   "its own, that is silent: DOWN with a reason", (answer, state_of(nodes[0])))
            lab("exec", "ctl", "pkill", "-x", "egida-restartd")  # the only one in that host's PID namespace
            tap.ok(children[0].wait(10) == 0 and text_of("slurm.err").endswith("ends\n"), "SIGTERM ends it well")

            children.append(service("egida-restartd"))
            lab("node-kill", "--quiet", others[1])
            answers = [ask("egida-u2", "egida-restartd", theirs, others[1]) for _ in range(2)]
            said = text_of("egida-restartd.err")
            tap.ok(all("can't be marked DOWN" in a for a in answers), "without the rights it says so", (answers, said))
            tap.ok(said.count("does not let uid") == 1, "once in its log", said)
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
                child.wait(10)
        lab("down")

# ---- a job under Slurm -------------------------------------------------------------------------------------------------
why = slurmlab.why_not()
if why:
    tap.skip("srun --egida-spec", why)
    tap.end()
with slurmlab.Lab() as lab_of_job:
    at, children = lab_of_job.path, []
    shared, conf = os.path.join(at, "shared"), os.path.join(at, "shared", "egida.conf")
    shutil.copy(os.path.join(h.BUILD, "egida-restartd"), shared)
    with open(conf, "w") as f:
        f.write("Listen = 0.0.0.0:%d\nSocket = none\nControlService = ctl:%d\nServiceUser = slurm\n" % (PORT, PORT))
    os.chmod(conf, 0o644)
    child = service("slurm")
    program = h.programs()["ring"]
    job = slurmlab.Job(lab_of_job, ["env", "EGIDA_CONFIG=" + conf, "salloc", "-N4", "-n16", "--no-kill", "srun", "--egida-verbose", "--egida-spares=1",
                                    "--egida-spec=" + os.path.join(h.SPECS, "pessimistic.egd"), "-N3", "-n4", program.path, "300", "12000"], lab_of_job.new_folder())
    until = time.monotonic() + 30
    while not job.said("start-up is over") and time.monotonic() < until:
        time.sleep(0.05)
    lab("node-kill", "--quiet", "n2")
    begin = time.monotonic()
    while "down" not in state_of("n2") and time.monotonic() - begin < 10:
        time.sleep(0.1)
    seconds = time.monotonic() - begin
    tap.ok("egida: does not answer" in state_of("n2"), "srun loses a node: DOWN %.1f s later, SlurmdTimeout is 300 s" % seconds, state_of("n2"))
    status = job.child.wait(60)
    tap.ok(status == 0, "the job ends well", "\n".join(line for _, line in job.lines))
    lab("exec", "ctl", "pkill", "-x", "egida-restartd")
    child.wait(10)
    db = sqlite3.connect("file:%s?mode=ro" % os.path.join(shared, "state-slurm", "history.db"), uri=True)
    tap.ok(db.execute("SELECT user, outcome, exit_code FROM jobs").fetchall() == [("egida-u1", 0, 0)] and
           db.execute("SELECT count(*) FROM recoveries WHERE from_node != node").fetchone() == (1,), "the service knows its end and its recovery")
    db.close()
tap.end()

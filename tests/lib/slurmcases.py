"""What may happen to a job under Slurm, as scenarios for tests/lab/campaign and t/slurm.t: each starts a program in a lab, disturbs it
at a random moment and leaves the judgement to judge()."""

import collections
import os
import re
import shutil
import signal
import threading
import time

import harness as h
import scalapack
import slurmlab

RIGHT, VERDICT, WRONG, HANG = "right", "verdict", "wrong", "hang"
EXIT_VERDICT = 75
STARTED = r"start-up is over"
RECOVERED = r"rank (\d+) recovered"
LOST = r"node (\S+) is lost"
LONG = 30  # times as much does a program that is to reach a time limit


class ScalapackProgram:
    """A test of Debian's scalapack-mpi-test in the shape of harness.Program."""

    compare, files, traits, paced = "scalapack", ["*.out", "*.SUMM", "*.OUT"], set(), []

    def __init__(self, test):
        self.test, self.name, self.path = test, test.name, test.path

    def prepare(self, folder):
        scalapack.prepare(self.test, folder)

    def stdin(self):
        return b""


def programs():
    """Those of tests/programs that a lost node must not change, and some of ScaLAPACK: {name: program}."""
    # Children of a rank are lost with it; hello ends before anything can happen.
    known = {p.name: p for p in h.programs().values() if p.name != "hello" and not p.traits & {"children", "big"}}
    for test in scalapack.tests() if os.path.isdir(h.SCALAPACK) else []:
        if test.name in ("xdbrd", "xddblu", "xddtlu", "xdinv", "xdpbllt", "xdqr", "xdsvd"):
            known[test.name] = ScalapackProgram(test)
    return known


class References:
    """Runs without failures and without Slurm, made once: what comes out, and how long it takes."""

    def __init__(self):
        self.known, self.locks, self.lock = {}, collections.defaultdict(threading.Lock), threading.Lock()

    def get(self, program, arguments, ranks):
        key = (program.name, tuple(arguments), ranks)
        with self.lock:
            lock = self.locks[key]
        with lock:
            if key not in self.known:
                with h.Folder("reference") as folder:
                    prepare(program, folder.path)
                    result = h.run(h.egida_command(program.path, arguments, ranks=ranks), folder.path, 300, program.stdin())
                    if result.hang or result.status != 0:
                        raise RuntimeError("the run without failures is wrong already:\n" + result.tail())
                    self.known[key] = (h.outcome(result, program.compare, program.files), result.seconds)
            return self.known[key]


REFERENCES = References()


def prepare(program, folder):
    if hasattr(program, "prepare"):
        program.prepare(folder)


class Run:
    """One run of one scenario."""

    def __init__(self, lab, rng, program, limit, timeout):
        self.lab, self.rng, self.program, self.timeout = lab, rng, program, timeout
        self.limit = limit  # seconds
        self.arguments = list(program.paced)
        self.ranks = 4 if program.compare == "scalapack" else rng.choice([4, 8])
        self.folder = lab.new_folder()
        self.job, self.nodes = None, 4
        self.failed_at = None  # when power or a process was lost
        self.missed = False    # the program had ended before anything could happen
        self.what = []         # what was done, in words
        self.pauses = 0
        self.wrong = ""        # what a scenario itself found to be wrong
        prepare(program, self.folder)
        for name in [".", *os.listdir(self.folder)]:
            shutil.chown(os.path.join(self.folder, name), os.stat(lab.home).st_uid, os.stat(lab.home).st_gid)

    def srun(self, nodes=4, spares=1, spec="pessimistic", options=()):
        """The user's command."""
        self.nodes = nodes
        path = os.path.join(h.SPECS, spec + ".egd") if os.path.exists(os.path.join(h.SPECS, spec + ".egd")) else spec
        return ["srun", "--egida-spec=" + path, "--egida-spares=%d" % spares, "--egida-limit=%dms" % round(self.limit * 1000),
                "--egida-verbose", *options, "-N%d" % nodes, "-n%d" % self.ranks, self.program.path, *self.arguments]

    def longer(self, times):
        """Before it starts: the program does so many times more."""
        if self.arguments:
            self.arguments[0] = str(int(self.arguments[0]) * times)

    def start(self, nodes=4, spares=1, salloc=(), **keywords):
        command = ["salloc", "-N%d" % (nodes + spares), "-n%d" % (4 * (nodes + spares)), "--no-kill", *salloc,
                   *self.srun(nodes, spares, **keywords)]
        REFERENCES.get(self.program, self.arguments, self.ranks)  # now, not while the job runs
        self.job = slurmlab.Job(self.lab, command, self.folder, self.program.stdin())
        return self.job

    def start_batch(self, nodes=3, spares=1):
        """By sbatch; the script runs on n1. A process on the login host shows what it writes and ends with its status."""
        script, show = os.path.join(self.folder, "job.sh"), os.path.join(self.folder, "show.sh")
        with open(script, "w") as f:
            f.write("#!/bin/bash\n%s <.stdin\necho $? >.status.new && mv .status.new .status\n" % h.quote(self.srun(nodes, spares)))
        with open(show, "w") as f:
            f.write("sbatch -N%d -n%d --requeue --no-kill --output=.batch-out --error=.batch-err --open-mode=append job.sh >&2 || exit 1\n"
                    "touch .batch-out .batch-err; tail -s 0.02 -n +1 -F .batch-err >&2 & \n"
                    "until [ -e .status ]; do sleep 0.05; done; sleep 0.5; cat .batch-out; kill $!; exit $(cat .status)\n"
                    % (nodes + spares, 4 * (nodes + spares)))
        REFERENCES.get(self.program, self.arguments, self.ranks)
        self.job = slurmlab.Job(self.lab, ["bash", "show.sh"], self.folder, self.program.stdin())

    def slurm(self, *command):
        """As Slurm's administrator."""
        return self.lab.do("exec", "ctl", *command, check=False).split()

    def spec_with_f(self, f):
        with open(os.path.join(h.SPECS, "pessimistic.egd")) as file:
            text = re.sub(r"volatile memory of processes", "volatile memory of %d processes" % f, file.read())
        path = os.path.join(self.folder, "f%d.egd" % f)
        with open(path, "w") as file:
            file.write(text)
        return path

    # ---- moments and victims ---------------------------------------------------------------------------------------------

    def reference_seconds(self):
        return REFERENCES.get(self.program, self.arguments, self.ranks)[1]

    def moment(self, most=0.8):
        """Wait until a random moment of the program; false: the job has ended."""
        if not self.job.wait_for(STARTED, self.timeout / 2):
            self.missed = True
            return False
        return self.pause(self.rng.uniform(0, most * self.reference_seconds()))

    def pause(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.job.ended:
            time.sleep(min(0.01, max(0.0, until - time.monotonic())))
        self.missed = self.missed or self.job.ended
        return not self.job.ended

    def victim(self, other_than=()):
        return self.rng.choice([n for n in ("n%d" % (i + 1) for i in range(self.nodes)) if n not in other_than])

    def did(self, what):
        self.what.append("%s at %.2f s" % (what, time.monotonic() - self.job.begin))
        if self.failed_at is None:
            self.failed_at = time.monotonic()

    def kill_node(self, node, quiet=False):
        self.did("%s loses power%s" % (node, " quietly" if quiet else ""))
        self.lab.do("node-kill", *(["--quiet"] if quiet else []), node)

    def kill_nodes(self, nodes, quiet):
        threads = [threading.Thread(target=self.kill_node, args=(node, quiet)) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def signal(self, processes, number, what):
        self.did(what)
        for pid, _ in processes:
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def job_id(self):
        found = self.job.said(r"egida: job (\S+?)(?: resumed)?: ")
        return found[0][1].group(1) if found else None

    def slurm_job(self):
        found = self.job.said(r"salloc: Granted job allocation (\d+)")
        return found[0][1].group(1) if found else None

    def resume(self, salloc=()):
        """A second job goes on where the first one was stopped; both together are judged."""
        first = self.job
        result = first.finish(self.timeout)
        job = self.job_id()
        if result.hang or job is None or result.status in (0, EXIT_VERDICT):
            return
        self.lab.left_behind()
        self.start(salloc=salloc, options=["--egida-resume=" + job])
        self.job.lines[:0] = first.lines
        self.job.begin = time.monotonic()


# ---- scenarios -----------------------------------------------------------------------------------------------------------

SCENARIOS = {}


def scenario(about, name=None, tolerated=True):
    def add(function):
        function.about, function.tolerated = about, tolerated
        SCENARIOS[name or function.__name__.replace("_", "-")] = function
        return function
    return add


@scenario("a node loses power; its connections are closed")
def loud(run):
    run.start()
    if run.moment():
        run.kill_node(run.victim())


@scenario("a node loses power; nobody hears anything")
def quiet(run):
    run.start()
    if run.moment():
        run.kill_node(run.victim(), quiet=True)


@scenario("a node loses its cable")
def cut(run):
    run.start()
    if run.moment():
        node = run.victim()
        run.did("%s is cut off" % node)
        run.lab.do("node-cut", node)


@scenario("a node loses its cable and gets it back; then another node is lost", name="return")
def cut_and_return(run):
    run.longer(4)
    run.start(options=["--egida-max-restarts=50"])
    if not run.moment(0.3):
        return
    node = run.victim()
    run.did("%s is cut off" % node)
    run.lab.do("node-cut", node)
    run.pause(run.rng.uniform(0.1, 3))
    run.lab.do("node-join", node)
    run.what.append("comes back")
    if run.rng.random() < 0.5 and run.job.wait_for(RECOVERED, 10) and run.pause(run.rng.uniform(0, 6)):
        run.failed_at = None
        run.kill_node(run.victim([node]))


@scenario("one rank is killed")
def rank(run):
    run.start()
    if run.moment():
        ranks = run.lab.ranks(run.victim())
        run.signal(ranks[:1], signal.SIGKILL, "a rank is killed")


@scenario("the agent of a node is killed")
def agent(run):
    run.start()
    if run.moment():
        node = run.victim()
        run.signal(run.lab.processes(node, "egida-agent"), signal.SIGKILL, "the agent of %s is killed" % node)


@scenario("the watchdog of a rank is killed")
def watchdog(run):
    run.start()
    if run.moment():
        node = run.victim()
        run.signal(run.lab.processes(node, "egida-exec")[:1], signal.SIGKILL, "a watchdog of %s is killed" % node)


@scenario("two nodes at the same moment, with two spares and determinants that survive two losses")
def two(run):
    run.start(nodes=3, spares=2, spec=run.spec_with_f(2))
    if run.moment():
        first = run.victim()
        run.kill_nodes([first, run.victim([first])], run.rng.random() < 0.5)


@scenario("two nodes at the same moment, determinants on the shared disk", name="two-nfs")
def two_nfs(run):
    run.start(nodes=3, spares=2, spec="pessimistic-nfs")
    if run.moment():
        first = run.victim()
        run.kill_nodes([first, run.victim([first])], run.rng.random() < 0.5)


@scenario("two nodes at the same moment where one loss is tolerated", name="too-many", tolerated=False)
def too_many(run):
    run.start(nodes=3, spares=2)
    if run.moment():
        first = run.victim()
        run.kill_nodes([first, run.victim([first])], run.rng.random() < 0.5)


@scenario("a node is lost while images are being written")
def checkpoint(run):
    run.start(options=["--egida-interval=%dms" % run.rng.choice([50, 100, 200])])
    if run.moment():
        run.kill_node(run.victim(), run.rng.random() < 0.5)


@scenario("a second node is lost in the recovery from the first")
def recovery(run):
    run.start(nodes=3, spares=2, spec=run.spec_with_f(2))
    if run.moment():
        first = run.victim()
        run.kill_node(first, run.rng.random() < 0.5)
        if run.job.wait_for(LOST, 10) and run.pause(run.rng.uniform(0, 1.5)):
            run.kill_node(run.victim([first]), run.rng.random() < 0.5)


@scenario("the spare is lost while ranks are being started there")
def spare(run):
    run.start(nodes=3, spares=2, spec=run.spec_with_f(2))
    if run.moment():
        run.kill_node(run.victim(), run.rng.random() < 0.5)
        # Leases end 0.9 s after the last heartbeat; then the first spare gets the ranks.
        if run.job.wait_for(LOST, 10) and run.pause(run.rng.uniform(2, 4) * run.limit):
            run.kill_node("n4", run.rng.random() < 0.5)


@scenario("a node is lost and no spare is there: the others take its ranks", name="no-spare")
def no_spare(run):
    run.start(nodes=4, spares=0)
    if run.moment():
        run.kill_node(run.victim(), run.rng.random() < 0.5)


@scenario("a node is lost during start-up")
def startup(run):
    run.start()
    if run.job.wait_for(r"egida: job ", 30) and run.pause(run.rng.uniform(0, 1.2)):
        run.kill_node(run.victim(), run.rng.random() < 0.5)


@scenario("the batch host is lost; Slurm is asked to begin the job again, and it goes on")
def requeue(run):
    run.start_batch()
    if not run.moment():
        return
    run.kill_node("n1", run.rng.random() < 0.5)
    run.failed_at = None
    until = time.monotonic() + 30
    while run.slurm("squeue", "-h", "-o", "%T") == ["RUNNING"]:
        if time.monotonic() > until:
            run.wrong = "nobody asked Slurm to begin the job again"
            return
        time.sleep(0.1)
    # Slurm would find out after a while, and wait for another.
    run.slurm("scontrol", "update", "nodename=n1", "state=down", "reason=lost")
    while run.slurm("squeue", "-h", "-o", "%T") != ["RUNNING"] and not run.job.ended and time.monotonic() < until:
        run.slurm("scontrol", "update", "jobid=1", "starttime=now")
        time.sleep(0.3)


@scenario("scancel; the job is resumed")
def cancel(run):
    run.start()
    if run.moment():
        run.did("scancel")
        run.lab.as_user("scancel", run.slurm_job())
        run.resume()


@scenario("the time limit is reached; the job is resumed", name="time-limit")
def time_limit(run):
    run.longer(LONG)
    run.start(salloc=["--time=1"])
    if run.job.wait_for(r"stops|Terminated", 120):
        run.did("time limit")
        run.job.begin = time.monotonic()
        run.resume()


@scenario("agents and ranks are stopped for 0.5 to 0.9 of the limit, often")
def pauses(run):
    run.longer(3)
    run.start()
    if not run.moment(0.1):
        return
    while not run.job.ended and run.pauses < 10:
        node, seconds = run.victim(), run.rng.uniform(0.5, 0.9) * run.limit
        processes = run.lab.processes(node, "egida-agent") if run.rng.random() < 0.6 else run.lab.ranks(node)[:1]
        if not processes:
            break
        run.signal(processes, signal.SIGSTOP, "%s stands still for %.2f s" % (node, seconds))
        time.sleep(seconds)
        run.signal(processes, signal.SIGCONT, "goes on")
        run.pauses += 1
        run.pause(run.rng.uniform(0.05, 0.3))
    run.failed_at, run.what, run.missed = None, ["%d pauses" % run.pauses], run.pauses == 0
    lost = run.job.said(r"is lost|gave it up|given up")
    if lost:
        run.wrong = "false alarm: " + lost[0][1].string


@scenario("all processes of a node are stopped for 3 to 5 limits: they are given up and must not do harm later", name="long-pause")
def long_pause(run):
    run.start()
    if run.moment(0.6):
        node, seconds = run.victim(), run.rng.uniform(3, 5) * run.limit
        processes = run.lab.processes(node, "egida-agent")
        if run.rng.random() < 0.7:
            processes += run.lab.processes(node, "egida-exec") + run.lab.ranks(node)
        run.signal(processes, signal.SIGSTOP, "%s stands still for %.2f s" % (node, seconds))
        time.sleep(seconds)
        run.signal(processes, signal.SIGCONT, "goes on")


@scenario("egida migrate empties a node")
def migrate(run):
    run.start()
    if run.moment(0.6):
        node = run.victim()
        run.did("migrate from %s" % node)
        status, _, errors = run.lab.as_user(h.EGIDA, "migrate", run.job_id(), "--from", node, folder=run.folder)
        if status != 0 and not run.job.ended:
            run.wrong = "egida migrate: status %d: %s" % (status, errors.strip())


# ---- judgement -----------------------------------------------------------------------------------------------------------


class Judgement:
    def __init__(self, kind, why="", run=None, result=None, tolerated=True):
        self.kind, self.why, self.run, self.result = kind, why, run, result
        self.bad = kind in (WRONG, HANG) or (kind == VERDICT and tolerated)
        self.resumed_after = None  # seconds from the loss to the last recovery


def resumed_after(run):
    times = [at - run.failed_at for at, _ in run.job.said(RECOVERED) if run.failed_at and at > run.failed_at]
    return max(times) if times else None


def judge(name, lab, rng, program, limit, timeout):
    """Make a run of the scenario and compare it with one without failures."""
    case = SCENARIOS[name]
    run = Run(lab, rng, program, limit, timeout)
    if case is time_limit or program.compare == "scalapack":  # thousands of messages between nodes
        run.timeout = timeout = 4 * timeout
    try:
        case(run)
        result = run.job.finish(timeout)
        if result.hang:
            return Judgement(HANG, "no end after %d s" % timeout, run, result)
        if result.status == EXIT_VERDICT:
            said = [line for line in result.err.splitlines() if line.startswith("egida:")]
            return Judgement(VERDICT if said else WRONG, said[-1] if said else "status 75 without a word", run, result, case.tolerated)
        expected = REFERENCES.get(program, run.arguments, run.ranks)[0]
        why = run.wrong or h.difference(expected, h.outcome(result, program.compare, program.files))
        result.left = [] if why else lab.left_behind()
        if result.left:
            why = "left behind: " + ", ".join(result.left)
        judgement = Judgement(WRONG if why else RIGHT, why, run, result)
        judgement.resumed_after = resumed_after(run)
        return judgement
    finally:
        if run.job and run.job.child.poll() is None:
            run.job.finish(0)

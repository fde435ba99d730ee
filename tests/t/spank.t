#!/usr/bin/env python3
# timeout: 240
# The plugin in srun, salloc and sbatch: its options and their errors, what becomes of srun's own, what tasks see, how srun ends.
import os, re, signal, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h
import slurmlab

why = slurmlab.why_not()
if why:
    h.skip_all(why)
tap = h.Tap()
SPEC = "--egida-spec=" + os.path.join(h.SPECS, "pessimistic.egd")
HELLO = os.path.join(h.PROGRAMS, "hello")
ENDING = os.path.join(h.PROGRAMS, "ending")
STDIN = os.path.join(h.PROGRAMS, "stdin")


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o755)
    return path


def jobs(lab):
    """Numbers of all jobs that Slurm has seen."""
    status, out, err = lab.as_user("scontrol", "-o", "show", "jobs")
    if status != 0:
        raise RuntimeError("scontrol show jobs: status %d: %s" % (status, err))
    return re.findall(r"JobId=(\d+)", out)


def refused(lab, what, command, *words, folder):
    """Fails with these words before Slurm is asked for anything."""
    before = jobs(lab)
    status, out, err = lab.as_user(*command, folder=folder, timeout=30)
    missing = [w for w in words if w not in err]
    tap.ok(status != 0 and not out and not missing and jobs(lab) == before, what,
           "status %d, missing %s, jobs %s and then %s\n%s" % (status, missing, before, jobs(lab), err))


with slurmlab.Lab() as lab:
    folder = lab.new_folder()
    bad = write(folder, "bad.egd", "Event: send\n   nonsense\n")

    # ---- before anything is launched ----
    for tool in (["srun", "-N2", HELLO], ["salloc", "-N2", "true"], ["sbatch", "-N2", "--wrap", "true"]):
        refused(lab, "%s: a specification with an error: file, line and column" % tool[0],
                tool[:1] + ["--egida-spec=" + bad] + tool[1:], bad + ":1:1:", folder=folder)
    refused(lab, "a specification that there is not", ["srun", "--egida-spec=pesimistic", HELLO], "pesimistic", "egida specs", folder=folder)
    refused(lab, "spares without a protocol", ["srun", "--egida-spares=1", HELLO], "--egida-spares", "--egida-spec", folder=folder)
    for option, words in {"--egida-spares=many": ("--egida-spares many", "number"), "--egida-interval=soon": ("--egida-interval soon", "30s"),
                          "--egida-max-restarts=-1": ("--egida-max-restarts -1", "number"), "--egida-heartbeat=0": ("--egida-heartbeat 0", "100ms"),
                          "--egida-limit=100ms": ("--egida-limit", "--egida-heartbeat"), "--mpi=pmi2": ("--mpi=pmi2", "leave it away"),
                          "-i2": ("--input=2",), "--output=out.%N": ("--output=out.%N", "%J"),
                          "-o3": ("--output=3", "--label"), "-le%t": ("--error=%t", "--label")}.items():
        refused(lab, option, ["srun", "-N2", SPEC, option, HELLO], *words, folder=folder)
    refused(lab, "--multi-prog", ["srun", "-n2", SPEC, "--multi-prog", write(folder, "programs", "0-1 %s\n" % HELLO)], "--multi-prog", folder=folder)
    refused(lab, "two programs", ["srun", SPEC, "-n1", HELLO, ":", "-n1", HELLO], "heterogeneous", folder=folder)

    # ---- after the allocation: the steward says it, and no task is launched ----
    for what, options, words in (("more spares than nodes", ["-N2", "--egida-spares=2"], ("--egida-spares 2", "-N 4")),
                                 ("a folder that cannot be", ["--egida-dir=/proc/none"], ("/proc/none", "--egida-dir")),
                                 ("a job that there is not", ["--egida-resume=20200101-000000-0000"], ("20200101-000000-0000", "egida jobs"))):
        status, out, err = lab.as_user("srun", SPEC, *options, "sh", "-c", "touch launched", folder=folder)
        tap.ok(status == 1 and all(w in err for w in words) and not os.path.exists(os.path.join(folder, "launched")), what,
               "status %d\n%s" % (status, err))

    # ---- without effect ----
    show = "env | grep -e '^[A-Z_]*EGIDA' -e '^[A-Z_]*egida' -e '^SLURM_NO_KILL' -e '^SLURM_MPI_TYPE'; tr '\\0' ' ' </proc/$PPID/cmdline | grep -o egida-exec; cat"
    for what, options in (("without the option", []), ("--no-egida beats --egida-spec", [SPEC, "--no-egida"])):
        job = slurmlab.Job(lab, ["srun", *options, "-n1", "sh", "-c", show], lab.new_folder(), stdin=b"input\n")
        result = job.finish(30)
        tap.ok(result.status == 0 and result.out == b"input\n" and not result.err, what + ": environment, parent and input are Slurm's own", result.tail())
    status, out, err = lab.as_user("srun", "-n1", "echo", "--egida-spec=none", folder=folder)
    tap.ok(status == 0 and out == "--egida-spec=none\n" and not err, "an argument of the program is no option", out + err)
    status, out, err = lab.as_user("salloc", "-Q", "-N1", SPEC, "srun", "--no-egida", "-n1", "sh", "-c", show, folder=folder)
    tap.ok(status == 0 and "egida-exec" not in out and not err, "salloc --egida-spec, srun --no-egida", out + err)

    # ---- what a rank is ----
    status, out, err = lab.as_user("srun", "-N2", "-n4", SPEC, HELLO, folder=folder)
    tap.ok(status == 0 and "hello: ok" in out and len(re.findall("^egida: ", err, re.M)) == 1 and "pessimistic" in err and "2 nodes" in err,
           "four ranks on two nodes; one line at the start", "status %d\n%s%s" % (status, out, err))
    status, out, err = lab.as_user("srun", "-N2", "-n2", "-l", SPEC, HELLO, folder=folder)
    tap.ok(status == 0 and sorted(line[:3] for line in out.splitlines() if "hello from" in line) == ["0: ", "1: "], "-l: labels", out + err)
    status, out, err = lab.as_user("srun", "-N2", "-n2", "--export=NONE", SPEC, HELLO, folder=folder)
    tap.ok(status == 0 and "hello: ok" in out, "--export=NONE", out + err)
    words = h.programs()["stdin"]
    with h.Folder("stdin") as here:
        expected = h.run(h.egida_command(STDIN, words.short, ranks=2), here.path, 40, stdin=words.stdin())
    for what, options, data in (("standard input", [], words.stdin()), ("-i FILE", ["-i", "input"], b"")):
        at = lab.new_folder()
        with open(os.path.join(at, "input"), "wb") as f:
            f.write(words.stdin())
        result = slurmlab.Job(lab, ["srun", "-N2", "-n2", *options, SPEC, STDIN, *words.short], at, stdin=data).finish(40)
        tap.ok(result.status == 0 and expected.status == 0 and sorted(result.out.splitlines()) == sorted(expected.out.splitlines()), what, result.tail())

    program = h.programs()["output"]
    for options, files in ((["-o", "one.%j.%4s", "-e", "none"], ["one.J.0000"]), (["-o", "both"], ["both"]), (["-lo%u.out", "--err=100%%"], ["egida-u1.out", "100%"]),
                           (["--open-mode=append", "-oold"], ["old"])):
        at = lab.new_folder()
        write(at, "old", "what was there\n")
        os.chmod(os.path.join(at, "old"), 0o666)
        result = slurmlab.Job(lab, ["srun", "-N2", "-n4", *options, SPEC, program.path, "400"], at).finish(40)
        job = max(map(int, jobs(lab)))
        texts = [open(os.path.join(at, name.replace("J", str(job)))).read() for name in files if os.path.exists(os.path.join(at, name.replace("J", str(job))))]
        lines = texts[0].splitlines() if texts else []
        ours = [line for line in result.err.splitlines() if line.startswith("egida: job")]
        errors = (texts[1] if len(texts) > 1 else texts[0] if texts else "").count("rank ")
        tap.ok(result.status == 0 and not result.out and len(ours) == 1 and len(texts) == len(files) and len(lines) >= 1600
               and (lines[0] == "what was there") == (files[0] == "old"), "srun " + " ".join(options),
               "%s\n%d lines, files %s\n%s" % (sorted(os.listdir(at)), len(lines), files, result.tail()))

    # ---- sbatch hands its options on; its script is no task ----
    at = lab.new_folder()
    script = write(at, "job.sh", "#!/bin/sh\ntr '\\0' ' ' </proc/$PPID/cmdline | grep -o egida-exec\nsrun -N2 -n2 %s\necho srun: $?\n" % HELLO)
    status, out, err = lab.as_user("sbatch", "--wait", "-N3", SPEC, "--egida-spares=1", "-o", "out", "-e", "err", script, folder=at)
    with open(os.path.join(at, "out")) as out, open(os.path.join(at, "err")) as errors:
        out, err = out.read(), err + errors.read()
    tap.ok(status == 0 and "hello: ok" in out and "srun: 0" in out and "egida-exec" not in out and "and spares" in err, "sbatch", out + err)
    tap.ok("no-kill" not in err, "sbatch --egida-spec allocates with --no-kill", err)
    status, out, err = lab.as_user("salloc", "-Q", "-N2", write(folder, "alone.sh", "#!/bin/sh\nsrun %s %s\n" % (SPEC, HELLO)), folder=folder)
    tap.ok(status == 0 and "--no-kill" in err, "a job that may be allocated without --no-kill: it is said", err)

    # ---- how srun ends ----
    begin = time.monotonic()
    status, out, err = lab.as_user("srun", "-N2", SPEC, "./nonesuch", folder=folder)
    tap.ok(status not in (0, 143) and "nonesuch" in err and time.monotonic() - begin < 20, "a program that there is not", "status %d\n%s" % (status, err))
    for what, args, expected in (("exit(3)", ["exit"], 3), ("MPI_Abort(3)", ["abort", "1"], 3), ("SIGSEGV at the same place again", ["segv", "1"], 75)):
        status, out, err = lab.as_user("srun", "-N2", "-n4", SPEC, ENDING, *args, folder=folder, timeout=60)
        tap.ok(status == expected, "%s: status %d" % (what, expected), "status %d\n%s" % (status, err))
    job = slurmlab.Job(lab, ["salloc", "-Q", "-N3", SPEC, "srun", "-N2", "-n2", "--egida-spares=1", ENDING, "quiet", "0", "100000000"], lab.new_folder())
    job.wait_for("egida: job", 20)
    time.sleep(2)
    for _ in range(2):
        os.kill(min(pid for pid, _ in lab.processes("login", "srun")), signal.SIGINT)
        time.sleep(0.4)
    result = job.finish(30)
    tap.ok(result.status == 128 + signal.SIGTERM and "egida-resume" in result.err and "is lost" not in result.err,
           "Ctrl-C twice ends the job, though there is a spare", result.tail())
    for what, victim, expected, words in (("the steward is killed", "egida", 75, "--egida-resume="), ("srun is killed", "srun", None, "")):
        job = slurmlab.Job(lab, ["srun", "-N2", "-n2", SPEC, ENDING, "quiet", "0", "100000000"], lab.new_folder())
        job.wait_for("egida: job", 20)
        time.sleep(1)
        os.kill(min(pid for pid, _ in lab.processes("login", victim)), signal.SIGKILL)  # srun itself, not the child that cleans up
        result = job.finish(40)
        until = time.monotonic() + 20
        while time.monotonic() < until and lab.as_user("squeue", "-h")[1]:
            time.sleep(0.2)
        tap.ok(not result.hang and expected in (None, result.status) and words in result.err and not lab.as_user("squeue", "-h")[1],
               what + ": srun ends, and the job too", result.tail())
    # A node's folder stays behind where Slurm kills all at once, as it does after the loss of srun.
    left = [what for what in lab.left_behind() if "/tmp/" not in what]
    tap.ok(not left, "no process is left on any host", "\n".join(left))
tap.end()

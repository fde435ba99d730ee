#!/usr/bin/env python3
# Bad input: one clear message that names what is wrong, and a status that is not zero.
import os, stat, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
hello = os.path.join(h.PROGRAMS, "hello")


def complains(what, command, words, folder=None, status=None):
    with h.Folder("messages") as own:
        result = h.run(command, folder or own.path, 30)
        lines = [line for line in result.err.splitlines() if line.strip()]
        missing = [w for w in words if w.lower() not in result.err.lower()]
        good = result.status not in (0, None) and not result.hang and not missing and 0 < len(lines) <= 12 and not result.left
        good = good and (status is None or result.status == status) and result.status < 128
        tap.ok(good, what, "missing words: %s\n%s" % (missing, result.tail()))


run = [h.EGIDA, "run"]
complains("no program", [*run, "-n", "2"], ["program"])
complains("a program that does not exist", [*run, "-n", "2", "no-such-program"], ["no-such-program", "PATH"])
complains("a path that does not exist", [*run, "-n", "2", "./absent"], ["./absent"])
complains("-n 0", [*run, "-n", "0", hello], ["-n"])
complains("-n with a word", [*run, "-n", "four", hello], ["four"])
complains("-n without a number", [*run, "-n"], ["-n"])
complains("more ranks than can be", [*run, "-n", "5000", hello], ["4096"])
complains("an unknown option", [*run, "--frobnicate", hello], ["--frobnicate"])
complains("an unknown specification", [*run, "-n", "2", "--spec", "pesimistic", hello], ["pesimistic"])
complains("an unknown fault", [*run, "-n", "2", "--inject", "maim:1@2s", hello], ["maim"])
complains("a fault for a rank that does not exist", [*run, "-n", "2", "--inject", "kill:7@2s", hello], ["kill:7"])
complains("an interval that is no time", [*run, "-n", "2", "--interval", "soon", hello], ["soon"])
complains("more nodes than ranks", [*run, "-n", "2", "--nodes", "3", hello], ["--nodes"])
complains("an unknown subcommand", [h.EGIDA, "fly"], ["fly"])
complains("no MPI program", [*run, "-n", "2", "/bin/true"], ["true", "MPI"])
complains("a directory", [*run, "-n", "2", "/tmp"], ["/tmp"])
with h.Folder("messages") as folder:
    plain = os.path.join(folder.path, "plain")
    with open(plain, "w") as f:
        f.write("no program\n")
    complains("a file that is not executable", [*run, "-n", "2", plain], ["plain", "execut"])
    os.chmod(plain, 0o755)
    with open(plain, "w") as f:
        f.write("\x7fELF garbage\n")
    complains("an executable that is broken", [*run, "-n", "2", plain], ["plain"])
    bad = os.path.join(folder.path, "bad.egd")
    with open(bad, "w") as f:
        f.write("receive: determinant : {source, sesn, dest, desn}\n  Log determinant sometimes\n")
    complains("a specification with an error", [*run, "-n", "2", "--spec", bad, hello], ["bad.egd:2:"])
    with open(bad, "w") as f:
        f.write("Co-ordinated checkpoint asynchronously on NFS disk\nImplementation : full\n")
    complains("a specification that cannot be run yet", [*run, "-n", "2", "--spec", bad, hello], ["bad.egd:1:"])
    static = os.path.join(folder.path, "static")
    with open(static + ".c", "w") as f:
        f.write("int main(void) { return 0; }\n")
    if subprocess.run(["gcc", "-static", "-o", static, static + ".c"], capture_output=True).returncode == 0:
        complains("a static binary", [*run, "-n", "2", static], ["static"])
    else:
        tap.skip("a static binary", "no static libc")
    for first in ("#!/bin/sh", "#!/usr/bin/env -S bash -e"):
        wrapper = os.path.join(folder.path, "wrapper")
        with open(wrapper, "w") as f:
            f.write(first + "\nexec %s\n" % hello)
        os.chmod(wrapper, 0o755)
        complains("a wrapper with " + first, [*run, "-n", "2", wrapper], ["shell script", "MPI program itself"])
    with open(os.path.join(h.SPECS, "pessimistic.egd")) as f:
        text = f.read().replace("volatile memory of processes", "volatile memory of 3 processes")
    with open(bad, "w") as f:
        f.write(text)
    complains("more holders than nodes", [*run, "-n", "4", "--nodes", "2", "--spec", bad, hello], ["bad.egd", "3 other nodes", "2 nodes"])
    lost = subprocess.run("%s run -n 2 %s > /dev/full" % (h.EGIDA, hello), shell=True, cwd=folder.path, capture_output=True, text=True, timeout=60)
    tap.ok(lost.returncode == 1 and "output was lost" in lost.stderr, "output that cannot be written", lost)
    like_mpiexec = h.run([*run, "-np", "2", hello], folder.path, 30)
    tap.ok(like_mpiexec.status == 0, "-np 2, as mpiexec has it", like_mpiexec.tail())
    unreadable = os.path.join(folder.path, "sealed")
    os.mkdir(unreadable, 0o555)
    if os.geteuid() == 0:
        tap.skip("a read-only folder", "root may write everywhere")
    else:
        complains("a read-only folder", [*run, "-n", "2", hello], ["permission"], folder=unreadable)
    os.chmod(unreadable, stat.S_IRWXU)
with h.Folder("messages") as folder:
    for command in ("run", "check", "explain", "specs", "status", "jobs", "ranks", "events", "checkpoints", "clean"):
        result = h.run([h.EGIDA, command, "--help"], folder.path, 20)
        tap.ok(result.status == 0 and command.encode() in result.out, "egida %s --help" % command, result.tail())
    result = h.run([h.EGIDA, "--version"], folder.path, 20)
    tap.ok(result.status == 0 and b"0.1.0" in result.out, "egida --version", result.tail())
tap.end()

#!/usr/bin/env python3
# egida doctor: all is well here; each thing that is not is found, named, and comes with the next step.
import json, os, resource, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()


def doctor(folder, *arguments, environment=None, before=None):
    env = dict(os.environ, **(environment or {}))
    env.pop("SLURM_JOB_ID", None)
    return subprocess.run([h.EGIDA, "doctor", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, env=env, preexec_fn=before)


with h.Folder("doctor") as folder:
    at = folder.path
    done = doctor(at)
    tap.ok(done.returncode == 0 and "Egida can work here" in done.stdout and "BAD" not in done.stdout, "nothing to mend", done)
    done = doctor(at, "--json", h.programs()["ring"].path)
    report = json.loads(done.stdout)
    checks = {f["check"]: f["verdict"] for f in report[0]["findings"]}
    tap.ok(done.returncode == 0 and checks["kernel"] == checks["program"] == checks["MPI"] == "good", "JSON, with a program", checks)

    def bad(name, word, done):
        lines = [line for line in done.stdout.splitlines() if " BAD " in line]
        tap.ok(done.returncode == 1 and any(word in line for line in lines), "%s: %s" % (name, word), done)

    bad("a program that is no MPI program's kind", "program", doctor(at, "/etc/passwd"))
    bad("a missing folder", "--dir names another", doctor(at, "--dir", "/proc/nowhere"))
    os.mkdir(os.path.join(at, "open"), 0o755)
    os.chmod(os.path.join(at, "open"), 0o755)
    bad("a folder open to others", "chmod 700", doctor(at, "--dir", "open"))
    bad("few open files", "ulimit -n", doctor(at, before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))))
    bad("little virtual memory", "unlimited", doctor(at, before=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 36, 1 << 36))))
    bad("no local folder", "$TMPDIR", doctor(at, environment={"TMPDIR": "/proc/nowhere"}))
    bad("a service that does not answer", "is the service running", doctor(at, environment={"EGIDA_CONTROL_SERVICE": "127.0.0.1:1"}))
    bad("a wrong configuration", "configuration", doctor(at, environment={"EGIDA_SPARES": "many"}))
    done = doctor(at, "--nonsense")
    tap.ok(done.returncode == 1 and "--nonsense" in done.stderr, "an unknown option", done)
tap.end()

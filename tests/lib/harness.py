"""What the test scripts, the campaigns and the benchmarks share: running jobs, comparing results, TAP."""

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

SOURCE = os.environ.get("EGIDA_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("EGIDA_BUILD") or os.path.join(SOURCE, "build")
EGIDA = os.environ.get("EGIDA") or os.path.join(BUILD, "egida")
PROGRAMS = os.path.join(BUILD, "tests", "programs")
SPECS = os.path.join(SOURCE, "specs")
SCALAPACK = "/usr/lib/x86_64-linux-gnu/scalapack/mpich-tests"
SCALAPACK_DATA = "/usr/share/scalapack"
MARK = "EGIDA_TEST_MARK"  # in the environment of all that a run starts, so that what it leaves behind is found


# ---- running -----------------------------------------------------------------------------------------------------------


class Result:
    """How a command ended. `hang`: it was still running after its time and was killed."""

    def __init__(self, command, folder):
        self.command = command
        self.folder = folder
        self.status = None
        self.hang = False
        self.out = b""
        self.err = ""
        self.seconds = 0.0
        self.left = []

    def tail(self, lines=25):
        text = "command: %s\nstatus: %s%s after %.1f s\n" % (
            quote(self.command), self.status, " (no end, killed)" if self.hang else "", self.seconds)
        for name, data in (("stdout", self.out.decode(errors="replace")), ("stderr", self.err)):
            part = data.splitlines()[-lines:]
            if part:
                text += "".join("%s: %s\n" % (name, line[:400]) for line in part)
        if self.left:
            text += "left behind: %s\n" % ", ".join(self.left)
        return text


def quote(command):
    return " ".join(c if re.fullmatch(r"[\w@%+=:,./#-]+", c) and not c.startswith("#") else "'" + c + "'" for c in command)


def marked(mark):
    """Living processes that carry `mark` in their environment: [(pid, command)]."""
    needle = ("%s=%s" % (MARK, mark)).encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as f:
                if needle not in f.read().split(b"\0"):
                    continue
            with open("/proc/%s/stat" % name) as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    continue
            with open("/proc/%s/cmdline" % name, "rb") as f:
                found.append((int(name), f.read().replace(b"\0", b" ").decode(errors="replace").strip()[:120]))
        except OSError:
            pass
    return found


def run(command, folder, timeout=60, stdin=b"", environment=None, grace=3.0):
    """Run `command` in `folder`, never longer than `timeout`; nothing that it started survives it."""
    result = Result(command, folder)
    mark = uuid.uuid4().hex
    env = dict(os.environ)
    env[MARK] = mark
    env.update(environment or {})
    out_path, err_path = os.path.join(folder, ".stdout"), os.path.join(folder, ".stderr")
    in_path = os.path.join(folder, ".stdin")
    with open(in_path, "wb") as f:
        f.write(stdin)
    begin = time.monotonic()
    with open(in_path, "rb") as fin, open(out_path, "wb") as fout, open(err_path, "wb") as ferr:
        child = subprocess.Popen(command, cwd=folder, stdin=fin, stdout=fout, stderr=ferr, env=env, start_new_session=True)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            result.hang = True
            keep_evidence(folder, mark)
            os.killpg(child.pid, signal.SIGINT)
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            sweep(mark)
            raise
    result.seconds = time.monotonic() - begin
    result.status = 128 - child.returncode if child.returncode < 0 else child.returncode
    until = time.monotonic() + grace
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.05)
    result.left = ["%d %s" % p for p in marked(mark)]
    sweep(mark)
    with open(out_path, "rb") as f:
        result.out = f.read()
    with open(err_path, "rb") as f:
        result.err = f.read().decode(errors="replace")
    return result


def keep_evidence(folder, mark):
    """For a run that hangs: what its processes wait for."""
    lines = []
    for pid, command in marked(mark):
        try:
            with open("/proc/%d/wchan" % pid) as f:
                wait = f.read()
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
            lines.append("%d %s state %s wchan %s utime %s" % (pid, command, fields[0], wait, fields[11]))
        except OSError:
            pass
    with open(os.path.join(folder, ".processes"), "w") as f:
        f.write("\n".join(lines) + "\n")


def sweep(mark):
    for _ in range(20):
        left = marked(mark)
        if not left:
            return
        for pid, _ in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.1)


def egida_command(program, args=(), ranks=4, spec="none", options=()):
    if not os.path.isabs(spec) and os.path.exists(os.path.join(SPECS, spec + ".egd")):
        spec = os.path.join(SPECS, spec + ".egd")
    return [EGIDA, "run", "-n", str(ranks), "--spec", spec, *options, program, *args]


class Folder:
    """A scratch folder; kept (and named) if `keep` is set before it is left."""

    def __init__(self, name="run"):
        self.path = tempfile.mkdtemp(prefix="egida-%s." % name)
        self.keep = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


# ---- the test programs -------------------------------------------------------------------------------------------------


def wait_for_start(folder, timeout=30):
    """Until start-up of the (only) job in `folder` is over. False: it did not come so far."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            if "started" in [e["kind"] for e in history(folder, "events")]:
                return True
        except RuntimeError:  # there is no event yet
            pass
        time.sleep(0.05)
    return False


class Program:
    def __init__(self, fields):
        self.name, short, paced, self.compare, files, traits = fields
        self.short, self.paced = short.split(), paced.split()
        self.files, self.traits = files.split(), set(traits.split())

    @property
    def path(self):
        return os.path.join(PROGRAMS, self.name)

    def stdin(self):
        return b"".join(b"line number %d, with text\n" % i for i in range(1, 31)) if "stdin" in self.traits else b""


def programs():
    result = {}
    with open(os.path.join(SOURCE, "tests", "programs", "manifest")) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                program = Program([field.strip() for field in line.split("|")])
                result[program.name] = program
    return result


def outcome(result, compare="exact", files=()):
    """What must be the same whatever fails: status, output, files. A dictionary of strings and bytes."""
    out = result.out
    if compare == "sorted":
        out = b"".join(sorted(out.splitlines(True)))
    elif compare == "scalapack":
        out = mask_times(out)
    what = {"status": result.status, "stdout": out}
    for name in sorted(os.listdir(result.folder)):
        if any(fnmatch.fnmatch(name, pattern) for pattern in files):
            with open(os.path.join(result.folder, name), "rb") as f:
                what[name] = f.read()
            if compare == "scalapack":
                what[name] = mask_times(what[name])
    return what


def difference(expected, got):
    """The first difference of two outcomes in words, or an empty string."""
    for name in list(expected) + [n for n in got if n not in expected]:
        a, b = expected.get(name), got.get(name)
        if a == b:
            continue
        if a is None or b is None:
            return "%s exists only %s" % (name, "after the run with failures" if a is None else "in the reference")
        if not isinstance(a, bytes):
            return "%s is %s, not %s" % (name, b, a)
        left, right = a.splitlines(), b.splitlines()
        for number, (x, y) in enumerate(zip(left, right), 1):
            if x != y:
                return "%s, line %d: %r instead of %r" % (name, number, y[:160], x[:160])
        return "%s has %d lines (%d bytes), not %d (%d)" % (name, len(right), len(b), len(left), len(a))
    return ""


def mask_times(out):
    """ScaLAPACK's output without times and rates, and without residuals: some of its tests start from the clock."""
    masked = []
    for line in out.splitlines():
        if re.match(rb"\s*(WALL|CPU|BOTH)\s", line) or re.search(rb"(?i)passed|failed|second|mflops|elapsed|\btimes?\b|\|  P[CDSZ]", line):
            line = re.sub(rb"-?(\d+\.\d*|\.\d+)([ED][+-]?\d+)?|NaN|Inf(inity)?|\*+", b"*", line)
            line = b" ".join(re.sub(rb"\*+", b"*", line).split())
        masked.append(line.rstrip())
    return b"\n".join(masked) + b"\n"


# ---- the history of a job ----------------------------------------------------------------------------------------------


def history(folder, what, *args):
    """`egida WHAT --json` in `folder`: a list of dictionaries."""
    done = subprocess.run([EGIDA, what, "--json", *args], cwd=folder, capture_output=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError("egida %s --json: status %d: %s" % (what, done.returncode, done.stderr.decode(errors="replace")))
    text = done.stdout.decode()
    try:
        data = json.loads(text)
    except ValueError:
        data = [json.loads(line) for line in text.splitlines() if line.strip()]
    while isinstance(data, dict):
        lists = [v for v in data.values() if isinstance(v, list)]
        data = lists[0] if lists else [data]
    return data


# ---- TAP ---------------------------------------------------------------------------------------------------------------


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, what, details=""):
        self.count += 1
        print("%sok %d - %s" % ("" if good else "not ", self.count, what))
        if not good:
            self.failed += 1
            for line in str(details).splitlines():
                print("# " + line)
        sys.stdout.flush()
        return bool(good)

    def skip(self, what, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, what, why))
        sys.stdout.flush()

    def end(self):
        print("1..%d" % self.count)
        sys.exit(1 if self.failed else 0)


def skip_all(why):
    print("1..0 # SKIP " + why)
    sys.exit(0)

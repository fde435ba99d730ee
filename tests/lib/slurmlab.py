"""A lab (tests/lab) and jobs in it: processes of its hosts, and runs of srun that are watched while they run."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import harness as h

LAB = os.path.join(h.SOURCE, "tests", "lab")
USER = "egida-u1"
PLUGIN = os.path.join(h.BUILD, ".libs", "spank_egida.so")


def why_not():
    """What is missing here for a lab with the plugin, or an empty string."""
    if os.geteuid() != 0:
        return "root is needed for a lab"
    if not os.path.exists(PLUGIN):
        return "the build has no Slurm plugin"
    check = subprocess.run([os.path.join(LAB, "up"), "--check"], capture_output=True, text=True, timeout=30)
    return check.stderr.strip() if check.returncode else ""


class Lab:
    """`with Lab() as lab`: five nodes whose SlurmdTimeout is the 300 s of real clusters; gone afterwards, or only its logs kept."""

    def __init__(self, plugin=True, conf=()):
        self.path = tempfile.mkdtemp(prefix="egida-lab-campaign.")
        self.keep_logs = False
        options = ["--share", h.SOURCE, "--slurmd-timeout", "300", "--timeout", "60"]
        if not h.BUILD.startswith(h.SOURCE + "/"):
            options += ["--share", h.BUILD]
        for setting in conf:
            options += ["--conf", setting]
        if plugin:
            plugstack = self.path + ".plugstack"
            with open(plugstack, "w") as f:
                f.write("optional %s egida=%s\n" % (PLUGIN, h.EGIDA))
            options += ["--plugstack", plugstack]
        try:
            self.do("up", *options, timeout=90)
        finally:
            if plugin:
                os.unlink(plugstack)
        self.home = os.path.join(self.path, "shared", "home", USER)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.do("down", *(["--keep-logs"] if self.keep_logs else []))

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "EGIDA_"))}
        return dict(env, LAB_DIR=self.path)

    def do(self, name, *args, timeout=60, check=True):
        """A command of tests/lab; its output."""
        done = subprocess.run([os.path.join(LAB, name), *args], env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError("tests/lab/%s %s: status %d: %s" % (name, " ".join(args), done.returncode, done.stderr.strip()))
        return done.stdout

    def as_user(self, *command, folder=None, timeout=60):
        """A command of the user on the login host: (status, output, errors)."""
        done = subprocess.run([os.path.join(LAB, "as-user"), *command], env=self.environment(), cwd=folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def new_folder(self):
        """An empty folder of the user that all hosts share."""
        path = tempfile.mkdtemp(prefix="run.", dir=self.home)
        shutil.chown(path, *[os.stat(self.home).st_uid, os.stat(self.home).st_gid])
        return path

    # ---- processes -------------------------------------------------------------------------------------------------------

    def host_pid(self, host):
        with open(os.path.join(self.path, "hosts", host, "pid")) as f:
            pid = int(f.read().split()[0])
        os.kill(pid, 0)
        return pid

    def processes(self, host, name=None):
        """Of the user, on `host`: [(pid, words of its command line)]; `name` is the program's, without folder."""
        found, uid = [], os.stat(self.home).st_uid
        try:
            space = os.readlink("/proc/%d/ns/pid" % self.host_pid(host))
        except OSError:
            return []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if os.stat("/proc/%d" % pid).st_uid != uid or os.readlink("/proc/%d/ns/pid" % pid) != space:
                    continue
                with open("/proc/%d/stat" % pid) as f:
                    if f.read().rpartition(")")[2].split()[0] in "ZX":
                        continue
                with open("/proc/%d/cmdline" % pid, "rb") as f:
                    words = f.read().decode(errors="replace").split("\0")[:-1]
                program = os.path.basename(os.readlink("/proc/%d/exe" % pid))
                if name in (None, program):
                    found.append((pid, words))
            except OSError:
                pass
        return found

    def ranks(self, host):
        """Processes of ranks there: those that have a channel to the node's agent."""
        found = []
        for pid, words in self.processes(host):
            try:
                with open("/proc/%d/environ" % pid, "rb") as f:
                    is_rank = b"\0EGIDA_RANK=" in b"\0" + f.read()
                if is_rank and os.path.basename(os.readlink("/proc/%d/exe" % pid)) not in ("egida-exec", "egida-agent", "egida-restart"):
                    found.append((pid, words))
            except OSError:
                pass
        return found

    def hosts(self):
        return [name for name in sorted(os.listdir(os.path.join(self.path, "hosts"))) if self.has_power(name)]

    def has_power(self, host):
        try:
            self.host_pid(host)
            return True
        except OSError:
            return False

    def left_behind(self, seconds=6.0):
        """What of the user's there is still on hosts with power after some time: processes and node folders."""
        until = time.monotonic() + seconds
        while True:
            left = []
            for host in self.hosts():
                left += ["%s: %d %s" % (host, pid, " ".join(words)[:80]) for pid, words in self.processes(host)]
                tmp = "/proc/%d/root/tmp" % self.host_pid(host)
                for top in [name for name in os.listdir(tmp) if re.fullmatch(r"egida-\d+", name)]:
                    left += ["%s: /tmp/%s/%s" % (host, top, name) for name in os.listdir(os.path.join(tmp, top))]
            if not left or time.monotonic() > until:
                return left
            time.sleep(0.1)

    def keep_evidence(self, folder):
        """For a run that hangs: Slurm's view, and what each process waits for."""
        with open(os.path.join(folder, ".lab"), "w") as out:
            for command in (["squeue", "-a"], ["squeue", "-s"], ["sinfo", "-N"]):
                try:
                    out.write("%s\n%s\n" % (" ".join(command), self.do("exec", "ctl", *command, timeout=15, check=False)))
                except subprocess.TimeoutExpired:
                    out.write("%s: no answer\n" % command[0])
            for host in self.hosts():
                for pid, words in self.processes(host):
                    out.write("%s %d %s\n" % (host, pid, " ".join(words)))
                    for name in ("wchan", "stack", "syscall"):
                        try:
                            with open("/proc/%d/%s" % (pid, name)) as f:
                                out.write("  %s: %s\n" % (name, f.read().strip().replace("\n", "\n    ")))
                        except OSError:
                            pass
        shutil.copytree(os.path.join(self.path, "log"), os.path.join(folder, ".lab-log"), dirs_exist_ok=True)


class Job:
    """A command of the user that runs; its lines on stderr are kept with the moment at which they came."""

    def __init__(self, lab, command, folder, stdin=b"", host="login"):
        self.lab, self.command, self.folder = lab, command, folder
        self.result = h.Result(command, folder)
        self.lines, self.news = [], threading.Condition()
        self.ended = False
        with open(os.path.join(folder, ".stdin"), "wb") as f:
            f.write(stdin)
        self.out_path = os.path.join(folder, ".stdout")
        self.begin = time.monotonic()
        with open(os.path.join(folder, ".stdin"), "rb") as fin, open(self.out_path, "ab") as fout:
            self.child = subprocess.Popen([os.path.join(LAB, "as-user"), "-H", host, *command], cwd=folder, stdin=fin, stdout=fout,
                                          stderr=subprocess.PIPE, env=lab.environment(), start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stderr:
            with self.news:
                self.lines.append((time.monotonic(), line.decode(errors="replace").rstrip("\n")))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def said(self, pattern):
        """Lines so far that match: [(moment, match)]."""
        with self.news:
            return [(at, m) for at, line in self.lines for m in [re.search(pattern, line)] if m]

    def wait_for(self, pattern, seconds, count=1):
        """The moment of the `count`-th line that matches, and its match; None: the job ended or it took too long."""
        until = time.monotonic() + seconds
        while True:
            found = self.said(pattern)
            if len(found) >= count:
                return found[count - 1]
            with self.news:
                if self.ended or time.monotonic() > until:
                    return None
                self.news.wait(0.2)

    def signal(self, number):
        """To srun, as a terminal does it."""
        os.killpg(self.child.pid, number)

    def finish(self, timeout):
        """Its result; nothing of it survives on the login host."""
        result = self.result
        try:
            self.child.wait(max(0.1, self.begin + timeout - time.monotonic()))
        except subprocess.TimeoutExpired:
            result.hang = True
            self.lab.keep_evidence(self.folder)
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        result.seconds = time.monotonic() - self.begin
        self.reader.join(5)
        result.status = 128 - self.child.returncode if self.child.returncode < 0 else self.child.returncode
        with open(self.out_path, "rb") as f:
            result.out = f.read()
        with self.news:
            result.err = "".join(line + "\n" for _, line in self.lines)
        return result

#!/usr/bin/env python3
# timeout: 400
# The cluster's service: owners of jobs ship their histories to it by munge and by its socket, it is killed again and again.
# EGIDA_RESTARTD_KILLS: how often (default 25).
import atexit, json, os, random, shutil, signal, socket, sqlite3, struct, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

KILLS = int(os.environ.get("EGIDA_RESTARTD_KILLS", "25"))
SERVICE_USER, ADA, EVE = "daemon", "games", "man"  # users that every Debian has
if os.geteuid() != 0:
    h.skip_all("root is needed to be several users")
for tool in ("munged", "munge", "setpriv"):
    if not shutil.which(tool):
        h.skip_all("%s is not installed" % tool)
tap = h.Tap()
folder = h.Folder("restartd")
at = folder.path
os.chmod(at, 0o755)
children = []
environment = {k: v for k, v in os.environ.items() if not k.startswith("EGIDA_")}


def path(*parts):
    return os.path.join(at, *parts)


def own_folder(name, user):
    os.makedirs(path(name), mode=0o700, exist_ok=True)
    shutil.chown(path(name), user)
    return path(name)


def start(command, log, user=None, env=None, **keywords):
    if user:
        command = ["setpriv", "--reuid", user, "--clear-groups", *command]
    with open(path(log), "ab") as f:
        child = subprocess.Popen(command, cwd=at, stdin=subprocess.DEVNULL, stderr=f, env={**environment, **(env or {})}, **keywords)
    children.append(child)
    return child


def text_of(name):
    with open(path(name), errors="replace") as f:
        return f.read()


def wait_for(what, seconds=10):
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def finish():
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    folder.__exit__()


atexit.register(finish)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # out of time: nothing is left behind


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- munge and the service ---------------------------------------------------------------------------------------------
for program, source in (("egida-restartd", "egida-restartd"), ("service_job", "tests/unit/service_job")):
    shutil.copy(os.path.join(h.BUILD, source), path(program))  # where all users may read
with open(path("munge.key"), "wb") as f:
    f.write(os.urandom(128))
os.chmod(path("munge.key"), 0o600)
MUNGE = path("munge.sock")
start(["munged", "--foreground", "--key-file", path("munge.key"), "--socket", MUNGE, "--pid-file", path("munge.pid"),
       "--log-file", path("munge.log"), "--seed-file", path("munge.seed"), "--num-threads", "2"], "munged.err")
if not wait_for(lambda: os.path.exists(MUNGE)):
    tap.ok(False, "munged starts", text_of("munged.err"))
    tap.end()

PORT = free_port()
own_folder("state", SERVICE_USER)
own_folder("run", SERVICE_USER)
os.chmod(path("run"), 0o755)
SOCKET = path("run", "restartd.sock")
with open(path("egida.conf"), "w") as f:
    f.write("# of the test\nDatabase = %s\nSocket = %s\nListen = 127.0.0.1:%d\nServiceUser = %s\nMungeSocket = %s\n"
            "ControlService = localhost:%d\n" % (path("state"), SOCKET, PORT, SERVICE_USER, MUNGE, PORT))
CONF = {"EGIDA_CONFIG": path("egida.conf")}
service = None


def start_service(*options, env=None, before=()):
    global service
    service = start([*before, path("egida-restartd"), "--foreground", "--verbose", "--config", path("egida.conf"), *options], "service.err", env=env)
    return wait_for(lambda: service.poll() is not None or reachable())


def reachable():
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(SOCKET)
            return bool(s.recv(1))
    except OSError:
        return False


def kill_service():
    service.kill()
    service.wait()


def job(user, where, name, rounds, pause, *arguments, unix=False, **keywords):
    own_folder(where, user)
    env = {**CONF, **({"EGIDA_CONTROL_SERVICE": SOCKET} if unix else {})}
    return start([path("service_job"), path(where), name, str(rounds), str(pause), *arguments], "job-%s.err" % name, user=user, env=env,
                 stdout=subprocess.PIPE, text=True, **keywords)


def end_of(child, seconds=60):
    try:
        return child.communicate(timeout=seconds)[0].splitlines()[-1:]
    except subprocess.TimeoutExpired:
        child.kill()
        return ["no end"]


# ---- what both histories say of a job ----------------------------------------------------------------------------------
def rows(database, name):
    db = sqlite3.connect("file:%s?mode=ro" % database, uri=True)
    db.row_factory = sqlite3.Row
    result = []

    def add(table, sql, *without):
        for row in db.execute(sql, (name,)):
            result.append((table, tuple((k, row[k]) for k in row.keys() if k not in without)))

    add("jobs", "SELECT * FROM jobs WHERE id = ?", "user")
    for table, order in (("nodes", "node, incarnation"), ("ranks", "rank, birth, incarnation"), ("checkpoints", "rank, number"), ("logs", "rank")):
        add(table, "SELECT * FROM %s WHERE job = ? ORDER BY %s" % (table, order))
    add("failures", "SELECT * FROM failures WHERE job = ? ORDER BY id", "id", "origin")
    add("events", "SELECT * FROM events WHERE job = ? ORDER BY seq", "seq")
    add("recoveries", "SELECT r.*, f.detected_ns AS of_failure, f.rank AS of_rank FROM recoveries r LEFT JOIN failures f ON f.id = r.failure"
        " WHERE r.job = ? ORDER BY r.rank, r.birth, r.incarnation", "failure")
    db.close()
    return result


def same(where, name, what):
    mine, theirs = rows(path(where, "history.db"), name), rows(path("state", "history.db"), name)
    missing, more = set(mine) - set(theirs), set(theirs) - set(mine)
    return tap.ok(mine == theirs and len(mine) > 30 and any(t == "recoveries" and dict(r)["of_failure"] for t, r in mine),
                  "%s: all %d rows are the same at the service" % (what, len(mine)),
                  "of %d rows %d are missing, %d are too many\n%s\n%s\n%s" % (len(mine), len(missing), len(more), sorted(missing)[:3], sorted(more)[:3], text_of("service.err")[-1500:]))


# ---- begin -------------------------------------------------------------------------------------------------------------
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path("notify.sock"))
os.chmod(path("notify.sock"), 0o666)
notify.settimeout(10)
tap.ok(start_service(env={"NOTIFY_SOCKET": path("notify.sock")}) and service.poll() is None, "the service starts", text_of("service.err"))
tap.ok(notify.recv(100) == b"READY=1", "and tells the service manager")
tap.ok(os.stat(path("state", "history.db")).st_uid == __import__("pwd").getpwnam(SERVICE_USER).pw_uid, "it runs as its own user")
tap.ok(not os.stat(path("state", "history.db")).st_mode & 0o077 and not os.stat(path("state")).st_mode & 0o077, "its history is closed to others")
second = subprocess.run([path("egida-restartd"), "--foreground", "--config", path("egida.conf")], capture_output=True, text=True, timeout=20, env=environment)
tap.ok(second.returncode == 1 and "in use by another egida-restartd" in second.stderr and reachable(), "a second one is refused, the first goes on", second.stderr)

# ---- kill -9 under load ------------------------------------------------------------------------------------------------
random.seed(1)
jobs = [(ADA, "ada", "job-a1", False), (ADA, "ada2", "job-a2", True), (EVE, "eve", "job-e1", False)]
running = [job(user, where, name, 1000000, 30, unix=unix) for user, where, name, unix in jobs]
kills = 0
while kills < KILLS:
    time.sleep(random.uniform(0.02, 0.4))
    kill_service()
    kills += 1
    time.sleep(random.choice([0, 0, 0.1, 0.5]))
    start_service()
alive = [child.poll() is None for child in running]
for child in running:
    child.terminate()
ends = [end_of(child) for child in running]
tap.ok(all(alive), "kill -9 of the service %d times while three jobs write" % kills)
tap.ok(ends == [["confirmed"]] * 3, "all jobs end, all is confirmed", "%s\n%s" % (ends, "\n".join(text_of("job-%s.err" % j[2])[-800:] for j in jobs)))
for user, where, name, unix in jobs:
    same(where, name, "%s (%s)" % (name, "socket" if unix else "TCP and munge"))
    tap.ok(os.listdir(path(where, "journal")) == [], "nothing is left of its journal")
db = sqlite3.connect(path("state", "history.db"))
tap.ok(dict(db.execute("SELECT id, user FROM jobs")) == {"job-a1": ADA, "job-a2": ADA, "job-e1": EVE}, "the users are who they are, not who they say")
db.close()

# ---- kill -9 of the owner, who is resumed ------------------------------------------------------------------------------
child = job(ADA, "ada", "job-a3", 1000, 5)
wait_for(lambda: child.poll() is not None or int((child.stdout.readline() or "0")) > 60)
child.kill()
child.wait()
tap.ok(os.listdir(path("ada", "journal")) == ["job-a3"], "the owner of a job is killed: its journal stays")
ends = end_of(job(ADA, "ada", "job-a3", 40, 5))
tap.ok(ends == ["confirmed"], "it is resumed", text_of("job-job-a3.err")[-1000:])
# The journal is written at once, the history of the folder every 250 ms: the service may know more, never less.
mine, theirs = rows(path("ada", "history.db"), "job-a3"), rows(path("state", "history.db"), "job-a3")
missing = [row for row in set(mine) - set(theirs) if row[0] != "logs"]
once = [row for row in theirs if row[0] == "events" and dict(row[1])["kind"] == "round"]
tap.ok(len(mine) > 1000 and not missing and len(theirs) >= len(mine), "all %d rows that both wrote are at the service" % len(mine), missing[:5])
tap.ok(len({row for row in once}) == len(once) and len(once) >= 40 * 20, "each event once")

# ---- no service --------------------------------------------------------------------------------------------------------
kill_service()
begin = time.monotonic()
child = job(ADA, "ada", "job-a4", 20, 10)
ends = end_of(child)
tap.ok(ends == ["left"] and time.monotonic() - begin < 6, "without the service a job goes on, its journal stays", (ends, time.monotonic() - begin))
tap.ok("stays in %s/journal" % path("ada") in text_of("job-job-a4.err"), "which is said", text_of("job-job-a4.err"))
start_service()
ends = end_of(job(ADA, "ada", "job-a5", 100, 20))
tap.ok(ends == ["confirmed"] and wait_for(lambda: os.listdir(path("ada", "journal")) == []), "the next job of the folder sends it too", text_of("job-job-a5.err"))
same("ada", "job-a4", "of the earlier one")
same("ada", "job-a5", "of the later one")

# ---- a real job --------------------------------------------------------------------------------------------------------
own_folder("real", "root")
program = h.programs()["ring"]
done = h.run(h.egida_command(program.path, program.paced, spec="pessimistic", options=["--inject", "kill:1@1s"]), path("real"), environment=CONF)
name = h.history(path("real"), "jobs")[0]["job"]
mine, theirs = rows(path("real", ".egida", "history.db"), name), rows(path("state", "history.db"), name)
tap.ok(done.status == 0 and mine == theirs and any(t == "recoveries" for t, _ in mine), "egida run with a killed rank: the same at the service", done.tail())
tap.ok(os.listdir(path("real", ".egida", "journal")) == [], "and all confirmed")

# ---- somebody else listens there ---------------------------------------------------------------------------------------
kill_service()
false_service = start([path("egida-restartd"), "--foreground", "--config", path("egida.conf"), "--database", own_folder("eves", EVE), "--socket", "none"],
                      "false.err", user=EVE, env={})
wait_for(lambda: "the history is" in text_of("false.err"))
ends = end_of(job(ADA, "ada", "job-a6", 5, 5))
tap.ok(ends == ["left"] and "and not as ServiceUser" in text_of("job-job-a6.err"), "a service of another user gets nothing", text_of("job-job-a6.err"))
db = sqlite3.connect(path("eves", "history.db"))
tap.ok(db.execute("SELECT count(*) FROM events").fetchone() == (0,), "really nothing")
db.close()
false_service.terminate()
tap.ok(false_service.wait(10) == 0, "SIGTERM ends a service well")
start_service()


# ---- hostile clients ---------------------------------------------------------------------------------------------------
class Client:
    def __init__(self, tcp=False):
        self.s = socket.create_connection(("127.0.0.1", PORT)) if tcp else socket.socket(socket.AF_UNIX)
        if not tcp:
            self.s.connect(SOCKET)
        self.s.settimeout(10)
        self.hello = self.get()

    def get(self):
        try:
            head = self.s.recv(8, socket.MSG_WAITALL)
            if len(head) < 8:
                return None
            body = self.s.recv(struct.unpack("<I", head[:4])[0], socket.MSG_WAITALL)
            return json.loads(body)
        except ConnectionError:
            return None

    def put(self, message, kind=1):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.s.sendall(struct.pack("<IB3x", len(body), kind) + body)

    def ask(self, message, kind=1):
        self.put(message, kind)
        return self.get()

    def ends(self):
        while True:
            try:
                if not self.s.recv(65536):
                    return True
            except ConnectionError:
                return True
            except socket.timeout:
                return False


def in_child(user, what):
    """Run `what` as `user` (a real SO_PEERCRED); its JSON result."""
    ends = os.pipe()
    pid = os.fork()
    if pid == 0:
        entry = __import__("pwd").getpwnam(user)
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        try:
            os.write(ends[1], json.dumps(what()).encode())
        finally:
            os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0], "rb") as f:
        data = f.read()
    os.waitpid(pid, 0)
    return json.loads(data or b"null")


def register(client, name, **more):
    return client.ask({"op": "register", "version": 1, "job": name, **more})


def munge(user, payload):
    done = subprocess.run(["setpriv", "--reuid", user, "--clear-groups", "munge", "-S", MUNGE], input=payload.encode(), capture_output=True, check=True)
    return done.stdout.decode().strip()


def payload(client, nonce, name):
    return "egida-restartd 1\nregister\n%s\n%s\n%s" % (client.hello["nonce"], nonce, name)


def refused(answer, *words):
    return bool(answer) and answer["op"] == "refused" and all(w in answer["why"] for w in words)


NONCE = "ab" * 32
answer = in_child(EVE, lambda: register(Client(), "job-a1"))
tap.ok(refused(answer, "another user"), "Eve can't register Ada's job by the socket", answer)
client = Client(True)
answer = register(client, "job-a1", nonce=NONCE, credential=munge(EVE, payload(client, NONCE, "job-a1")))
tap.ok(refused(answer, "another user"), "nor by munge", answer)
answer = in_child(EVE, lambda: register(Client(), "job-e1"))
tap.ok(answer["op"] == "registered" and answer["acknowledged"] > 0, "but her own", answer)
client = Client(True)
credential = munge(ADA, payload(client, NONCE, "job-a1"))
answer = register(client, "job-a1", nonce=NONCE, credential=credential)
tap.ok(answer["op"] == "registered" and answer.get("credential", "").startswith("MUNGE:"), "Ada by munge", answer)
for name, words, arguments in (
        ("no credential", "a nonce and a munge credential", {}),
        ("no nonce", "a nonce and a munge credential", {"credential": credential}),
        ("a used credential, in another connection", "munge", {"nonce": NONCE, "credential": credential}),
        ("an unused one, made for another connection", "made for something else", {"nonce": NONCE, "credential": munge(ADA, payload(client, NONCE, "job-a1"))}),
        ("garbage", "munge", {"nonce": NONCE, "credential": "MUNGE:garbage:"}),
        ("not a string", "a nonce and a munge credential", {"nonce": NONCE, "credential": 5})):
    answer = register(Client(True), "job-a1", **arguments)
    tap.ok(refused(answer, words), "by TCP with %s: refused" % name, answer)
for name in ("", "../x", ".x", "a/b", "x" * 64, "a b", "ä", 5, None):
    answer = register(Client(), name)
    tap.ok(refused(answer, "not the id"), "no job's id: %r" % (name,), answer)

for what, data in (("random bytes", os.urandom(300)), ("a frame of 4 GiB", b"\xff\xff\xff\xff\x01\0\0\0"), ("a frame of 17 KiB", struct.pack("<IB3x", 17 << 10, 1)),
                   ("a frame without a type", struct.pack("<IB3x", 1, 0) + b"x"), ("a list for an object", struct.pack("<IB3x", 2, 1) + b"[]"),
                   ("deep JSON", struct.pack("<IB3x", 16000, 1) + b"[" * 16000), ("records of nobody", struct.pack("<IB3x", 30, 2) + os.urandom(30))):
    client = Client()
    client.s.sendall(data)
    tap.ok(client.ends(), "%s: the connection ends" % what)


def records(*data):
    client = Client()
    register(client, "job-x")
    return client.ask(b"".join(data), 2)


for what, data in (("random bytes", os.urandom(100)), ("half a record", struct.pack("<I", 40) + bytes(20))):
    answer = records(data)
    tap.ok(refused(answer), "as records, %s: refused" % what, answer)
db = sqlite3.connect(path("state", "history.db"))
tap.ok(db.execute("SELECT count(*) FROM journals WHERE job = 'job-x'").fetchone() == (0,), "a job without records leaves no trace")
db.close()

client = Client()
register(client, "job-x")
answer = client.ask({"op": "node-lost", "slurm_job": 1, "node": "nowhere"})
tap.ok(answer["op"] == "node-lost" and not answer["done"] and answer["why"], "a lost node without Slurm: an answer", answer)
for arguments in ({}, {"slurm_job": -1, "node": "n"}, {"slurm_job": 1, "node": "n" * 300}, {"slurm_job": 1 << 40, "node": "n"}, {"slurm_job": 1, "node": 2}):
    client = Client()
    register(client, "job-x")
    tap.ok(refused(client.ask({"op": "node-lost", **arguments})), "node-lost with %s" % str(arguments)[:40])

kill_service()
start_service(before=["prlimit", "--nofile=100:100"])
tap.ok(wait_for(lambda: "there are only descriptors for 36" in text_of("service.err")), "too few descriptors are said", text_of("service.err")[-500:])
crowd = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(150)]
time.sleep(0.3)
with open("/proc/%d/stat" % service.pid) as f:
    before = int(f.read().split()[13])
time.sleep(1)
with open("/proc/%d/stat" % service.pid) as f:
    spent = int(f.read().split()[13]) - before
tap.ok(spent < 20 and register(Client(), "job-x")["op"] == "registered", "and are no trouble: %d ticks in a second with too many clients" % spent)
for s in crowd:
    s.close()
kill_service()
start_service()
silent = [Client(True) for _ in range(300)]
begin = time.monotonic()
client = Client(True)
answer = register(client, "job-a1", nonce=NONCE, credential=munge(ADA, payload(client, NONCE, "job-a1")))
tap.ok(answer["op"] == "registered" and time.monotonic() - begin < 3, "300 silent clients keep nobody out", answer)
time.sleep(max(0, 7 - (time.monotonic() - begin)))
tap.ok(all(c.ends() for c in silent), "and are closed after some seconds")
many = in_child(EVE, lambda: [(register(c, "job-m%d" % i) or {}).get("op") for i, c in enumerate([Client() for _ in range(128)])])
tap.ok(many.count("registered") == 128, "128 connections of one user", many)
with open("/proc/%d/status" % service.pid) as f:
    memory = int(next(line.split()[1] for line in f if line.startswith("VmRSS")))
tap.ok(memory < 100000, "the service needs little memory (%d KiB)" % memory)

slow = Client()
register(slow, "job-x")
slow.s.sendall(struct.pack("<IB3x", 1 << 20, 2) + bytes(1000))
ends = end_of(job(EVE, "eve", "job-e2", 30, 5))
tap.ok(ends == ["confirmed"], "a client in the middle of a frame holds up nobody", text_of("job-job-e2.err"))
same("eve", "job-e2", "its neighbour")

# ---- reload, damage, end -----------------------------------------------------------------------------------------------
with open(path("egida.conf"), "a") as f:
    f.write("MaxConnectionsPerUser = 1\n")
service.send_signal(signal.SIGHUP)
wait_for(lambda: "was read again" in text_of("service.err"))
tap.ok("was read again" in text_of("service.err"), "SIGHUP", text_of("service.err")[-500:])
held = in_child(EVE, lambda: (lambda a, b: [register(a, "job-r1"), register(b, "job-r2")])(Client(), Client()))
tap.ok(held[0]["op"] == "registered" and refused(held[1], "MaxConnectionsPerUser"), "a new limit is in force", held)
with open(path("egida.conf"), "a") as f:
    f.write("MaxConections = 1\n")
service.send_signal(signal.SIGHUP)
tap.ok(wait_for(lambda: "did you mean 'MaxConnections'?" in text_of("service.err")) and reachable(), "a mistake in the file is said, the service goes on")
wrong = subprocess.run([path("egida-restartd"), "--foreground", "--config", path("egida.conf")], capture_output=True, text=True, timeout=20, env=environment)
tap.ok(wrong.returncode == 1 and "egida.conf:9:" in wrong.stderr, "with it none starts", wrong.stderr)
with open(path("egida.conf")) as f:
    lines = f.readlines()
with open(path("egida.conf"), "w") as f:
    f.writelines(lines[:-2])
service.terminate()
tap.ok(service.wait(10) == 0 and not os.path.exists(SOCKET), "SIGTERM: a clean end, the socket is gone", text_of("service.err")[-500:])
with open(path("state", "history.db"), "r+b") as f:
    f.seek(4096)
    f.write(os.urandom(8192))
start_service()
tap.ok(os.path.exists(path("state", "history.db.damaged-1")) and "was damaged" in text_of("service.err") and reachable(),
       "a damaged history is moved aside, the service goes on", text_of("service.err")[-500:])
ends = end_of(job(ADA, "ada", "job-a7", 10, 5))
tap.ok(ends == ["confirmed"], "jobs too")
same("ada", "job-a7", "in the new history")
service.terminate()
service.wait(10)

background = subprocess.run([path("egida-restartd"), "--config", path("egida.conf")], capture_output=True, text=True, timeout=20, env=environment)
tap.ok(background.returncode == 0 and reachable(), "without --foreground it comes back when it is ready", background.stderr)
with socket.socket(socket.AF_UNIX) as s:
    s.connect(SOCKET)
    pid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
os.kill(pid, signal.SIGTERM)
tap.ok(wait_for(lambda: not os.path.exists("/proc/%d" % pid) or text_of("state/restartd.log").endswith("ends\n")), "and ends")
tap.end()

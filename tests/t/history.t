#!/usr/bin/env python3
# The commands that read the history, on histories made with the store's own functions.
import fcntl, json, os, socket, sqlite3, struct, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

FILL = os.environ.get("EGIDA_HISTORY_FILL") or os.path.join(h.BUILD, "tests", "unit", "history_fill")
A, B, C, D = ("20261121-%s" % x for x in ("100000-aaaa", "110000-bbbb", "120000-cccc", "130000-dddd"))
tap = h.Tap()


class Done:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __str__(self):
        return "status %s\n%s\n%s" % (self.status, self.out, self.err)


def egida(folder, *arguments, environment=None):
    env = dict(os.environ, TZ="UTC", LC_ALL="C.UTF-8", **(environment or {}))
    if not environment:
        env.pop("EGIDA_DIR", None)
    return Done(subprocess.run([h.EGIDA, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, env=env))


def fill(folder, scene):
    os.makedirs(os.path.join(folder, ".egida"), mode=0o700, exist_ok=True)
    subprocess.run([FILL, os.path.join(folder, ".egida"), scene], check=True, timeout=60)


def live(folder, scene="live"):
    os.makedirs(os.path.join(folder, ".egida"), mode=0o700, exist_ok=True)
    child = subprocess.Popen([FILL, os.path.join(folder, ".egida"), scene], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    return child


def files_of(folder, job, size=100000):
    path = os.path.join(folder, ".egida", "jobs", job)
    for sub in ("images/rank-0", "node-0"):
        os.makedirs(os.path.join(path, sub))
    for name in ("images/rank-0/1.img", "images/rank-0/2.img", "node-0/spill", "job.json"):
        with open(os.path.join(path, name), "wb") as f:
            f.write(b"x" * size)
    return path


def on_disk(folder):
    return sorted(os.listdir(os.path.join(folder, ".egida", "jobs")))


def complains(done, *words):
    return done.status == 1 and not done.out and all(w in done.err for w in words) and len(done.err.splitlines()) == 1


# ---- nothing there -----------------------------------------------------------------------------------------------------
with h.Folder("history") as folder:
    for command in ("status", "jobs", "ranks", "events", "checkpoints"):
        done = egida(folder.path, command)
        tap.ok(complains(done, ".egida", "--dir"), "%s without a folder" % command, done)
    done = egida(folder.path, "clean")
    tap.ok(complains(done, ".egida"), "clean without a folder", done)

# ---- lists -------------------------------------------------------------------------------------------------------------
with h.Folder("history") as folder:
    at = folder.path
    fill(at, "jobs")
    done = egida(at, "jobs")
    lines = done.out.splitlines()
    tap.ok(done.status == 0 and len(lines) == 4 and lines[0].split()[:3] == ["JOB", "STATE", "RANKS"], "jobs: a title and three jobs", done)
    tap.ok([line.split()[1] for line in lines[1:]] == ["INTERRUPTED", "FAILED", "COMPLETED"], "newest first, with their states", done)
    tap.ok(lines[3].endswith("./app -x 'two words'"), "the program with its arguments", done)
    tap.ok("\033" not in done.out and "./b?[31m?ad" in done.out, "nothing that a terminal would obey", repr(done.out))
    done = egida(at, "jobs", "-h", "-o", "job,exit", A)
    tap.ok(done.status == 0 and done.out.split() == [A, "0"], "-h and -o", done)
    done = egida(at, "jobs", "-h", "-o", "job:10,ranks:6,state%4", "aaaa")
    tap.ok(done.out == "20261121-+      4 COM+\n", "widths cut and pad; an end of an id is enough", repr(done.out))
    done = egida(at, "jobs", "-ho", "job", "--last=1")
    tap.ok(done.out == C + "\n", "--last", done)
    done = egida(at, "jobs", "-ho", "job", "--state", "failed")
    tap.ok(done.out == B + "\n", "--state", done)
    done = egida(at, "jobs", "--json", "-s", "RUNNING")
    tap.ok(done.status == 1 and json.loads(done.out) == {"jobs": []}, "no such jobs: an empty list and status 1", done)
    jobs = json.loads(egida(at, "jobs", "--json").out)["jobs"]
    tap.ok([j["job"] for j in jobs] == [C, B, A], "jobs --json", jobs)
    tap.ok(jobs[2]["argv"] == ["./app", "-x", "two words"] and jobs[2]["failures"] == 1 and jobs[2]["exit_code"] == 0
           and jobs[2]["ended_ns"] >= jobs[2]["begun_ns"] and jobs[0]["exit_code"] is None, "values are numbers, lists and null", jobs)
    done = egida(at, "jobs", "--json", "-o", "job,exit", "aaaa")
    tap.ok(json.loads(done.out) == {"jobs": [{"job": A, "exit_code": 0}]}, "--json with -o", done)

    done = egida(at, "status")
    tap.ok(done.status == 0 and len(done.out.splitlines()) == 4 and "IMAGEAGE" in done.out, "status", done)
    done = egida(at, "status", A)
    tap.ok(done.status == 0 and all(w in done.out for w in ("pessimistic.egd", "kill:2@1s", "3211", "210ms", "100ms", "12.0ms")), "status JOB: the phases of a recovery", done)
    done = egida(at, "status", "cccc")
    tap.ok("--resume " + C in done.out, "status of an interrupted job: the next step", done)
    one = json.loads(egida(at, "status", "--json", A).out)
    tap.ok(one["job"]["job"] == A and one["recoveries"][0]["replayed_after_ns"] == 210000000 and one["recoveries"][0]["fenced_after_ns"] is None
           and one["failures"][0]["signal"] == 9, "status JOB --json", one)

    done = egida(at, "ranks", A, "-h", "-o", "rank,incarnation,state")
    tap.ok([l.split() for l in done.out.splitlines()] == [["0", "0", "ended"], ["1", "0", "ended"], ["2", "1", "ended"], ["3", "0", "ended"]], "ranks: the newest incarnations", done)
    done = egida(at, "ranks", "--all", A)
    tap.ok(len(done.out.splitlines()) == 6 and "killed by signal 9" in done.out, "ranks --all: every incarnation", done)
    ranks = json.loads(egida(at, "ranks", "--json", A).out)["ranks"]
    tap.ok(ranks[2]["restored_image"] == 1 and ranks[2]["recovery_ns"] == 210000000 and ranks[2]["determinants_replayed"] == 3211
           and ranks[1]["restored_image"] is None and ranks[3]["log_peak_bytes"] == 24576, "ranks --json", ranks)
    done = egida(at, "ranks", "-h", "-o", "rank")
    tap.ok(done.status == 0 and len(done.out.splitlines()) == 4, "ranks without JOB: of the newest", done)

    events = json.loads(egida(at, "events", "--json", A).out)["events"]
    tap.ok([e["kind"] for e in events] == ["job-begun", "job-started", "rank-killed", "recovered"], "events in their order", events)
    tap.ok(events[2]["data"] == {"signal": 9} and events[2]["rank"] == 2 and events[0]["rank"] is None
           and all(x["seq"] < y["seq"] for x, y in zip(events, events[1:])), "with their data and numbers", events)
    done = egida(at, "events", "-h", "-o", "kind", "--last", "1", A)
    tap.ok(done.out == "recovered\n", "events --last", done)
    done = egida(at, "events", "-ho", "kind", "--rank=2", "-n1", "-k", "rank-killed", A)
    tap.ok(done.out == "rank-killed\n", "events of a rank and a kind", done)
    done = egida(at, "events", "--all", "-ho", "job")
    tap.ok(done.status == 0 and set(done.out.split()) == {A, B, C}, "events --all", done)

    done = egida(at, "checkpoints", A)
    rows = [line.split() for line in done.out.splitlines()]
    tap.ok(done.status == 0 and len(rows) == 5 and rows[1][:5] == ["0", "1", "1.43M", "2.00ms", "30.0ms"], "checkpoints", done)
    done = egida(at, "checkpoints", "--rank", "3", "--json", A)
    tap.ok([c["bytes"] for c in json.loads(done.out)["checkpoints"]] == [6000000], "checkpoints of a rank", done)

    done = egida(at, "jobs", "--dir", "/nonexistent/x")
    tap.ok(complains(done, "/nonexistent/x"), "--dir", done)
    with h.Folder("elsewhere") as other:
        done = egida(other.path, "jobs", "-ho", "job", environment={"EGIDA_DIR": os.path.join(at, ".egida")})
        tap.ok(done.status == 0 and A in done.out, "$EGIDA_DIR", done)

    # -- bad usage
    for arguments, words in (
            (["jobs", "--frobnicate"], ["--frobnicate", "--help"]), (["jobs", "-q"], ["-q", "--help"]),
            (["jobs", "-o", "job,nope"], ["nope", "state"]), (["jobs", "-o", "job:x"], ["job", "width"]),
            (["jobs", "-o", "job:0"], ["job", "width"]), (["jobs", "-o", ""], ["--format", "state"]), (["jobs", "-o"], ["-o", "value"]),
            (["jobs", "--last", "0"], ["--last", "'0'"]), (["jobs", "--state=HAPPY"], ["HAPPY", "RUNNING"]),
            (["jobs", "nosuch"], ["nosuch", "egida jobs"]), (["ranks", "2026"], ["2026", "several"]), (["ranks", A, B], [B]),
            (["events", "--all", A], [A, "--all"]), (["events", "-n", "x"], ["'x'"]), (["events", "-k", "odd", A], ["no such events"]),
            (["checkpoints", "-r", "two"], ["two"]), (["checkpoints", "--rank=9", A], [A]), (["status", A, B], [B]),
            (["checkpoint"], ["JOB"]), (["checkpoint", A], [A, "not running"]), (["checkpoint", A, "two"], ["two"]),
            (["clean", "--older", "soon"], ["--older", "soon"]), (["clean", "--keep=-1"], ["--keep"]), (["clean", "--all", A], ["--all"]),
            (["clean", "nosuch"], ["nosuch"])):
        done = egida(at, *arguments)
        tap.ok(complains(done, *words), "refused: %s" % " ".join(arguments), done)
    for command in ("status", "jobs", "ranks", "events", "checkpoints", "checkpoint", "clean"):
        done = egida(at, command, "--help")
        tap.ok(done.status == 0 and done.out.startswith("Usage: egida " + command) and not done.err, "%s --help" % command, done)
    with open("/dev/full", "w") as full:
        done = subprocess.run([h.EGIDA, "jobs"], cwd=at, stdout=full, stderr=subprocess.PIPE, text=True)
    tap.ok(done.returncode == 1 and "stdout" in done.stderr, "a full disk behind stdout is said", done.stderr)

# ---- beside a job that runs ----------------------------------------------------------------------------------------------
with h.Folder("history") as folder:
    at = folder.path
    child = live(at, "write")
    bad, last = [], 0
    for _ in range(15):
        done = egida(at, "events", "--json", D)
        seen = [e["seq"] for e in json.loads(done.out)["events"]] if done.status == 0 else []
        if done.status or not seen or seen != list(range(seen[0], seen[0] + len(seen))) or len(seen) < last:
            bad.append(str(done)[:300])
        last = len(seen)
    tap.ok(not bad, "15 readers beside a writer (%d events in the end)" % last, bad)
    job = json.loads(egida(at, "jobs", "--json").out)["jobs"][0]
    tap.ok(job["state"] == "RUNNING" and job["ranks_up"] == 4 and job["image_age_ns"] > 0 and job["elapsed_ns"] > 0, "a running job", job)
    follower = subprocess.Popen([h.EGIDA, "events", "--follow", "--json"], cwd=at, stdout=subprocess.PIPE, text=True)
    time.sleep(1.2)
    child.stdin.close()
    child.wait()
    out, _ = follower.communicate(timeout=20)
    seen = [json.loads(line)["seq"] for line in out.splitlines()]
    total = len(json.loads(egida(at, "events", "--json").out)["events"])
    tap.ok(follower.returncode == 0 and seen == list(range(1, total + 1)), "--follow sees every event once and ends with the job", "%d of %d" % (len(seen), total))
    tap.ok("CANCELLED" in egida(at, "jobs").out, "and the job has its end")

# ---- damaged, old, read-only -----------------------------------------------------------------------------------------------
with h.Folder("history") as folder:
    at = folder.path
    fill(at, "old")
    done = egida(at, "jobs")
    tap.ok(done.status == 0 and "20250101-000000-0000" in done.out and "COMPLETED" in done.out, "a history of version 1 is read", done)
    fill(at, "jobs")
    tap.ok(len(egida(at, "jobs", "-h").out.splitlines()) == 4, "and written")
    with open(os.path.join(at, ".egida", "history.db"), "r+b") as f:
        f.write(b"no database at all")
    done = egida(at, "jobs")
    tap.ok(complains(done, "damaged", "egida run"), "a damaged history: the next step", done)
    fill(at, "jobs")
    done = egida(at, "jobs", "-h")
    tap.ok(len(done.out.splitlines()) == 3 and os.path.exists(os.path.join(at, ".egida", "history.db.damaged-1")), "it is moved aside", done)

# ---- clean ---------------------------------------------------------------------------------------------------------------
with h.Folder("history") as folder:
    at = folder.path
    fill(at, "jobs")
    child = live(at)
    outside = os.path.join(at, "precious")
    os.mkdir(outside)
    with open(os.path.join(outside, "data"), "w") as f:
        f.write("42")
    for job in (A, B, C, D, "20200101-000000-lost"):
        files_of(at, job)
    os.symlink(outside, os.path.join(at, ".egida", "jobs", A, "link"))
    done = egida(at, "clean", "--dry-run")
    tap.ok(done.status == 0 and "would free" in done.out and len(on_disk(at)) == 5, "a dry run removes nothing", done)
    done = egida(at, "clean", D)
    tap.ok(complains(done, D, "running"), "a running job is not cleaned", done)
    done = egida(at, "clean", "--keep", "2")
    tap.ok(done.status == 0 and len(on_disk(at)) == 4 and A not in on_disk(at), "--keep keeps the newest that do not run", "%s %s" % (done, on_disk(at)))
    done = egida(at, "clean", "--older", "1")
    tap.ok(B in on_disk(at), "--older leaves what ended today", "%s %s" % (done, on_disk(at)))
    done = egida(at, "clean")
    tap.ok(done.status == 0 and on_disk(at) == ["20200101-000000-lost", C, D], "clean leaves what may be resumed", "%s %s" % (done, on_disk(at)))
    done = egida(at, "clean", "--json", "cccc")
    result = json.loads(done.out)
    tap.ok(done.status == 0 and result["cleaned"][0]["job"] == C and result["files"] == 4 and result["bytes"] >= 400000, "clean JOB says what it freed", done)
    tap.ok(json.loads(egida(at, "jobs", "--json", C).out)["jobs"][0]["cleaned_ns"], "and records it")
    done = egida(at, "clean", "--all")
    tap.ok(done.status == 0 and on_disk(at) == [D], "clean --all leaves the running job only", "%s %s" % (done, on_disk(at)))
    tap.ok(os.path.exists(os.path.join(outside, "data")), "a link is removed, not what it points to")
    child.stdin.close()
    child.wait()
    with open(os.path.join(at, ".egida", "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files_of(at, "20261121-140000-eeee")
        done = egida(at, "clean", "--all")
        tap.ok(on_disk(at) == ["20261121-140000-eeee"], "with the lock held, unknown jobs stay", "%s %s" % (done, on_disk(at)))
    done = egida(at, "clean", "--all")
    tap.ok(on_disk(at) == [], "without it they go", done)
    tap.ok("nothing to clean" in egida(at, "clean").out, "nothing to clean")
    done = egida(at, "clean", "--forget", A)
    tap.ok(done.status == 0 and A not in egida(at, "jobs").out and C in egida(at, "jobs").out, "--forget", done)
    done = egida(at, "events", "--all", "-ho", "job")
    tap.ok(A not in done.out, "its events are forgotten too", done)

with h.Folder("history") as folder:
    at = folder.path
    fill(at, "jobs")
    files_of(at, C)
    with sqlite3.connect(os.path.join(at, ".egida", "history.db")) as db:
        db.execute("UPDATE jobs SET launcher_boot = 'another', launcher_host = 'n0.example.org' WHERE id = ?", (C,))
    db.close()
    tap.ok("ELSEWHERE" in egida(at, "jobs", C).out, "a job of another host")
    done = egida(at, "clean", C)
    tap.ok(complains(done, C, "--force") and on_disk(at) == [C], "is not cleaned", done)
    done = egida(at, "clean", "--all")
    tap.ok(on_disk(at) == [C], "not with --all either", done)
    done = egida(at, "clean", "--force", C)
    tap.ok(done.status == 0 and on_disk(at) == [], "but with --force", done)
    os.rmdir(os.path.join(at, ".egida", "jobs"))
    os.symlink(at, os.path.join(at, ".egida", "jobs"))
    done = egida(at, "clean", "--all")
    tap.ok(done.status == 1 and "jobs" in done.err and os.path.isdir(os.path.join(at, ".egida")), "a link in place of the jobs' folder is refused", done)


# ---- checkpoint ------------------------------------------------------------------------------------------------------------
def serve(path, reply, seen):
    server = socket.socket(socket.AF_UNIX)
    here = os.open(os.path.dirname(path), os.O_RDONLY)
    server.bind("/proc/self/fd/%d/%s" % (here, os.path.basename(path)))
    os.close(here)
    server.listen(1)

    def work():
        peer, _ = server.accept()
        head = peer.recv(8, socket.MSG_WAITALL)
        length, kind = struct.unpack("<IB3x", head)
        seen.append((kind, json.loads(peer.recv(length, socket.MSG_WAITALL))))
        for message in reply:
            body = json.dumps(message).encode()
            peer.sendall(struct.pack("<IB3x", len(body), 1) + body)
        peer.close()
        server.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


with h.Folder("history-" + "x" * 90) as folder:
    at = folder.path
    child = live(at)
    path = files_of(at, D)
    done = egida(at, "checkpoint", D)
    tap.ok(complains(done, "control.sock", "egida status"), "no launcher at the socket", done)
    control = os.path.join(path, "control.sock")
    for arguments, reply, want, good, words in (
            ([], [{"op": "checkpoint", "ok": True}], None, True, "all ranks"),
            (["2"], [{"op": "news"}, {"op": "checkpoint", "ok": True}], 2, True, "rank 2"),
            (["7"], [{"op": "checkpoint", "ok": False, "error": "no rank 7"}], 7, False, "no rank 7"),
            ([], [], None, False, "ended before")):
        seen = []
        thread = serve(control, reply, seen)
        done = egida(at, "checkpoint", D, *arguments)
        thread.join(5)
        os.unlink(control)
        tap.ok(seen == [(1, {"op": "checkpoint", "rank": want})] and (done.status == 0) == good and words in done.out + done.err,
               "checkpoint %s: %s" % (" ".join(arguments), words), "%s %s" % (seen, done))
    child.stdin.close()
    child.wait()

tap.end()

#!/usr/bin/env python3
# Nothing is left behind: processes, shared memory, files. egida clean gives the disk back. The launcher may be interrupted or killed.
import os, signal, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
ring = h.programs()["ring"]
shm = set(os.listdir("/dev/shm"))


def disk(folder):
    return sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(folder) for name in names)


with h.Folder("left") as folder:
    result = h.run(h.egida_command(ring.path, ring.paced, spec="pessimistic", options=["--inject", "kill:1@0.5s"]), folder.path)
    tap.ok(result.status == 0 and not result.left, "no process is left", result.tail())
    names = [n for n in os.listdir(folder.path) if not n.startswith((".stdin", ".stdout", ".stderr"))]
    tap.ok(names == [".egida"], "all files are in .egida", names)
    tap.ok(os.stat(os.path.join(folder.path, ".egida")).st_mode & 0o777 == 0o700, ".egida is for its owner only")
    open_files = [os.path.join(path, n) for path, _, found in os.walk(os.path.join(folder.path, ".egida")) for n in found
                  if os.lstat(os.path.join(path, n)).st_mode & 0o077 and not os.path.islink(os.path.join(path, n))]
    tap.ok(not open_files, "so are the files in it", open_files)
    done = subprocess.run([h.EGIDA, "clean", "--all"], cwd=folder.path, capture_output=True, text=True)
    tap.ok(done.returncode == 0 and disk(folder.path) < 4 << 20, "egida clean --all", "%s %d bytes" % (done.stdout + done.stderr, disk(folder.path)))


def start(folder, mark, args):
    env = dict(os.environ, **{h.MARK: mark})
    with open(os.path.join(folder, "err"), "wb") as err, open(os.path.join(folder, "out"), "ab") as out:
        return subprocess.Popen(h.egida_command(ring.path, args, spec="pessimistic"), cwd=folder, stdout=out, stderr=err,
                                stdin=subprocess.DEVNULL, env=env, start_new_session=True)


def gone(mark, seconds):
    until = time.monotonic() + seconds
    while h.marked(mark) and time.monotonic() < until:
        time.sleep(0.1)
    left = h.marked(mark)
    h.sweep(mark)
    return left


for name, number, patience in (("SIGINT", signal.SIGINT, 8), ("SIGTERM", signal.SIGTERM, 8), ("SIGKILL", signal.SIGKILL, 12)):
    with h.Folder("left") as folder:
        child = start(folder.path, "left-" + name, ["3000", "10000"])
        time.sleep(1.5)
        child.send_signal(number)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
        left = gone("left-" + name, patience)
        tap.ok(not left, "the launcher got %s: all processes end" % name, left)
        tap.ok(child.returncode != 0, "its status is not 0", child.returncode)
tap.ok(set(os.listdir("/dev/shm")) <= shm, "/dev/shm is as before", set(os.listdir("/dev/shm")) - shm)
tap.end()

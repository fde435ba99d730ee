#!/usr/bin/env python3
# Output: nothing lost or doubled with kills while the reader is slow; a reader that goes away; labels.
import os, re, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
program = h.programs()["output"]
with h.Folder("none") as folder:
    reference = h.run(h.egida_command(program.path, ["400"]), folder.path, 60)
    lines = sorted(reference.out.splitlines())
    tap.ok(reference.status == 0 and len(lines) > 1600, "undisturbed", reference.tail())
    errors = sorted(line for line in reference.err.splitlines() if line.startswith("rank "))


def start(folder, options, mark):
    env = dict(os.environ, **{h.MARK: mark})
    return subprocess.Popen(h.egida_command(program.path, ["400", "4000"], spec="pessimistic", options=options), cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env, start_new_session=True)


with h.Folder("slow") as folder:
    child = start(folder.path, ["--inject", "kill:1@0.6s", "--inject", "kill:0@1.2s"], "output-slow")
    time.sleep(2.5)  # the pipe is full long before
    out, err = child.communicate(timeout=60)
    tap.ok(sorted(out.splitlines()) == lines, "a slow reader and two kills: each line once",
           "%d lines, not %d; status %s\n%s" % (len(out.splitlines()), len(lines), child.returncode, err.decode()[-800:]))
    tap.ok(sorted(line for line in err.decode().splitlines() if line.startswith("rank ")) == errors, "stderr too", err.decode()[-800:])
    by_rank = {}
    for line in out.decode().splitlines():
        match = re.fullmatch(r"rank (\d+) line (\d+) \w+", line)
        if match:
            by_rank.setdefault(int(match.group(1)), []).append(int(match.group(2)))
    tap.ok(len(by_rank) == 4 and all(numbers == sorted(numbers) for numbers in by_rank.values()), "the lines of each rank are in order")
    h.sweep("output-slow")

with h.Folder("gone") as folder:
    child = start(folder.path, [], "output-gone")
    child.stdout.read(1000)
    child.stdout.close()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        pass
    tap.ok(child.returncode is not None, "the reader goes away: the job ends all the same", child.returncode)
    child.kill()
    child.communicate()
    time.sleep(0.5)
    tap.ok(not h.marked("output-gone"), "nothing is left", h.marked("output-gone"))
    h.sweep("output-gone")

with h.Folder("label") as folder:
    result = h.run(h.egida_command(program.path, ["20"], options=["--label"]), folder.path, 30)
    wrong = [line for line in result.out.decode().splitlines() if not re.match(r"[0-3]: ", line)]
    tap.ok(result.status == 0 and not wrong, "--label", wrong[:5] or result.tail())
tap.end()

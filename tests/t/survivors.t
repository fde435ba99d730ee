#!/usr/bin/env python3
# Only the killed rank is restarted; the others neither roll back nor wait; a rank that computes is not needed for a recovery.
import os, re, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
with h.Folder("survivors") as folder:
    program = h.programs()["ring"]
    result = h.run(h.egida_command(program.path, program.paced, spec="pessimistic", options=["--inject", "kill:2@1s"]), folder.path)
    tap.ok(result.status == 0, "ring with a kill", result.tail())
    ranks = {r["rank"]: r for r in h.history(folder.path, "ranks")}
    tap.ok(sorted(r for r in ranks if ranks[r]["incarnation"] > 0) == [2], "rank 2 alone has a second incarnation", ranks)
    tap.ok(len(re.findall(r"^egida: rank 2 .*killed", result.err, re.M)) == 1, "one line tells of the failure", result.tail())
    tap.ok(len(re.findall(r"^egida: rank 2 .*recovered", result.err, re.M)) == 1, "one line tells of the recovery", result.tail())
    kinds = [e["kind"] for e in h.history(folder.path, "events")]
    tap.ok(kinds, "there are events", kinds)

with h.Folder("survivors") as folder:
    # rank 0 computes for 4 s; rank 2 dies at 1 s: the others must be through long before rank 0 comes back
    program = h.programs()["survivor"]
    result = h.run(h.egida_command(program.path, ["100", "10000", "4"], spec="pessimistic", options=["--inject", "kill:2@1s"]), folder.path)
    tap.ok(result.status == 0 and b"survivor: ok" in result.out, "survivor with a kill", result.tail())
    match = re.search(r"computed ([\d.]+) s, the others needed ([\d.]+) s", result.err)
    tap.ok(match and float(match.group(2)) < 3.5, "the recovery did not wait for the rank that computes", result.tail())
tap.end()

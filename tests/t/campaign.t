#!/usr/bin/env python3
# timeout: 900
# A short campaign of each kind; the long ones are run by hand (tests/campaign).
import os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
for campaign, runs in (("kills", 30), ("nodes", 16), ("signals", 8), ("nfs", 8)):
    command = [os.path.join(h.SOURCE, "tests", "campaign"), campaign, "--runs", str(runs), "--seed", "20", "--time", "400"]
    done = subprocess.run(command, capture_output=True, text=True)
    tap.ok(done.returncode == 0, "%s, %d runs" % (campaign, runs), done.stdout + done.stderr)
tap.end()

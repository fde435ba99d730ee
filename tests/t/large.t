#!/usr/bin/env python3
# timeout: 300
# Large messages: 64 MB with a kill; 2.2 GB (above what a 32-bit count of bytes holds) if EGIDA_LONG_TESTS is set; a small log limit.
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
large = h.programs()["large"]


def check(what, args, options=(), ranks=2, timeout=120):
    with h.Folder("large") as folder:
        reference = h.run(h.egida_command(large.path, args, ranks=ranks), folder.path, timeout)
    with h.Folder("large") as folder:
        result = h.run(h.egida_command(large.path, args, ranks=ranks, spec="pessimistic", options=options), folder.path, timeout)
        tap.ok(reference.status == 0 and result.status == 0 and result.out == reference.out and not result.left, what,
               reference.tail() + result.tail())


check("64 MB, the receiver dies after it", ["2", "500000", "64"], ["--inject", "kill:1@0.4s"])
check("64 MB, the sender dies after it", ["2", "500000", "64"], ["--inject", "kill:0@0.4s"])
check("64 MB between two nodes, the receiver dies", ["2", "500000", "64"], ["--nodes", "2", "--inject", "kill:1@0.6s"])
check("256 MB in a log of 64 MB", ["4", "0", "64"], ["--log-limit", "64M"])
if os.environ.get("EGIDA_LONG_TESTS"):
    check("2.2 GB", ["1", "0", "2200"], timeout=250)
else:
    tap.skip("2.2 GB", "EGIDA_LONG_TESTS is not set")
tap.end()

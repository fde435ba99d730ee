#!/usr/bin/env python3
# timeout: 900
# Debian's ScaLAPACK test programs, unmodified: with a kill the output is, apart from times, as without.
import os, random, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h
import scalapack

if not os.path.isdir(h.SCALAPACK):
    h.skip_all("scalapack-mpi-test is not installed")
CHOSEN = """xslu xdlu xclu xzlu xdllt xzllt xsqr xdqr xsinv xdinv xdtrd xdbrd xdhrd xddblu xsdtlu xdgblu xdpbllt xdptllt xdnep xdls
xssep xdsvd dpb1tst zpb2tst dpb3tst""".split()
tap = h.Tap()
for test in scalapack.tests():
    if test.name not in CHOSEN:
        continue
    rng = random.Random(test.name)
    point = "kill:%d@%s" % (rng.randrange(4), rng.choice(["0.3s", "0.6s", "send#100", "send#1000", "recv#300"]))
    kind, why = scalapack.judge(test, "pessimistic", ["--inject", point], 90)
    tap.ok(kind == "right", "%s with %s" % (test.name, point), kind + ": " + why)
tap.end()

"""Debian's scalapack-mpi-test: 100 self-checking programs and how to run each."""

import os
import re
import shutil

import harness as h


class Test:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        # where its inputs are: BLACS's testers stand with the others in the package
        self.folder = "BLACS" if self.name in ("xCbtest", "xFbtest") else os.path.dirname(os.path.relpath(path, h.SCALAPACK))


def tests():
    """All programs of the package, by name."""
    found = []
    for folder, _, names in os.walk(h.SCALAPACK):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.access(path, os.X_OK):
                found.append(Test(path))
    return sorted(found, key=lambda test: test.name)


def prepare(test, folder):
    data = os.path.join(h.SCALAPACK_DATA, test.folder)
    for name in os.listdir(data):
        if name.endswith(".dat"):
            shutil.copy(os.path.join(data, name), folder)


def run(test, spec, options, timeout, folder):
    prepare(test, folder)
    return h.run(h.egida_command(test.path, ranks=4, spec=spec, options=options), folder, timeout)


def outcome(result):
    return h.outcome(result, "scalapack", ["*.out", "*.SUMM", "*.OUT"])


def judge(test, spec, options, timeout):
    """Compare a run with failures with one without: ("right" | "verdict" | "wrong" | "hang", reason)."""
    with h.Folder("scalapack") as folder:
        reference = run(test, "none", [], timeout, folder.path)
        wanted = 255 if test.folder == "BLACS" else 0  # those end with a test of BLACS_ABORT
        if reference.hang or reference.status != wanted:
            return ("hang" if reference.hang else "wrong"), "without failures: " + reference.tail(6)
        expected = outcome(reference)
    with h.Folder("scalapack") as folder:
        result = run(test, spec, options, timeout, folder.path)
        if result.hang:
            return "hang", result.tail(6)
        if result.status == 75:
            return "verdict", result.tail(6)
        why = h.difference(expected, outcome(result))
        if not why and result.left:
            why = "left behind: " + ", ".join(result.left)
        if why:
            return "wrong", why + "\n" + result.tail(6)
    failures = len(re.findall(r"killed", result.err))
    return "right", "%d failures, %.1f s without, %.1f s with" % (failures, reference.seconds, result.seconds)

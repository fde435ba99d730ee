#!/usr/bin/env python3
# make install into a folder, and a run with a kill from there.
import os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

tap = h.Tap()
with h.Folder("install") as folder:
    prefix = os.path.join(folder.path, "prefix")
    with open(os.path.join(h.BUILD, "config.log"), errors="replace") as f:
        configured = [line.split("'")[1] for line in f if line.startswith("prefix=")][-1]
    done = subprocess.run(["make", "-C", h.BUILD, "install", "DESTDIR=" + prefix], capture_output=True, text=True)
    tap.ok(done.returncode == 0, "make install DESTDIR=…", done.stderr[-2000:])
    root = prefix + configured
    egida = os.path.join(root, "bin", "egida")
    tap.ok(os.access(egida, os.X_OK), "bin/egida is there", subprocess.run(["find", prefix], capture_output=True, text=True).stdout)
    libdir = [path for path, _, names in os.walk(root) if "libegida.so" in names]
    tap.ok(len(libdir) == 1, "libegida.so is there once", libdir)
    libexec = [path for path, _, names in os.walk(root) if "egida-agent" in names]
    if tap.ok(len(libexec) == 1, "egida-agent is there once", libexec) and libdir:
        ring = h.programs()["ring"]
        # DESTDIR is not where it was configured to go: gather the parts in one folder and name that
        parts = os.path.join(folder.path, "parts")
        os.mkdir(parts)
        for source in (libdir[0], libexec[0]):
            for name in os.listdir(source):
                os.symlink(os.path.join(source, name), os.path.join(parts, name))
        result = h.run([egida, "run", "-n", "4", "--spec", os.path.join(h.SPECS, "pessimistic.egd"), "--inject", "kill:1@0.5s", ring.path, *ring.paced],
                       folder.path, 60, environment={"EGIDA_LIBDIR": parts})
        tap.ok(result.status == 0 and b"ring: ok" in result.out and "recovered" in result.err, "a run with a kill", result.tail())
        result = h.run([egida, "specs"], folder.path, 20)
        tap.ok(result.status == 0, "egida specs", result.tail())
tap.end()

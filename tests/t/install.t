#!/usr/bin/env python3
# make install into a folder: everything is there, and runs from there and from any other place.
import os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

os.environ.pop("EGIDA_LIBDIR", None)
tap = h.Tap()
with h.Folder("install") as folder:
    destdir = os.path.join(folder.path, "destdir")
    with open(os.path.join(h.BUILD, "config.log"), errors="replace") as f:
        configured = [line.split("'")[1] for line in f if line.startswith("prefix=")][-1]
    done = subprocess.run(["make", "-C", h.BUILD, "install", "DESTDIR=" + destdir], capture_output=True, text=True)
    tap.ok(done.returncode == 0, "make install DESTDIR=…", done.stderr[-2000:])
    installed = {os.path.join(path, name)[len(destdir):] for path, _, names in os.walk(destdir) for name in names}

    def place(end):
        return next((path for path in installed if path.endswith("/" + end)), None)

    wanted = ["bin/egida", "sbin/egida-restartd", "egida-agent", "egida-exec", "egida-restart", "libegida.so", "stubs/libucp.so.0",
              "include/egida.h", "specs/pessimistic.egd", "man1/egida.1", "man5/egida-spec.5", "man5/egida.conf.5", "man8/egida-restartd.8",
              "system/egida-restartd.service", "sysusers.d/egida-restartd.conf", "tmpfiles.d/egida-restartd.conf", "examples/egida.conf"]
    names = [("egida-restartd.service", "egida-restartd")]
    if os.path.exists(os.path.join(h.BUILD, "spank_egida.la")):
        wanted += ["spank_egida.so", "plugstack.conf.d/egida.conf"]
        names.append(("plugstack.conf.d/egida.conf", "spank_egida.so"))
    missing = [end for end in wanted if not place(end)]
    tap.ok(not missing, "everything is there", missing)
    for end, program in names:
        with open(destdir + place(end)) as f:
            tap.ok(place(program) in f.read(), "%s names %s where it will be" % (end, program))

    ring = h.programs()["ring"]
    root = destdir + configured
    elsewhere = os.path.join(folder.path, "elsewhere")
    for where, what in ((root, "in DESTDIR"), (elsewhere, "moved to another prefix")):
        if where == elsewhere:
            os.rename(root, elsewhere)
        egida = os.path.join(where, "bin", "egida")
        result = h.run([egida, "run", "-n", "4", "--spec", "pessimistic", "--inject", "kill:1@send#200", ring.path, *ring.paced], folder.path, 60)
        tap.ok(result.status == 0 and b"ring: ok" in result.out and "recovered" in result.err, what + ": a run with a kill", result.tail())
        result = h.run([egida, "specs", "--json"], folder.path, 20)
        tap.ok(result.status == 0 and where.encode() in result.out, what + ": egida specs", result.tail())
    runtime = elsewhere + place("libegida.so")[len(configured):]
    os.unlink(runtime)
    result = h.run([egida, "doctor"], folder.path, 30)
    tap.ok(result.status == 1 and runtime + " is missing" in result.out.decode(), "no other installation is taken", result.tail())
tap.end()

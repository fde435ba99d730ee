#!/usr/bin/env python3
# timeout: 240
# The decoders of foreign input over their corpora and seeded mutations of them, built with sanitizers if that build is there.
import os, random, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness as h

MUTANTS = 400
tap = h.Tap()
sanitized = os.path.join(h.SOURCE, "build-sanitize", "tests", "fuzz")
folder = sanitized if os.path.isdir(sanitized) else os.path.join(h.BUILD, "tests", "fuzz")
corpora = os.path.join(h.SOURCE, "tests", "fuzz", "corpus")
for corpus in sorted(os.listdir(corpora)):
    program = os.path.join(folder, corpus + "_fuzz")
    if not os.path.exists(program):
        tap.ok(False, "%s_fuzz is built" % corpus)
        continue
    seeds = []
    for name in sorted(os.listdir(os.path.join(corpora, corpus))):
        with open(os.path.join(corpora, corpus, name), "rb") as f:
            seeds.append(f.read())
    rng = random.Random(corpus)
    with h.Folder("fuzz") as scratch:
        paths = []
        for number in range(len(seeds) + MUTANTS):
            data = bytearray(seeds[number % len(seeds)])
            if number >= len(seeds):
                for _ in range(rng.choice([1, 2, 5, 20])):
                    at = rng.randrange(len(data) + 1)
                    what = rng.randrange(4)
                    if what == 0 and data:
                        data[at % len(data)] = rng.randrange(256)
                    elif what == 1:
                        data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
                    elif what == 2:
                        del data[at:at + rng.randrange(1, 30)]
                    else:
                        other = rng.choice(seeds)
                        part = rng.randrange(len(other) + 1)
                        data[at:at] = other[part:part + rng.randrange(1, 60)]
            paths.append(os.path.join(scratch.path, str(number)))
            with open(paths[-1], "wb") as f:
                f.write(data)
        done = subprocess.run([program, *paths], capture_output=True, text=True, errors="replace", timeout=200)
        tap.ok(done.returncode == 0, "%s: %d inputs" % (corpus, len(paths)), done.stdout[-3000:] + done.stderr[-3000:])
tap.end()

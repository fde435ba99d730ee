#!/bin/bash
# timeout: 120
# `egida check`, `explain` and `specs`: output, exit codes, search path, research modules.
source_dir=${EGIDA_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
egida=${EGIDA:-${EGIDA_BUILD:-$source_dir/build}/egida}
fixtures=$source_dir/tests/fixtures/specs
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
count=0 bad=0

# ok WHAT COMMAND...: the command must succeed
ok() {
  local what=$1
  shift
  count=$((count + 1))
  if "$@"; then
    echo "ok $count - $what"
  else
    bad=$((bad + 1))
    echo "not ok $count - $what"
    sed 's/^/# out: /' out
    sed 's/^/# err: /' err
  fi
}
# try STATUS COMMAND...: runs it, leaves out and err
try() {
  local want=$1
  shift
  "$@" >out 2>err </dev/null
  local status=$?
  [ "$status" -eq "$want" ] || { echo "# status $status instead of $want: $*"; return 1; }
}
says() { grep -q -- "$2" "$1"; }

for spec in default none pessimistic pessimistic-nfs; do
  ok "check $spec by name" try 0 "$egida" check "$spec"
  ok "$spec is sound and runs" says out "$spec.egd: sound\$"
  ok "nothing on stderr for $spec" test ! -s err
done
for file in "$fixtures"/good/*.egd; do
  ok "check good/${file##*/}" try 0 "$egida" check "$file"
  cat err out | sed "s|^$fixtures/good/||" >seen
  ok "conclusions and notes on good/${file##*/}" cmp seen "${file%.egd}.expected"
done
for file in "$fixtures"/bad/*.egd; do
  name=${file##*/}
  ok "refuse bad/$name" try 1 "$egida" check "$file"
  sed "s|^$fixtures/bad/||" err >seen
  ok "say why of bad/$name" cmp seen "${file%.egd}.expected"
done

ok "a misspelt name" try 1 "$egida" check pesimistic
ok "is corrected" says err "did you mean 'pessimistic'"
ok "a missing file" try 1 "$egida" check ./nowhere.egd
ok "is named" says err 'nowhere.egd: No such file'
ok "a folder" try 1 "$egida" check ./
mkfifo pipe.egd
ok "a pipe does not hang" try 1 "$egida" check ./pipe.egd
rm pipe.egd
head -c 70000 /dev/zero | tr '\0' ' ' >big.egd
ok "a large file" try 1 "$egida" check big
ok "is too large" says err '64 KiB'
rm big.egd
ok "no operand" try 1 "$egida" check
ok "an unknown option" try 1 "$egida" check --wrong
"$egida" check - <"$source_dir/specs/none.egd" >out 2>err
ok "standard input" says out 'standard input: sound'
ok "several, one bad" try 1 "$egida" check none "$fixtures/bad/domino.egd" pessimistic
ok "the others are judged too" test "$(grep -c ': sound' out)" -eq 2
ok "quiet" try 0 "$egida" check -q "$fixtures/good/figure3a-optimistic.egd"
ok "says nothing" test ! -s out -a ! -s err
ok "--json" try 0 "$egida" check --json pessimistic "$fixtures/good/figure3b-hybrid-causal.egd"
ok "is JSON with guarantees" python3 -c '
import json
a, b = json.load(open("out"))
assert a["sound"] and a["runnable"] and a["guarantees"]["node_failures"] == 1 and not a["diagnostics"], a
assert b["sound"] and not b["runnable"] and b["guarantees"]["family"] == "causal", b
assert any(d["line"] == 6 and d["column"] == 11 and d["severity"] == "note" for d in b["diagnostics"]), b'

# The search path: this folder before $EGIDA_SPEC_PATH before the shipped ones.
mkdir -p one two
echo 'Transport only' >one/mine.egd
echo 'Transport only # shadows' >two/none.egd
ok "a name in EGIDA_SPEC_PATH" try 0 env EGIDA_SPEC_PATH="$scratch/empty:$scratch/one:$scratch/two" "$egida" check mine
ok "before the shipped one" try 0 env EGIDA_SPEC_PATH="$scratch/two" "$egida" specs none
ok "is that one" says out shadows
ok "list" try 0 env EGIDA_SPEC_PATH="$scratch/one:$scratch/two" "$egida" specs
ok "has ours" says out '^mine  *'
ok "marks what is hidden" says out '^none .*hidden'
ok "has titles" says out 'Sender-based pessimistic message logging'
echo 'Transport only # here' >none.egd
ok "this folder first" try 0 env EGIDA_SPEC_PATH="$scratch/two" "$egida" specs none
ok "is the one here" says out '# here'
rm none.egd
ok "list as JSON" try 0 "$egida" specs --json
ok "has the shipped ones" python3 -c 'import json; assert {"default", "none", "pessimistic"} <= {s["name"] for s in json.load(open("out"))}'

ok "explain all" try 0 "$egida" explain
ok "all variables" test "$(grep -c '^[a-z].*:$' out)" -eq 14
ok "explain a specification" try 0 "$egida" explain pessimistic
ok "with its guarantees" says out 'survives'
ok "explain a value" try 0 "$egida" explain 'NFS disk'
ok "only that one" test "$(grep -c '^[a-z].*:$' out)" -eq 1
ok "explain a variable" try 0 "$egida" explain how-to-log
ok "explain what is not there" try 1 "$egida" explain 'flux disk'

if command -v "${CC:-gcc}" >/dev/null; then
  cat >flash.c <<'MODULE'
#include <stddef.h>
#include "protocol/registry.h"
static const char *const phrases[] = {"flash of <count> neighbours", NULL};
const struct egd_module egida_module = {.abi_version = EGD_MODULE_ABI_VERSION, .variable = EGD_VARIABLE_STABLE_STORAGE,
  .value = "flash", .name = "flash of neighbours", .phrases = phrases, .doc = "Flash memory of neighbours.",
  .traits = EGD_TRAIT_OUTLIVES_PROCESS | EGD_TRAIT_OUTLIVES_NODES, .parameter_min = 1, .parameter_max = 9};
MODULE
  sed 's/volatile memory of processes/flash of 3 neighbours/' "$source_dir/specs/pessimistic.egd" >flash.egd
  ok "a module is built" try 0 "${CC:-gcc}" -std=gnu11 -shared -fPIC -I"$source_dir" -o flash.so flash.c
  ok "unknown without its module" try 1 "$egida" check flash
  ok "known with it" try 0 "$egida" check --module=flash.so flash
  ok "and judged" says out '3 node failures at a time'
  ok "explained" try 0 "$egida" explain --module=flash.so stable-storage
  ok "with its doc" says out 'Flash memory of neighbours'
  echo 'int nothing;' >empty.c
  ok "a library without a module" try 0 "${CC:-gcc}" -shared -fPIC -o empty.so empty.c
  ok "is refused" try 1 "$egida" check --module=empty.so none
  ok "with the symbol's name" says err 'egida_module'
fi
ok "a missing module" try 1 "$egida" check --module=nowhere.so none
echo "1..$count"
[ "$bad" -eq 0 ]

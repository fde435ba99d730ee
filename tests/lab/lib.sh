# shellcheck shell=bash
# What the lab's commands share; sourced. A lab is a tree of namespaces below one process, the lab's init: when it dies, the kernel ends all
# other processes of the lab and takes its networks and mounts away.
#
# In LAB_DIR: .egida-lab, pid (of init), hosts/NAME/{pid,ready,ended}, etc/ (what the hosts see in /etc), log/, shared/, shares (other shared folders).

lab_bin=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab_command=${0##*/}

fail() {
  echo "lab/$lab_command: $*" >&2
  exit 1
}
usage() {
  echo "usage: tests/lab/$lab_command $*" >&2
  exit 2
}

# option_value OPTION [VALUE...]: the value of an option that needs one.
option_value() {
  [ $# -ge 2 ] || fail "$1 needs a value; see $lab_bin/README.md"
  printf '%s\n' "$2"
}

# ---- processes of the lab, named by files --------------------------------------------------------------------------------

# start_time PID: distinguishes a process from a later one with the same number; fails if it does not live.
start_time() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}
# write_pid FILE: of this process, as /proc shows it: the number outside as long as /proc is the machine's.
write_pid() {
  local pid
  read -r pid _ </proc/self/stat
  echo "$pid $(start_time "$pid")" >"$1.new" && mv "$1.new" "$1"
}
# read_pid FILE: the process that wrote FILE, if it lives.
read_pid() {
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null && [ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}
# wait_until SECONDS CONDITION...
wait_until() {
  local end=$(($(date +%s%N) + $1 * 1000000000))
  shift
  until "$@"; do
    [ "$(date +%s%N)" -lt "$end" ] || return 1
    sleep 0.03
  done
}
# end_process FILE: kills the process that wrote FILE and waits until it is gone, and with it all processes below it.
end_process() {
  local pid
  pid=$(read_pid "$1") || return 0
  kill -9 "$pid" 2>/dev/null
  process_is_gone() { ! read_pid "$1" >/dev/null; }
  wait_until 10 process_is_gone "$1" || fail "process $pid does not end 10 s after SIGKILL: look at /proc/$pid/stack"
}

# ---- which lab, which host -----------------------------------------------------------------------------------------------

# find_lab: LAB_DIR as given, or else the only lab that runs.
find_lab() {
  if [ -z "${LAB_DIR-}" ]; then
    local file found=()
    for file in "${TMPDIR:-/tmp}"/egida-lab.*/pid; do
      read_pid "$file" >/dev/null && found+=("${file%/pid}")
    done
    [ ${#found[@]} -gt 0 ] || fail "no lab runs in ${TMPDIR:-/tmp}: start one with $lab_bin/up, or name its folder (LAB_DIR=… or --dir …)"
    [ ${#found[@]} -eq 1 ] || fail "these labs run: ${found[*]}: name one (LAB_DIR=… or --dir …)"
    LAB_DIR=${found[0]}
  fi
  LAB_DIR=$(realpath -m "$LAB_DIR")
}
# need_lab: find_lab, and it runs.
need_lab() {
  [ "$(id -u)" -eq 0 ] || fail "only root may enter the lab's namespaces: run it as root"
  find_lab
  init=$(read_pid "$LAB_DIR/pid") || fail "no lab runs in $LAB_DIR: start one with $lab_bin/up --dir $LAB_DIR"
}
# need_node NAME: one that Slurm knows; ctl and login are not.
need_node() {
  [[ $1 == n* && -d $LAB_DIR/hosts/$1 ]] || fail "'$1' is not a node of $LAB_DIR: it has $(cd "$LAB_DIR/hosts" && echo n*)"
}
host_pid() {
  [ -d "$LAB_DIR/hosts/$1" ] || fail "'$1' is not a host of $LAB_DIR: it has $(cd "$LAB_DIR/hosts" && echo *)"
  read_pid "$LAB_DIR/hosts/$1/pid" || fail "$1 has no power: switch it on with $lab_bin/node-revive $1"
}
# in_switch COMMAND...: where the hosts' cables end.
in_switch() { nsenter --target "$init" --mount --net --pid -- "$@"; }

# The folder to run a command in: this one where the hosts have it too, else DEFAULT.
shared_folder() {
  local share
  while read -r share; do
    if [[ $PWD/ == "$share"/* ]]; then
      echo "$PWD"
      return
    fi
  done <"$LAB_DIR/shares"
  echo "$1"
}
# enter HOST FOLDER COMMAND...: becomes COMMAND there, which dies with this process.
enter() {
  local pid folder=$2
  pid=$(host_pid "$1") || exit 1
  shift 2
  unset TMPDIR
  export SLURM_CONF=/etc/slurm/slurm.conf
  exec nsenter --target "$pid" --mount --net --pid --uts --ipc --wdns="$folder" -- setpriv --pdeathsig KILL "$@"
}

host_address() { awk -v name="$1" '$2 == name { print $1 }' "$LAB_DIR/etc/hosts"; }

# ---- hosts ---------------------------------------------------------------------------------------------------------------

# start_hosts NAME...: in the switch. The lab's init is their parent, directly or by adoption.
# A host keeps its MAC address when it comes back: its peers remember that for a while.
start_hosts() {
  local name address
  for name in "$@"; do
    mkdir -p "$LAB_DIR/hosts/$name" && rm -f "$LAB_DIR/hosts/$name"/{pid,ready,ended} || return 1
    address=$(host_address "$name")
    cat <<END_OF_BATCH
netns add $name
link add name $name type veth peer name eth0 address $(printf '02:00:%02x:%02x:%02x:%02x' ${address//./ }) netns $name
link set $name master switch up
END_OF_BATCH
  done | ip -batch - || return 1
  for name in "$@"; do
    printf '%s\n' "link set lo up" "link set eth0 up" "address add $(host_address "$name")/24 dev eth0" | ip -netns "$name" -batch - || return 1
    setsid nsenter --net="/run/netns/$name" unshare --mount --pid --uts --ipc --fork \
      "$lab_bin/init-host" "$LAB_DIR" "$name" >"$LAB_DIR/log/init-$name.log" 2>&1 </dev/null &
  done
}

# slurm_states: a line "NAME STATE" for each node, as slurmctld sees it.
slurm_states() { "$lab_bin/exec" --dir "$LAB_DIR" ctl sinfo --noheader --Node --format '%N %T' 2>/dev/null; }

# say_what_failed HOST...: which process of these hosts did not come, and the end of its log, on stderr.
say_what_failed() {
  local name log what=""
  for name in "$@"; do
    if [ -s "$LAB_DIR/hosts/$name/ended" ]; then
      read -r what <"$LAB_DIR/hosts/$name/ended"
      log=$LAB_DIR/log/${what%% *}-$name.log
    elif [ ! -e "$LAB_DIR/hosts/$name/ready" ]; then
      what="the host is not ready" log=$LAB_DIR/log/init-$name.log
    else
      continue
    fi
    break
  done
  if [ -z "$what" ]; then
    name=$(slurm_states | awk '$2 != "idle" { print $1; exit }')
    if [ -n "$name" ]; then
      what="slurmd is not idle in Slurm" log=$LAB_DIR/log/slurmd-$name.log
    else
      name=ctl what="slurmctld does not answer" log=$LAB_DIR/log/slurmctld-ctl.log
    fi
  fi
  echo "lab/$lab_command: $name: $what; the last lines of $log:" >&2
  tail -n 8 "$log" 2>&1 | sed 's/^/  | /' >&2
}

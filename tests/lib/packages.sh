# shellcheck shell=bash
# For quickstart and run-tests: install what is missing, and only that. Sourced; says what it does on stdout.

build_packages="autoconf automake libtool bison flex make pkg-config gcc g++ gfortran libc6-dev libmpich-dev mpich libucx-dev \
libsqlite3-dev libjansson-dev libxxhash-dev libssl-dev libmunge-dev libslurm-dev"
demo_packages="scalapack-mpi-test scalapack-test-common"
test_packages="netpipe-mpich2 valgrind python3 procps"
# For tests/lab. They start no slurmd or slurmctld (there is no slurm.conf); munge's own daemon may start and is not used.
lab_packages="slurmctld slurmd slurm-client munge iproute2"
# For packaging/build-deb.
deb_packages="debhelper dpkg-dev"

package_is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_missing PACKAGE...
install_missing() {
  local missing="" package as_root=""
  for package in "$@"; do package_is_installed "$package" || missing="$missing $package"; done
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "$0: these Debian packages are needed:$missing; there is no apt-get here: install them by hand, then run $0 again" >&2
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      echo "$0: these packages are missing:$missing" >&2
      echo "$0: you are neither root nor may you use sudo without a password: run 'sudo apt-get install$missing', then $0 again" >&2
      return 1
    fi
    as_root="sudo -n"
  fi
  echo "Installing:$missing"
  local log
  log=$(mktemp)
  # The package lists may be absent (fresh image) or stale (404): fetch them only then.
  if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1 </dev/null; then
    echo "Fetching the package lists"
    if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
      >"$log" 2>&1 </dev/null; then
      tail -n 20 "$log" >&2
      rm -f "$log"
      echo "$0: apt-get could not install$missing (see above); Egida is made for Debian 12 (bookworm)" >&2
      return 1
    fi
  fi
  rm -f "$log"
}

# build_tree SOURCE BUILD [CONFIGURE-OPTION...]: configure (once) and make; the output goes to BUILD/build.log.
build_tree() {
  local source=$1 build=$2
  shift 2
  mkdir -p "$build"
  if ! {
    { [ -x "$source/configure" ] && [ "$source/configure" -nt "$source/configure.ac" ]; } || (cd "$source" && autoreconf -fi)
    [ -f "$build/config.status" ] || (cd "$build" && "$source/configure" "$@")
    make -C "$build" -j"$(nproc)" all
  } >"$build/build.log" 2>&1; then
    tail -n 30 "$build/build.log" >&2
    echo "$0: the build failed (see above and $build/build.log)" >&2
    return 1
  fi
}

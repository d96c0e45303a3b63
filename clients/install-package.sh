#!/usr/bin/env bash
# install-package.sh PROGRAM PACKAGE…: installs Debian packages if PROGRAM is absent. As root; otherwise it says how.
set -euo pipefail
program=$1
shift
# Debian keeps the programs of PostgreSQL out of the PATH.
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
command -v "$program" >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $*"
    # apt-get does not wait for another apt-get.
    exec 9>/tmp/rollcall-apt-get.lock
    flock 9
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; then
        exit 0
    fi
fi
echo "$program is not installed. On Debian: apt-get install $*" >&2
exit 1

#!/bin/sh
# Installs what the load benchmarks and the conformance checks use beside Python, where it is missing:
# wrk, nginx-light, curl and nghttp2-client (h2load), by apt-get as root. Whatever cannot be installed is skipped
# with one line, and whoever needs it skips with a line of its own; so the exit status is 0.
set -u

POLICY=/usr/sbin/policy-rc.d
made_policy=

# Debian starts a service when it installs it. nginx is wanted as a program here, not on port 80.
forbid_services() {
    if [ ! -e "$POLICY" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$POLICY" && chmod +x "$POLICY" && made_policy=yes
    fi
}

allow_services() {
    if [ -n "$made_policy" ]; then
        rm -f "$POLICY"
        made_policy=
    fi
}

skip() {
    echo "install-tools: skipped $1: $2"
}

# Is the program there? nginx stands in sbin, which is not in every PATH.
has() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" > /dev/null 2>&1
}

prepared=
prepare_once() {
    if [ -z "$prepared" ]; then
        prepared=yes
        forbid_services
        apt-get update -qq > /dev/null 2>&1 || echo "install-tools: apt-get update failed"
    fi
}

# ensure PROGRAM PACKAGE
ensure() {
    if has "$1"; then
        echo "install-tools: $1 is there"
    elif ! has apt-get; then
        skip "$2" "no apt-get here"
    elif [ "$(id -u)" != 0 ]; then
        skip "$2" "not root"
    else
        prepare_once
        if DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" > /dev/null 2>&1 \
            && has "$1"; then
            echo "install-tools: installed $2"
        else
            skip "$2" "apt-get could not install it"
        fi
    fi
}

trap allow_services EXIT
trap 'exit 1' HUP INT TERM
ensure wrk wrk
ensure nginx nginx-light
ensure curl curl
ensure h2load nghttp2-client
exit 0

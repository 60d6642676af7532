#!/usr/bin/env bash
# Make sure that what pip cannot install is there.
#
# Usage: scripts/system-packages.sh WHAT...       WHAT is "venv", "memcached", "haproxy", "prometheus",
#                                                 "redis", "chromium" or "wrk"
#
# What is missing is installed where that is possible (root on Debian or a system like it);
# otherwise this names the packages and the command, and fails.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
for what in "$@"; do
    case "$what" in
    venv)
        python="$(scripts/python.sh)"
        if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            # Debian's python3-venv belongs to its default python3 only.
            if [ "$(readlink -f "$python")" = "$(readlink -f /usr/bin/python3)" ]; then
                missing+=(python3-venv)
            else
                missing+=("$(basename "$(readlink -f "$python")")-venv")
            fi
        fi
        ;;
    memcached)
        command -v memcached >/dev/null || missing+=(memcached)
        ;;
    haproxy)
        # Debian's folder for it is not in every PATH.
        PATH="$PATH:/usr/sbin" command -v haproxy >/dev/null || missing+=(haproxy)
        ;;
    chromium)
        command -v chromium-headless-shell chromium google-chrome >/dev/null ||
            missing+=(chromium)
        ;;
    redis)
        command -v redis-server >/dev/null || missing+=(redis-server)
        ;;
    prometheus)
        command -v promtool >/dev/null || missing+=(prometheus)
        ;;
    wrk)
        command -v wrk >/dev/null || missing+=(wrk)
        ;;
    *)
        echo "$0: '$what' is not one of: venv memcached haproxy prometheus redis chromium wrk" >&2
        exit 2
        ;;
    esac
done

[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing on this machine: ${missing[*]}" >&2
    echo "On Debian and Ubuntu: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi

install_all() {
    # The Chromium without windows, where it is to be had: tests take half the processor with it.
    if apt-cache show chromium-headless-shell; then
        missing=("${missing[@]/%chromium/chromium-headless-shell}")
    fi
    apt-get install -y --no-install-recommends "${missing[@]}"
}

echo "Installing ${missing[*]} ..."
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# apt-get is wordy even when all is well, so it is shown only when it failed.
if ! { apt-get update && install_all; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "Could not install: ${missing[*]}" >&2
    exit 1
fi

#!/usr/bin/env bash
# Finds what the checks have left behind: bash ci/check-no-strays.sh record > FILE before them, and
# bash ci/check-no-strays.sh compare FILE after them. A stray is a process of this project's environment, or a change
# in the work tree that is not ignored.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

record() {
    if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
        git status --porcelain --untracked-files=all
    fi
    local command folder
    for folder in /proc/[0-9]*; do # nothing where there is no /proc
        command=$(tr '\0' ' ' 2> /dev/null < "$folder/cmdline") || continue
        if [[ $command == *python* && $(readlink "$folder/cwd" 2> /dev/null) == "$PWD"* ]]; then
            echo "process ${folder#/proc/}: $command"
        fi
    done
}

case ${1-} in
    record) record ;;
    compare)
        strays=$(record | grep -vxFf "$2" || true)
        if [[ -n $strays ]]; then
            echo "check-no-strays: left behind:"
            echo "$strays"
            exit 1
        fi
        echo "check-no-strays: nothing was left behind"
        ;;
    *)
        echo "usage: check-no-strays.sh record | compare FILE"
        exit 2
        ;;
esac

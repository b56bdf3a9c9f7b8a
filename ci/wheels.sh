#!/usr/bin/env bash
# Packages as users get them: bash ci/wheels.sh [PYTHON], in an environment with the extra `dev`.
#
# Builds the sdist, and from the sdist a compiled wheel and, with CELLO_NO_EXTENSIONS=1, a pure one; looks at what is
# in them; installs each wheel into a fresh environment, where it has to answer a request over a real socket; and sees
# that a compiler that fails fails the build and names the way out. The packages stay in dist/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3}
[[ $python == */* && $python != /* ]] && python=$PWD/$python # used from other folders as well
unset CELLO_NO_EXTENSIONS

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# quietly COMMAND...: its output is shown when it fails.
quietly() {
    "$@" > "$work/log" 2>&1 || { cat "$work/log"; return 1; }
}

# install_and_ask IMPLEMENTATION WHEEL
install_and_ask() {
    "$python" -m venv "$work/$1"
    quietly "$work/$1/bin/python" -m pip --disable-pip-version-check install "$2"
    (cd "$work" && "$work/$1/bin/python" "$OLDPWD/ci/check-install.py" "$1")
}

rm -rf dist
quietly "$python" -m build # the wheel is built from the sdist
mkdir "$work/sdist"
tar -xzf dist/cello-*.tar.gz -C "$work/sdist" --strip-components 1
CELLO_NO_EXTENSIONS=1 quietly "$python" -m build --wheel --outdir dist "$work/sdist"
ls dist

pure=(dist/cello-*-py3-none-any.whl)
compiled=(dist/cello-*-cp3*.whl)
"$python" ci/check-packages.py dist/cello-*.tar.gz "${compiled[@]}" "${pure[@]}"
install_and_ask compiled "${compiled[0]}"
install_and_ask pure "${pure[0]}"

if CC=false "$python" -m build --wheel --outdir "$work/broken" "$work/sdist" > "$work/log" 2>&1; then
    echo "wheels: a build whose compiler fails has succeeded"
    exit 1
fi
grep -q "CELLO_NO_EXTENSIONS=1 pip install" "$work/log" || {
    cat "$work/log"
    echo "wheels: a build whose compiler fails does not name the way out"
    exit 1
}
echo "wheels: a build whose compiler fails says so and names the way out"

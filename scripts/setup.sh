#!/bin/sh
# Make a virtual environment with everything in requirements.lock, and launchcore itself, editable.
# Usage: scripts/setup.sh DIRECTORY. The machine has to have Python >= 3.11 with venv or pip, or uv.
# Set PYTHON to choose the interpreter.
set -eu

venv=$1
lock=requirements.lock

say() { printf 'setup: %s\n' "$1" >&2; }
fail() { say "$1"; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
works() { "$@" >/dev/null 2>&1; }

# A pyenv shim may be there for a version that is not active: what counts is whether it starts.
find_python() {
    for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
        if new_enough "$name"; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

make_venv() {
    python=$(find_python) || fail "no Python >= 3.11 found: install one, or name it: make setup PYTHON=/path/to/python3.11"
    say "$("$python" --version) ($python) -> $venv"
    rm -rf "$venv"
    if works uv --version; then
        uv venv --quiet --python "$python" "$venv"
    elif works "$python" -c 'import ensurepip' && "$python" -m venv "$venv"; then
        :
    elif works "$python" -m pip --version; then # Debian without python3-venv
        "$python" -m venv --without-pip "$venv"
    else
        fail "$python has neither venv nor pip: install python3-venv, or uv"
    fi
}

# The one pinned entry of the lock that has to be there before uv can read the others.
install_uv() {
    pin=$(mktemp)
    trap 'rm -f "$pin"' EXIT
    awk '/^[^ ]/ { on = /^uv==/ } on' "$lock" >"$pin"
    say "installing uv into $venv"
    if works "$venv/bin/python" -m pip --version; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$pin"
    else
        "$(find_python)" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check \
            --require-hashes -r "$pin"
    fi || fail "uv could not be installed: install it yourself and try again"
}

find_uv() {
    for name in "$venv/bin/uv" uv; do
        if works "$name" --version; then
            echo "$name"
            return
        fi
    done
    return 1
}

new_enough "$venv/bin/python" || make_venv
find_uv >/dev/null || install_uv
uv=$(find_uv)
say "installing what requirements.lock names"
"$uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"
set -- --editable .
for plugin in plugins/*/pyproject.toml; do set -- "$@" --editable "${plugin%/*}"; done
"$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation "$@"

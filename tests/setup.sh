#!/bin/sh
# What the tests use beside Python: a browser, Node.js, nginx, and the OpenMP library of the model's runtime. Where they are missing
# and may be installed, they are; otherwise the tests that need them say so and are skipped.
missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v nginx >/dev/null 2>&1 || missing="$missing nginx-light"
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
ldconfig -p 2>/dev/null | grep -q libgomp || missing="$missing libgomp1"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing$missing ..."
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 && exit 0
fi
echo "Missing:$missing. Tests that need them are skipped; install them with your system's package manager."

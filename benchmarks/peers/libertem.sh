#!/bin/sh
# LiberTEM, for comparison, in an environment of its own: .peers/libertem at the root.
set -e
cd "$(dirname "$0")/../.."
[ -e .peers/libertem/installed ] && exit 0
"${PYTHON:-python3}" -m venv .peers/libertem
.peers/libertem/bin/python -m pip install --quiet --disable-pip-version-check libertem==0.16.0
touch .peers/libertem/installed

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# `make run`: boots examples/debian.xml and leaves you at its login prompt. run.sh BUILD
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
"$top/tools/guest/place.sh" "$build/guest"
echo "Log in as root, without a password; 'poweroff' ends the guest. Its disk is $build/guest/debian.img"
exec "$build/lodge" run "$top/examples/debian.xml"

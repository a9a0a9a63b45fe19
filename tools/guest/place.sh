#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Puts what examples/*.xml name into DIRECTORY (build/guest): links to the cached kernel and
# initial RAM disks, and disks of its own, which are kept when they are there: place.sh DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"

link() { # link NAME BUILDER-ARGUMENT...
	name=$1
	shift
	target=$("$here/build.sh" "$@")
	ln -sf "$target" "$directory/$name"
}

directory=$1
link vmlinuz kernel cloud
link initrd.img initrd cloud
link busybox.img busybox
image=$("$here/build.sh" debian)
[ -e "$directory/debian.img" ] || cp --sparse=always --reflink=auto "$image" "$directory/debian.img"
[ -e "$directory/data.img" ] || truncate -s 256M "$directory/data.img"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the system on which the Debian packages are installed, and prints its folder: a plain Debian 12 with systemd
# and libvirt's clients, which has, downloaded and not installed, what the packages need, what wants libvirt's daemon
# (libvirt-dbus, cockpit-machines) and that daemon itself, so that apt needs no network in it. It is made once, by
# mmdebstrap and as root, and kept in $LODGE_CACHE (default ${XDG_CACHE_HOME:-~/.cache}/lodge).
set -eu
cache=${LODGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lodge}
packages="systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,policykit-1,libvirt-clients,iproute2,procps"
packages="$packages,openssh-server,openssh-client"
result=$cache/debian-box-$(sha256sum "$0" | cut -c1-8)
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ -d "$result" ]; then
	echo "$result"
	exit
fi
made=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$made"' EXIT
trap 'exit 130' INT TERM HUP
# Run by mmdebstrap; $1 is the tree. A package of the name of libvirt's daemon is there while apt looks for what its
# users need besides.
# shellcheck disable=SC2016
fill='set -eu
root=$1
get() {
	chroot "$root" apt-get -q -y --no-install-recommends --download-only install "$@"
}
get libvirt-daemon-system
get libglib2.0-0 libjansson4 libxml2 libarchive13 libedit2 libslirp0 libseccomp2 libgnutls30 liburing2 libzydis4.0 \
	adduser e2fsprogs
mkdir -p "$root/tmp/stand-in/DEBIAN"
printf "%s\n" "Package: stand-in" "Version: 1" "Architecture: all" "Maintainer: nobody <nobody@example.org>" \
	"Provides: libvirt-daemon-system (= 9.0.0), libvirt-daemon (= 9.0.0)" "Description: stands in" \
	>"$root/tmp/stand-in/DEBIAN/control"
chroot "$root" dpkg-deb -b /tmp/stand-in /tmp/stand-in.deb
chroot "$root" dpkg -i /tmp/stand-in.deb
get libvirt-dbus cockpit-machines
get cockpit-ws cockpit-system cockpit-machines virtinst python3-gi gir1.2-libosinfo-1.0 osinfo-db udev
chroot "$root" dpkg --purge stand-in
rm -r "$root/tmp/stand-in" "$root/tmp/stand-in.deb"
chroot "$root" useradd -m -s /bin/sh anne
chroot "$root" systemctl --quiet mask getty.target apt-daily.timer apt-daily-upgrade.timer
echo box >"$root/etc/hostname"
: >"$root/etc/machine-id"'
chmod 755 "$made"
# shellcheck disable=SC2016
mmdebstrap --quiet --variant=apt --format=directory --include="$packages" --aptopt='Acquire::Languages "none"' \
	--skip=cleanup/apt --skip=download/empty --customize-hook="$fill" bookworm "$made/root" >&2
mv "$made/root" "$result"
echo "$result"

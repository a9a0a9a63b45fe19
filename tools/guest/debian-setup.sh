#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mmdebstrap's hook: turns the fresh tree $1 into the guest of the demo and of the tests.
# root has no password and logs in on the first serial port; the network comes up by DHCP; nothing
# runs on a timer, so that an idle guest is idle.
set -eu
root=$1

echo lodge-guest >"$root/etc/hostname"
printf '127.0.0.1 localhost lodge-guest\n::1 localhost\n' >"$root/etc/hosts"
echo '/dev/vda / ext4 rw,relatime 0 1' >"$root/etc/fstab"
printf 'nameserver 10.0.2.3\n' >"$root/etc/resolv.conf"
chroot "$root" passwd -q -d root

cat >"$root/etc/systemd/network/80-dhcp.network" <<-END
	[Match]
	Type=ether

	[Network]
	DHCP=yes
END
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/lodge.conf"
# Emulated processors are slow to boot: no start-up step may fail merely for that.
printf '[Manager]\nDefaultTimeoutStartSec=300s\nDefaultDeviceTimeoutSec=900s\n' >"$root/etc/systemd/system.conf.d/lodge.conf"

chroot "$root" systemctl --quiet enable systemd-networkd.service
chroot "$root" systemctl --quiet disable systemd-networkd-wait-online.service
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer \
	getty@tty1.service getty-static.service

# Nothing is left to do at the first boot: every copy of the disk has the same machine id.
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
rm -rf "$root/var/lib/apt/lists"/* "$root/var/cache/apt"/*.bin "$root/var/cache/apt/archives"/*.deb \
	"$root/var/log"/*.log "$root/var/log/apt"
touch "$root/etc/.updated" "$root/var/.updated"

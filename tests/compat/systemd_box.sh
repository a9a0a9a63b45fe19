#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The first process of a host of its own: systemd over a copy of a system that goes away. It is run in namespaces of
# its own (mount, UTS, IPC, network, processes, control groups):
#
#   systemd_box.sh DIRECTORY LOWER   DIRECTORY/upper has what is different from the system LOWER, which may be this one: /
set -e
D=$1
LOWER=$2
mount --make-rprivate /
mkdir -p "$D/upper" "$D/work" "$D/root"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$D/upper,workdir=$D/work" "$D/root"
cd "$D/root"
mount -t proc proc proc
mount -t sysfs sysfs sys -o ro
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
[ "$LOWER" != / ] || rm -rf etc/systemd/system/*.wants/* var/lib/lodge var/log/lodge
mkdir -p old var/log/journal
pivot_root . old
cd /
umount -l old
ip link set lo up
hostname box
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=other /lib/systemd/systemd --system --unit=multi-user.target

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A host of its own: systemd over a copy of a system that goes away, in namespaces of its own (mount, UTS, IPC, network,
# processes, control groups) and below a control group of its own, so that there can be several.
#
#   systemd_box.sh make DIRECTORY LOWER   DIRECTORY/upper has what is different from the system LOWER, which may be this
#                                         one: /; in a mount namespace already
#   systemd_box.sh sweep DIRECTORY        when it has ended: removes its control group; the same
#   systemd_box.sh run DIRECTORY LOWER    its first process
set -e
DO=$1
D=$2
LOWER=$3
GROUP=$D/cgroup/$(basename "$D")

with_groups() {
	mount --make-rprivate /
	mkdir -p "$D/cgroup"
	mount -t cgroup2 cgroup2 "$D/cgroup"
}

case $DO in
make)
	with_groups
	mkdir "$GROUP"
	echo $$ >"$GROUP/cgroup.procs"
	umount "$D/cgroup"
	exec unshare -u -i -n -p -C -f --kill-child sh "$0" run "$D" "$LOWER"
	;;
sweep)
	with_groups
	[ ! -d "$GROUP" ] || find "$GROUP" -depth -type d -exec rmdir {} +
	exit
	;;
esac
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

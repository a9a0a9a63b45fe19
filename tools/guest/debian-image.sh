#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# mmdebstrap's last hook: makes the file at descriptor 8 an ext4 file system with the tree $1 in it.
# A second mount of the tree shows it without what is mounted there. A descriptor, because the hook
# may run as a user who is root of the tree alone and may not enter the folder of the image.
set -eu
tree=$1
PATH=$PATH:/usr/sbin:/sbin

# Of the essential packages, which were unpacked before dpkg was told to leave these out.
for unwanted in man info locale doc; do
	find "$tree/usr/share/$unwanted" -depth ! -type d ! -name copyright -delete 2>/dev/null || true
	find "$tree/usr/share/$unwanted" -mindepth 1 -depth -type d -empty -delete 2>/dev/null || true
done

mount --bind "$tree" "$tree/mnt"
status=0
mkfs.ext4 -q -F -L lodge-root -N 65536 -J size=16 -m 1 -E lazy_itable_init=0,lazy_journal_init=0 \
	-d "$tree/mnt" /proc/self/fd/8 >&2 <&- || status=$?
umount "$tree/mnt"
exit $status

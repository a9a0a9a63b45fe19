#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Run in a guest: what programs make of data that is the same everywhere, what the kernel found, and
# the checksums of all files, those that the programs have just made included.
#
#   compare.sh LINES SUM    of input for each program; the checksum, md5sum or sha256sum, which
#                           costs several times more
set -eu -o pipefail
lines=$1 sum=$2
dmesg -n 1
cd /tmp

seq 1 "$lines" >numbers
sort -r numbers >sorted
gzip -c sorted >sorted.gz
gunzip -c sorted.gz | cmp - sorted
bzip2 -c numbers >numbers.bz2
bunzip2 -c numbers.bz2 | cmp - numbers
awk '{ s += $1 * $1; t += 1 / $1; u = (u * 3.7 + t) % 11.3
	print $1 % 97, $1 / 7 } END { print s, t, u }' numbers >table
sort -n -k 1 -k 2 table | uniq -c >counted
sed 's/1/one/g; s/[02468]$/even/; /3.*3/d' numbers >edited
grep -c '7.*9\|^1.*8$' numbers >found
tr 0-9 a-j <numbers | fold -w 61 | rev >letters
od -t x4 sorted.gz >dump
tar -c -f all.tar --numeric-owner numbers sorted table letters
i=1 mixed=0
while [ $i -le $((lines / 10)) ]; do
	mixed=$(((mixed * 31 + i * i) % 1000003)) i=$((i + 1))
done
echo $mixed >loop
rm all.tar # it knows the time

echo compare: results
for file in *; do
	sha256sum "$file"
done
find / -xdev -type f ! -path '/tmp/*' | sort | xargs "$sum"
for file in /proc/iomem /proc/ioports /proc/devices /proc/filesystems /proc/crypto /proc/misc; do
	echo "$file $(sha256sum <$file)"
done
grep -v 'MHz\|bogomips' /proc/cpuinfo
uname -srvm
echo compare: end
dmesg -n 7

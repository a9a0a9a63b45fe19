#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds what guests boot from, out of Debian packages alone, and prints the path of the result:
#
#   build.sh kernel  [FLAVOUR]   a stock Debian kernel (bzImage)
#   build.sh busybox             an initramfs with busybox and our /init (tools/guest/init)
#   build.sh initrd  [FLAVOUR]   the same with that kernel's virtio modules: boots root=/dev/vda
#   build.sh debian              a Debian 12 root disk: systemd, serial getty, iproute2 (raw, ext4)
#   build.sh debian-test         the same with stress-ng, fio, iperf3 and sysbench
#   build.sh version [FLAVOUR]   the kernel's version string
#   build.sh nested              the initramfs of tools/with-kvm, for the kernel of flavour nested
#
# FLAVOUR is cloud (default), generic, rt or nested, which is generic with KVM's modules. Progress goes to standard error. Results are kept in
# $LODGE_CACHE (default ${XDG_CACHE_HOME:-~/.cache}/lodge) under a name that changes with the
# recipe, so a second call answers at once and needs no network. Nothing here needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${LODGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lodge}
umask 022
mkdir -p "$cache"

say() {
	echo "guest: $*" >&2
}

die() {
	say "$*"
	exit 1
}

# recipe TEXT FILE...: eight digits that change when what a result is made from does
recipe() {
	text=$1
	shift
	(echo "$text" && cat "$@") | sha256sum | cut -c1-8
}

# One builder at a time; whoever waited finds the result made.
exec 9>"$cache/.lock"
lock() {
	flock 9
}

scratch=
scratch_dir() {
	scratch=$(mktemp -d "$cache/tmp.XXXXXX")
	trap 'chmod -R u+rwX "$scratch" 2>/dev/null; rm -rf "$scratch"' EXIT
	trap 'exit 130' INT TERM HUP
}

# --- packages -------------------------------------------------------------------------------

# apt_get ARGUMENT...: the system's apt, or with our own package lists when it has none that serve
apt_options=
apt_get() {
	# shellcheck disable=SC2086
	apt-get -qq $apt_options -o APT::Sandbox::User="$(id -un)" "$@" >&2
}

private_lists() {
	say "reading the package lists"
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
	apt_options="-o Dir::State::lists=$cache/apt/lists -o Dir::Cache=$cache/apt -o Acquire::Languages=none"
	apt_get update
}

# show_field PACKAGE FIELD: one field of the newest version that apt knows
show_field() {
	# shellcheck disable=SC2086
	apt-cache $apt_options show --no-all-versions "$1" 2>/dev/null | sed -n "s/^$2: //p" | head -n 1
}

# download PACKAGE: leaves PACKAGE_*.deb in the current directory and says how large it is
download() {
	size=$(show_field "$1" Size)
	say "downloading $1 ($(((${size:-0} + 99999) / 100000 * 100000 / 1000000)).$(((${size:-0} + 99999) / 100000 % 10)) MB)"
	apt_get download "$1"
}

# image_package FLAVOUR: the package that holds the kernel which the metapackage stands for
image_package() {
	case "$1" in
	cloud) meta=linux-image-cloud-amd64 ;;
	generic | nested) meta=linux-image-amd64 ;;
	rt) meta=linux-image-rt-amd64 ;;
	*) die "unknown kernel flavour '$1': cloud, generic, rt or nested" ;;
	esac
	show_field "$meta" Depends | tr ',' '\n' | sed -n 's/^ *\(linux-image-[^ ]*\).*/\1/p' | head -n 1
}

# --- kernels --------------------------------------------------------------------------------

# What the guests may need of a kernel's modules, as patterns below kernel/
module_patterns="drivers/virtio/* drivers/block/virtio_blk.ko drivers/net/virtio_net.ko
drivers/net/net_failover.ko net/core/failover.ko drivers/char/virtio_console.ko
drivers/char/hw_random/* fs/ext4/* fs/jbd2/* fs/mbcache.ko lib/crc*.ko lib/libcrc32c.ko
crypto/crc32c* crypto/crct10dif* arch/x86/crypto/crc32c* arch/x86/crypto/crct10dif*
drivers/acpi/button.ko drivers/input/evdev.ko drivers/firmware/qemu_fw_cfg.ko
drivers/watchdog/watchdog.ko drivers/watchdog/i6300esb.ko drivers/watchdog/iTCO*
drivers/mfd/intel_pmc_bxt.ko drivers/mfd/lpc_ich.ko drivers/mfd/mfd-core.ko
drivers/i2c/i2c-smbus.ko drivers/i2c/busses/i2c-i801.ko drivers/misc/pvpanic/* fs/fuse/virtiofs.ko fs/fuse/fuse.ko
net/vmw_vsock/*"

# What the host that tools/with-kvm starts needs on top, and what it loads.
nested_patterns="arch/x86/kvm/* virt/lib/* drivers/crypto/ccp/ccp.ko fs/9p/* fs/netfs/* fs/fscache/*
net/9p/9pnet.ko net/9p/9pnet_virtio.ko fs/overlayfs/* drivers/block/loop.ko block/bfq.ko"
nested_modules="virtio_pci virtio_console 9pnet_virtio 9p overlay loop bfq"
nested_kvm_modules="kvm kvm_amd"

# What initrd loads, in this order, each after what it depends on; and what it has on top for tests,
# loaded when the kernel command line says lodge.more. What a flavour lacks is left out.
initrd_modules="virtio_pci virtio_blk virtio_net virtio_rng virtio_console virtio_balloon
crc32c_generic ext4 button evdev"
more_modules="qemu_fw_cfg i6300esb iTCO_wdt lpc_ich pvpanic_mmio pvpanic_pci"

kernel_dir() { # kernel_dir FLAVOUR: sets $kernel to the unpacked kernel's directory
	wanted_modules=$module_patterns
	[ "$1" != nested ] || wanted_modules="$wanted_modules $nested_patterns"
	kernel=$cache/kernel-$1-$(recipe "$wanted_modules")
	[ -e "$kernel/done" ] && return
	lock
	[ -e "$kernel/done" ] && return
	scratch_dir
	cd "$scratch"
	package=$(image_package "$1")
	if [ -z "$package" ] || ! download "$package"; then
		private_lists
		package=$(image_package "$1")
		[ -n "$package" ] || die "apt knows no $1 kernel: is 'main' of Debian 12 in its sources?"
		download "$package"
	fi
	say "unpacking $package"
	patterns=$(for pattern in $wanted_modules; do echo "./lib/modules/*/kernel/$pattern"; done)
	mv "$package"_*.deb package.deb
	set -f
	# shellcheck disable=SC2086
	dpkg-deb --fsys-tarfile package.deb | tar -x --wildcards './boot/vmlinuz-*' \
		'./boot/config-*' './lib/modules/*/modules.*' $patterns 2>missing || [ -e boot ]
	set +f
	version=$(basename boot/vmlinuz-* | sed 's/^vmlinuz-//')
	mv "boot/vmlinuz-$version" vmlinuz
	mv "boot/config-$version" config
	[ -e "lib/modules/$version" ] || die "$package holds no modules"
	busybox depmod -b . "$version"
	echo "$version" >version
	rm -rf boot missing package.deb
	touch done
	rm -rf "$kernel"
	mkdir "$kernel"
	mv ./* "$kernel/"
}

# --- initramfs ------------------------------------------------------------------------------

# busybox_tree DIRECTORY [INIT]: busybox, its names and our /init
busybox_tree() {
	busybox=$(command -v busybox) || die "busybox is missing: sh tools/deps.sh guest"
	mkdir -p "$1/bin" "$1/dev" "$1/proc" "$1/sys" "$1/run" "$1/tmp" "$1/etc" "$1/newroot"
	cp "$busybox" "$1/bin/busybox"
	for name in $($busybox --list); do
		[ "$name" = busybox ] || ln -s busybox "$1/bin/$name"
	done
	cp "$here/${2:-init}" "$1/init"
	chmod 755 "$1/init" "$1/bin/busybox"
	echo 'root::0:0:root:/:/bin/sh' >"$1/etc/passwd"
	ln -s bin "$1/sbin"
}

# module_order KERNEL MODULE...: file names below lib/modules/VERSION, dependencies first
module_order() {
	directory=$1
	shift
	awk -v wanted="$*" '
	function name(path) { sub(/.*\//, "", path); sub(/\.ko.*/, "", path); gsub(/-/, "_", path); return path }
	function visit(module,  i, n, deps) {
		if (seen[module]++ || !(module in file)) return
		n = split(needs[module], deps, " ")
		for (i = n; i >= 1; i--) visit(name(deps[i]))
		print file[module]
	}
	{ path = $1; sub(/:$/, "", path); m = name(path); file[m] = path; $1 = ""; needs[m] = $0 }
	END { n = split(wanted, list, " "); for (i = 1; i <= n; i++) visit(list[i]) }' \
		"$directory/lib/modules/$(cat "$directory/version")/modules.dep"
}

pack() { # pack DIRECTORY FILE: a newc archive owned by root, in a stable order
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) >"$2"
}

build_busybox() {
	result=$cache/busybox-$(recipe 1 "$here/init").cpio
	[ -e "$result" ] && return
	lock
	[ -e "$result" ] && return
	scratch_dir
	busybox_tree "$scratch/tree"
	pack "$scratch/tree" "$scratch/out"
	mv "$scratch/out" "$result"
}

# put_modules TREE LIST MODULE...: these modules, and their order for /init in the file LIST
put_modules() {
	tree=$1 list=$2
	shift 2
	module_order "$kernel" "$@" >"$tree/$list"
	while read -r module; do
		mkdir -p "$tree/lib/modules/$(dirname "$module")"
		cp "$kernel/lib/modules/$version/$module" "$tree/lib/modules/$module"
	done <"$tree/$list"
}

# initramfs FLAVOUR NAME INIT RECIPE LIST MODULES [LIST MODULES]: with these modules of that kernel
initramfs() {
	kernel_dir "$1"
	version=$(cat "$kernel/version")
	result=$cache/$2-$version-$(recipe "$4" "$here/$3").cpio
	[ -e "$result" ] && return
	lock
	[ -e "$result" ] && return
	[ -n "$scratch" ] || scratch_dir
	mkdir "$scratch/initrd"
	busybox_tree "$scratch/initrd" "$3"
	# shellcheck disable=SC2086
	put_modules "$scratch/initrd" "$5" $6
	# shellcheck disable=SC2086
	put_modules "$scratch/initrd" "$7" $8
	pack "$scratch/initrd" "$scratch/out"
	mv "$scratch/out" "$result"
}

build_initrd() {
	initramfs "$1" initrd init "$module_patterns $initrd_modules $more_modules" \
		modules "$initrd_modules" modules.more "$more_modules"
}

build_nested() {
	initramfs nested nested nested-init "$nested_patterns $nested_modules $nested_kvm_modules" \
		modules "$nested_modules" modules.kvm "$nested_kvm_modules"
}

# --- Debian disks ---------------------------------------------------------------------------

debian_packages="systemd systemd-sysv udev dbus iproute2 iputils-ping kmod login passwd util-linux
procps less"
test_packages="stress-ng fio iperf3 sysbench e2fsprogs curl ca-certificates python3-minimal ethtool pciutils"

# package_mb PACKAGE...: what a new system with these is to download, in whole megabytes
package_mb() {
	# shellcheck disable=SC2086
	apt-get $apt_options -o Dir::State::status=/dev/null -qq -y --print-uris \
		--no-install-recommends install '?essential' apt "$@" 2>/dev/null |
		awk '{ bytes += $3 } END { printf "%d", (bytes + 999999) / 1000000 }'
}

say_debian_size() {
	mb=$(package_mb "$@")
	if [ "$mb" = 0 ]; then
		private_lists
		mb=$(package_mb "$@")
	fi
	say "installing Debian 12 into $name ($mb MB of packages to download, besides their lists)"
}

# build_debian NAME SIZE PACKAGE...: a raw ext4 image of SIZE with these packages
#
# dpkg is told what to leave out only once the essential packages are unpacked: told before,
# mmdebstrap sends each of them through a filter that costs more than the unpacking. Hooks are given
# as text, for they run as a user who may not be let into this folder.
build_debian() {
	name=$1 size=$2
	shift 2
	result=$cache/$name-$(recipe "$*" "$here/dpkg-small" "$here/debian-setup.sh" "$here/debian-image.sh").img
	[ -e "$result" ] && return
	lock
	[ -e "$result" ] && return
	scratch_dir
	say_debian_size "$@"
	mode=root
	[ "$(id -u)" = 0 ] || mode=unshare
	packages=$(echo "$*" | tr -s ' \n' ',,')
	truncate -s "$size" "$scratch/disk.img"
	chmod 666 "$scratch/disk.img"
	mmdebstrap --mode=$mode --variant=apt --format=null --quiet --include="$packages" \
		--aptopt='Acquire::Languages "none"' \
		--extract-hook="echo '$(cat "$here/dpkg-small")' >\"\$1/etc/dpkg/dpkg.cfg.d/small\"" \
		--customize-hook="$(cat "$here/debian-setup.sh")" \
		--customize-hook="$(cat "$here/debian-image.sh")" \
		bookworm >&2 8<>"$scratch/disk.img"
	chmod 644 "$scratch/disk.img"
	mv "$scratch/disk.img" "$result"
}

command=${1:-}
flavour=${2:-cloud}
case "$command" in
kernel)
	kernel_dir "$flavour"
	result=$kernel/vmlinuz
	;;
version)
	kernel_dir "$flavour"
	cat "$kernel/version"
	exit 0
	;;
busybox) build_busybox ;;
initrd) build_initrd "$flavour" ;;
nested) build_nested ;;
debian)
	# shellcheck disable=SC2086
	build_debian debian 1G $debian_packages
	;;
debian-test)
	# shellcheck disable=SC2086
	build_debian debian-test 2G $debian_packages $test_packages
	;;
*)
	sed -n '3,/^set -eu/{/^set -eu/d; s/^# \{0,1\}//; p}' "$0" >&2
	exit 2
	;;
esac
echo "$result"

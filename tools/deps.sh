#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages of tools/packages.txt that are missing: deps.sh GROUP...
#
# As root, or with CI=true, it asks nothing; on a person's terminal it shows the list and its
# size and asks once; without either it says what to run. It removes nothing (apt is told to
# refuse that) and starts no service: while it installs, policy-rc.d answers "no" and is put
# back afterwards. With nothing missing it takes a few milliseconds and touches no network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
list=${LODGE_PACKAGES:-$here/packages.txt}

say() {
	echo "deps: $*" >&2
}

# wanted GROUP...: the packages of these groups, one a line
wanted() {
	for group in "$@"; do
		sed -e 's/#.*//' "$list" | while read -r package groups _; do
			case ",${groups:-}," in *",$group,"*) echo "$package" ;; esac
		done
	done | sort -u
}

missing() {
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
	for package in $(wanted "$@"); do
		echo "$have" | grep -qxF "$package" || echo "$package"
	done
}

# download_mb PACKAGE...: what apt would fetch, in whole megabytes
download_mb() {
	apt-get -qq -y --print-uris --no-install-recommends install "$@" 2>/dev/null |
		awk '{ bytes += $3 } END { printf "%d", (bytes + 999999) / 1000000 }'
}

# As root: no service may start because of us.
install_as_root() {
	policy=/usr/sbin/policy-rc.d
	saved=
	if [ -e "$policy" ]; then
		saved=$(mktemp "$policy.XXXXXX")
		cp -p "$policy" "$saved"
	fi
	trap 'if [ -n "$saved" ]; then mv -f "$saved" "$policy"; else rm -f "$policy"; fi' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-remove \
		--no-install-recommends install "$@" >&2
}

if [ "${1:-}" = --as-root ]; then # second half, run through sudo by the first
	shift
	if [ "$1" = update ]; then
		said=$(LC_ALL=C apt-get -q update 2>&1) || { echo "$said" >&2; exit 1; }
		echo "$said" | sed -n 's/^Fetched \([^ ]* [^ ]*\).*/deps: \1 of package lists downloaded/p' >&2
		exit 0
	fi
	install_as_root "$@"
	exit 0
fi
if [ "${1:-}" = --list ]; then
	shift
	wanted "$@"
	exit 0
fi

need=$(missing "$@")
[ -n "$need" ] || exit 0
if ! command -v apt-get >/dev/null; then
	say "these packages are missing, and this is not Debian:" $need
	exit 1
fi

root=
if [ "$(id -u)" != 0 ]; then
	root=sudo
	if ! command -v sudo >/dev/null; then
		say "missing:" $need
		say "run as root: apt-get install --no-install-recommends" $need
		exit 1
	fi
	[ "${CI:-}" = true ] && root="sudo -n"
fi
ask=no
if [ -n "$root" ] && [ "${CI:-}" != true ]; then
	ask=yes
	if ! [ -t 0 ]; then
		say "missing:" $need
		say "run: sudo apt-get install --no-install-recommends" $need
		exit 1
	fi
fi
if [ $ask = yes ]; then
	mb=$(download_mb $need)
	say "these Debian packages are missing:" $need
	printf 'deps: install them with sudo (about %s MB to download)? [Y/n] ' "$mb" >&2
	read -r answer
	case "$answer" in '' | y | Y | yes) ;; *) say "not installed"; exit 1 ;; esac
fi
$root sh "$0" --as-root update || say "apt-get update failed; trying with the lists at hand"
[ $ask = yes ] || say "installing ($(download_mb $need) MB to download):" $need
$root sh "$0" --as-root $need
still=$(missing "$@")
if [ -n "$still" ]; then
	say "still missing after the installation:" $still
	exit 1
fi

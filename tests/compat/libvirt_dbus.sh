#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What clients of libvirt-dbus do, on a bus of their own: libvirt_dbus.sh GUEST.xml. Each answer is a line, which
# test_lodged_system.py looks at.
set -eu
/usr/sbin/libvirt-dbus --session &
service=$!
trap 'kill $service' EXIT

call()
{
	object=$1 method=$2
	shift 2
	printf '%s ' "${method##*.}"
	gdbus call --session --dest org.libvirt --object-path "$object" --method "org.libvirt.$method" "$@"
}

connection=/org/libvirt/QEMU
gdbus wait --session --timeout 30 org.libvirt
call $connection Connect.DomainDefineXML "$(cat "$1")"
call $connection Connect.ListDomains 0
domain=$(gdbus call --session --dest org.libvirt --object-path $connection --method org.libvirt.Connect.DomainLookupByName g |
	sed "s/.*'\(\/[^']*\)'.*/\1/")
call "$domain" Domain.Create 0
call "$domain" Domain.GetState 0
call "$domain" Domain.GetStats 0 0
printf 'properties '
gdbus call --session --dest org.libvirt --object-path "$domain" --method org.freedesktop.DBus.Properties.GetAll org.libvirt.Domain
call $connection Connect.ListNetworks 0
call $connection Connect.NodeGetCPUStats -- -1 0
call $connection Connect.GetCapabilities
call "$domain" Domain.Destroy 0
call "$domain" Domain.Undefine 0
call $connection Connect.ListDomains 0

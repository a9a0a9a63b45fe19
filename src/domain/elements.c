/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this version makes of the domain XML, row by row. Adding support for something is, on this
 * side, moving a mark: the parser, the check at start and the writer all read this table.
 */
#include "domain/elements.h"

#include "base/types.h"

#include <string.h>

#define ON_OFF "on off"
#define YES_NO "yes no"
#define CHARDEV_TYPES                                                                         \
	"pty file unix null stdio !dev !pipe !tcp !udp !vc !nmdm !dbus ~spicevmc ~spiceport " \
	"~qemu-vdagent"
#define CHARDEV_REMEDY "use type='pty', 'file', 'unix' or 'null'"
#define DISK_TYPES     "file block !dir !network !volume !nvme !vhostuser !vhostvdpa"
#define NET_TYPES                                                                               \
	"user network !bridge !direct !ethernet !hostdev !vhostuser !vdpa !udp !mcast !server " \
	"!client !internal !vds !null"

/* clang-format off */
static const struct element elements[] = {
	/* path                          kind         use         values, remedy, many */
	{ "@type",                       KIND_WORD,   USE_FULL,   "kvm qemu !hvf !xen !lxc !vz !test !bhyve !hyperv !vmware !vbox !uml !openvz !phyp !kqemu", "use type='kvm' or 'qemu'" },
	{ "@id",                         KIND_NUMBER, USE_NOTE,   "0 4294967295" },
	{ "name",                        KIND_LINE,   USE_FULL },
	{ "uuid",                        KIND_UUID,   USE_FULL },
	{ "genid",                       KIND_TREE,   USE_EXTRA },
	{ "title",                       KIND_LINE,   USE_NOTE },
	{ "description",                 KIND_TEXT,   USE_NOTE },
	{ "metadata",                    KIND_TREE,   USE_NOTE },
	{ "maxMemory",                   KIND_SIZE,   USE_FULL },
	{ "maxMemory@slots",             KIND_NUMBER, USE_FULL,   "0 256" },
	{ "maxMemory@unit",              KIND_UNIT,   USE_FULL },
	{ "memory",                      KIND_SIZE,   USE_FULL },
	{ "memory@unit",                 KIND_UNIT,   USE_FULL },
	{ "memory@dumpCore",             KIND_WORD,   USE_NOTE,   ON_OFF },
	{ "currentMemory",               KIND_SIZE,   USE_FULL },
	{ "currentMemory@unit",          KIND_UNIT,   USE_FULL },
	{ "blkiotune",                   KIND_TREE,   USE_HINT },
	{ "memtune",                     KIND_TREE,   USE_HINT },
	{ "memoryBacking",               KIND_PARENT, USE_FULL },
	{ "memoryBacking/hugepages",     KIND_TREE,   USE_HINT },
	{ "memoryBacking/nosharepages",  KIND_TREE,   USE_NOTE },
	{ "memoryBacking/locked",        KIND_TREE,   USE_HINT },
	{ "memoryBacking/source",        KIND_TREE,   USE_NOTE },
	{ "memoryBacking/access",        KIND_TREE,   USE_NOTE },
	{ "memoryBacking/allocation",    KIND_TREE,   USE_HINT },
	{ "memoryBacking/discard",       KIND_TREE,   USE_NOTE },
	{ "vcpu",                        KIND_NUMBER, USE_FULL,   "1 255" },
	{ "vcpu@placement",              KIND_WORD,   USE_NOTE,   "static auto" },
	{ "vcpu@cpuset",                 KIND_LINE,   USE_HINT },
	{ "vcpu@current",                KIND_NUMBER, USE_FULL,   "1 255" },
	{ "vcpus",                       KIND_TREE,   USE_HINT },
	{ "iothreads",                   KIND_TREE,   USE_HINT },
	{ "iothreadids",                 KIND_TREE,   USE_HINT },
	{ "defaultiothread",             KIND_TREE,   USE_HINT },
	{ "throttlegroups",              KIND_TREE,   USE_HINT },
	{ "cputune",                     KIND_TREE,   USE_HINT },
	{ "numatune",                    KIND_TREE,   USE_HINT },
	{ "resource",                    KIND_TREE,   USE_NOTE },
	{ "sysinfo",                     KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "sysinfo@type",                KIND_WORD,   USE_FULL,   "fwcfg ~smbios" },
	{ "sysinfo/bios",                KIND_TREE,   USE_NOTE },
	{ "sysinfo/system",              KIND_TREE,   USE_NOTE },
	{ "sysinfo/baseBoard",           KIND_TREE,   USE_NOTE,   NULL, NULL, true },
	{ "sysinfo/chassis",             KIND_TREE,   USE_NOTE },
	{ "sysinfo/processor",           KIND_TREE,   USE_NOTE,   NULL, NULL, true },
	{ "sysinfo/memory_device",       KIND_TREE,   USE_NOTE,   NULL, NULL, true },
	{ "sysinfo/oemStrings",          KIND_TREE,   USE_NOTE },
	{ "sysinfo/entry",               KIND_TEXT,   USE_FULL,   NULL, NULL, true },
	{ "sysinfo/entry@name",          KIND_LINE,   USE_FULL },
	{ "sysinfo/entry@file",          KIND_PATH,   USE_FULL },
	{ "bootloader",                  KIND_TREE,   USE_NEEDED, NULL, "give <os> a <kernel>" },
	{ "bootloader_args",             KIND_TREE,   USE_NEEDED, NULL, "give <os> a <kernel> and a <cmdline>" },
	{ "os",                          KIND_PARENT, USE_FULL },
	{ "os@firmware",                 KIND_WORD,   USE_FULL,   "!bios !efi", "give <os> a <kernel>" },
	{ "os/type",                     KIND_WORD,   USE_FULL,   "hvm !linux !xen !xenpvh !exe !uml", "write hvm" },
	{ "os/type@arch",                KIND_LINE,   USE_FULL },
	{ "os/type@machine",             KIND_LINE,   USE_FULL },
	{ "os/firmware",                 KIND_TREE,   USE_NEEDED, NULL, "give <os> a <kernel>" },
	{ "os/loader",                   KIND_TREE,   USE_NEEDED, NULL, "give <os> a <kernel> instead of firmware" },
	{ "os/nvram",                    KIND_TREE,   USE_NEEDED, NULL, "give <os> a <kernel> instead of firmware" },
	{ "os/kernel",                   KIND_PATH,   USE_FULL },
	{ "os/initrd",                   KIND_PATH,   USE_FULL },
	{ "os/cmdline",                  KIND_TEXT,   USE_FULL },
	{ "os/dtb",                      KIND_TREE,   USE_NEEDED, NULL, "remove it: x86 machines have no device tree" },
	{ "os/shim",                     KIND_TREE,   USE_NEEDED, NULL, "remove it: the kernel is entered directly" },
	{ "os/acpi",                     KIND_TREE,   USE_NEEDED, NULL, "remove it" },
	{ "os/init",                     KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers" },
	{ "os/initarg",                  KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers", true },
	{ "os/initenv",                  KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers", true },
	{ "os/initdir",                  KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers" },
	{ "os/inituser",                 KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers" },
	{ "os/initgroup",                KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers" },
	{ "os/boot",                     KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "os/boot@dev",                 KIND_WORD,   USE_FULL,   "hd cdrom network fd" },
	{ "os/bootmenu",                 KIND_TREE,   USE_NOTE },
	{ "os/bios",                     KIND_TREE,   USE_NOTE },
	{ "os/smbios",                   KIND_TREE,   USE_EXTRA },
	{ "idmap",                       KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for containers" },
	{ "features",                    KIND_PARENT, USE_FULL },
	{ "features/acpi",               KIND_FLAG,   USE_FULL },
	{ "features/apic",               KIND_TREE,   USE_FULL },
	{ "features/pae",                KIND_FLAG,   USE_FULL },
	{ "features/vmport",             KIND_PARENT, USE_FULL },
	{ "features/vmport@state",       KIND_WORD,   USE_FULL,   "off ~on" },
	{ "features/hap",                KIND_TREE,   USE_NOTE },
	{ "features/viridian",           KIND_TREE,   USE_EXTRA },
	{ "features/hyperv",             KIND_TREE,   USE_EXTRA },
	{ "features/kvm",                KIND_TREE,   USE_EXTRA },
	{ "features/pvspinlock",         KIND_TREE,   USE_EXTRA },
	{ "features/pmu",                KIND_PARENT, USE_FULL },
	{ "features/pmu@state",          KIND_WORD,   USE_FULL,   "off ~on" },
	{ "features/smm",                KIND_PARENT, USE_FULL },
	{ "features/smm@state",          KIND_WORD,   USE_FULL,   "off ~on" },
	{ "features/smm/tseg",           KIND_TREE,   USE_EXTRA },
	{ "features/ioapic",             KIND_TREE,   USE_NOTE },
	{ "features/vmcoreinfo",         KIND_TREE,   USE_EXTRA },
	{ "features/msrs",               KIND_TREE,   USE_EXTRA },
	{ "features/tcg",                KIND_PARENT, USE_FULL },
	{ "features/tcg/tb-cache",       KIND_SIZE,   USE_FULL },
	{ "features/tcg/tb-cache@unit",  KIND_UNIT,   USE_FULL },
	{ "features/async-teardown",     KIND_TREE,   USE_HINT },
	{ "features/ps2",                KIND_TREE,   USE_EXTRA },
	{ "features/capabilities",       KIND_TREE,   USE_NOTE },
	{ "features/privnet",            KIND_TREE,   USE_NOTE },
	{ "features/xen",                KIND_TREE,   USE_NOTE },
	{ "features/gic",                KIND_TREE,   USE_NOTE },
	{ "features/hpt",                KIND_TREE,   USE_NOTE },
	{ "features/htm",                KIND_TREE,   USE_NOTE },
	{ "features/nested-hv",          KIND_TREE,   USE_NOTE },
	{ "features/ccf-assist",         KIND_TREE,   USE_NOTE },
	{ "features/cfpc",               KIND_TREE,   USE_NOTE },
	{ "features/sbbc",               KIND_TREE,   USE_NOTE },
	{ "features/ibs",                KIND_TREE,   USE_NOTE },
	{ "features/ras",                KIND_TREE,   USE_NOTE },
	{ "features/aia",                KIND_TREE,   USE_NOTE },
	{ "cpu",                         KIND_PARENT, USE_FULL },
	{ "cpu@mode",                    KIND_WORD,   USE_FULL,   "custom host-model host-passthrough maximum" },
	{ "cpu@match",                   KIND_WORD,   USE_FULL,   "minimum exact strict" },
	{ "cpu@check",                   KIND_WORD,   USE_FULL,   "none partial full" },
	{ "cpu@migratable",              KIND_WORD,   USE_NOTE,   ON_OFF },
	{ "cpu@deprecated_features",     KIND_WORD,   USE_NOTE,   ON_OFF },
	{ "cpu/model",                   KIND_LINE,   USE_FULL },
	{ "cpu/model@fallback",          KIND_WORD,   USE_FULL,   "allow forbid" },
	{ "cpu/model@vendor_id",         KIND_LINE,   USE_HINT },
	{ "cpu/vendor",                  KIND_LINE,   USE_NOTE },
	{ "cpu/topology",                KIND_PARENT, USE_FULL },
	{ "cpu/topology@sockets",        KIND_NUMBER, USE_FULL,   "1 255" },
	{ "cpu/topology@dies",           KIND_NUMBER, USE_FULL,   "1 255" },
	{ "cpu/topology@clusters",       KIND_NUMBER, USE_FULL,   "1 255" },
	{ "cpu/topology@cores",          KIND_NUMBER, USE_FULL,   "1 255" },
	{ "cpu/topology@threads",        KIND_NUMBER, USE_FULL,   "1 255" },
	{ "cpu/cache",                   KIND_TREE,   USE_HINT },
	{ "cpu/maxphysaddr",             KIND_TREE,   USE_HINT },
	{ "cpu/feature",                 KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "cpu/feature@name",            KIND_LINE,   USE_FULL },
	{ "cpu/feature@policy",          KIND_WORD,   USE_FULL,   "force require optional disable forbid" },
	{ "cpu/numa",                    KIND_TREE,   USE_NEEDED, NULL, "remove it: a guest has one memory node" },
	{ "clock",                       KIND_PARENT, USE_FULL },
	{ "clock@offset",                KIND_WORD,   USE_FULL,   "utc localtime !timezone !variable !absolute", "use offset='utc' or 'localtime'" },
	{ "clock@timezone",              KIND_LINE,   USE_FULL },
	{ "clock@adjustment",            KIND_LINE,   USE_FULL },
	{ "clock@basis",                 KIND_WORD,   USE_FULL,   "utc localtime" },
	{ "clock@start",                 KIND_LINE,   USE_FULL },
	{ "clock/timer",                 KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "clock/timer@name",            KIND_WORD,   USE_FULL,   "platform hpet kvmclock pit rtc tsc hypervclock armvtimer" },
	{ "clock/timer@present",         KIND_WORD,   USE_FULL,   YES_NO },
	{ "clock/timer@tickpolicy",      KIND_WORD,   USE_NOTE,   "delay catchup merge discard" },
	{ "clock/timer@track",           KIND_WORD,   USE_NOTE,   "boot guest wall realtime" },
	{ "clock/timer@mode",            KIND_WORD,   USE_NOTE,   "auto native emulate paravirt smpsafe" },
	{ "clock/timer@frequency",       KIND_NUMBER, USE_HINT,   "1 9223372036854775807" },
	{ "clock/timer/catchup",         KIND_TREE,   USE_NOTE },
	{ "on_poweroff",                 KIND_WORD,   USE_FULL,   "destroy restart !preserve !rename-restart", "use destroy or restart" },
	{ "on_reboot",                   KIND_WORD,   USE_FULL,   "destroy restart !preserve !rename-restart", "use destroy or restart" },
	{ "on_crash",                    KIND_WORD,   USE_FULL,   "destroy restart preserve !rename-restart !coredump-destroy !coredump-restart", "use destroy, restart or preserve" },
	{ "on_lockfailure",              KIND_WORD,   USE_NOTE,   "poweroff restart pause ignore" },
	{ "pm",                          KIND_TREE,   USE_NOTE },
	{ "perf",                        KIND_TREE,   USE_HINT },
	{ "devices",                     KIND_PARENT, USE_FULL },

	{ "devices/emulator",            KIND_PATH,   USE_NOTE },

	{ "devices/disk",                KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/disk@type",           KIND_WORD,   USE_FULL,   DISK_TYPES, "use type='file' or 'block'" },
	{ "devices/disk@device",         KIND_WORD,   USE_FULL,   "disk !cdrom !floppy !lun", "use device='disk'" },
	{ "devices/disk@model",          KIND_WORD,   USE_FULL,   "virtio virtio-transitional virtio-non-transitional" },
	{ "devices/disk@rawio",          KIND_WORD,   USE_NOTE,   YES_NO },
	{ "devices/disk@sgio",           KIND_WORD,   USE_NOTE,   "filtered unfiltered" },
	{ "devices/disk@snapshot",       KIND_WORD,   USE_NOTE,   "no internal external manual" },
	{ "devices/disk/driver",         KIND_PARENT, USE_FULL },
	{ "devices/disk/driver@name",    KIND_LINE,   USE_NOTE },
	{ "devices/disk/driver@type",    KIND_WORD,   USE_FULL,   "raw !qcow2 !qcow !qed !vmdk !vdi !vhd !vpc !luks !cow !cloop !dmg !bochs !dir !fat !iso !ploop !aio", "convert the image to raw, or wait for a version that reads this format" },
	{ "devices/disk/driver@cache",   KIND_WORD,   USE_FULL,   "default none writeback writethrough directsync unsafe" },
	{ "devices/disk/driver@discard", KIND_WORD,   USE_FULL,   "unmap ignore" },
	{ "devices/disk/driver@queues",  KIND_NUMBER, USE_FULL,   "1 64" },
	{ "devices/disk/driver@queue_size", KIND_NUMBER, USE_HINT, "1 1024" },
	{ "devices/disk/driver@io",      KIND_WORD,   USE_NOTE,   "threads native io_uring" },
	{ "devices/disk/driver@ioeventfd", KIND_WORD, USE_NOTE,   ON_OFF },
	{ "devices/disk/driver@event_idx", KIND_WORD, USE_NOTE,   ON_OFF },
	{ "devices/disk/driver@error_policy", KIND_WORD, USE_FULL, "stop report ignore enospace" },
	{ "devices/disk/driver@rerror_policy", KIND_WORD, USE_FULL, "stop report ignore" },
	{ "devices/disk/driver@copy_on_read", KIND_WORD, USE_HINT, ON_OFF },
	{ "devices/disk/driver@detect_zeroes", KIND_WORD, USE_HINT, "off on unmap" },
	{ "devices/disk/driver@discard_no_unref", KIND_WORD, USE_HINT, ON_OFF },
	{ "devices/disk/driver@iothread", KIND_NUMBER, USE_HINT,  "1 4294967295" },
	{ "devices/disk/driver/iothreads", KIND_TREE, USE_HINT },
	{ "devices/disk/driver/metadata_cache", KIND_TREE, USE_HINT },
	{ "devices/disk/auth",           KIND_TREE,   USE_NEEDED, NULL, "use a disk of type='file' or 'block'" },
	{ "devices/disk/source",         KIND_PARENT, USE_FULL },
	{ "devices/disk/source@file",    KIND_PATH,   USE_FULL },
	{ "devices/disk/source@dev",     KIND_PATH,   USE_FULL },
	{ "devices/disk/source@dir",     KIND_LINE,   USE_FULL },
	{ "devices/disk/source@index",   KIND_NUMBER, USE_NOTE,   "0 4294967295" },
	{ "devices/disk/source@startupPolicy", KIND_WORD, USE_NOTE, "mandatory requisite optional" },
	{ "devices/disk/source@fdgroup", KIND_LINE,   USE_NEEDED, NULL, "name the file in file='...'" },
	{ "devices/disk/source@protocol", KIND_LINE,  USE_FULL },
	{ "devices/disk/source@name",    KIND_TEXT,   USE_FULL },
	{ "devices/disk/source@query",   KIND_TEXT,   USE_FULL },
	{ "devices/disk/source@tls",     KIND_LINE,   USE_FULL },
	{ "devices/disk/source@tlsHostname", KIND_LINE, USE_FULL },
	{ "devices/disk/source@pool",    KIND_LINE,   USE_FULL },
	{ "devices/disk/source@volume",  KIND_LINE,   USE_FULL },
	{ "devices/disk/source@mode",    KIND_LINE,   USE_FULL },
	{ "devices/disk/source@type",    KIND_LINE,   USE_FULL },
	{ "devices/disk/source@path",    KIND_LINE,   USE_FULL },
	{ "devices/disk/source@managed", KIND_WORD,   USE_FULL,   YES_NO },
	{ "devices/disk/source@namespace", KIND_LINE, USE_FULL },
	{ "devices/disk/source/seclabel", KIND_TREE,  USE_NOTE,   NULL, NULL, true },
	{ "devices/disk/source/encryption", KIND_TREE, USE_NEEDED, NULL, "decrypt the image first" },
	{ "devices/disk/source/reservations", KIND_TREE, USE_NEEDED, NULL, "remove it" },
	{ "devices/disk/source/slices",  KIND_TREE,   USE_NEEDED, NULL, "use the whole file" },
	{ "devices/disk/source/auth",    KIND_TREE,   USE_FULL },
	{ "devices/disk/source/host",    KIND_TREE,   USE_FULL,   NULL, NULL, true },
	{ "devices/disk/source/address", KIND_TREE,   USE_FULL },
	{ "devices/disk/source/config",  KIND_TREE,   USE_FULL },
	{ "devices/disk/source/snapshot", KIND_TREE,  USE_FULL },
	{ "devices/disk/source/initiator", KIND_TREE, USE_FULL },
	{ "devices/disk/source/cookies", KIND_TREE,   USE_FULL },
	{ "devices/disk/source/ssl",     KIND_TREE,   USE_FULL },
	{ "devices/disk/source/identity", KIND_TREE,  USE_FULL },
	{ "devices/disk/source/readahead", KIND_TREE, USE_FULL },
	{ "devices/disk/source/timeout", KIND_TREE,   USE_FULL },
	{ "devices/disk/source/reconnect", KIND_TREE, USE_FULL },
	{ "devices/disk/source/privateData", KIND_TREE, USE_NOTE },
	{ "devices/disk/source/dataStore", KIND_TREE, USE_NEEDED, NULL, "use a raw image" },
	{ "devices/disk/backingStore",   KIND_TREE,   USE_NOTE },
	{ "devices/disk/mirror",         KIND_TREE,   USE_NOTE },
	{ "devices/disk/target",         KIND_PARENT, USE_FULL },
	{ "devices/disk/target@dev",     KIND_LINE,   USE_FULL },
	{ "devices/disk/target@bus",     KIND_WORD,   USE_FULL,   "virtio !sata !scsi !ide !usb !fdc !sd !xen !uml !nvme", "use bus='virtio'" },
	{ "devices/disk/target@tray",    KIND_WORD,   USE_NOTE,   "open closed" },
	{ "devices/disk/target@removable", KIND_WORD, USE_NOTE,   ON_OFF },
	{ "devices/disk/target@rotation_rate", KIND_NUMBER, USE_HINT, "1 65534" },
	{ "devices/disk/target@dpofua",  KIND_WORD,   USE_HINT,   ON_OFF },
	{ "devices/disk/iotune",         KIND_TREE,   USE_HINT },
	{ "devices/disk/throttlefilters", KIND_TREE,  USE_HINT },
	{ "devices/disk/readonly",       KIND_FLAG,   USE_FULL },
	{ "devices/disk/shareable",      KIND_FLAG,   USE_FULL },
	{ "devices/disk/transient",      KIND_TREE,   USE_NEEDED, NULL, "remove it, or start from a copy of the image" },
	{ "devices/disk/serial",         KIND_LINE,   USE_FULL },
	{ "devices/disk/wwn",            KIND_LINE,   USE_HINT },
	{ "devices/disk/vendor",         KIND_LINE,   USE_HINT },
	{ "devices/disk/product",        KIND_LINE,   USE_HINT },
	{ "devices/disk/boot",           KIND_PARENT, USE_FULL },
	{ "devices/disk/boot@order",     KIND_NUMBER, USE_FULL,   "1 65535" },
	{ "devices/disk/boot@loadparm",  KIND_LINE,   USE_NOTE },
	{ "devices/disk/encryption",     KIND_TREE,   USE_NEEDED, NULL, "decrypt the image first" },
	{ "devices/disk/geometry",       KIND_TREE,   USE_HINT },
	{ "devices/disk/blockio",        KIND_TREE,   USE_NEEDED, NULL, "remove it: sectors have 512 bytes" },
	{ "devices/disk/backenddomain",  KIND_TREE,   USE_NEEDED, NULL, "remove it: it is for Xen" },
	{ "devices/disk/privateData",    KIND_TREE,   USE_NOTE },
	{ "devices/disk/diskSecret",     KIND_TREE,   USE_NOTE },

	{ "devices/controller",          KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/controller@type",     KIND_WORD,   USE_FULL,   "pci virtio-serial ~usb ~sata ~scsi ~ide ~fdc ~ccid ~isa ~xenbus ~nvme" },
	{ "devices/controller@index",    KIND_NUMBER, USE_FULL,   "0 255" },
	{ "devices/controller@model",    KIND_LINE,   USE_FULL },
	{ "devices/controller@ports",    KIND_NUMBER, USE_FULL,   "1 31" },
	{ "devices/controller@vectors",  KIND_NUMBER, USE_NOTE,   "0 65535" },
	{ "devices/controller@maxGrantFrames", KIND_NUMBER, USE_NOTE, "0 4294967295" },
	{ "devices/controller@maxEventChannels", KIND_NUMBER, USE_NOTE, "0 4294967295" },
	{ "devices/controller/model",    KIND_PARENT, USE_NOTE },
	{ "devices/controller/model@name", KIND_LINE, USE_NOTE },
	{ "devices/controller/target",   KIND_PARENT, USE_FULL },
	{ "devices/controller/target@chassis", KIND_NUMBER, USE_FULL, "0 255" },
	{ "devices/controller/target@port", KIND_NUMBER, USE_FULL, "0 255" },
	{ "devices/controller/target@chassisNr", KIND_NUMBER, USE_NOTE, "0 255" },
	{ "devices/controller/target@busNr", KIND_NUMBER, USE_NOTE, "0 255" },
	{ "devices/controller/target@index", KIND_NUMBER, USE_NOTE, "0 255" },
	{ "devices/controller/target@hotplug", KIND_WORD, USE_HINT, ON_OFF },
	{ "devices/controller/target@memReserve", KIND_LINE, USE_HINT },
	{ "devices/controller/target/node", KIND_TREE, USE_NEEDED, NULL, "remove it: a guest has one memory node" },
	{ "devices/controller/pcihole64", KIND_TREE,  USE_HINT },
	{ "devices/controller/master",   KIND_TREE,   USE_NOTE },
	{ "devices/controller/driver",   KIND_TREE,   USE_NOTE },
	{ "devices/controller/serial",   KIND_TREE,   USE_NOTE },

	{ "devices/lease",               KIND_TREE,   USE_NEEDED, NULL, "remove it", true },
	{ "devices/filesystem",          KIND_TREE,   USE_NEEDED, NULL, "remove it", true },

	{ "devices/interface",           KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/interface@type",      KIND_WORD,   USE_FULL,   NET_TYPES, "use <interface type='user'>" },
	{ "devices/interface@managed",   KIND_WORD,   USE_NOTE,   YES_NO },
	{ "devices/interface@trustGuestRxFilters", KIND_WORD, USE_NOTE, YES_NO },
	{ "devices/interface/mac",       KIND_PARENT, USE_FULL },
	{ "devices/interface/mac@address", KIND_MAC,  USE_FULL },
	{ "devices/interface/mac@type",  KIND_WORD,   USE_NOTE,   "generated static" },
	{ "devices/interface/mac@check", KIND_WORD,   USE_NOTE,   YES_NO },
	{ "devices/interface/mac@currentAddress", KIND_MAC, USE_NOTE },
	{ "devices/interface/source",    KIND_TREE,   USE_NOTE },
	{ "devices/interface/virtualport", KIND_TREE, USE_NEEDED, NULL, "use <interface type='user'>" },
	{ "devices/interface/ip",        KIND_TREE,   USE_HINT,   NULL, NULL, true },
	{ "devices/interface/route",     KIND_TREE,   USE_HINT,   NULL, NULL, true },
	{ "devices/interface/script",    KIND_TREE,   USE_NEEDED, NULL, "remove it: nothing of the guest runs scripts" },
	{ "devices/interface/downscript", KIND_TREE,  USE_NEEDED, NULL, "remove it: nothing of the guest runs scripts" },
	{ "devices/interface/backenddomain", KIND_TREE, USE_NEEDED, NULL, "remove it: it is for Xen" },
	{ "devices/interface/target",    KIND_TREE,   USE_NOTE },
	{ "devices/interface/guest",     KIND_TREE,   USE_NOTE },
	{ "devices/interface/model",     KIND_PARENT, USE_FULL },
	{ "devices/interface/model@type", KIND_WORD,  USE_FULL,   "virtio virtio-transitional virtio-non-transitional !e1000 !e1000e !igb !rtl8139 !ne2k_pci !pcnet !i82551 !i82557b !i82559er !usb-net !vmxnet3 !netfront !lan9118 !smc91c111 !spapr-vlan !xgmac !cadence_gem", "use <model type='virtio'/>" },
	{ "devices/interface/driver",    KIND_TREE,   USE_NOTE },
	{ "devices/interface/backend",   KIND_PARENT, USE_FULL },
	{ "devices/interface/backend@type", KIND_WORD, USE_FULL,  "default passt" },
	{ "devices/interface/backend@tap", KIND_LINE, USE_NOTE },
	{ "devices/interface/backend@vhost", KIND_LINE, USE_NOTE },
	{ "devices/interface/backend@logFile", KIND_LINE, USE_NOTE },
	{ "devices/interface/backend@hostname", KIND_LINE, USE_NOTE },
	{ "devices/interface/backend@fqdn", KIND_LINE, USE_NOTE },
	{ "devices/interface/portForward", KIND_PARENT, USE_FULL, NULL, NULL, true },
	{ "devices/interface/portForward@proto", KIND_WORD, USE_FULL, "tcp udp" },
	{ "devices/interface/portForward@address", KIND_LINE, USE_FULL },
	{ "devices/interface/portForward@dev", KIND_LINE, USE_HINT },
	{ "devices/interface/portForward/range", KIND_PARENT, USE_FULL, NULL, NULL, true },
	{ "devices/interface/portForward/range@start", KIND_NUMBER, USE_FULL, "1 65535" },
	{ "devices/interface/portForward/range@end", KIND_NUMBER, USE_FULL, "1 65535" },
	{ "devices/interface/portForward/range@to", KIND_NUMBER, USE_FULL, "1 65535" },
	{ "devices/interface/portForward/range@exclude", KIND_WORD, USE_FULL, YES_NO },
	{ "devices/interface/filterref", KIND_TREE,   USE_NEEDED, NULL, "remove it: the user network lets no host or guest reach this one unasked" },
	{ "devices/interface/boot",      KIND_PARENT, USE_FULL },
	{ "devices/interface/boot@order", KIND_NUMBER, USE_FULL,  "1 65535" },
	{ "devices/interface/boot@loadparm", KIND_LINE, USE_NOTE },
	{ "devices/interface/rom",       KIND_TREE,   USE_NOTE },
	{ "devices/interface/tune",      KIND_TREE,   USE_NOTE },
	{ "devices/interface/bandwidth", KIND_TREE,   USE_HINT },
	{ "devices/interface/vlan",      KIND_TREE,   USE_NEEDED, NULL, "use <interface type='user'> without it" },
	{ "devices/interface/link",      KIND_PARENT, USE_FULL },
	{ "devices/interface/link@state", KIND_WORD,  USE_FULL,   "up ~down" },
	{ "devices/interface/mtu",       KIND_PARENT, USE_FULL },
	{ "devices/interface/mtu@size",  KIND_NUMBER, USE_HINT,   "68 65535" },
	{ "devices/interface/coalesce",  KIND_TREE,   USE_HINT },
	{ "devices/interface/port",      KIND_TREE,   USE_HINT },
	{ "devices/interface/teaming",   KIND_TREE,   USE_NEEDED, NULL, "remove it" },

	{ "devices/smartcard",           KIND_TREE,   USE_EXTRA,  NULL, NULL, true },

	{ "devices/serial",              KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/serial@type",         KIND_WORD,   USE_FULL,   CHARDEV_TYPES, CHARDEV_REMEDY },
	{ "devices/serial/target",       KIND_PARENT, USE_FULL },
	{ "devices/serial/target@type",  KIND_WORD,   USE_FULL,   "isa-serial isa-debug !pci-serial !usb-serial !system-serial !spapr-vio-serial !sclp-serial !serial", "use <target type='isa-serial'/>" },
	{ "devices/serial/target@port",  KIND_NUMBER, USE_FULL,   "0 3" },
	{ "devices/serial/target/model", KIND_PARENT, USE_FULL },
	{ "devices/serial/target/model@name", KIND_WORD, USE_FULL, "isa-serial isa-debugcon !pci-serial !usb-serial !pl011 !16550a !sclpconsole !sclplmconsole !spapr-vty", "use <model name='isa-serial'/>" },
	{ "devices/parallel",            KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/console",             KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/console@type",        KIND_WORD,   USE_FULL,   CHARDEV_TYPES, CHARDEV_REMEDY },
	{ "devices/console@tty",         KIND_LINE,   USE_NOTE },
	{ "devices/console/target",      KIND_PARENT, USE_FULL },
	{ "devices/console/target@type", KIND_WORD,   USE_FULL,   "serial virtio ~xen ~lxc ~openvz ~uml ~sclp ~sclplm" },
	{ "devices/console/target@port", KIND_NUMBER, USE_FULL,   "0 255" },
	{ "devices/channel",             KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/channel@type",        KIND_WORD,   USE_FULL,   CHARDEV_TYPES, CHARDEV_REMEDY },
	{ "devices/channel/target",      KIND_PARENT, USE_FULL },
	{ "devices/channel/target@type", KIND_WORD,   USE_FULL,   "virtio ~guestfwd ~xen" },
	{ "devices/channel/target@name", KIND_LINE,   USE_FULL },
	{ "devices/channel/target@state", KIND_LINE,  USE_NOTE },
	{ "devices/channel/target@address", KIND_LINE, USE_NOTE },
	{ "devices/channel/target@port", KIND_LINE,   USE_NOTE },
	{ "devices/*/source",            KIND_PARENT, USE_FULL },
	{ "devices/*/source@path",       KIND_PATH,   USE_FULL },
	{ "devices/*/source@mode",       KIND_WORD,   USE_FULL,   "bind connect host" },
	{ "devices/*/source@append",     KIND_WORD,   USE_FULL,   ON_OFF },
	{ "devices/*/source@host",       KIND_LINE,   USE_FULL },
	{ "devices/*/source@service",    KIND_LINE,   USE_FULL },
	{ "devices/*/source@tls",        KIND_LINE,   USE_FULL },
	{ "devices/*/source@channel",    KIND_LINE,   USE_FULL },
	{ "devices/*/source@master",     KIND_LINE,   USE_FULL },
	{ "devices/*/source@slave",      KIND_LINE,   USE_FULL },
	{ "devices/*/source/seclabel",   KIND_TREE,   USE_NOTE,   NULL, NULL, true },
	{ "devices/*/source/reconnect",  KIND_TREE,   USE_NOTE },
	{ "devices/*/source/clipboard",  KIND_TREE,   USE_NOTE },
	{ "devices/*/source/mouse",      KIND_TREE,   USE_NOTE },
	{ "devices/*/protocol",          KIND_TREE,   USE_NOTE },
	{ "devices/*/log",               KIND_TREE,   USE_HINT },

	{ "devices/input",               KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/input@type",          KIND_WORD,   USE_FULL,   "mouse keyboard ~tablet ~passthrough ~evdev" },
	{ "devices/input@bus",           KIND_WORD,   USE_FULL,   "ps2 ~usb ~virtio ~xen ~none" },
	{ "devices/input@model",         KIND_LINE,   USE_NOTE },
	{ "devices/input/driver",        KIND_TREE,   USE_NOTE },
	{ "devices/input/source",        KIND_TREE,   USE_NOTE },
	{ "devices/tpm",                 KIND_TREE,   USE_NEEDED, NULL, "remove it", true },
	{ "devices/graphics",            KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/sound",               KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/audio",               KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/video",               KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/hostdev",             KIND_TREE,   USE_NEEDED, NULL, "remove it", true },
	{ "devices/redirdev",            KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/redirfilter",         KIND_TREE,   USE_EXTRA },
	{ "devices/hub",                 KIND_TREE,   USE_EXTRA,  NULL, NULL, true },
	{ "devices/watchdog",            KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/watchdog@model",      KIND_WORD,   USE_FULL,   "i6300esb itco ~ib700 ~diag288" },
	{ "devices/watchdog@action",     KIND_WORD,   USE_FULL,   "reset shutdown poweroff pause none inject-nmi !dump", "use action='reset', 'poweroff' or 'pause': nothing here writes dumps" },

	{ "devices/memballoon",          KIND_PARENT, USE_FULL },
	{ "devices/memballoon@model",    KIND_WORD,   USE_FULL,   "virtio virtio-transitional virtio-non-transitional none !xen", "use model='virtio' or 'none'" },
	{ "devices/memballoon@autodeflate", KIND_WORD, USE_HINT,  ON_OFF },
	{ "devices/memballoon@freePageReporting", KIND_WORD, USE_HINT, ON_OFF },
	{ "devices/memballoon/stats",    KIND_TREE,   USE_NOTE },
	{ "devices/memballoon/driver",   KIND_TREE,   USE_NOTE },

	{ "devices/rng",                 KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/rng@model",           KIND_WORD,   USE_FULL,   "virtio virtio-transitional virtio-non-transitional" },
	{ "devices/rng/backend",         KIND_TREE,   USE_FULL },
	{ "devices/rng/backend@model",   KIND_WORD,   USE_FULL,   "random builtin !egd", "use <backend model='random'/>" },
	{ "devices/rng/rate",            KIND_TREE,   USE_HINT },
	{ "devices/rng/driver",          KIND_TREE,   USE_NOTE },

	{ "devices/panic",               KIND_PARENT, USE_FULL,   NULL, NULL, true },
	{ "devices/panic@model",         KIND_WORD,   USE_FULL,   "isa pvpanic ~hyperv ~pseries ~s390" },
	{ "devices/nvram",               KIND_TREE,   USE_NOTE },
	{ "devices/shmem",               KIND_TREE,   USE_NEEDED, NULL, "remove it", true },
	{ "devices/memory",              KIND_TREE,   USE_NEEDED, NULL, "remove it and raise <memory> instead", true },
	{ "devices/iommu",               KIND_TREE,   USE_NEEDED, NULL, "remove it" },
	{ "devices/vsock",               KIND_TREE,   USE_NEEDED, NULL, "remove it" },
	{ "devices/crypto",              KIND_TREE,   USE_NEEDED, NULL, "remove it", true },
	{ "devices/pstore",              KIND_TREE,   USE_EXTRA },

	{ "devices/*/alias",             KIND_PARENT, USE_FULL },
	{ "devices/*/alias@name",        KIND_LINE,   USE_FULL },
	{ "devices/*/acpi",              KIND_TREE,   USE_HINT },
	{ "devices/*/address",           KIND_PARENT, USE_FULL },
	{ "devices/*/address@type",      KIND_WORD,   USE_FULL,   "pci drive virtio-serial ccid usb isa dimm unassigned !ccw !spapr-vio !virtio-mmio", "leave the <address> out" },
	{ "devices/*/address@domain",    KIND_NUMBER, USE_FULL,   "0 4294967295" },
	{ "devices/*/address@bus",       KIND_NUMBER, USE_FULL,   "0 255" },
	{ "devices/*/address@slot",      KIND_NUMBER, USE_FULL,   "0 31" },
	{ "devices/*/address@function",  KIND_NUMBER, USE_FULL,   "0 7" },
	{ "devices/*/address@multifunction", KIND_WORD, USE_FULL, ON_OFF },
	{ "devices/*/address@controller", KIND_NUMBER, USE_FULL,  "0 255" },
	{ "devices/*/address@target",    KIND_NUMBER, USE_FULL,   "0 4294967295" },
	{ "devices/*/address@unit",      KIND_NUMBER, USE_FULL,   "0 4294967295" },
	{ "devices/*/address@port",      KIND_LINE,   USE_FULL },
	{ "devices/*/address@iobase",    KIND_LINE,   USE_FULL },
	{ "devices/*/address@irq",       KIND_LINE,   USE_FULL },
	{ "devices/*/address@base",      KIND_LINE,   USE_FULL },
	{ "devices/*/address@cssid",     KIND_LINE,   USE_FULL },
	{ "devices/*/address@ssid",      KIND_LINE,   USE_FULL },
	{ "devices/*/address@devno",     KIND_LINE,   USE_FULL },
	{ "devices/*/address@reg",       KIND_LINE,   USE_FULL },
	{ "devices/*/address/zpci",      KIND_TREE,   USE_NOTE },

	{ "seclabel",                    KIND_TREE,   USE_NOTE,   NULL, NULL, true },
	{ "keywrap",                     KIND_TREE,   USE_NOTE },
	{ "launchSecurity",              KIND_TREE,   USE_NEEDED, NULL, "remove it" },
	{ "qemu:commandline",            KIND_TREE,   USE_NEEDED, NULL, "remove it: there is no QEMU whose arguments it could be" },
	{ "qemu:override",               KIND_TREE,   USE_NEEDED, NULL, "remove it: there is no QEMU whose properties it could set" },
	{ "qemu:capabilities",           KIND_TREE,   USE_NOTE },
	{ "qemu:deprecation",            KIND_TREE,   USE_NOTE },
};
/* clang-format on */

const struct element *elements_all(size_t *count)
{
	*count = ARRAY_LEN(elements);
	return elements;
}

/* Of a table that never changes there is one index, which never changes either. */
GHashTable *elements_index(void)
{
	static GHashTable *once;

	if (g_once_init_enter(&once)) {
		GHashTable *index = g_hash_table_new(g_str_hash, g_str_equal);

		for (size_t i = 0; i < ARRAY_LEN(elements); i++)
			g_hash_table_insert(index, (gpointer)elements[i].path,
					    (gpointer)&elements[i]);
		g_once_init_leave(&once, index);
	}
	return g_hash_table_ref(once);
}

const struct element *elements_find(GHashTable *index, const char *path)
{
	const struct element *row = g_hash_table_lookup(index, path);
	const char *rest;
	char *general;

	if (row || !g_str_has_prefix(path, "devices/"))
		return row;
	rest = path + strlen("devices/");
	rest += strcspn(rest, "/@");
	if (*rest != '/')
		return NULL;
	general = g_strconcat("devices/*", rest, NULL);
	row = g_hash_table_lookup(index, general);
	g_free(general);
	return row;
}

char element_word_mark(const struct element *row, const char *word)
{
	size_t length = strlen(word);
	const char *p = row->values;

	while (*p) {
		char mark = *p == '!' || *p == '~' ? *p++ : ' ';
		size_t n = strcspn(p, " ");

		if (n == length && !memcmp(p, word, n))
			return mark;
		p += n;
		p += strspn(p, " ");
	}
	return 0;
}

char *element_words(const struct element *row)
{
	char **words = g_strsplit(row->values, " ", -1);
	unsigned count = g_strv_length(words);
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < count; i++) {
		const char *word = words[i];

		if (i)
			g_string_append(text, i + 1 == count ? " or " : ", ");
		g_string_append(text, word + (*word == '!' || *word == '~'));
	}
	g_strfreev(words);
	return g_string_free(text, FALSE);
}

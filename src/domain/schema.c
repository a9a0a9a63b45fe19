/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Documents held against the names that libvirt documents. See schema.h.
 *
 * A row is one kind of element, by its own name where there is one kind of that name, and says what
 * it may have:
 *   @name        an attribute
 *   name         an element without any attribute or element
 *   name(a,b)    one with these attributes
 *   name=        one of the kind of that name
 *   name=kind    one of another
 *   name=*       one whose content is not looked at
 * The rows of a domain's own table (elements.c) add what is newer, and what is Lodge's own.
 */
#include "domain/schema.h"

#include "base/types.h"
#include "domain/domain.h"
#include "domain/elements.h"
#include "domain/message.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

struct place {
	const char *kind, *members;
};

/* clang-format off */
static const struct place places[] = {
	{ "acpi",
	  "table(type)" },
	{ "active_pcr_banks",
	  "sha1 sha256 sha384 sha512" },
	{ "adapter",
	  "@managed @name @parent @parent_fabric_wwn @parent_wwnn @parent_wwpn @type "
	  "@wwnn @wwpn parentaddr=" },
	{ "address",
	  "@base @bus @controller @cssid @devno @domain @function @iobase @irq "
	  "@multifunction @port @reg @slot @ssid @target @type @unit zpci(fid,uid)" },
	{ "audio",
	  "@driver @dspPolicy @exclusive @id @path @serverName @timerPeriod @tryMMap "
	  "@type input= output=input" },
	{ "auth",
	  "@username secret(type,usage,uuid)" },
	{ "backend",
	  "@model @type log(append,file) protocol(type) source=" },
	{ "backingStore",
	  "@index @type backingStore= format= source=backingStore-source" },
	{ "backingStore-source",
	  "@dev @dir @fdgroup @file @index @managed @mode @name @namespace @path @pool "
	  "@protocol @query @startupPolicy @tls @tlsHostname @type @volume "
	  "address(bus,domain,function,multifunction,slot) auth= config(file) cookies= "
	  "encryption= host(name,port,socket,transport) identity(group,user) initiator= "
	  "privateData readahead(size) reconnect(enabled,timeout) reservations= seclabel= "
	  "slices= snapshot(name) ssl(verify) timeout(seconds)" },
	{ "bandwidth",
	  "@classID inbound(average,burst,floor,peak) outbound(average,burst,floor,peak)" },
	{ "baseBoard",
	  "entry(name)" },
	{ "binary",
	  "@path @xattr cache(mode) lock(flock,posix) openfiles(max) sandbox(mode) "
	  "thread_pool(size)" },
	{ "blkiotune",
	  "device= weight" },
	{ "cache",
	  "@associativity @level @policy line(unit,value) size(unit,value)" },
	{ "cachetune",
	  "@id @vcpus cache(id,level,size,type,unit) monitor(level,vcpus)" },
	{ "capabilities",
	  "@policy audit_control(state) audit_write(state) block_suspend(state) "
	  "chown(state) dac_override(state) dac_read_search(state) fowner(state) "
	  "fsetid(state) ipc_lock(state) ipc_owner(state) kill(state) lease(state) "
	  "linux_immutable(state) mac_admin(state) mac_override(state) mknod(state) "
	  "net_admin(state) net_bind_service(state) net_broadcast(state) net_raw(state) "
	  "setfcap(state) setgid(state) setpcap(state) setuid(state) sys_admin(state) "
	  "sys_boot(state) sys_chroot(state) sys_module(state) sys_nice(state) "
	  "sys_pacct(state) sys_ptrace(state) sys_rawio(state) sys_resource(state) "
	  "sys_time(state) sys_tty_config(state) syslog(state) wake_alarm(state)" },
	{ "cell",
	  "@cpus @discard @id @memAccess @memory @unit cache= distances=" },
	{ "channel",
	  "@type address= alias(name) log(append,file) protocol(type) source= "
	  "target(address,name,port,state,type)" },
	{ "clock",
	  "@adjustment @basis @offset @start @timezone timer=" },
	{ "coalesce",
	  "rx=" },
	{ "console",
	  "@tty @type acpi(index) address= alias(name) log(append,file) protocol(type) "
	  "source= target=" },
	{ "controller",
	  "@index @maxEventChannels @maxGrantFrames @model @ports @type @vectors "
	  "acpi(index) address= alias(name) "
	  "driver(ats,cmd_per_lun,ioeventfd,iommu,iothread,max_sectors,packed,page_per_vq,queues) "
	  "master(startport) model(name) pcihole64(unit) target=controller-target" },
	{ "controller-target",
	  "@busNr @chassis @chassisNr @hotplug @index @port node" },
	{ "cookies",
	  "cookie(name)" },
	{ "cpu",
	  "@check @match @migratable @mode cache(level,mode) feature(name,policy) "
	  "maxphysaddr(bits,limit,mode) model(fallback,vendor_id) numa= "
	  "topology(cores,dies,sockets,threads) vendor" },
	{ "cputune",
	  "cachetune= emulator_period emulator_quota emulatorpin(cpuset) "
	  "emulatorsched(priority,scheduler) global_period global_quota iothread_period "
	  "iothread_quota iothreadpin(cpuset,iothread) "
	  "iothreadsched(iothreads,priority,scheduler) memorytune= period quota shares "
	  "vcpupin(cpuset,vcpu) vcpusched(priority,scheduler,vcpus)" },
	{ "device",
	  "path read_bytes_sec read_iops_sec weight write_bytes_sec write_iops_sec" },
	{ "devices",
	  "audio= channel= console= controller= disk= emulator filesystem= graphics= "
	  "hostdev= hub= input=devices-input interface= iommu= lease= memballoon= memory= "
	  "nvram= panic= parallel=console redirdev= redirfilter= rng= serial=console "
	  "shmem= smartcard= sound= tpm= video= vsock= watchdog=" },
	{ "devices-input",
	  "@bus @model @type acpi(index) address= alias(name) "
	  "driver(ats,iommu,packed,page_per_vq) source(dev,evdev,grab,grabToggle,repeat)" },
	{ "dhcp",
	  "bootp(file,server) host=dhcp-host range=" },
	{ "dhcp-host",
	  "@id @ip @mac @name lease(expiry,unit)" },
	{ "disk",
	  "@device @model @rawio @sgio @snapshot @type acpi(index) address= alias(name) "
	  "auth= backenddomain(name) backingStore= "
	  "blockio(logical_block_size,physical_block_size) boot(loadparm,order) driver= "
	  "encryption= geometry(cyls,heads,secs,trans) iotune= mirror= privateData "
	  "product readonly serial shareable source=backingStore-source "
	  "target(bus,dev,removable,rotation_rate,tray) transient(shareBacking) vendor "
	  "wwn" },
	{ "distances",
	  "sibling(id,value)" },
	{ "dns",
	  "@enable @forwardPlainNames forwarder(addr,domain) host= "
	  "srv(domain,port,priority,protocol,service,target,weight) txt(name,value)" },
	{ "domain",
	  "@id @type bhyve:commandline=* blkiotune= bootloader bootloader_args clock= "
	  "cpu= cputune= currentMemory(unit) "
	  "defaultiothread(thread_pool_max,thread_pool_min) description devices= "
	  "features= genid idmap= iothreadids= iothreads keywrap= launchSecurity= "
	  "lxc:namespace=* maxMemory(slots,unit) memory(dumpCore,unit) memoryBacking= "
	  "memtune= metadata=* name numatune= on_crash on_lockfailure on_poweroff "
	  "on_reboot os= perf= pm= qemu:capabilities=* qemu:commandline=* "
	  "qemu:deprecation=* qemu:override=* resource= seclabel=domain-seclabel sysinfo= "
	  "title uuid vcpu(cpuset,current,placement) vcpus= vmware:datacenterpath=* "
	  "xen:commandline=*" },
	{ "domain-seclabel",
	  "@model @relabel @type baselabel imagelabel label" },
	{ "driver",
	  "@ats @cache @copy_on_read @detect_zeroes @discard @error_policy @event_idx @io "
	  "@ioeventfd @iommu @iothread @name @packed @page_per_vq @queue_size @queues "
	  "@rerror_policy @type metadata_cache=" },
	{ "encryption",
	  "@engine @format cipher(hash,mode,name,size) ivgen(hash,name) "
	  "secret(type,usage,uuid)" },
	{ "features",
	  "acpi apic(eoi) capabilities= ccf-assist(state) cfpc(value) gic(version) "
	  "hap(state) hpt= htm(state) hyperv= ibs(value) ioapic(driver) kvm= "
	  "msrs(unknown) nested-hv(state) pae pmu(state) privnet pvspinlock(state) "
	  "sbbc(value) smm= tcg= viridian vmcoreinfo(state) vmport(state) xen=" },
	{ "filesystem",
	  "@accessmode @dmode @fmode @model @multidevs @type acpi(index) address= "
	  "alias(name) binary= boot(loadparm,order) "
	  "driver(ats,format,iommu,packed,page_per_vq,queue,type,wrpolicy) idmap= "
	  "readonly source(dev,dir,file,name,socket,units,usage) space_hard_limit(unit) "
	  "space_soft_limit(unit) target(dir)" },
	{ "filterref",
	  "@filter parameter(name,value)" },
	{ "firmware",
	  "feature(enabled,name)" },
	{ "format",
	  "@type metadata_cache=" },
	{ "forward",
	  "@dev @managed @mode "
	  "address(bus,connections,domain,function,multifunction,slot,type) driver(name) "
	  "interface(connections,dev) nat= pf(dev)" },
	{ "graphics",
	  "@address @autoport @connected @defaultMode @display @fullscreen @keymap "
	  "@listen @multiUser @p2p @passwd @passwdValidTo @port @powerControl "
	  "@replaceUser @sharePolicy @socket @tlsPort @type @username @websocket @xauth "
	  "audio(id) channel(mode,name) clipboard(copypaste) filetransfer(enable) "
	  "gl(enable,rendernode) image(compression) jpeg(compression) "
	  "listen(address,network,socket,type) mouse(mode) playback(compression) "
	  "streaming(mode) zlib(compression)" },
	{ "host",
	  "@ip hostname" },
	{ "hostdev",
	  "@display @managed @mode @model @ramfb @rawio @sgio @type acpi(index) address= "
	  "alias(name) boot(loadparm,order) driver(model,name) "
	  "ip(address,family,peer,prefix) readonly rom(bar,enabled,file) "
	  "route(address,family,gateway,metric,netmask,prefix) shareable "
	  "source=hostdev-source teaming(persistent,type)" },
	{ "hostdev-source",
	  "@guestReset @name @protocol @startupPolicy @writeFiltering @wwpn adapter= "
	  "address(bus,device,domain,function,multifunction,slot,target,unit,uuid) auth= "
	  "block char host(name,port) initiator= interface product(id) vendor(id)" },
	{ "hpt",
	  "@resizing maxpagesize(unit)" },
	{ "hub",
	  "@type address= alias(name)" },
	{ "hugepages",
	  "page(nodeset,size,unit)" },
	{ "hyperv",
	  "@mode avic(state) emsr_bitmap(state) evmcs(state) frequencies(state) "
	  "ipi(state) reenlightenment(state) relaxed(state) reset(state) runtime(state) "
	  "spinlocks(retries,state) stimer= synic(state) tlbflush= vapic(state) "
	  "vendor_id(state,value) vpindex(state) xmm_input(state)" },
	{ "idmap",
	  "gid(count,start,target) uid(count,start,target)" },
	{ "initiator",
	  "iqn(name)" },
	{ "input",
	  "@bufferCount @bufferLength @clientName @connectPorts @dev @exactName "
	  "@fixedSettings @latency @mixingEngine @name @serverName @streamName @tryPoll "
	  "@voices settings(channels,format,frequency)" },
	{ "interconnects",
	  "bandwidth(cache,initiator,target,type,unit,value) "
	  "latency(cache,initiator,target,type,value)" },
	{ "interface",
	  "@managed @trustGuestRxFilters @type acpi(index) address= alias(name) "
	  "backend(logFile,tap,type,vhost) backenddomain(name) bandwidth= "
	  "boot(loadparm,order) coalesce= downscript(path) driver=interface-driver "
	  "filterref= guest(actual,dev) ip(address,family,peer,prefix) link(state) "
	  "mac(address,check,type) model(type) mtu(size) port(isolated) portForward= "
	  "rom(bar,enabled,file) route(address,family,gateway,metric,netmask,prefix) "
	  "script(path) source=interface-source target(dev,managed) "
	  "teaming(persistent,type) tune= virtualport= vlan=" },
	{ "interface-driver",
	  "@ats @event_idx @ioeventfd @iommu @name @packed @page_per_vq @queues @rss "
	  "@rss_hash_report @rx_queue_size @tx_queue_size @txmode "
	  "guest(csum,ecn,tso4,tso6,ufo) host(csum,ecn,gso,mrg_rxbuf,tso4,tso6,ufo)" },
	{ "interface-source",
	  "@address @bridge @connectionid @dev @macTableManager @missing @mode @name "
	  "@network @path @port @portgroup @portgroupid @portid @switchid @type "
	  "address(bus,device,domain,function,multifunction,slot,type) "
	  "ip(address,family,peer,prefix) local(address,port) product(id) "
	  "reconnect(enabled,timeout) route(address,family,gateway,metric,netmask,prefix) "
	  "vendor(id)" },
	{ "iommu",
	  "@model acpi(index) address= alias(name) "
	  "driver(aw_bits,caching_mode,dma_translation,eim,intremap,iotlb,pt,xtsup)" },
	{ "iothread",
	  "@id @thread_pool_max @thread_pool_min poll(grow,max,shrink)" },
	{ "iothreadids",
	  "iothread=" },
	{ "iotune",
	  "group_name read_bytes_sec read_bytes_sec_max read_bytes_sec_max_length "
	  "read_iops_sec read_iops_sec_max read_iops_sec_max_length size_iops_sec "
	  "total_bytes_sec total_bytes_sec_max total_bytes_sec_max_length total_iops_sec "
	  "total_iops_sec_max total_iops_sec_max_length write_bytes_sec "
	  "write_bytes_sec_max write_bytes_sec_max_length write_iops_sec "
	  "write_iops_sec_max write_iops_sec_max_length" },
	{ "ip",
	  "@address @family @localPtr @netmask @prefix dhcp= tftp(root)" },
	{ "keywrap",
	  "cipher(name,state)" },
	{ "kvm",
	  "dirty-ring(size,state) hidden(state) hint-dedicated(state) poll-control(state) "
	  "pv-ipi(state)" },
	{ "label",
	  "size(unit)" },
	{ "launchSecurity",
	  "@authorKey @kernelHashes @type @vcek cbitpos dhCert guestVisibleWorkarounds "
	  "handle hostData idAuth idBlock mrConfigId mrOwner mrOwnerConfig policy "
	  "quoteGenerationService(path) reducedPhysBits session" },
	{ "lease",
	  "key lockspace target(offset,path)" },
	{ "memballoon",
	  "@autodeflate @freePageReporting @model acpi(index) address= alias(name) "
	  "driver(ats,iommu,packed,page_per_vq) stats(period)" },
	{ "memory",
	  "@access @discard @model acpi(index) address= alias(name) source=memory-source "
	  "target=memory-target uuid" },
	{ "memory-source",
	  "alignsize(unit) nodemask pagesize(unit) path pmem" },
	{ "memory-target",
	  "@dynamicMemslots block(unit) current(unit) label= node readonly "
	  "requested(unit) size(unit)" },
	{ "memoryBacking",
	  "access(mode) allocation(mode,threads) discard hugepages= locked nosharepages "
	  "source(type)" },
	{ "memorytune",
	  "@vcpus monitor(vcpus) node(bandwidth,id)" },
	{ "memtune",
	  "hard_limit(unit) min_guarantee(unit) soft_limit(unit) swap_hard_limit(unit)" },
	{ "metadata_cache",
	  "max_size(unit)" },
	{ "mirror",
	  "@file @format @job @ready @type backingStore= format= "
	  "source=backingStore-source" },
	{ "model",
	  "@edid @heads @primary @ram @type @vgamem @vram @vram64 "
	  "acceleration(accel2d,accel3d,rendernode) resolution(x,y)" },
	{ "nat",
	  "@ipv6 address(end,start) port(end,start)" },
	{ "network",
	  "@connections @ipv6 @trustGuestRxFilters bandwidth= "
	  "bridge(delay,macTableManager,name,stp,zone) dns= dnsmasq:options=* "
	  "domain(localOnly,name) forward= ip= mac(address) metadata=* mtu(size) name "
	  "port(isolated) portgroup= route(address,family,gateway,metric,netmask,prefix) "
	  "uuid virtualport= vlan=" },
	{ "numa",
	  "cell= interconnects=" },
	{ "numatune",
	  "memnode(cellid,mode,nodeset) memory(mode,nodeset,placement)" },
	{ "nvram",
	  "address=" },
	{ "oemStrings",
	  "entry" },
	{ "os",
	  "@firmware acpi= bios(rebootTimeout,useserial) boot(dev) "
	  "bootmenu(enable,timeout) cmdline dtb firmware= init initarg initdir "
	  "initenv(name) initgroup initrd inituser kernel "
	  "loader(format,readonly,secure,stateless,type) nvram=os-nvram root smbios(mode) "
	  "type(arch,machine)" },
	{ "os-nvram",
	  "@format @template @templateFormat @type source=backingStore-source" },
	{ "panic",
	  "@model address= alias(name)" },
	{ "parentaddr",
	  "@unique_id address(bus,domain,function,multifunction,slot)" },
	{ "perf",
	  "event(enabled,name)" },
	{ "permissions",
	  "group label mode owner" },
	{ "pm",
	  "suspend-to-disk(enabled) suspend-to-mem(enabled)" },
	{ "pool",
	  "@type allocation(unit) available(unit) capacity(unit) features=pool-features "
	  "fs:mount_opts=* name rbd:config_opts=* refresh= source=pool-source "
	  "target=pool-target uuid" },
	{ "pool-features",
	  "cow(state)" },
	{ "pool-source",
	  "adapter= auth=source-auth device=source-device dir(path) format=source-format "
	  "host(name,port) initiator= name product(name) protocol(ver) vendor(name)" },
	{ "pool-target",
	  "path permissions=" },
	{ "portForward",
	  "@address @dev @proto range(end,exclude,start,to)" },
	{ "portgroup",
	  "@default @name @trustGuestRxFilters bandwidth= virtualport= vlan=" },
	{ "range",
	  "@end @start lease(expiry,unit)" },
	{ "redirdev",
	  "@bus @type address= alias(name) boot(loadparm,order) log(append,file) "
	  "protocol(type) source=" },
	{ "redirfilter",
	  "usbdev(allow,class,product,vendor,version)" },
	{ "refresh",
	  "volume(allocation)" },
	{ "reservations",
	  "@managed source=reservations-source" },
	{ "reservations-source",
	  "@mode @path @type reconnect(enabled,timeout)" },
	{ "resource",
	  "fibrechannel(appid) partition" },
	{ "rng",
	  "@model acpi(index) address= alias(name) backend= "
	  "driver(ats,iommu,packed,page_per_vq) rate(bytes,period)" },
	{ "rx",
	  "frames(max)" },
	{ "seclabel",
	  "@labelskip @model @relabel label" },
	{ "secret",
	  "@ephemeral @private description usage= uuid" },
	{ "shmem",
	  "@name @role acpi(index) address= alias(name) model(type) "
	  "msi(ioeventfd,vectors) server(path) size(unit)" },
	{ "slices",
	  "slice(offset,size,type)" },
	{ "smartcard",
	  "@mode @type acpi(index) address= certificate database log(append,file) "
	  "protocol(type) source= target=" },
	{ "smm",
	  "@state tseg(unit)" },
	{ "sound",
	  "@model acpi(index) address= alias(name) audio(id) codec(type)" },
	{ "source",
	  "@append @channel @host @master @mode @path @service @slave @tls "
	  "clipboard(copypaste) mouse(mode) reconnect(enabled,timeout) seclabel=" },
	{ "source-auth",
	  "@type @username secret(usage,uuid)" },
	{ "source-device",
	  "@part_separator @path freeExtent(end,start)" },
	{ "source-format",
	  "@type product(name) vendor(name)" },
	{ "stimer",
	  "@state direct(state)" },
	{ "sysinfo",
	  "@type baseBoard= bios=baseBoard chassis=baseBoard entry(file,name) oemStrings= "
	  "system=baseBoard" },
	{ "target",
	  "@port @type model(name)" },
	{ "target-features",
	  "extended_l2 lazy_refcounts" },
	{ "tcg",
	  "tb-cache(unit)" },
	{ "timer",
	  "@frequency @mode @name @present @tickpolicy @track "
	  "catchup(limit,slew,threshold)" },
	{ "timestamps",
	  "atime btime ctime mtime" },
	{ "tlbflush",
	  "@state direct(state) extended(state)" },
	{ "tpm",
	  "@model address= alias(name) backend=tpm-backend" },
	{ "tpm-backend",
	  "@debug @persistent_state @type @version active_pcr_banks= device(path) "
	  "encryption(secret) profile(name,removeDisabled,source) source(mode,path,type)" },
	{ "tune",
	  "sndbuf" },
	{ "usage",
	  "@type name target volume" },
	{ "vcpus",
	  "vcpu(enabled,hotpluggable,id,order)" },
	{ "video",
	  "acpi(index) address= alias(name) "
	  "driver(ats,iommu,name,packed,page_per_vq,vgaconf) model=" },
	{ "virtualport",
	  "@type "
	  "parameters(instanceid,interfaceid,managerid,profileid,typeid,typeidversion)" },
	{ "vlan",
	  "@trunk tag(id,nativeMode)" },
	{ "volume",
	  "@type allocation(unit) backingStore=volume-backingStore capacity(unit) key "
	  "name physical(unit) source=volume-source target=volume-target" },
	{ "volume-backingStore",
	  "format(type) path permissions= timestamps=" },
	{ "volume-source",
	  "device=volume-source-device" },
	{ "volume-source-device",
	  "@path extent(end,start)" },
	{ "volume-target",
	  "clusterSize(unit) compat encryption= features=target-features format(type) "
	  "nocow path permissions= timestamps=" },
	{ "vsock",
	  "@model acpi(index) address= alias(name) cid(address,auto) "
	  "driver(ats,iommu,packed,page_per_vq)" },
	{ "watchdog",
	  "@action @model acpi(index) address= alias(name)" },
	{ "xen",
	  "e820_host(state) passthrough(mode,state)" },
};
/* clang-format on */

/* What a document's element may have: a row, the attributes of a leaf, or nothing that is known. */
struct expected {
	const char *members;    /* of a row, or NULL */
	const char *attributes; /* "a,b)", or NULL */
	bool anything;
};

struct walk {
	GHashTable *index; /* of the domain's table, or NULL */
	GError **error;
};

static int compare_kind(const void *key, const void *row)
{
	const char *const *name = key;

	return strcmp(*name, ((const struct place *)row)->kind);
}

static const char *members_of(const char *kind, size_t length)
{
	g_autofree char *name = g_strndup(kind, length);
	const struct place *place =
		bsearch(&name, places, ARRAY_LEN(places), sizeof(*places), compare_kind);

	return place ? place->members : NULL;
}

/* Is @name one of the words of @list, which @separator is between and @end behind? */
static bool is_listed(const char *list, const char *name, char separator, char end)
{
	size_t length = strlen(name);

	for (const char *p = list; p && *p && *p != end; p += *p == separator) {
		size_t n = strcspn(p, (const char[]){ separator, end, '\0' });

		if (n == length && !memcmp(p, name, n))
			return true;
		p += n;
	}
	return false;
}

/* What follows the element @name in the members of a row, "(a,b)", "=kind" or ""; NULL: it is none
 * of them. */
static const char *find_element(const char *members, const char *name)
{
	size_t length = strlen(name);

	for (const char *p = members; p && *p; p += strcspn(p, " "), p += *p == ' ')
		if (!strncmp(p, name, length) && strchr(" (=", p[length]))
			return p + length; /* also at the end of all */
	return NULL;
}

static bool knows_attribute(const struct expected *expected, const char *name)
{
	g_autofree char *word = g_strconcat("@", name, NULL);

	return is_listed(expected->members, word, ' ', '\0') ||
	       is_listed(expected->attributes, name, ',', ')');
}

/* False: the element is not known there. */
static bool find_expected(const struct expected *parent, const char *name,
			  struct expected *expected)
{
	const char *rest = find_element(parent->members, name);
	size_t length;

	*expected = (struct expected){ 0 };
	if (!rest)
		return false;
	if (*rest == '(') {
		expected->attributes = rest + 1;
	} else if (*rest == '=') {
		length = strcspn(++rest, " ");
		expected->anything = length == 1 && *rest == '*';
		expected->members =
			length ? members_of(rest, length) : members_of(name, strlen(name));
	}
	return true;
}

static const struct element *find_row(const struct walk *walk, const char *path)
{
	return walk->index ? elements_find(walk->index, path) : NULL;
}

static bool refuse(const struct walk *walk, const xmlNode *node, const char *path, const char *what)
{
	g_autofree char *text = domain_message_text(
		g_strdup_printf("unknown %s in /%s%s%s, line %ld", what,
				(const char *)xmlDocGetRootElement(node->doc)->name,
				*path ? "/" : "", path, xmlGetLineNo((xmlNode *)node)));

	g_set_error(walk->error, DOMAIN_ERROR, DOMAIN_ERROR_SCHEMA,
		    "XML document failed to validate against schema: %s", text);
	return false;
}

static bool check_attributes(const struct walk *walk, const xmlNode *node, const char *path,
			     const struct expected *expected)
{
	for (const xmlAttr *attr = node->properties; attr; attr = attr->next) {
		const char *name = (const char *)attr->name;
		g_autofree char *full = g_strconcat(path, "@", name, NULL);
		g_autofree char *what = NULL;

		if (attr->ns || knows_attribute(expected, name) || find_row(walk, full))
			continue;
		what = g_strdup_printf("attribute %s", name);
		return refuse(walk, node, path, what);
	}
	return true;
}

static bool check(const struct walk *walk, const xmlNode *node, const char *path,
		  const struct expected *expected);

static bool check_child(const struct walk *walk, const xmlNode *child, const char *path,
			const struct expected *parent)
{
	g_autofree char *name = xml_name(child), *what = NULL;
	g_autofree char *below = *path ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
	const struct element *row = find_row(walk, below);
	struct expected expected;

	if (find_expected(parent, name, &expected) || (row && row->kind != KIND_TREE))
		return check(walk, child, below, &expected);
	if (row) /* newer than what is known of its kind */
		return true;
	what = g_strdup_printf("element <%s>", name);
	return refuse(walk, child, path, what);
}

/* As deep as the document, which the reader bounds. */
static bool check(const struct walk *walk, const xmlNode *node, const char *path,
		  const struct expected *expected)
{
	if (expected->anything)
		return true;
	if (!check_attributes(walk, node, path, expected))
		return false;
	for (const xmlNode *child = node->children; child; child = child->next)
		if (child->type == XML_ELEMENT_NODE && !check_child(walk, child, path, expected))
			return false;
	return true;
}

bool schema_check(const char *text, const char *root, GError **error)
{
	g_autofree char *file = g_strconcat(root, " XML", NULL);
	xmlDoc *doc = xml_read(text, strlen(text), file, error);
	const xmlNode *node = doc ? xmlDocGetRootElement(doc) : NULL;
	const struct expected expected = { .members = members_of(root, strlen(root)) };
	struct walk walk = { .error = error };
	bool good = false;

	if (node && strcmp((const char *)node->name, root)) {
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_SCHEMA,
			    "XML document failed to validate against schema: its outermost element "
			    "is not <%s>, line %ld",
			    root, xmlGetLineNo((xmlNode *)node));
	} else if (node) {
		walk.index = strcmp(root, "domain") ? NULL : elements_index();
		good = check(&walk, node, "", &expected);
		g_clear_pointer(&walk.index, g_hash_table_unref);
	}
	xmlFreeDoc(doc);
	return good;
}

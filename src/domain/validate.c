/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a domain must have and what cannot stand together in it. The values themselves have been
 * checked by their rows, so they are only compared here.
 *
 * PCI addresses are checked where they are assigned (pci.c).
 */
#include "domain/check.h"

#include "domain/message.h"
#include "domain/placement.h"
#include "domain/tune.h"

#include <stdlib.h>
#include <string.h>

#define DISK_SERIAL_MAX    20 /* virtio 1.2, 5.2.6: VIRTIO_BLK_ID_BYTES */
#define CODE_CACHE_MIN_KIB (8 * 1024)
#define CODE_CACHE_MAX_KIB (1024 * 1024) /* as far as a jump reaches */
#define MEMORY_MIN_KIB     (2ull << 10)  /* what lodge-vmm takes */
#define MEMORY_MAX_KIB     (1ull << 30)  /* 1 TiB */
#define SERIAL_PORTS       4             /* COM1 to COM4 */

#define CHANNEL_NAME_MAX   255
#define FW_CFG_NAME_MAX    55
#define FW_CFG_ENTRIES_MAX 60

static bool missing(const struct domain *domain, GError **error, const xmlNode *node,
		    const char *what)
{
	return domain_fail(domain, error, DOMAIN_ERROR_VALUE, node, "%s is missing; add it", what);
}

static unsigned attr_number(const xmlNode *node, const char *name, unsigned otherwise)
{
	const char *value = xml_attr(node, name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static u64 size_kib(const xmlNode *node)
{
	u64 bytes = 0;

	domain_size_bytes(xml_text(node), xml_attr(node, "unit"), &bytes);
	return (bytes + 1023) / 1024;
}

/* Remembers @value as @node's; false when another node has it, which @other then gets. */
static bool claim(GHashTable *owners, const char *value, const xmlNode *node, const xmlNode **other)
{
	*other = g_hash_table_lookup(owners, value);
	if (*other)
		return false;
	g_hash_table_insert(owners, g_strdup(value), (gpointer)node);
	return true;
}

static GHashTable *claims_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static bool taken(const struct domain *domain, GError **error, const xmlNode *node,
		  const char *what, const char *value, const xmlNode *other)
{
	return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, node,
			   "%s '%s' is already that of the <%s> on line %ld; give each its own",
			   what, value, (const char *)other->name, xmlGetLineNo((xmlNode *)other));
}

/* --- the guest as a whole --- */

static bool validate_name(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "name");
	const char *name = xml_text(node);

	if (!name)
		return missing(domain, error, root, "<name>");
	if (strlen(name) > DOMAIN_NAME_MAX)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, node,
				   "a name has at most %d bytes, this one %zu", DOMAIN_NAME_MAX,
				   strlen(name));
	if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, node,
				   "'%s' cannot be a name: names of files are made from it, so "
				   "leave out the '/'",
				   name);
	return true;
}

static bool validate_memory(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *memory = xml_child(root, "memory");
	const xmlNode *current = xml_child(root, "currentMemory");
	const xmlNode *max = xml_child(root, "maxMemory");
	u64 kib;

	if (!memory)
		return missing(domain, error, root, "<memory>");
	kib = size_kib(memory);
	if (kib < MEMORY_MIN_KIB || kib > MEMORY_MAX_KIB)
		return domain_fail(
			domain, error, DOMAIN_ERROR_VALUE, memory,
			"%" G_GUINT64_FORMAT " KiB is not between 2 MiB and 1 TiB; %s", kib,
			xml_attr(memory, "unit") ? "correct it" : "is unit='MiB' missing?");
	if (current && size_kib(current) > kib)
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, current,
				   "it is larger than <memory> (%" G_GUINT64_FORMAT " KiB); lower "
				   "it or leave it out",
				   kib);
	if (max && size_kib(max) < kib)
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, max,
				   "it is smaller than <memory> (%" G_GUINT64_FORMAT " KiB); raise "
				   "it or leave it out",
				   kib);
	return true;
}

static bool validate_code_cache(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *cache = xml_find(root, "features/tcg/tb-cache");
	u64 kib = cache ? size_kib(cache) : CODE_CACHE_MIN_KIB;

	if (kib >= CODE_CACHE_MIN_KIB && kib <= CODE_CACHE_MAX_KIB)
		return true;
	return domain_fail(domain, error, DOMAIN_ERROR_VALUE, cache,
			   "%" G_GUINT64_FORMAT " KiB is not between 8 MiB and 1 GiB; %s", kib,
			   xml_attr(cache, "unit") ? "correct it" : "is unit='MiB' missing?");
}

static bool validate_vcpus(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *vcpu = xml_child(root, "vcpu");
	const xmlNode *topology = xml_find(root, "cpu/topology");
	unsigned count = vcpu ? strtoul(xml_text(vcpu), NULL, 10) : 1;
	unsigned product;

	if (attr_number(vcpu, "current", 1) > count)
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, vcpu,
				   "current='%s' is more than the %u there can be",
				   xml_attr(vcpu, "current"), count);
	if (!topology)
		return true;
	if (!xml_attr(topology, "sockets") || !xml_attr(topology, "cores") ||
	    !xml_attr(topology, "threads"))
		return missing(domain, error, topology, "one of sockets, cores and threads");
	product = attr_number(topology, "sockets", 1) * attr_number(topology, "dies", 1) *
		  attr_number(topology, "clusters", 1) * attr_number(topology, "cores", 1) *
		  attr_number(topology, "threads", 1);
	if (product != count)
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, topology,
				   "it makes %u processors, and <vcpu> says %u; make them equal",
				   product, count);
	return true;
}

static bool validate_os(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *os = xml_child(root, "os");
	const xmlNode *type = xml_child(os, "type");
	const char *arch = xml_attr(type, "arch");

	if (!os || !type)
		return missing(domain, error, os ? os : root,
			       os ? "<type>hvm</type>" : "<os><type>hvm</type></os>");
	if (arch && strcmp(arch, "x86_64"))
		return domain_fail(domain, error, DOMAIN_ERROR_UNSUPPORTED, type,
				   "arch='%s' is not in this version; use arch='x86_64'", arch);
	if (!xml_child(os, "kernel") && (xml_child(os, "initrd") || xml_child(os, "cmdline")))
		return missing(domain, error, os,
			       "<kernel>, without which <initrd> and <cmdline> mean nothing,");
	return true;
}

static bool validate_cpu(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *cpu = xml_child(root, "cpu"), *other;
	GHashTable *names = claims_new();
	bool good = true;

	if (xml_attr_is(cpu, "mode", "custom") && !xml_child(cpu, "model"))
		good = missing(domain, error, cpu, "<model>, which mode='custom' needs,");
	xml_for_each(feature, cpu, "feature")
	{
		const char *name = xml_attr(feature, "name");

		if (!good)
			break;
		if (!name)
			good = missing(domain, error, feature, "name");
		else if (!claim(names, name, feature, &other))
			good = taken(domain, error, feature, "name", name, other);
	}
	g_hash_table_unref(names);
	return good;
}

static bool validate_clock(const struct domain *domain, const xmlNode *root, GError **error)
{
	GHashTable *names = claims_new();
	const xmlNode *other;
	bool good = true;

	xml_for_each(timer, xml_child(root, "clock"), "timer")
	{
		const char *name = xml_attr(timer, "name");

		if (!name)
			good = missing(domain, error, timer, "name");
		else if (!claim(names, name, timer, &other))
			good = taken(domain, error, timer, "name", name, other);
		if (!good)
			break;
	}
	g_hash_table_unref(names);
	return good;
}

/* --- what the owner tells firmware and kernel --- */

static bool validate_entry(const struct domain *domain, const xmlNode *entry, GHashTable *names,
			   GError **error)
{
	const char *name = xml_attr(entry, "name");
	const xmlNode *other;

	if (!name)
		return missing(domain, error, entry, "name='opt/...'");
	if (!g_str_has_prefix(name, "opt/") || strlen(name) > FW_CFG_NAME_MAX)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, entry,
				   "name='%s': an entry's name begins with opt/ and has at most %d "
				   "bytes; write one like opt/com.example/key",
				   name, FW_CFG_NAME_MAX);
	if (xml_attr(entry, "file") && *xml_text(entry))
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, entry,
				   "it has both a file and a text; leave one out");
	return claim(names, name, entry, &other) ||
	       taken(domain, error, entry, "name", name, other);
}

static bool validate_fw_cfg(const struct domain *domain, const xmlNode *root, GError **error)
{
	GHashTable *names = claims_new();
	unsigned count = 0;
	bool good = true;

	xml_for_each(sysinfo, root, "sysinfo")
	{
		if (!xml_attr(sysinfo, "type"))
			good = good && missing(domain, error, sysinfo, "type='fwcfg' or 'smbios'");
		if (!xml_attr_is(sysinfo, "type", "fwcfg"))
			continue;
		xml_for_each(entry, sysinfo, "entry")
		{
			good = good && validate_entry(domain, entry, names, error);
			if (good && ++count > FW_CFG_ENTRIES_MAX)
				good = domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, entry,
						   "a guest has at most %d entries; remove some",
						   FW_CFG_ENTRIES_MAX);
		}
	}
	g_hash_table_unref(names);
	return good;
}

/* --- boot order --- */

static bool claim_order(const struct domain *domain, GHashTable *orders, const xmlNode *boot,
			GError **error)
{
	const char *order = xml_attr(boot, "order");
	const xmlNode *other;

	if (!order)
		return missing(domain, error, boot, "order");
	return claim(orders, order, boot, &other) ||
	       taken(domain, error, boot, "order", order, other);
}

static bool validate_boot(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *by_kind = xml_find(root, "os/boot"), *other;
	GHashTable *orders = claims_new();
	bool good = true;

	xml_for_each(boot, xml_child(root, "os"), "boot")
	{
		const char *dev = xml_attr(boot, "dev");

		if (!dev)
			good = missing(domain, error, boot, "dev");
		else if (!claim(orders, dev, boot, &other))
			good = taken(domain, error, boot, "dev", dev, other);
		if (!good)
			break;
	}
	xml_for_each(device, xml_child(root, "devices"), NULL)
	{
		const xmlNode *boot = xml_child(device, "boot");

		if (!good)
			break;
		if (boot && by_kind)
			good = domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, boot,
					   "<os> says <boot dev=...> on line %ld; use one of the "
					   "two ways",
					   xmlGetLineNo((xmlNode *)by_kind));
		else if (boot)
			good = claim_order(domain, orders, boot, error);
	}
	g_hash_table_unref(orders);
	return good;
}

/* --- disks --- */

static bool validate_disk_source(const struct domain *domain, const xmlNode *disk, GError **error)
{
	const char *type = xml_attr(disk, "type");
	const xmlNode *source = xml_child(disk, "source");
	const char *device = xml_attr(disk, "device");
	const char *wanted = NULL;

	if (!type || !strcmp(type, "file"))
		wanted = "file";
	else if (!strcmp(type, "block"))
		wanted = "dev";
	if (xml_attr(source, "fdgroup") && g_strcmp0(wanted, "file"))
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, source,
				   "fdgroup='...' is for disks of type='file'; correct the type, "
				   "or remove it");
	if (!wanted)
		return true;
	if (!source) {
		/* a drive without a medium is a drive */
		if (!g_strcmp0(device, "cdrom") || !g_strcmp0(device, "floppy"))
			return true;
		return missing(domain, error, disk, "<source>");
	}
	if (!xml_attr(source, wanted))
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, source,
				   "%s='...' is missing, by which a disk of type='%s' names its "
				   "image; add it, or correct the type",
				   wanted, type ? type : "file");
	return true;
}

static bool is_target_name(const char *name)
{
	static const char *const prefixes[] = { "vd", "sd", "hd", "fd", "xvd", "ubd", "nvme" };

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (g_str_has_prefix(name, prefixes[i]) && name[strlen(prefixes[i])])
			return true;
	return false;
}

static bool validate_disk(const struct domain *domain, const xmlNode *disk, GHashTable *targets,
			  GError **error)
{
	const xmlNode *target = xml_child(disk, "target"), *serial = xml_child(disk, "serial");
	const char *dev = xml_attr(target, "dev");
	const xmlNode *other;

	if (!validate_disk_source(domain, disk, error))
		return false;
	if (!dev)
		return missing(domain, error, target ? target : disk,
			       target ? "dev" : "<target dev='vda'/>");
	if (!is_target_name(dev))
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, target,
				   "dev='%s' is not the name of a disk; use one like vda", dev);
	if (!claim(targets, dev, target, &other))
		return taken(domain, error, target, "dev", dev, other);
	if (serial && strlen(xml_text(serial)) > DISK_SERIAL_MAX)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, serial,
				   "'%s' has %zu characters; a disk shows its guest at most %d, so "
				   "shorten it",
				   xml_text(serial), strlen(xml_text(serial)), DISK_SERIAL_MAX);
	return true;
}

static bool validate_disks(const struct domain *domain, const xmlNode *devices, GError **error)
{
	GHashTable *targets = claims_new();
	bool good = true;

	xml_for_each(disk, devices, "disk")
	{
		good = validate_disk(domain, disk, targets, error);
		if (!good)
			break;
	}
	g_hash_table_unref(targets);
	return good;
}

/* --- interfaces --- */

static bool validate_range(const struct domain *domain, const xmlNode *range, GError **error)
{
	unsigned start = attr_number(range, "start", 0), end = attr_number(range, "end", start);
	unsigned to = attr_number(range, "to", start);

	if (!start)
		return missing(domain, error, range, "start");
	if (end < start)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, range,
				   "end='%u' comes before start='%u'; exchange them", end, start);
	if (to + (end - start) > 65535)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, range,
				   "%u ports from to='%u' on go beyond 65535; begin lower",
				   end - start + 1, to);
	return true;
}

static bool validate_forward(const struct domain *domain, const xmlNode *forward, GError **error)
{
	if (!xml_attr(forward, "proto"))
		return missing(domain, error, forward, "proto='tcp' or 'udp'");
	if (!xml_child(forward, "range"))
		return missing(domain, error, forward, "<range start='...'/>");
	xml_for_each(range, forward,
		     "range") if (!validate_range(domain, range, error)) return false;
	return true;
}

static bool validate_interface(struct domain *domain, const xmlNode *interface, GHashTable *macs,
			       GError **error)
{
	const xmlNode *mac = xml_child(interface, "mac"), *other;
	const xmlNode *forward = xml_child(interface, "portForward");
	const char *address = xml_attr(mac, "address");

	if (!xml_attr(interface, "type"))
		return missing(domain, error, interface, "type");
	if (xml_attr_is(interface, "type", "network") &&
	    !xml_attr(xml_child(interface, "source"), "network"))
		return missing(domain, error, interface, "<source network='default'/>");
	if (mac && !address)
		return missing(domain, error, mac, "address");
	if (address && strtoul((char[]){ address[0], address[1], 0 }, NULL, 16) & 1)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, mac,
				   "%s is a multicast address; make the first byte even", address);
	if (address && !claim(macs, address, mac, &other))
		domain_note(domain, mac, "%s is also the address of the interface on line %ld",
			    address, xmlGetLineNo((xmlNode *)other));
	if (forward && !xml_attr_is(interface, "type", "user"))
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, forward,
				   "only an interface of type='user' forwards ports");
	xml_for_each(each, interface,
		     "portForward") if (!validate_forward(domain, each, error)) return false;
	return true;
}

static bool validate_interfaces(struct domain *domain, const xmlNode *devices, GError **error)
{
	GHashTable *macs = claims_new();
	bool good = true;

	xml_for_each(interface, devices, "interface")
	{
		good = validate_interface(domain, interface, macs, error);
		if (!good)
			break;
	}
	g_hash_table_unref(macs);
	return good;
}

/* --- serial ports and consoles --- */

static bool validate_chardev(const struct domain *domain, const xmlNode *device, GError **error)
{
	const char *type = xml_attr(device, "type");
	const xmlNode *source = xml_child(device, "source");
	bool needs_path;

	if (!type)
		return missing(domain, error, device, "type");
	/* a socket without a path is made in the guest's own directory */
	needs_path = !strcmp(type, "file") ||
		     (!strcmp(type, "unix") && xml_attr_is(source, "mode", "connect"));
	if (needs_path && !xml_attr(source, "path"))
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, device,
				   "<source path='...'/> is missing, which type='%s' needs; add it",
				   type);
	return true;
}

static bool validate_serials(const struct domain *domain, const xmlNode *devices, GError **error)
{
	const xmlNode *owners[SERIAL_PORTS] = { NULL };
	unsigned count = 0;

	xml_for_each(serial, devices, "serial")
	{
		const xmlNode *target = xml_child(serial, "target");
		const char *port = xml_attr(target, "port");
		unsigned number = attr_number(target, "port", 0);

		if (!validate_chardev(domain, serial, error))
			return false;
		if (xml_attr_is(target, "type", "isa-debug"))
			continue;
		if (++count > SERIAL_PORTS)
			return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, serial,
					   "a machine has %d serial ports; remove one",
					   SERIAL_PORTS);
		if (port && owners[number])
			return taken(domain, error, target, "port", port, owners[number]);
		if (port)
			owners[number] = target;
	}
	xml_for_each(console, devices,
		     "console") if (!validate_chardev(domain, console, error)) return false;
	return true;
}

/* A type that this version lacks leaves the channel out, so what it needs is not looked at. */
static bool validate_channels(const struct domain *domain, const xmlNode *devices, GError **error)
{
	GHashTable *names = claims_new();
	const xmlNode *other;
	bool good = true;

	xml_for_each(channel, devices, "channel")
	{
		const xmlNode *target = xml_child(channel, "target");
		const char *name = xml_attr(target, "name");

		if (!xml_attr(target, "type"))
			good = missing(domain, error, target ? target : channel,
				       target ? "type='virtio'" : "<target type='virtio'/>");
		else if (!validate_chardev(domain, channel, error))
			good = false;
		else if (name && strlen(name) > CHANNEL_NAME_MAX)
			good = domain_fail(domain, error, DOMAIN_ERROR_VALUE, target,
					   "name='%s' has more than %d bytes; shorten it", name,
					   CHANNEL_NAME_MAX);
		else if (name && !claim(names, name, target, &other))
			good = taken(domain, error, target, "name", name, other);
		if (!good)
			break;
	}
	g_hash_table_unref(names);
	return good;
}

/* --- the rest --- */

static bool validate_controllers(const struct domain *domain, const xmlNode *devices,
				 GError **error)
{
	GHashTable *indexes = claims_new();
	const xmlNode *other;
	bool good = true;

	xml_for_each(controller, devices, "controller")
	{
		const char *type = xml_attr(controller, "type");
		const char *index = xml_attr(controller, "index");
		bool pci = type && !strcmp(type, "pci");

		if (!type)
			good = missing(domain, error, controller, "type");
		else if (pci && !xml_attr(controller, "model"))
			good = missing(domain, error, controller, "model");
		else if (pci && index && !claim(indexes, index, controller, &other))
			good = taken(domain, error, controller, "index", index, other);
		if (!good)
			break;
	}
	g_hash_table_unref(indexes);
	return good;
}

static bool validate_rngs(const struct domain *domain, const xmlNode *devices, GError **error)
{
	xml_for_each(rng, devices, "rng")
	{
		const xmlNode *backend = xml_child(rng, "backend");

		if (!xml_attr(rng, "model"))
			return missing(domain, error, rng, "model='virtio'");
		if (!backend || !xml_attr(backend, "model"))
			return missing(domain, error, backend ? backend : rng,
				       backend ? "model='random'" : "<backend model='random'/>");
	}
	return true;
}

/* They share what happens when one of them expires. */
static bool validate_watchdogs(const struct domain *domain, const xmlNode *devices, GError **error)
{
	const xmlNode *first = xml_child(devices, "watchdog"), *chipset = NULL;
	const char *action = xml_attr(first, "action") ?: "reset";

	xml_for_each(watchdog, devices, "watchdog")
	{
		const char *own = xml_attr(watchdog, "action") ?: "reset";

		if (!xml_attr(watchdog, "model"))
			return missing(domain, error, watchdog, "model='i6300esb' or 'itco'");
		if (strcmp(own, action))
			return domain_fail(
				domain, error, DOMAIN_ERROR_CONFLICT, watchdog,
				"action='%s' differs from the action='%s' of the <watchdog> "
				"on line %ld; a guest has one for all",
				own, action, xmlGetLineNo((xmlNode *)first));
		if (!xml_attr_is(watchdog, "model", "itco"))
			continue;
		if (chipset)
			return taken(domain, error, watchdog, "model", "itco", chipset);
		chipset = watchdog;
	}
	return true;
}

static bool validate_panics(const struct domain *domain, const xmlNode *devices, GError **error)
{
	GHashTable *models = claims_new();
	const xmlNode *other;
	bool good = true;

	xml_for_each(panic, devices, "panic")
	{
		const char *model = xml_attr(panic, "model") ?: "isa";

		if (!claim(models, model, panic, &other)) {
			good = taken(domain, error, panic, "model", model, other);
			break;
		}
	}
	g_hash_table_unref(models);
	return good;
}

static bool validate_memballoon(const struct domain *domain, const xmlNode *devices, GError **error)
{
	const xmlNode *balloon = xml_child(devices, "memballoon");

	if (balloon && !xml_attr(balloon, "model"))
		return missing(domain, error, balloon, "model='virtio' or 'none'");
	return true;
}

static bool validate_inputs(const struct domain *domain, const xmlNode *devices, GError **error)
{
	xml_for_each(input, devices, "input") if (!xml_attr(input, "type")) return missing(
		domain, error, input, "type");
	return true;
}

static bool validate_aliases(const struct domain *domain, const xmlNode *devices, GError **error)
{
	GHashTable *names = claims_new();
	const xmlNode *other;
	bool good = true;

	xml_for_each(device, devices, NULL)
	{
		const xmlNode *alias = xml_child(device, "alias");
		const char *name = xml_attr(alias, "name");

		if (alias && !name)
			good = missing(domain, error, alias, "name");
		else if (name && strcmp((const char *)device->name, "console") &&
			 !claim(names, name, alias, &other))
			good = taken(domain, error, alias, "name", name, other);
		if (!good)
			break;
	}
	g_hash_table_unref(names);
	return good;
}

bool domain_validate(struct domain *domain, GError **error)
{
	const xmlNode *root = xmlDocGetRootElement(domain->doc);
	const xmlNode *devices = xml_child(root, "devices");

	if (!xml_attr(root, "type"))
		return missing(domain, error, root, "type='kvm' or 'qemu'");
	return validate_name(domain, root, error) && validate_memory(domain, root, error) &&
	       validate_code_cache(domain, root, error) && validate_vcpus(domain, root, error) &&
	       domain_validate_placement(domain, root, error) &&
	       domain_validate_limits(domain, root, error) && validate_os(domain, root, error) &&
	       validate_cpu(domain, root, error) && validate_clock(domain, root, error) &&
	       validate_fw_cfg(domain, root, error) && validate_boot(domain, root, error) &&
	       validate_disks(domain, devices, error) &&
	       validate_interfaces(domain, devices, error) &&
	       validate_serials(domain, devices, error) &&
	       validate_channels(domain, devices, error) &&
	       validate_controllers(domain, devices, error) &&
	       validate_rngs(domain, devices, error) &&
	       validate_memballoon(domain, devices, error) &&
	       validate_watchdogs(domain, devices, error) &&
	       validate_panics(domain, devices, error) && validate_inputs(domain, devices, error) &&
	       validate_aliases(domain, devices, error);
}

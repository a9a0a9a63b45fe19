/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the domain its owner stored to the one this version can run.
 *
 * The table decides, element by element: what the guest cannot do without and this version lacks
 * stops the start, at the first such element; comforts go, tuning without effect stays, and both
 * are named in one sentence, so that nothing vanishes silently. A device goes as a whole, whichever
 * of its elements or attributes is the reason.
 */
#include "domain/complete.h"
#include "domain/elements.h"
#include "domain/message.h"
#include "domain/pci.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define PVPANIC_PORT 0x505
#define USER_NETWORK "default" /* what tools call the user-mode network, which needs no setup */

struct filter {
	struct domain *live;
	GHashTable *index;
	GPtrArray *removed;  /* char *: labels of comforts */
	GPtrArray *inactive; /* char *: labels of tuning */
	GError **error;
};

enum verdict { VERDICT_KEEP, VERDICT_REMOVE, VERDICT_REFUSE };

static void add_label(GPtrArray *labels, char *label)
{
	if (g_ptr_array_find_with_equal_func(labels, label, g_str_equal, NULL))
		g_free(label);
	else
		g_ptr_array_add(labels, label);
}

static enum verdict refuse(struct filter *filter, const xmlNode *node, const struct element *row,
			   const char *what)
{
	domain_fail(filter->live, filter->error, DOMAIN_ERROR_UNSUPPORTED, node,
		    "%s%snot in this version%s%s", what, *what ? " is " : "",
		    row->remedy ? "; " : "", row->remedy ? row->remedy : "");
	return VERDICT_REFUSE;
}

/* --- the walk over the table --- */

static enum verdict judge_value(struct filter *filter, const struct element *row,
				const xmlNode *node, const char *attribute, const char *value)
{
	char mark = row->kind == KIND_WORD ? element_word_mark(row, value) : ' ';
	enum verdict verdict = VERDICT_KEEP;
	char *what;

	if (mark == '~')
		return VERDICT_REMOVE;
	what = attribute ? g_strdup_printf("%s='%s'", attribute, value)
			 : g_strdup_printf("'%s'", value);
	if (mark == '!' || row->use == USE_NEEDED)
		verdict = refuse(filter, node, row, what);
	else if (row->use == USE_HINT)
		add_label(filter->inactive,
			  attribute ? g_strdup_printf("<%s %s>", node->name, attribute)
				    : domain_element_label(node));
	g_free(what);
	return verdict;
}

static enum verdict judge_attributes(struct filter *filter, const xmlNode *node, const char *path)
{
	enum verdict verdict = VERDICT_KEEP;

	for (const xmlAttr *attr = node->properties; attr && verdict == VERDICT_KEEP;
	     attr = attr->next) {
		const char *name = (const char *)attr->name;
		char *full = g_strconcat(path, "@", name, NULL);
		const struct element *row = attr->ns ? NULL : elements_find(filter->index, full);

		if (row)
			verdict = judge_value(filter, row, node, name, xml_attr(node, name));
		g_free(full);
	}
	return verdict;
}

static enum verdict judge_children(struct filter *filter, xmlNode *node, const char *path);

static enum verdict judge(struct filter *filter, xmlNode *node, const char *path)
{
	const struct element *row = elements_find(filter->index, path);
	enum verdict verdict;

	if (!row || row->use == USE_NOTE)
		return VERDICT_KEEP;
	if (row->use == USE_EXTRA)
		return VERDICT_REMOVE;
	if (row->use == USE_NEEDED)
		return refuse(filter, node, row, "");
	if (row->use == USE_HINT) {
		add_label(filter->inactive, domain_element_label(node));
		return VERDICT_KEEP;
	}
	verdict = judge_attributes(filter, node, path);
	if (verdict == VERDICT_KEEP && row->kind == KIND_WORD)
		verdict = judge_value(filter, row, node, NULL, xml_text(node));
	if (verdict == VERDICT_KEEP && row->kind == KIND_PARENT)
		verdict = judge_children(filter, node, path);
	return verdict;
}

/* Is this where a removal ends: a device, or an element below <features> and the like? */
static bool is_unit(const char *path)
{
	const char *slash = strchr(path, '/');

	return !slash || !strchr(slash + 1, '/');
}

static enum verdict judge_children(struct filter *filter, xmlNode *node, const char *path)
{
	xmlNode *next;

	for (xmlNode *child = xml_child(node, NULL); child; child = next) {
		char *name = xml_name(child);
		char *below = *path ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
		enum verdict verdict = judge(filter, child, below);
		bool unit = is_unit(below);

		next = xml_next(child, NULL);
		g_free(below);
		g_free(name);
		if (verdict == VERDICT_REMOVE && unit) {
			add_label(filter->removed, domain_element_label(child));
			xml_remove(child);
		} else if (verdict != VERDICT_KEEP) {
			return verdict;
		}
	}
	return VERDICT_KEEP;
}

/* --- what no single row can tell --- */

static bool check_boot(struct filter *filter, const xmlNode *root)
{
	const xmlNode *os = xml_child(root, "os");

	if (xml_child(os, "kernel"))
		return true;
	return domain_fail(filter->live, filter->error, DOMAIN_ERROR_UNSUPPORTED, os,
			   "booting without a <kernel> needs firmware, which is not in this "
			   "version; add <kernel>, <initrd> and <cmdline> (virt-install: --boot "
			   "kernel=FILE,initrd=FILE,kernel_args=\"root=/dev/vda1 "
			   "console=ttyS0\")");
}

/* Of the networks that have a name, one is run: the user-mode one, which is this guest's own. */
static bool check_networks(struct filter *filter, const xmlNode *devices)
{
	xml_for_each(interface, devices, "interface")
	{
		const xmlNode *source = xml_child(interface, "source");

		if (xml_attr_is(interface, "type", "network") &&
		    !xml_attr_is(source, "network", USER_NETWORK))
			return domain_fail(filter->live, filter->error, DOMAIN_ERROR_UNSUPPORTED,
					   source ? source : interface,
					   "network '%s' is not in this version; use "
					   "network='" USER_NETWORK "' or <interface type='user'>",
					   xml_attr(source, "network"));
	}
	return true;
}

/* The DSDT says where the notifier is. */
static bool check_panic(struct filter *filter, const xmlNode *devices)
{
	xml_for_each(panic, devices, "panic")
	{
		const xmlNode *address = xml_child(panic, "address");
		const char *iobase = xml_attr(address, "iobase");

		if (iobase && xml_attr_is(panic, "model", "isa") &&
		    strtoul(iobase, NULL, 0) != PVPANIC_PORT)
			return domain_fail(filter->live, filter->error, DOMAIN_ERROR_UNSUPPORTED,
					   address,
					   "iobase='%s' is not in this version; use 0x%x, or leave "
					   "the <address> out",
					   iobase, PVPANIC_PORT);
	}
	return true;
}

static const char *timer_hint(const xmlNode *timer)
{
	const char *name = xml_attr(timer, "name");
	bool off = xml_attr_is(timer, "present", "no");

	if (!strcmp(name, "hypervclock") || !strcmp(name, "platform") || !strcmp(name, "armvtimer"))
		return off ? NULL : name;
	return off ? name : NULL; /* ours are always there */
}

static void note_timers(struct filter *filter, const xmlNode *root)
{
	xml_for_each(timer, xml_child(root, "clock"), "timer")
	{
		const char *name = timer_hint(timer);

		if (name && xml_attr(timer, "present"))
			add_label(filter->inactive,
				  g_strdup_printf("<timer name='%s' present='%s'>", name,
						  xml_attr(timer, "present")));
	}
}

static void note_amounts(struct filter *filter, const xmlNode *root)
{
	const struct domain *live = filter->live;

	if (xml_child(root, "maxMemory"))
		add_label(filter->inactive, g_strdup("<maxMemory>"));
	if (live->current_kib < live->memory_kib)
		add_label(filter->inactive, g_strdup("<currentMemory>"));
	if (live->vcpus_current < live->vcpus)
		add_label(filter->inactive,
			  g_strdup("<vcpu current> (the others cannot be added)"));
}

static bool known_controller(const xmlNode *controller)
{
	return !xml_attr_is(controller, "type", "pci") ||
	       xml_attr_is(controller, "model", "pcie-root") ||
	       xml_attr_is(controller, "model", "pcie-root-port");
}

/* What a guest can do without, wherever it sits. */
static bool is_comfort(const xmlNode *device)
{
	return !strcmp((const char *)device->name, "watchdog") ||
	       !strcmp((const char *)device->name, "panic");
}

static xmlNode *device_on_bus(const xmlNode *devices, unsigned bus)
{
	xml_for_each(device, devices, NULL)
	{
		struct domain_address at = domain_pci_address(device);

		if (at.set && at.bus == bus)
			return device;
	}
	return NULL;
}

/* Takes the comforts off @bus; what else is there, or NULL. */
static const xmlNode *clear_bus(struct filter *filter, const xmlNode *devices, unsigned bus)
{
	xmlNode *device;

	while ((device = device_on_bus(devices, bus)) && is_comfort(device)) {
		add_label(filter->removed, domain_element_label(device));
		xml_remove(device);
	}
	return device;
}

/* Bridges and switches go when nothing that the guest needs sits behind them. */
static bool filter_controllers(struct filter *filter, const xmlNode *devices)
{
	xmlNode *next;

	for (xmlNode *node = xml_child(devices, "controller"); node; node = next) {
		const xmlNode *behind;

		next = xml_next(node, "controller");
		if (known_controller(node))
			continue;
		behind = clear_bus(filter, devices, strtoul(xml_attr(node, "index"), NULL, 0));
		if (behind)
			return domain_fail(
				filter->live, filter->error, DOMAIN_ERROR_UNSUPPORTED, behind,
				"it sits behind controller %s (model='%s'), which is not "
				"in this version; remove its <address>",
				xml_attr(node, "index"), xml_attr(node, "model"));
		add_label(filter->removed, domain_element_label(node));
		xml_remove(node);
	}
	return true;
}

/* --- names of devices --- */

static void set_alias(xmlNode *device, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void set_alias(xmlNode *device, const char *fmt, ...)
{
	va_list args;
	char *name;

	if (xml_child(device, "alias"))
		return; /* its owner named it */
	va_start(args, fmt);
	name = g_strdup_vprintf(fmt, args);
	va_end(args);
	xml_set(xml_add(device, "alias", NULL), "name", "%s", name);
	g_free(name);
}

/* vda is 0, vdz 25, vdaa 26. */
static unsigned disk_number(const char *target)
{
	unsigned number = 0;

	target += g_str_has_prefix(target, "xvd") ? 3 : 2;
	for (; g_ascii_islower(*target); target++)
		number = number * 26 + (*target - 'a' + 1);
	return number ? number - 1 : 0;
}

static void name_controllers(xmlNode *devices)
{
	xml_for_each(node, devices, "controller")
	{
		const char *index = xml_attr(node, "index");

		if (xml_attr_is(node, "model", "pcie-root"))
			set_alias(node, "pcie.%s", index);
		else if (xml_attr_is(node, "type", "virtio-serial"))
			set_alias(node, "virtio-serial%s", index);
		else
			set_alias(node, "%s.%s", xml_attr(node, "type"), index);
	}
}

static void name_consoles(xmlNode *devices)
{
	const xmlNode *serial = xml_child(devices, "serial");
	const char *first = xml_attr(xml_child(serial, "alias"), "name");
	unsigned count = 0;

	xml_for_each(node, devices, "console")
	{
		if (first && xml_attr_is(xml_child(node, "target"), "type", "serial"))
			set_alias(node, "%s", first);
		else
			set_alias(node, "console%u", count);
		count++;
	}
}

static void name_each(xmlNode *devices, const char *element, const char *prefix)
{
	unsigned count = 0;

	xml_for_each(node, devices, element) set_alias(node, "%s%u", prefix, count++);
}

/* Clients ask for a card's statistics by what the host calls it: no device of the host's here. */
static void name_targets(xmlNode *devices)
{
	xml_for_each(node, devices, "interface") xml_default(
		xml_ensure(node, "target"), "dev", xml_attr(xml_child(node, "alias"), "name"));
}

static void name_devices(xmlNode *devices)
{
	xml_for_each(disk, devices, "disk") set_alias(
		disk, "virtio-disk%u", disk_number(xml_attr(xml_child(disk, "target"), "dev")));
	name_controllers(devices);
	name_each(devices, "interface", "net");
	name_targets(devices);
	name_each(devices, "serial", "serial");
	name_consoles(devices);
	name_each(devices, "channel", "channel");
	name_each(devices, "input", "input");
	name_each(devices, "memballoon", "balloon");
	name_each(devices, "rng", "rng");
	name_each(devices, "watchdog", "watchdog");
	name_each(devices, "panic", "panic");
}

/* --- the whole --- */

static char *join(GPtrArray *labels)
{
	g_ptr_array_add(labels, NULL);
	return g_strjoinv(", ", (char **)labels->pdata);
}

static char *describe(struct filter *filter)
{
	bool removed = filter->removed->len, inactive = filter->inactive->len;
	char *first = join(filter->removed), *second = join(filter->inactive);
	char *text = NULL;

	if (removed || inactive)
		text = g_strconcat(removed ? "left out, as this version lacks them: " : "", first,
				   removed && inactive ? "; " : "",
				   inactive ? "without effect in this version: " : "", second,
				   NULL);
	g_free(first);
	g_free(second);
	return text;
}

static struct domain *copy(const struct domain *domain)
{
	struct domain *live = g_new0(struct domain, 1);

	live->doc = domain_tree(domain);
	live->file = g_strdup(domain->file);
	live->directory = g_strdup(domain->directory);
	live->notes = g_ptr_array_new_with_free_func(g_free);
	domain_read(live);
	return live;
}

static bool run_filter(struct filter *filter)
{
	xmlNode *root = xmlDocGetRootElement(filter->live->doc);
	xmlNode *devices = xml_child(root, "devices");

	if (judge_attributes(filter, root, "") != VERDICT_KEEP ||
	    judge_children(filter, root, "") != VERDICT_KEEP || !check_boot(filter, root) ||
	    !check_networks(filter, devices) || !filter_controllers(filter, devices) ||
	    !check_panic(filter, devices))
		return false;
	note_timers(filter, root);
	note_amounts(filter, root);
	name_devices(devices);
	domain_read(filter->live);
	return true;
}

struct domain *domain_make_live(const struct domain *domain, char **left_out, GError **error)
{
	struct filter filter = {
		.live = copy(domain),
		.index = elements_index(),
		.removed = g_ptr_array_new_with_free_func(g_free),
		.inactive = g_ptr_array_new_with_free_func(g_free),
		.error = error,
	};
	bool good = run_filter(&filter);

	if (good)
		*left_out = describe(&filter);
	else
		g_clear_pointer(&filter.live, domain_free);
	g_hash_table_unref(filter.index);
	g_ptr_array_unref(filter.removed);
	g_ptr_array_unref(filter.inactive);
	return filter.live;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices of guests, one by one: added, changed, taken away. The XML is the user's, or is made here
 * from a few words, as virsh does.
 */
#include "cli/plug.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef int device_change(struct lodge_domain *domain, const char *what, unsigned flags);

/* --persistent: of the definition, and of the guest that runs, if it does. */
unsigned plug_flags(const struct invocation *invocation, struct lodge_domain *domain)
{
	unsigned flags = (invocation_has(invocation, "--live") ? LODGE_AFFECT_LIVE : 0) |
			 (invocation_has(invocation, "--config") ? LODGE_AFFECT_DEFINITION : 0);

	if (invocation_has(invocation, "--persistent"))
		flags |= LODGE_AFFECT_DEFINITION |
			 (lodge_domain_is_active(domain) == 1 ? LODGE_AFFECT_LIVE : 0);
	return flags;
}

/* @what: the device's XML or alias; NULL: it has been said why there is none. */
static int change(const struct invocation *invocation, const char *what, device_change *change)
{
	struct lodge_connection *c;
	struct lodge_domain *domain;
	bool good;

	if (!what)
		return EXIT_FAILURE;
	if (invocation_has(invocation, "--print-xml")) {
		puts(what);
		return 0;
	}
	c = daemon_connect(invocation, 0);
	domain = daemon_domain(c, invocation);
	good = domain && !change(domain, what, plug_flags(invocation, domain));
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

/* --- by XML --- */

static int by_file(const struct invocation *invocation, device_change *how)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 1));

	return change(invocation, xml, how);
}

static int attach_device(const struct invocation *invocation)
{
	return by_file(invocation, lodge_domain_attach_device);
}

static int detach_device(const struct invocation *invocation)
{
	return by_file(invocation, lodge_domain_detach_device);
}

static int update_device(const struct invocation *invocation)
{
	return by_file(invocation, lodge_domain_update_device);
}

static int detach_device_alias(const struct invocation *invocation)
{
	return change(invocation, argument(invocation, 1), lodge_domain_detach_device_alias);
}

/* --- by words --- */

/* " name='value'", or nothing. */
static void add_attribute(GString *xml, const char *name, const char *value)
{
	g_autofree char *escaped = value ? g_markup_escape_text(value, -1) : NULL;

	if (value)
		g_string_append_printf(xml, " %s='%s'", name, escaped);
}

bool plug_is_block(const char *path)
{
	struct stat st;

	return path && !stat(path, &st) && S_ISBLK(st.st_mode);
}

static int attach_disk(const struct invocation *invocation)
{
	const char *source = argument(invocation, 1),
		   *mode = invocation_value(invocation, "--mode");
	bool block = plug_is_block(source);
	GString *xml = g_string_new(NULL);
	int status;

	g_string_append_printf(xml, "<disk type='%s' device='disk'>\n  <driver name='qemu'",
			       block ? "block" : "file");
	add_attribute(xml, "type", "raw");
	add_attribute(xml, "cache", invocation_value(invocation, "--cache"));
	g_string_append(xml, "/>\n  <source");
	add_attribute(xml, block ? "dev" : "file", source);
	g_string_append(xml, "/>\n  <target");
	add_attribute(xml, "dev", argument(invocation, 2));
	add_attribute(xml, "bus", invocation_value(invocation, "--targetbus"));
	g_string_append(xml, "/>\n");
	if (invocation_has(invocation, "--serial")) {
		g_autofree char *serial =
			g_markup_escape_text(invocation_value(invocation, "--serial"), -1);

		g_string_append_printf(xml, "  <serial>%s</serial>\n", serial);
	}
	if (mode)
		g_string_append_printf(xml, "  <%s/>\n", mode);
	g_string_append(xml, "</disk>");
	status = change(invocation, xml->str, lodge_domain_attach_device);
	g_string_free(xml, TRUE);
	return status;
}

static int detach_disk(const struct invocation *invocation)
{
	GString *xml = g_string_new("<disk><target");
	int status;

	add_attribute(xml, "dev", argument(invocation, 1));
	g_string_append(xml, "/></disk>");
	status = change(invocation, xml->str, lodge_domain_detach_device);
	g_string_free(xml, TRUE);
	return status;
}

static void add_empty(GString *xml, const char *element, const char *attribute, const char *value)
{
	if (!value)
		return;
	g_string_append_printf(xml, "  <%s", element);
	add_attribute(xml, attribute, value);
	g_string_append(xml, "/>\n");
}

static int attach_interface(const struct invocation *invocation)
{
	const char *type = argument(invocation, 1);
	GString *xml = g_string_new("<interface");
	int status;

	add_attribute(xml, "type", type);
	g_string_append(xml, ">\n");
	add_empty(xml, "source", type, argument(invocation, 2));
	add_empty(xml, "mac", "address", invocation_value(invocation, "--mac"));
	add_empty(xml, "target", "dev", invocation_value(invocation, "--target"));
	add_empty(xml, "model", "type", invocation_value(invocation, "--model"));
	g_string_append(xml, "</interface>");
	status = change(invocation, xml->str, lodge_domain_attach_device);
	g_string_free(xml, TRUE);
	return status;
}

static int detach_interface(const struct invocation *invocation)
{
	GString *xml = g_string_new("<interface");
	int status;

	add_attribute(xml, "type", argument(invocation, 1));
	g_string_append(xml, ">\n");
	add_empty(xml, "mac", "address", invocation_value(invocation, "--mac"));
	g_string_append(xml, "</interface>");
	status = change(invocation, xml->str, lodge_domain_detach_device);
	g_string_free(xml, TRUE);
	return status;
}

/* --- the commands --- */

static const struct command_option where_options[] = { WHERE_OPTIONS, {} };
static const struct command_option disk_options[] = {
	{ "--targetbus", VALUE_WORD, "virtio|sata|scsi|usb|ide", "the disk's bus" },
	{ "--mode", VALUE_WORD, "readonly|shareable", "how it may be used" },
	{ "--cache", VALUE_WORD, "default|none|writethrough|writeback|directsync|unsafe",
	  "how the host's page cache is used" },
	{ "--serial", VALUE_TEXT, "TEXT", "its serial number" },
	PLUG_OPTIONS,
	{},
};
static const struct command_option card_options[] = {
	{ "--mac", VALUE_TEXT, "ADDRESS", "its address (without it, one is made)" },
	{ "--model", VALUE_TEXT, "MODEL", "what it looks like: virtio" },
	{ "--target", VALUE_TEXT, "NAME", "the host's side of it" },
	PLUG_OPTIONS,
	{},
};
static const struct command_option mac_options[] = {
	{ "--mac", VALUE_TEXT, "ADDRESS", "which, where there are several" },
	PLUG_OPTIONS,
	{},
};

#define ROW(command, function, words, count, text, more)                                          \
	{                                                                                         \
		.name = command, .arguments = "GUEST " words, .kind = ARGUMENT_GUEST,             \
		.arguments_min = count, .arguments_max = count, .summary = text, .options = more, \
		.action = function                                                                \
	}

const struct command commands_plug[] = {
	ROW("attach-device", attach_device, "FILE", 2, "give a guest the device of an XML file",
	    where_options),
	ROW("detach-device", detach_device, "FILE", 2, "take the device of an XML file away",
	    where_options),
	ROW("detach-device-alias", detach_device_alias, "ALIAS", 2,
	    "take the device with an alias away", where_options),
	ROW("update-device", update_device, "FILE", 2, "change the device that an XML file names",
	    where_options),
	ROW("attach-disk", attach_disk, "IMAGE TARGET", 3, "give a guest a disk, as vdb",
	    disk_options),
	ROW("detach-disk", detach_disk, "TARGET", 2, "take a disk away", where_options),
	ROW("attach-interface", attach_interface, "TYPE SOURCE", 3,
	    "give a guest a network card, as of \"network default\"", card_options),
	ROW("detach-interface", detach_interface, "TYPE", 2, "take a network card away",
	    mac_options),
	{},
};

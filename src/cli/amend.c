/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that change one thing of a device that is there: the medium of a drive, the link of a
 * network card. The device's own XML is read, changed, and given back.
 */
#include "cli/daemon.h"
#include "cli/plug.h"
#include "domain/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes @device. False: it has been said why not. */
typedef bool device_edit(const struct invocation *invocation, xmlNode *device);

/* One kind of device, and whether @device is the one that the second argument names. */
struct amendable {
	const char *element, *what;
	bool (*is_called)(const xmlNode *device, const char *name);
	device_edit *edit;
};

static xmlNode *find_device(const xmlNode *root, const struct amendable *kind, const char *name)
{
	xml_for_each(device, xml_child(root, "devices"), kind->element)
	{
		if (kind->is_called(device, name))
			return device;
	}
	return NULL;
}

/* The XML of the device as it shall be, for g_free(); NULL: it has been said why there is none. */
static char *amended(const struct invocation *invocation, const struct amendable *kind,
		     const char *xml)
{
	const char *name = argument(invocation, 1);
	xmlDoc *doc = xml_read(xml, strlen(xml), "the guest's XML", NULL);
	xmlNode *device = doc ? find_device(xmlDocGetRootElement(doc), kind, name) : NULL;
	char *text = NULL;

	if (!device)
		fprintf(stderr, "lodge: guest '%s' has no %s '%s'\n", argument(invocation, 0),
			kind->what, name);
	else if (kind->edit(invocation, device))
		text = xml_write(device);
	xmlFreeDoc(doc);
	return text;
}

/* As it runs, or as it will start where only that is to change. */
static char *read_domain(const struct invocation *invocation, struct lodge_domain *domain)
{
	bool live =
		invocation_has(invocation, "--live") || invocation_has(invocation, "--persistent");
	bool next = invocation_has(invocation, "--config") && !live;

	return lodge_domain_xml(domain, next ? LODGE_XML_INACTIVE : 0);
}

static int amend(const struct invocation *invocation, const struct amendable *kind)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	char *xml = domain ? read_domain(invocation, domain) : NULL;
	g_autofree char *text = xml ? amended(invocation, kind, xml) : NULL;
	bool good = xml;

	if (text && invocation_has(invocation, "--print-xml"))
		fputs(text, stdout);
	else if (text)
		good = !lodge_domain_update_device(domain, text, plug_flags(invocation, domain));
	free(xml);
	lodge_domain_free(domain);
	return daemon_end(c, good) || !text;
}

/* --- media --- */

static const char *source_of(const xmlNode *disk)
{
	static const char *const names[] = { "file", "dev", "dir", "name", "volume" };
	const xmlNode *source = xml_child(disk, "source");
	const char *value = NULL;

	for (unsigned i = 0; !value && i < G_N_ELEMENTS(names); i++)
		value = xml_attr(source, names[i]);
	return value;
}

/* A disk with media, by its target or what is in it. */
static bool is_drive(const xmlNode *disk, const char *name)
{
	if (!xml_attr_is(disk, "device", "cdrom") && !xml_attr_is(disk, "device", "floppy"))
		return false;
	return xml_attr_is(xml_child(disk, "target"), "dev", name) ||
	       !g_strcmp0(source_of(disk), name);
}

static void set_medium(xmlNode *disk, const char *path, bool block)
{
	xmlNode *source = xml_child(disk, "source");

	if (source)
		xml_remove(source);
	if (!path)
		return;
	xml_set(disk, "type", "%s", block ? "block" : "file");
	xml_set(xml_add(disk, "source", NULL), block ? "dev" : "file", "%s", path);
}

static bool refuse_medium(const struct invocation *invocation, const char *why)
{
	fprintf(stderr, "lodge: drive '%s' of guest '%s' %s\n", argument(invocation, 1),
		argument(invocation, 0), why);
	return false;
}

/* --update with no file is --eject, as virsh has it. */
static bool change_medium(const struct invocation *invocation, xmlNode *disk)
{
	const char *path = argument(invocation, 2), *has = source_of(disk);
	bool eject = invocation_has(invocation, "--eject") ||
		     (!path && invocation_has(invocation, "--update"));

	if (eject && !has)
		return refuse_medium(invocation, "is empty");
	if (!eject && !path)
		return refuse_medium(invocation, "gets nothing: name a medium, or say --eject");
	if (has && invocation_has(invocation, "--insert"))
		return refuse_medium(invocation, "is not empty: say --update, or --eject first");
	set_medium(disk, eject ? NULL : path,
		   invocation_has(invocation, "--block") || plug_is_block(path));
	return true;
}

static int change_media(const struct invocation *invocation)
{
	static const struct amendable drive = { "disk", "CD or floppy drive", is_drive,
						change_medium };
	bool eject = invocation_has(invocation, "--eject");
	unsigned ways = eject + invocation_has(invocation, "--insert") +
			invocation_has(invocation, "--update");

	if (ways > 1 || (eject && argument(invocation, 2))) {
		fputs("lodge change-media: it is --eject, or --insert MEDIUM, or --update MEDIUM\n",
		      stderr);
		return EXIT_USAGE;
	}
	return amend(invocation, &drive);
}

/* --- links --- */

static bool is_card(const xmlNode *card, const char *name)
{
	const char *mac = xml_attr(xml_child(card, "mac"), "address");

	return xml_attr_is(xml_child(card, "target"), "dev", name) ||
	       (mac && !g_ascii_strcasecmp(mac, name));
}

static bool set_link(const struct invocation *invocation, xmlNode *card)
{
	xml_set(xml_ensure(card, "link"), "state", "%s", argument(invocation, 2));
	return true;
}

static int setlink(const struct invocation *invocation)
{
	static const struct amendable card = { "interface", "network card", is_card, set_link };
	const char *state = argument(invocation, 2);

	if (strcmp(state, "up") && strcmp(state, "down")) {
		fprintf(stderr, "lodge domif-setlink: '%s' is neither up nor down\n", state);
		return EXIT_USAGE;
	}
	return amend(invocation, &card);
}

static const struct command_option media_options[] = {
	{ "--eject", VALUE_NONE, NULL, "take out what is in it" },
	{ "--insert", VALUE_NONE, NULL, "put MEDIUM into it, which has to be empty" },
	{ "--update", VALUE_NONE, NULL,
	  "put MEDIUM in place of what is in it, if anything; the default" },
	{ "--force", VALUE_NONE, NULL, "also where the guest keeps it shut, which none here can" },
	{ "--block", VALUE_NONE, NULL, "MEDIUM is a block device of the daemon's host" },
	PLUG_OPTIONS,
	{},
};
static const struct command_option link_options[] = { PLUG_OPTIONS, {} };

const struct command commands_amend[] = {
	{ .name = "change-media",
	  .arguments = "GUEST DRIVE [MEDIUM]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 2,
	  .arguments_max = 3,
	  .summary = "changes what is in a guest's CD drive",
	  .options = media_options,
	  .action = change_media },
	{ .name = "domif-setlink",
	  .arguments = "GUEST INTERFACE STATE",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 3,
	  .arguments_max = 3,
	  .summary = "plugs in a guest's network card, or unplugs it: up, down",
	  .options = link_options,
	  .action = setlink },
	{},
};

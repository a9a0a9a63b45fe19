/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks. One is always there: `default`, which is what an <interface type='user'> has, under
 * the name that clients look for. Each guest is on a network of its own kind of it, so nothing has
 * to be started on the host. Others are kept as they are defined; this version runs none.
 */
#include "daemon/networks.h"

#include "base/log.h"
#include "daemon/store.h"
#include "domain/xml.h"

#define UUID_FILE "default"

/* What net-helper gives a guest: its router, which is the host, and its one address. */
static const char default_network[] =
	"<network>"
	"<name>default</name>"
	"<uuid>%s</uuid>"
	"<metadata>"
	"<lodge:description xmlns:lodge='urn:lodge:network'>The user-mode network of Lodge: every "
	"guest has one of its own, behind a process of its own that makes its connections. Guests "
	"reach the host and what the host reaches; nothing reaches them but through forwarded "
	"ports.</lodge:description>"
	"</metadata>"
	"<forward mode='nat'/>"
	"<ip address='10.0.2.2' netmask='255.255.255.0'>"
	"<dhcp><range start='10.0.2.15' end='10.0.2.15'/></dhcp>"
	"</ip>"
	"</network>";

static bool complete(const struct keeper *keeper, xmlDoc *doc, GError **error)
{
	xml_unset(xmlDocGetRootElement(doc), "connections"); /* how many use a running one */
	return true;
}

static const struct kept_kind network_kind = {
	.object = EVENT_OF_NETWORK,
	.root = "network",
	.noun = "network",
	.complete = complete,
};

/* The uuid of this host's: clients that see several hosts tell networks apart by it. */
static char *default_uuid(const struct daemon *daemon)
{
	GError *error = NULL;
	g_autofree char *path = g_build_filename(daemon->places.networks, UUID_FILE, NULL);
	char *uuid = NULL;

	if (g_file_get_contents(path, &uuid, NULL, NULL) && g_uuid_string_is_valid(uuid))
		return uuid;
	g_free(uuid);
	uuid = g_uuid_string_random();
	if (!store_write_now(daemon->store, path, uuid,
			     &error)) { /* guests are worth more than that number */
		log_error("lodged", "the network 'default' has another uuid at the next start: %s",
			  error->message);
		g_error_free(error);
	}
	return uuid;
}

static bool add_default(struct keeper *keeper, GError **error)
{
	g_autofree char *uuid = default_uuid(keeper->daemon);
	g_autofree char *xml = uuid ? g_strdup_printf(default_network, uuid) : NULL;
	xmlDoc *doc = xml ? kept_read(keeper, xml, error) : NULL;
	struct kept *kept = doc ? kept_find_or_make(keeper, doc, error) : NULL;

	if (!kept)
		return false;
	kept->fixed = kept->active = kept->persistent = kept->autostart = true;
	kept_list(kept);
	kept_unref(kept);
	return true;
}

struct keeper *networks_open(struct daemon *daemon, GError **error)
{
	struct keeper *keeper = keeper_new(daemon, &network_kind, daemon->places.networks);

	if (!add_default(keeper, error)) {
		keeper_free(keeper);
		return NULL;
	}
	keeper_load(keeper);
	return keeper;
}

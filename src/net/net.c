/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The net core: finding backends. See net.h.
 */
#include "net/net.h"

#include <errno.h>
#include <string.h>

const struct net_backend *const net_backends[] = { NULL };

GQuark net_error_quark(void)
{
	return g_quark_from_static_string("lodge-net");
}

struct net *net_open(const struct net_config *config, GError **error)
{
	for (unsigned i = 0; net_backends[i]; i++)
		if (!strcmp(net_backends[i]->name, config->driver))
			return net_backends[i]->open(config, error);
	g_set_error(error, NET_ERROR, ENOTSUP, "there is no network driver '%s' in this version",
		    config->driver);
	return NULL;
}

void net_close(struct net *net)
{
	if (net)
		net->backend->close(net);
}

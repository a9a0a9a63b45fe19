/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The net core: finding backends. See net.h.
 */
#include "net/net.h"

#include <errno.h>
#include <string.h>

const struct net_backend *const net_backends[] = { &net_backend_socket, NULL };

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

void net_attach(struct net *net, const struct net_client *client)
{
	net->backend->attach(net, client);
}

bool net_send(struct net *net, const struct iovec *iov, unsigned count)
{
	return net->backend->send(net, iov, count);
}

void net_resume(struct net *net)
{
	net->backend->resume(net);
}

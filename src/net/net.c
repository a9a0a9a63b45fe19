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

static struct net *open_backend(const struct net_backend *backend, const struct net_config *config,
				GError **error)
{
	struct net *net = backend->open(config, error);

	if (net)
		net->statistics = config->statistics ?: &net->own_statistics;
	return net;
}

struct net *net_open(const struct net_config *config, GError **error)
{
	for (unsigned i = 0; net_backends[i]; i++)
		if (!strcmp(net_backends[i]->name, config->driver))
			return open_backend(net_backends[i], config, error);
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
	size_t bytes = 0;

	if (!net->backend->send(net, iov, count))
		return false;
	for (unsigned i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	statistics_add(&net->statistics->tx_frames, 1);
	statistics_add(&net->statistics->tx_bytes, bytes - NET_HEADER_BYTES);
	return true;
}

void net_count_received(struct net *net, size_t bytes)
{
	statistics_add(&net->statistics->rx_frames, 1);
	statistics_add(&net->statistics->rx_bytes, bytes - NET_HEADER_BYTES);
}

void net_resume(struct net *net)
{
	net->backend->resume(net);
}

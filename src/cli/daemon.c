/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking a daemon. See daemon.h. */
#include "cli/daemon.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int daemon_failed(void)
{
	const struct lodge_error *error = lodge_last_error();

	fprintf(stderr, "lodge: %s\n", error->message);
	if (error->hint)
		fprintf(stderr, "lodge: %s\n", error->hint);
	return 1;
}

struct lodge_connection *daemon_connect(const struct invocation *invocation, unsigned flags)
{
	struct lodge_connection *connection =
		lodge_connection_open(invocation_value(invocation, "--connect"), flags);

	if (!connection)
		daemon_failed();
	return connection;
}

int daemon_end(struct lodge_connection *connection, bool good)
{
	if (connection && !good)
		daemon_failed();
	lodge_connection_free(connection);
	return good ? 0 : 1;
}

unsigned daemon_define_flags(const struct invocation *invocation)
{
	return invocation_has(invocation, "--validate") ? LODGE_DEFINE_VALIDATE : 0;
}

const char *argument(const struct invocation *invocation, unsigned index)
{
	return index < invocation->arguments->len ? invocation->arguments->pdata[index] : NULL;
}

struct lodge_domain *daemon_domain(struct lodge_connection *connection,
				   const struct invocation *invocation)
{
	return connection ? lodge_domain_find(connection, argument(invocation, 0), 0) : NULL;
}

static char *read_stdin(void)
{
	GString *text = g_string_new("");
	char bytes[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, bytes, sizeof(bytes))) > 0)
		g_string_append_len(text, bytes, n);
	return g_string_free(text, FALSE);
}

char *daemon_read_file(const char *path)
{
	g_autoptr(GError) error = NULL;
	char *text = NULL;

	if (!strcmp(path, "-"))
		return read_stdin();
	if (!g_file_get_contents(path, &text, NULL, &error))
		fprintf(stderr, "lodge: %s\n", error->message);
	return text;
}

const char *daemon_file_name(const char *path)
{
	return strcmp(path, "-") ? path : "standard input";
}

char *daemon_root(const char *uri)
{
	char *socket = lodge_connection_socket(uri, 0);
	g_autofree char *name = socket ? g_path_get_basename(socket) : NULL;
	g_autofree char *run = socket ? g_path_get_dirname(socket) : NULL;
	bool rooted = socket && g_str_has_prefix(name, "lodged-sock");

	free(socket);
	return rooted ? g_path_get_dirname(run) : NULL;
}

const char *daemon_state_name(int state)
{
	static const char *const names[] = { "no state",    "running",  "idle",    "paused",
					     "in shutdown", "shut off", "crashed", "pmsuspended" };

	return state >= 0 && state < (int)G_N_ELEMENTS(names) ? names[state] : names[0];
}

/* --- completion --- */

static void add_domains(struct lodge_connection *connection, GPtrArray *names)
{
	struct lodge_domain **domains = lodge_domain_list(connection, 0);

	for (unsigned i = 0; domains && domains[i]; i++)
		g_ptr_array_add(names, g_strdup(lodge_domain_name(domains[i])));
	lodge_domains_free(domains);
}

static void add_networks(struct lodge_connection *connection, GPtrArray *names)
{
	struct lodge_network **networks = lodge_network_list(connection, 0);

	for (unsigned i = 0; networks && networks[i]; i++)
		g_ptr_array_add(names, g_strdup(lodge_network_name(networks[i])));
	lodge_networks_free(networks);
}

static void add_pools(struct lodge_connection *connection, GPtrArray *names)
{
	struct lodge_pool **pools = lodge_pool_list(connection, 0);

	for (unsigned i = 0; pools && pools[i]; i++)
		g_ptr_array_add(names, g_strdup(lodge_pool_name(pools[i])));
	lodge_pools_free(pools);
}

GPtrArray *daemon_names(enum argument_kind kind)
{
	return daemon_names_at(NULL, kind);
}

GPtrArray *daemon_names_at(const char *uri, enum argument_kind kind)
{
	struct lodge_connection *connection = lodge_connection_open(uri, LODGE_OPEN_READ_ONLY);
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

	if (!connection)
		return names;
	switch (kind) {
	case ARGUMENT_GUEST: add_domains(connection, names); break;
	case ARGUMENT_NETWORK: add_networks(connection, names); break;
	case ARGUMENT_POOL: add_pools(connection, names); break;
	default: break;
	}
	lodge_connection_free(connection);
	return names;
}

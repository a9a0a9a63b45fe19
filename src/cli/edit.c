/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that let somebody change a definition in an editor: of a guest, a network, a pool. What
 * does not do is kept until it does, or until they give up.
 */
#include "base/file.h"
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XML_INVALID_SCHEMA 92 /* VIR_ERR_XML_INVALID_SCHEMA */

/* One kind: its definition as it is, and another one for it. */
struct editable {
	const char *command, *what;
	char *(*read)(struct lodge_connection *c, const char *name);
	bool (*write)(struct lodge_connection *c, const char *xml, unsigned flags);
};

static char *read_guest(struct lodge_connection *c, const char *name)
{
	struct lodge_domain *domain = lodge_domain_find(c, name, 0);
	char *xml = domain ? lodge_domain_xml(domain, LODGE_XML_INACTIVE | LODGE_XML_SECURE) : NULL;

	lodge_domain_free(domain);
	return xml;
}

static bool write_guest(struct lodge_connection *c, const char *xml, unsigned flags)
{
	struct lodge_domain *domain = lodge_domain_define(c, xml, flags);

	lodge_domain_free(domain);
	return domain;
}

static char *read_network(struct lodge_connection *c, const char *name)
{
	struct lodge_network *network = lodge_network_by_name(c, name, 0);
	char *xml = network ? lodge_network_xml(network, 1 /* VIR_NETWORK_XML_INACTIVE */) : NULL;

	lodge_network_free(network);
	return xml;
}

static bool write_network(struct lodge_connection *c, const char *xml, unsigned flags)
{
	struct lodge_network *network = lodge_network_define(c, xml, flags);

	lodge_network_free(network);
	return network;
}

static char *read_pool(struct lodge_connection *c, const char *name)
{
	struct lodge_pool *pool = lodge_pool_by_name(c, name, 0);
	char *xml = pool ? lodge_pool_xml(pool, 1 /* VIR_STORAGE_XML_INACTIVE */) : NULL;

	lodge_pool_free(pool);
	return xml;
}

static bool write_pool(struct lodge_connection *c, const char *xml, unsigned flags)
{
	struct lodge_pool *pool = lodge_pool_define(c, xml, flags);

	lodge_pool_free(pool);
	return pool;
}

static const struct editable editables[] = {
	{ "edit", "Guest", read_guest, write_guest },
	{ "net-edit", "Network", read_network, write_network },
	{ "pool-edit", "Pool", read_pool, write_pool },
};

/* Through the shell, because people give their editor arguments. */
static bool run_editor(const char *path)
{
	const char *editor = getenv("VISUAL") ? getenv("VISUAL") : getenv("EDITOR");
	g_autofree char *quoted = g_shell_quote(path);
	g_autofree char *line = g_strdup_printf("%s %s", editor ? editor : "vi", quoted);
	int status = system(line);

	if (!status)
		return true;
	fprintf(stderr, "lodge: the editor '%s' failed; $VISUAL or $EDITOR names another\n",
		editor ? editor : "vi");
	return false;
}

static bool asks_again(void)
{
	char answer[16] = "";

	fprintf(stderr, "lodge: %s\n", lodge_last_error()->message);
	if (lodge_last_error()->code == XML_INVALID_SCHEMA)
		fprintf(stderr, "lodge: --skip-validate takes it all the same, and keeps it\n");
	if (!isatty(STDIN_FILENO))
		return false;
	printf("Edit it again? [Y/n] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && *answer != 'n' && *answer != 'N';
}

/* Until it does, or somebody gives up. */
static bool edit_file(const struct editable *e, struct lodge_connection *c, const char *name,
		      const char *path, const char *before, unsigned flags)
{
	for (;;) {
		g_autoptr(GError) error = NULL;
		g_autofree char *xml = NULL;

		if (!run_editor(path))
			return false;
		if (!g_file_get_contents(path, &xml, NULL, &error)) {
			fprintf(stderr, "lodge: %s\n", error->message);
			return false;
		}
		if (!strcmp(xml, before)) {
			printf("%s '%s' has not been changed\n", e->what, name);
			return true;
		}
		if (e->write(c, xml, flags)) {
			printf("%s '%s' has been changed\n", e->what, name);
			return true;
		}
		if (!asks_again())
			return false;
	}
}

static int edit(const struct invocation *invocation)
{
	unsigned flags = invocation_has(invocation, "--skip-validate") ? 0 : LODGE_DEFINE_VALIDATE;
	const char *name = argument(invocation, 0);
	const struct editable *e = editables;
	g_autofree char *path = NULL;
	struct lodge_connection *c;
	bool good;
	char *xml;
	int fd;

	while (strcmp(e->command, invocation->command->name))
		e++;
	c = daemon_connect(invocation, 0);
	xml = c ? e->read(c, name) : NULL;
	if (!xml)
		return daemon_end(c, false);
	path = g_build_filename(g_get_tmp_dir(), "lodge-edit-XXXXXX.xml", NULL);
	fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
	good = fd >= 0 && write_all(fd, xml, strlen(xml));
	if (!good)
		fprintf(stderr, "lodge: %s: %s\n", path, g_strerror(errno));
	if (fd >= 0)
		close(fd);
	good = good && edit_file(e, c, name, path, xml, flags);
	unlink(path);
	free(xml);
	lodge_connection_free(c);
	return good ? 0 : 1;
}

static const struct command_option options[] = {
	{ "--skip-validate", VALUE_NONE, NULL, "take what is not known, too, and keep it" },
	CONNECT_OPTION,
	{},
};

#define ONE .arguments_min = 1, .arguments_max = 1, .options = options, .action = edit

const struct command commands_edit[] = {
	{ .name = "edit",
	  .arguments = "GUEST",
	  .kind = ARGUMENT_GUEST,
	  ONE,
	  .summary = "change a guest's definition in an editor",
	  .description = "Opens the definition in $VISUAL, $EDITOR or vi. What the guest runs "
			 "with stays until it ends." },
	{ .name = "net-edit",
	  .arguments = "NETWORK",
	  .kind = ARGUMENT_NETWORK,
	  ONE,
	  .summary = "change a network's definition in an editor" },
	{ .name = "pool-edit",
	  .arguments = "POOL",
	  .kind = ARGUMENT_POOL,
	  ONE,
	  .summary = "change a pool's definition in an editor" },
	{},
};

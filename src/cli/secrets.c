/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about secrets, as keys of disks. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lodge_secret *secret_of(struct lodge_connection *c,
				      const struct invocation *invocation)
{
	return c ? lodge_secret_find(c, argument(invocation, 0), 0) : NULL;
}

static int end(struct lodge_connection *c, struct lodge_secret *secret, bool good)
{
	lodge_secret_free(secret);
	return daemon_end(c, good);
}

static int list(const struct invocation *invocation)
{
	static const char *const keys[] = { "uuid", "type", "usage", NULL };
	static const char *const titles[] = { "UUID", "Type", "Usage", NULL };
	static const char *const types[] = { "none", "volume", "ceph", "iscsi", "tls", "vtpm" };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_secret **secrets = c ? lodge_secret_list(c, 0) : NULL;
	struct table *table = table_new(keys, titles);

	for (unsigned i = 0; secrets && secrets[i]; i++) {
		unsigned type = lodge_secret_usage_type(secrets[i]);
		char uuid[LODGE_UUID_CHARS];

		lodge_secret_uuid(secrets[i], uuid);
		table_add_text(table, uuid);
		table_add_text(table, type < G_N_ELEMENTS(types) ? types[type] : "unknown");
		table_add_text(table, lodge_secret_usage(secrets[i]));
	}
	if (secrets)
		table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	lodge_secrets_free(secrets);
	return daemon_end(c, secrets);
}

static int define(const struct invocation *invocation)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 0));
	struct lodge_connection *c = xml ? daemon_connect(invocation, 0) : NULL;
	struct lodge_secret *secret =
		c ? lodge_secret_define(c, xml, daemon_define_flags(invocation)) : NULL;
	char uuid[LODGE_UUID_CHARS];
	bool good = secret;

	if (good) {
		lodge_secret_uuid(secret, uuid);
		printf("Secret %s defined\n", uuid);
	}
	return xml ? end(c, secret, good) : 1;
}

static int dumpxml(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_secret *secret = secret_of(c, invocation);
	char *xml = secret ? lodge_secret_xml(secret, 0) : NULL;
	bool good = xml && xml_print(invocation, xml);

	end(c, secret, xml);
	free(xml);
	return good ? 0 : 1;
}

/* From a file, or '-', so that it stands in no list of processes. */
static int set_value(const struct invocation *invocation)
{
	g_autofree char *bytes = daemon_read_file(argument(invocation, 1));
	struct lodge_connection *c = bytes ? daemon_connect(invocation, 0) : NULL;
	bool good;
	struct lodge_secret *secret = bytes ? secret_of(c, invocation) : NULL;

	good = secret && !lodge_secret_set_value(secret, bytes, strlen(bytes), 0);
	if (good)
		printf("Secret value set\n");
	return bytes ? end(c, secret, good) : 1;
}

static int get_value(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_secret *secret = secret_of(c, invocation);
	size_t bytes;
	unsigned char *value = secret ? lodge_secret_value(secret, &bytes, 0) : NULL;
	g_autofree char *text = NULL;
	int status;

	if (value && invocation_has(invocation, "--plain")) {
		fwrite(value, 1, bytes, stdout);
	} else if (value) {
		text = g_base64_encode(value, bytes);
		printf("%s\n", text);
	}
	status = end(c, secret, value);
	free(value);
	return status;
}

static int undefine(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	bool good;
	struct lodge_secret *secret = secret_of(c, invocation);

	good = secret && !lodge_secret_undefine(secret, 0);
	if (good)
		printf("Secret %s has been undefined\n", argument(invocation, 0));
	return end(c, secret, good);
}

static const struct command_option list_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
static const struct command_option validate_options[] = { VALIDATE_OPTION, CONNECT_OPTION, {} };
static const struct command_option xml_options[] = { XPATH_OPTIONS, CONNECT_OPTION, {} };
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option get_options[] = {
	{ "--plain", VALUE_NONE, NULL, "as it is, not in base64" },
	CONNECT_OPTION,
	{},
};

#define SECRET .arguments = "UUID", .kind = ARGUMENT_TEXT, .arguments_min = 1, .arguments_max = 1

const struct command commands_secrets[] = {
	{ .name = "secret-list",
	  .arguments = "",
	  .summary = "list secrets",
	  .options = list_options,
	  .action = list },
	{ .name = "secret-define",
	  .arguments = "FILE.xml",
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "add or change a secret",
	  .options = validate_options,
	  .action = define },
	{ .name = "secret-dumpxml",
	  SECRET,
	  .summary = "a secret's definition",
	  .options = xml_options,
	  .action = dumpxml },
	{ .name = "secret-set-value",
	  .arguments = "UUID FILE",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "keep what is in a file as a secret's value",
	  .options = plain_options,
	  .action = set_value },
	{ .name = "secret-get-value",
	  SECRET,
	  .summary = "a secret's value, unless it is private",
	  .options = get_options,
	  .action = get_value },
	{ .name = "secret-undefine",
	  SECRET,
	  .summary = "remove a secret",
	  .options = plain_options,
	  .action = undefine },
	{},
};

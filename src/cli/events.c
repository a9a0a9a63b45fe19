/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that wait for what happens: to guests, networks, storage pools, secrets, devices. */
#include "cli/daemon.h"
#include "cli/table.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const of_guests[] = { "defined", "undefined", "started",  "suspended",
					 "resumed", "stopped",   "shutdown", "pmsuspended",
					 "crashed", NULL };
static const char *const of_networks[] = { "defined", "undefined", "started", "stopped", NULL };
static const char *const of_pools[] = { "defined", "undefined", "started", "stopped",
					"created", "deleted",   NULL };
static const char *const of_secrets[] = { "defined", "undefined", NULL };
static const char *const of_devices[] = { "created", "deleted", "defined", "undefined", NULL };

/* The first is of guests; the others by enum lodge_object_kind. */
static const struct source {
	const char *command, *what;
	const char *const *names; /* of what happens, by the protocol's numbers */
} sources[] = {
	{ "event", "guest", of_guests },           { "net-event", "network", of_networks },
	{ "pool-event", "pool", of_pools },        { "secret-event", "secret", of_secrets },
	{ "nodedev-event", "device", of_devices },
};

struct listening {
	const struct source *source;
	const char *only; /* the name or UUID of what is looked at; NULL: all */
	unsigned left;    /* events to print before the end; 0: without end */
	bool json, stamped, done;
};

static void print_event(struct listening *listening, const char *name, int event, int detail)
{
	static const char *const keys[] = { "name", "event", "detail", NULL };
	unsigned known = g_strv_length((char **)listening->source->names);
	const char *happened =
		event >= 0 && (unsigned)event < known ? listening->source->names[event] : "unknown";
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *when = g_date_time_format(now, "%F %T: ");

	if (listening->done)
		return;
	if (listening->json) {
		struct table *table = table_new(keys, keys);

		table_add_text(table, name);
		table_add_text(table, happened);
		table_add_number(table, detail);
		table_print_fields(table, true);
		table_free(table);
	} else {
		printf("%s%s '%s': %s\n", listening->stamped ? when : "", listening->source->what,
		       name, happened);
	}
	fflush(stdout);
	if (listening->left && !--listening->left)
		listening->done = true;
}

static void on_guest(struct lodge_domain *domain, enum lodge_domain_event_kind kind, int detail,
		     void *opaque)
{
	print_event(opaque, lodge_domain_name(domain), kind, detail);
}

static void on_object(const char *name, int event, int detail, void *opaque)
{
	struct listening *listening = opaque;

	if (!listening->only || !strcmp(listening->only, name))
		print_event(listening, name, event, detail);
}

/* False: the library has the error. */
static bool begin(struct lodge_connection *c, const struct invocation *invocation,
		  struct listening *listening)
{
	unsigned kind = listening->source - sources;
	struct lodge_domain *domain;
	bool good;

	if (kind)
		return lodge_object_watch(c, kind - 1, on_object, listening, 0) >= 0;
	domain = listening->only ? daemon_domain(c, invocation) : NULL;
	good = (domain || !listening->only) &&
	       lodge_domain_watch(c, domain, on_guest, listening, 0) >= 0;
	lodge_domain_free(domain);
	return good;
}

/* @seconds 0: as long as it takes. Who does not want to wait longer has no error, as virsh has it.
 */
static bool listen_for(struct lodge_connection *c, struct listening *listening, unsigned seconds)
{
	struct pollfd input = { lodge_connection_fd(c), POLLIN, 0 };
	gint64 end = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;
	bool good = true;
	int ready = 1;

	while (good && ready && !listening->done) {
		gint64 left_ms = (end - g_get_monotonic_time()) / 1000;

		ready = poll(&input, 1, seconds ? MAX((int)left_ms, 0) : -1);
		good = ready >= 0 && lodge_connection_dispatch(c) >= 0;
	}
	return good;
}

static int event(const struct invocation *invocation)
{
	struct listening listening = { .source = sources,
				       .only = argument(invocation, 0),
				       .left = invocation_has(invocation, "--loop") ? 0 : 1,
				       .json = invocation_has(invocation, "--json"),
				       .stamped = invocation_has(invocation, "--timestamp") };
	const char *timeout = invocation_value(invocation, "--timeout");
	struct lodge_connection *c;
	guint64 seconds = 0;

	while (strcmp(listening.source->command, invocation->command->name))
		listening.source++;
	if (invocation_has(invocation, "--list")) {
		printf("lifecycle\n");
		return 0;
	}
	if (timeout &&
	    !g_ascii_string_to_unsigned(timeout, 10, 1, G_MAXINT / 1000, &seconds, NULL)) {
		fprintf(stderr, "lodge %s: '%s' is no number of seconds\n",
			invocation->command->name, timeout);
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	return daemon_end(c, c && begin(c, invocation, &listening) &&
				     listen_for(c, &listening, seconds));
}

static const struct command_option event_options[] = {
	{ "--event", VALUE_WORD, "lifecycle", "what is waited for: of this version, this alone" },
	{ "--all", VALUE_NONE, NULL, "all that it can wait for; as without" },
	{ "--list", VALUE_NONE, NULL, "only say what it can wait for" },
	{ "--loop", VALUE_NONE, NULL, "go on after the first one" },
	{ "--timeout", VALUE_TEXT, "SECONDS", "wait no longer" },
	{ "--timestamp", VALUE_NONE, NULL, "say when" },
	{ "--json", VALUE_NONE, NULL, "print each as a JSON object" },
	CONNECT_OPTION,
	{},
};

const struct command commands_events[] = {
	{ .name = "event",
	  .arguments = "[GUEST]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_max = 1,
	  .summary = "wait for what happens to guests",
	  .options = event_options,
	  .action = event },
	{ .name = "net-event",
	  .arguments = "[NETWORK]",
	  .kind = ARGUMENT_NETWORK,
	  .arguments_max = 1,
	  .summary = "wait for what happens to networks",
	  .options = event_options,
	  .action = event },
	{ .name = "pool-event",
	  .arguments = "[POOL]",
	  .kind = ARGUMENT_POOL,
	  .arguments_max = 1,
	  .summary = "wait for what happens to storage pools",
	  .options = event_options,
	  .action = event },
	{ .name = "secret-event",
	  .arguments = "[UUID]",
	  .kind = ARGUMENT_TEXT,
	  .arguments_max = 1,
	  .summary = "wait for what happens to secrets",
	  .options = event_options,
	  .action = event },
	{ .name = "nodedev-event",
	  .arguments = "[DEVICE]",
	  .kind = ARGUMENT_TEXT,
	  .arguments_max = 1,
	  .summary = "wait for what happens to the host's devices",
	  .options = event_options,
	  .action = event },
	{},
};

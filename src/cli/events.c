/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that wait for what happens: to guests, networks, storage pools, secrets, devices. */
#include "cli/daemon.h"
#include "cli/table.h"

#include <jansson.h>
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
	bool json, stamped, done, pretty;
};

/* It has been printed: the next, or the end. */
static void count_event(struct listening *listening)
{
	fflush(stdout);
	if (listening->left && !--listening->left)
		listening->done = true;
}

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
	count_event(listening);
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

/* The details as JSON again, laid out or in one line; what is none as it is. For free(). */
static char *lay_out(const char *details, bool pretty)
{
	json_t *value = json_loads(details, JSON_DECODE_ANY, NULL);
	char *text = value ? json_dumps(value,
					JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT))
			   : strdup(details);

	json_decref(value);
	return text;
}

static void print_monitor_json(const char *guest, const char *event, int64_t seconds,
			       unsigned microseconds, const char *details)
{
	json_t *value = details ? json_loads(details, JSON_DECODE_ANY, NULL) : NULL;
	json_t *object = json_pack("{s:s, s:s, s:I, s:i, s:o}", "name", guest, "event", event,
				   "seconds", (json_int_t)seconds, "microseconds",
				   (int)microseconds, "details", value ? value : json_null());
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	printf("%s\n", text ? text : "{}");
	free(text);
	json_decref(object);
}

static void on_monitor(struct lodge_domain *domain, const char *event, int64_t seconds,
		       unsigned microseconds, const char *details, void *opaque)
{
	struct listening *listening = opaque;
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *when = g_date_time_format(now, "%F %T: ");
	char *text = details ? lay_out(details, listening->pretty) : NULL;

	if (listening->done) {
		free(text);
		return;
	}
	if (listening->json)
		print_monitor_json(lodge_domain_name(domain), event, seconds, microseconds,
				   details);
	else
		printf("%sevent %s at %" G_GINT64_FORMAT ".%06u for guest '%s': %s\n",
		       listening->stamped ? when : "", event, (gint64)seconds, microseconds,
		       lodge_domain_name(domain), text ? text : "<null>");
	free(text);
	count_event(listening);
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

/* False: it has been said what is no number of seconds. */
static bool read_seconds(const struct invocation *invocation, guint64 *seconds)
{
	const char *timeout = invocation_value(invocation, "--timeout");

	*seconds = 0;
	if (!timeout || g_ascii_string_to_unsigned(timeout, 10, 1, G_MAXINT / 1000, seconds, NULL))
		return true;
	fprintf(stderr, "lodge %s: '%s' is no number of seconds\n", invocation->command->name,
		timeout);
	return false;
}

static int monitor_event(const struct invocation *invocation)
{
	struct listening listening = { .only = argument(invocation, 0),
				       .left = invocation_has(invocation, "--loop") ? 0 : 1,
				       .json = invocation_has(invocation, "--json"),
				       .pretty = invocation_has(invocation, "--pretty"),
				       .stamped = invocation_has(invocation, "--timestamp") };
	const char *named = invocation_value(invocation, "--event");
	const char *name = named ? named : argument(invocation, 1);
	unsigned flags =
		(invocation_has(invocation, "--regex") ? LODGE_MONITOR_WATCH_REGEX : 0) |
		(invocation_has(invocation, "--no-case") ? LODGE_MONITOR_WATCH_NO_CASE : 0);
	struct lodge_connection *c;
	struct lodge_domain *domain;
	guint64 seconds;
	bool good;

	if (!read_seconds(invocation, &seconds))
		return EXIT_USAGE;
	c = daemon_connect(invocation, 0);
	domain = listening.only ? daemon_domain(c, invocation) : NULL;
	good = c && (domain || !listening.only) &&
	       lodge_monitor_watch(c, domain, name, on_monitor, &listening, flags) >= 0 &&
	       listen_for(c, &listening, seconds);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int event(const struct invocation *invocation)
{
	struct listening listening = { .source = sources,
				       .only = argument(invocation, 0),
				       .left = invocation_has(invocation, "--loop") ? 0 : 1,
				       .json = invocation_has(invocation, "--json"),
				       .stamped = invocation_has(invocation, "--timestamp") };
	struct lodge_connection *c;
	guint64 seconds;

	while (strcmp(listening.source->command, invocation->command->name))
		listening.source++;
	if (invocation_has(invocation, "--list")) {
		printf("lifecycle\n");
		return 0;
	}
	if (!read_seconds(invocation, &seconds))
		return EXIT_USAGE;
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

static const struct command_option monitor_options[] = {
	{ "--event", VALUE_TEXT, "NAME", "those of that name, as SHUTDOWN, alone" },
	{ "--regex", VALUE_NONE, NULL, "NAME is a regular expression" },
	{ "--no-case", VALUE_NONE, NULL, "NAME in large or small letters" },
	{ "--pretty", VALUE_NONE, NULL, "lay the details out" },
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
	{ .name = "qemu-monitor-event",
	  .arguments = "[GUEST [NAME]]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_max = 2,
	  .summary = "wait for what guests' monitors tell",
	  .options = monitor_options,
	  .action = monitor_event },
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that wait for what happens: to guests, networks, storage pools, secrets, devices. */
#include "cli/daemon.h"

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

/* What else happens to guests, by virsh's names. */
static const struct other {
	const char *name;
	enum lodge_domain_event event;
} others[] = {
	{ "reboot", LODGE_EVENT_REBOOT },
	{ "watchdog", LODGE_EVENT_WATCHDOG },
	{ "io-error", LODGE_EVENT_IO_ERROR },
	{ "io-error-reason", LODGE_EVENT_IO_ERROR_REASON },
	{ "balloon-change", LODGE_EVENT_BALLOON_CHANGE },
	{ "metadata-change", LODGE_EVENT_METADATA_CHANGE },
};
#define OTHERS "lifecycle|reboot|watchdog|io-error|io-error-reason|balloon-change|metadata-change"

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

/* Takes over @object. */
static void print_line(json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	printf("%s\n", text ? text : "{}");
	free(text);
	json_decref(object);
}

static void print_event(struct listening *listening, const char *name, int event, int detail)
{
	unsigned known = g_strv_length((char **)listening->source->names);
	const char *happened =
		event >= 0 && (unsigned)event < known ? listening->source->names[event] : "unknown";
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *when = g_date_time_format(now, "%F %T: ");

	if (listening->done)
		return;
	if (listening->json) {
		print_line(json_pack("{s:s, s:s, s:i}", "name", name, "event", happened, "detail",
				     detail));
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

static const char *name_in(const char *const *names, unsigned count, int number)
{
	return number >= 0 && (unsigned)number < count ? names[number] : "unknown";
}

/* What it says beside its name, for json_object(); what it has not is not in it. */
static json_t *details_of(enum lodge_domain_event event, const struct lodge_event_details *details)
{
	static const char *const watchdog[] = { "none",     "pause", "reset",     "poweroff",
						"shutdown", "debug", "inject-nmi" };
	static const char *const io[] = { "none", "pause", "report" };
	static const char *const metadata[] = { "description", "title", "element" };

	switch (event) {
	case LODGE_EVENT_WATCHDOG:
		return json_pack("{s:s}", "action",
				 name_in(watchdog, G_N_ELEMENTS(watchdog), details->type));
	case LODGE_EVENT_IO_ERROR:
	case LODGE_EVENT_IO_ERROR_REASON:
		return json_pack("{s:s, s:s, s:s, s:s*}", "device", details->device, "path",
				 details->path, "action",
				 name_in(io, G_N_ELEMENTS(io), details->type), "reason",
				 details->text);
	case LODGE_EVENT_BALLOON_CHANGE: return json_pack("{s:I}", "kib", (json_int_t)details->kib);
	case LODGE_EVENT_METADATA_CHANGE:
		return json_pack("{s:s, s:s*}", "type",
				 name_in(metadata, G_N_ELEMENTS(metadata), details->type), "uri",
				 details->text);
	default: return json_object();
	}
}

static void print_details(const json_t *details)
{
	const char *key, *before = ": ";
	json_t *value;

	json_object_foreach ((json_t *)details, key, value) {
		char *text = json_is_string(value) ? strdup(json_string_value(value))
						   : json_dumps(value, JSON_ENCODE_ANY);

		printf("%s%s %s", before, key, text);
		before = ", ";
		free(text);
	}
	putchar('\n');
}

static void on_other(struct lodge_domain *domain, enum lodge_domain_event event,
		     const struct lodge_event_details *details, void *opaque)
{
	struct listening *listening = opaque;
	const struct other *other = others;
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *when = g_date_time_format(now, "%F %T: ");
	json_t *said = details_of(event, details);

	while (other->event != event)
		other++;
	if (!listening->done && listening->json) {
		print_line(json_pack("{s:s, s:s, s:O}", "name", lodge_domain_name(domain), "event",
				     other->name, "details", said));
		count_event(listening);
	} else if (!listening->done) {
		printf("%sguest '%s': %s", listening->stamped ? when : "",
		       lodge_domain_name(domain), other->name);
		print_details(said);
		count_event(listening);
	}
	json_decref(said);
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

	print_line(json_pack("{s:s, s:s, s:I, s:i, s:o}", "name", guest, "event", event, "seconds",
			     (json_int_t)seconds, "microseconds", (int)microseconds, "details",
			     value ? value : json_null()));
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

/* Those that --event or --all name. */
static bool begin_guest(struct lodge_connection *c, struct lodge_domain *domain,
			const struct invocation *invocation, struct listening *listening)
{
	const char *named = invocation_value(invocation, "--event");
	bool all = invocation_has(invocation, "--all"), good = true;

	if (all || !named || !strcmp(named, "lifecycle"))
		good = lodge_domain_watch(c, domain, on_guest, listening, 0) >= 0;
	for (unsigned i = 0; good && i < G_N_ELEMENTS(others); i++)
		if (all || !g_strcmp0(named, others[i].name))
			good = lodge_domain_watch_other(c, domain, others[i].event, on_other,
							listening, 0) >= 0;
	return good;
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
	good = (domain || !listening->only) && begin_guest(c, domain, invocation, listening);
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
		for (unsigned i = 0; listening.source == sources && i < G_N_ELEMENTS(others); i++)
			printf("%s\n", others[i].name);
		return 0;
	}
	if (!read_seconds(invocation, &seconds))
		return EXIT_USAGE;
	c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	return daemon_end(c, c && begin(c, invocation, &listening) &&
				     listen_for(c, &listening, seconds));
}

#define LISTENING_OPTIONS                                                    \
	{ "--list", VALUE_NONE, NULL, "only say what it can wait for" },     \
		{ "--loop", VALUE_NONE, NULL, "go on after the first one" }, \
		{ "--timeout", VALUE_TEXT, "SECONDS", "wait no longer" },    \
		{ "--timestamp", VALUE_NONE, NULL, "say when" },             \
		{ "--json", VALUE_NONE, NULL, "print each as a JSON object" }, CONNECT_OPTION

static const struct command_option guest_options[] = {
	{ "--event", VALUE_WORD, OTHERS, "what is waited for; without it, and --all, lifecycle" },
	{ "--all", VALUE_NONE, NULL, "all of them" },
	LISTENING_OPTIONS,
	{},
};

static const struct command_option event_options[] = {
	{ "--event", VALUE_WORD, "lifecycle", "what is waited for: of this version, this alone" },
	{ "--all", VALUE_NONE, NULL, "all that it can wait for; as without" },
	LISTENING_OPTIONS,
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
	  .options = guest_options,
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

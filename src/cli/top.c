/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge top: what the guests of a daemon use, again and again. Rates are between two looks, so the
 * first picture comes after the first interval.
 */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/terminal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTERVAL_MAX 3600

/* One look at all guests. */
struct look {
	struct lodge_domain_stats *stats;
	unsigned count;
	gint64 at_us;
};

static bool take_look(struct lodge_connection *c, struct look *look)
{
	look->stats = lodge_domain_stats_list(c, &look->count, 0);
	look->at_us = g_get_monotonic_time();
	return look->stats;
}

static void end_look(struct look *look)
{
	lodge_domain_stats_free(look->stats);
	*look = (struct look){};
}

/* The same guest, by its number, which no other guest gets; NULL: it has come since. */
static const struct lodge_domain_stats *find(const struct look *look, int id)
{
	for (unsigned i = 0; i < look->count; i++)
		if (lodge_domain_id(look->stats[i].domain) == id)
			return &look->stats[i];
	return NULL;
}

static guint64 per_second(guint64 now, guint64 before, double seconds)
{
	return now > before && seconds > 0 ? (now - before) / seconds : 0;
}

static void add_rate(struct table *table, guint64 now, guint64 before, double seconds, bool json)
{
	table_add_bytes(table, per_second(now, before, seconds), json);
}

static void add_row(struct table *table, const struct lodge_domain_stats *now,
		    const struct lodge_domain_stats *before, double seconds, bool json)
{
	static const struct lodge_domain_stats nothing;
	guint64 cpu;
	char text[32];

	before = before ? before : now; /* no rates of a guest that has come since */
	before = seconds > 0 ? before : &nothing;
	cpu = per_second(now->cpu_time_ns, before->cpu_time_ns, seconds) / 1000000;
	table_add_number(table, lodge_domain_id(now->domain));
	table_add_text(table, lodge_domain_name(now->domain));
	table_add_text(table, daemon_state_name(now->state));
	if (json) {
		table_add_number(table, cpu);
	} else {
		snprintf(text, sizeof(text), "%.1f", cpu / 10.0);
		table_add_text(table, text);
	}
	table_add_number(table, now->vcpus);
	table_add_bytes(table, now->resident_kib * 1024, json);
	table_add_bytes(table, now->memory_kib * 1024, json);
	add_rate(table, now->disk_read_bytes, before->disk_read_bytes, seconds, json);
	add_rate(table, now->disk_written_bytes, before->disk_written_bytes, seconds, json);
	add_rate(table, now->net_received_bytes, before->net_received_bytes, seconds, json);
	add_rate(table, now->net_sent_bytes, before->net_sent_bytes, seconds, json);
}

/* As much of @text as the terminal shows above its last two lines. */
static void print_cut(const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	unsigned short columns, rows;

	if (!terminal_size(&columns, &rows)) {
		printf("%s", text);
		return;
	}
	for (unsigned i = 0; lines[i] && *lines[i] && i + 2 < rows; i++) {
		g_autofree char *line = g_utf8_strlen(lines[i], -1) > columns
						? g_utf8_substring(lines[i], 0, columns)
						: g_strdup(lines[i]);

		printf("%s\n", g_strchomp(line));
	}
}

/* The busiest first. */
static void print_picture(const struct look *before, const struct look *now, bool json, bool cut)
{
	static const char *const keys[] = { "id",
					    "name",
					    "state",
					    "cpu_permille",
					    "vcpus",
					    "resident_bytes",
					    "memory_bytes",
					    "disk_read_bytes_per_s",
					    "disk_written_bytes_per_s",
					    "net_received_bytes_per_s",
					    "net_sent_bytes_per_s",
					    NULL };
	static const char *const titles[] = { "Id",         "Name",     "State",     "CPU %",
					      "vCPUs",      "Resident", "Memory",    "Disk in/s",
					      "Disk out/s", "Net in/s", "Net out/s", NULL };
	double seconds = (now->at_us - before->at_us) / 1e6;
	struct table *table = table_new(keys, titles);
	g_autofree bool *done = g_new0(bool, now->count + 1);

	for (unsigned left = now->count; left; left--) {
		guint64 most = 0;
		unsigned at = 0;

		for (unsigned i = 0; i < now->count; i++) {
			const struct lodge_domain_stats *was =
				find(before, lodge_domain_id(now->stats[i].domain));
			guint64 used = was ? now->stats[i].cpu_time_ns - was->cpu_time_ns : 0;

			if (!done[i] && (done[at] || used > most)) {
				most = used;
				at = i;
			}
		}
		done[at] = true;
		add_row(table, &now->stats[at],
			find(before, lodge_domain_id(now->stats[at].domain)), seconds, json);
	}
	if (cut) {
		g_autofree char *text = table_text(table);

		print_cut(text);
	} else {
		table_print(table, json);
	}
	table_free(table);
	fflush(stdout);
}

/* True: somebody wants it to end. */
static bool wait_or_quit(double seconds, bool keys)
{
	struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
	gint64 end = g_get_monotonic_time() + seconds * 1e6;
	char key;

	do {
		gint64 left = MAX(end - g_get_monotonic_time(), 0);

		if (poll(&input, keys, left / 1000 + 1) > 0 &&
		    (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 3))
			return true;
	} while (g_get_monotonic_time() < end);
	return false;
}

static bool watch(struct lodge_connection *c, double interval, unsigned times, bool json)
{
	bool screen = !json && isatty(STDOUT_FILENO),
	     keys = screen && terminal_enter_raw(STDIN_FILENO);
	struct look before = {}, now = {};
	bool good = take_look(c, &before);

	for (unsigned i = 0; good && (!times || i < times); i++) {
		/* a screen stays empty for no longer than a rate needs */
		if (wait_or_quit(screen && !i ? MIN(interval, 0.3) : interval, keys))
			break;
		good = take_look(c, &now);
		if (!good)
			break;
		if (screen)
			printf("\033[H\033[2J");
		if (keys) /* the terminal is raw: lines need their return */
			terminal_restore();
		print_picture(&before, &now, json, screen);
		if (keys) {
			printf("\nq ends it");
			fflush(stdout);
			terminal_enter_raw(STDIN_FILENO);
		}
		end_look(&before);
		before = now;
		now = (struct look){};
	}
	if (keys) {
		terminal_restore();
		printf("\n");
	}
	end_look(&before);
	return good;
}

static int top(const struct invocation *invocation)
{
	const char *given = invocation_value(invocation, "--interval");
	const char *count = invocation_value(invocation, "--times");
	double interval = given ? g_ascii_strtod(given, NULL) : 2;
	unsigned times = count ? g_ascii_strtoull(count, NULL, 10) : 0;
	struct lodge_connection *c;

	if (!(interval >= 0.1 && interval <= INTERVAL_MAX)) {
		fprintf(stderr, "lodge top: --interval is 0.1 to %d seconds, not '%s'\n",
			INTERVAL_MAX, given);
		return EXIT_USAGE;
	}
	if (count && !times) {
		fprintf(stderr, "lodge top: --times is a number from 1 on, not '%s'\n", count);
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	return daemon_end(c, c && watch(c, interval, times, invocation_has(invocation, "--json")));
}

static const struct command_option options[] = {
	{ "--interval", VALUE_TEXT, "SECONDS", "between two pictures; 2" },
	{ "--times", VALUE_TEXT, "COUNT", "end after so many pictures" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};

const struct command commands_top[] = {
	{ .name = "top",
	  .arguments = "",
	  .summary = "what running guests use, again and again",
	  .description = "Shows the processor time, memory, disk and network traffic of the guests "
			 "that run, the\n"
			 "busiest first. On a terminal q ends it.",
	  .options = options,
	  .action = top },
	{},
};

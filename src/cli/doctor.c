/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge doctor: what this host can do for guests, what is missing, and what mends it. Each line is
 * tried out, not looked up: KVM by running code in it, namespaces by making one.
 */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "launch/launch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a line says: it is well; it could be better; guests cannot run. */
enum health { WELL, BETTER, BROKEN };

struct examination {
	struct table *table; /* NULL: for people, as it comes */
	unsigned columns;    /* of their terminal */
	enum health worst;
};

#define INDENT 30 /* where what was found begins */

/* Breaks @text between words, so that it stays to the right of the margin. */
static void print_wrapped(const char *text, unsigned columns)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	unsigned room = MAX(columns, INDENT + 20u) - INDENT, at = 0;

	for (char **word = words; *word; word++) {
		unsigned length = g_utf8_strlen(*word, -1);

		if (at && at + 1 + length > room) {
			printf("\n%*s", INDENT, "");
			at = 0;
		}
		printf("%s%s", at ? " " : "", *word);
		at += length + !!at;
	}
	printf("\n");
}

static void print_finding(const struct examination *e, const char *what, const char *word,
			  const char *found, const char *mend)
{
	printf("%-12s%-*s", what, INDENT - 12, word);
	print_wrapped(found, e->columns);
	if (!mend)
		return;
	printf("%*s", INDENT, "mend it: ");
	print_wrapped(mend, e->columns);
}

static void add(struct examination *e, const char *what, enum health health, const char *found,
		const char *mend)
{
	static const char *const words[] = { "ok", "could be better", "broken" };

	e->worst = MAX(e->worst, health);
	if (!e->table) {
		print_finding(e, what, words[health], found, mend);
		return;
	}
	table_add_text(e->table, what);
	table_add_text(e->table, words[health]);
	table_add_text(e->table, found);
	if (mend)
		table_add_text(e->table, mend);
	else
		table_add_none(e->table);
}

static void look_at_engine(struct examination *e)
{
	g_autofree char *why = NULL, *found = NULL;
	bool kvm = host_has_kvm(&why);

	found = kvm ? g_strdup("KVM: /dev/kvm works")
		    : g_strdup_printf("the software CPU, because %s", why);
	add(e, "engine", kvm ? WELL : BETTER, found, NULL);
}

static void look_at_programs(struct examination *e)
{
	static const char *const names[] = { "lodge-vmm", "lodge-net" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *said = NULL;
		bool found = host_has_program(names[i], &said);

		add(e, names[i], found ? WELL : BROKEN, said, NULL);
	}
}

static void look_at_confinement(struct examination *e)
{
	int landlock = host_landlock_version();
	g_autofree char *found = g_strdup_printf("version %d of its interface", landlock);

	if (host_has_seccomp())
		add(e, "seccomp", WELL, "guests are confined to the system calls they need", NULL);
	else
		add(e, "seccomp", BROKEN, "the kernel has no seccomp filters",
		    "a kernel with CONFIG_SECCOMP_FILTER");
	if (landlock)
		add(e, "landlock", WELL, found, NULL);
	else
		add(e, "landlock", BETTER,
		    "not in this kernel, or off: seccomp alone keeps guests from files",
		    "Linux 5.13 or newer, with lsm=landlock,... on its command line");
	if (!geteuid() || host_has_user_namespaces())
		add(e, "namespaces", WELL,
		    geteuid() ? "this user may make user namespaces" : "root needs none", NULL);
	else
		add(e, "namespaces", BETTER, "this user may not make user namespaces",
		    "sysctl -w kernel.unprivileged_userns_clone=1");
}

static void look_at_memory(struct examination *e)
{
	g_autofree char *text = NULL, *found = NULL;
	guint64 kib = 0;
	const char *line;

	if (g_file_get_contents("/proc/meminfo", &text, NULL, NULL) &&
	    (line = strstr(text, "MemAvailable:")))
		kib = g_ascii_strtoull(line + strlen("MemAvailable:"), NULL, 10);
	found = g_strdup_printf("%" G_GUINT64_FORMAT " MiB are free for guests", kib / 1024);
	add(e, "memory", kib >= 256 * 1024 ? WELL : BETTER, found, NULL);
	g_clear_pointer(&text, g_free);
	if (!g_file_get_contents("/sys/kernel/mm/transparent_hugepage/enabled", &text, NULL,
				 NULL) ||
	    strstr(text, "[never]"))
		add(e, "huge pages", BETTER, "off: guests are slower",
		    "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
	else
		add(e, "huge pages", WELL, "guests' memory uses them", NULL);
}

/* One that does not run is no illness: lodge run needs none. */
static void look_at_daemon(struct examination *e)
{
	struct lodge_connection *c = lodge_connection_open(NULL, LODGE_OPEN_READ_ONLY);
	struct lodge_domain **domains = c ? lodge_domain_list(c, LODGE_DOMAINS_ACTIVE) : NULL;
	g_autofree char *found = NULL;
	unsigned count = 0;

	while (domains && domains[count])
		count++;
	found = domains ? g_strdup_printf(count == 1 ? "answers; %u guest runs"
						     : "answers; %u guests run",
					  count)
			: g_strdup(lodge_last_error()->message);
	add(e, "daemon", domains ? WELL : BETTER, found, domains ? NULL : lodge_last_error()->hint);
	lodge_domains_free(domains);
	lodge_connection_free(c);
}

static int doctor(const struct invocation *invocation)
{
	static const char *const keys[] = { "what", "health", "found", "mend", NULL };
	static const char *const titles[] = { "What", "Health", "Found", "What mends it", NULL };
	bool json = invocation_has(invocation, "--json");
	struct examination e = { json ? table_new(keys, titles) : NULL, G_MAXINT, WELL };
	unsigned short columns, rows;

	if (terminal_size(&columns, &rows))
		e.columns = columns;
	look_at_engine(&e);
	look_at_programs(&e);
	look_at_confinement(&e);
	look_at_memory(&e);
	look_at_daemon(&e);
	if (json) {
		table_print(e.table, true);
		table_free(e.table);
	}
	if (e.worst == BROKEN)
		fprintf(stderr,
			"lodge: guests cannot run here as they should; see what is broken above\n");
	return e.worst == BROKEN;
}

static const struct command_option options[] = { JSON_OPTION, {} };

const struct command commands_doctor[] = {
	{ .name = "doctor",
	  .arguments = "",
	  .summary = "what this host can do for guests, and what is missing",
	  .description =
		  "Tries out what guests need of this host: an engine, Lodge's programs, "
		  "confinement, memory,\n"
		  "and whether a daemon answers. Exit status: 0, or 1 when guests cannot run.",
	  .options = options,
	  .action = doctor },
	{},
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that compare processors, out of files that tell of them: capabilities, guests. */
#include "cli/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16 /* of elements in a <cpu> */

/* Finds each <cpu> and writes it anew. */
struct finding {
	GPtrArray *found; /* char * */
	GString *text;    /* of the one it is in */
	unsigned depth;   /* in it */
};

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
		     const char **values, gpointer opaque, GError **error)
{
	struct finding *f = opaque;

	if (!f->depth && strcmp(element, "cpu"))
		return;
	if (!f->depth++)
		f->text = g_string_new(NULL);
	if (f->depth > MAX_DEPTH) {
		g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT,
			    "elements are nested too deep");
		return;
	}
	g_string_append_printf(f->text, "<%s", element);
	for (unsigned i = 0; names[i]; i++) {
		g_autofree char *value = g_markup_escape_text(values[i], -1);

		g_string_append_printf(f->text, " %s=\"%s\"", names[i], value);
	}
	g_string_append_c(f->text, '>');
}

static void on_end(GMarkupParseContext *context, const char *element, gpointer opaque,
		   GError **error)
{
	struct finding *f = opaque;

	if (!f->depth)
		return;
	g_string_append_printf(f->text, "</%s>", element);
	if (!--f->depth)
		g_ptr_array_add(f->found, g_string_free(g_steal_pointer(&f->text), FALSE));
}

static void on_text(GMarkupParseContext *context, const char *text, gsize length, gpointer opaque,
		    GError **error)
{
	struct finding *f = opaque;
	g_autofree char *escaped = f->depth ? g_markup_escape_text(text, length) : NULL;

	if (escaped)
		g_string_append(f->text, escaped);
}

/* The <cpu> elements of a file, which may have one capabilities document behind the other. NULL: it
 * has been said what is wrong. */
static GPtrArray *read_processors(const char *path)
{
	static const GMarkupParser parser = { on_start, on_end, on_text, NULL, NULL };
	g_autofree char *xml = daemon_read_file(path), *all = NULL;
	struct finding f = { .found = g_ptr_array_new_with_free_func(g_free) };
	GMarkupParseContext *context;
	GError *error = NULL;

	if (xml) {
		/* several documents are one inside an element; what begins each is not */
		g_autoptr(GRegex) begin = g_regex_new("<\\?xml[^>]*\\?>", 0, 0, NULL);
		g_autofree char *bare = g_regex_replace_literal(begin, xml, -1, 0, "", 0, NULL);

		all = g_strdup_printf("<all>%s</all>", bare ? bare : "");
		context = g_markup_parse_context_new(&parser, 0, &f, NULL);
		if (g_markup_parse_context_parse(context, all, -1, &error))
			g_markup_parse_context_end_parse(context, &error);
		g_markup_parse_context_free(context);
	}
	if (f.text)
		g_string_free(f.text, TRUE);
	if (error)
		fprintf(stderr, "lodge: %s: %s\n", daemon_file_name(path), error->message);
	else if (xml && !f.found->len)
		fprintf(stderr, "lodge: there is no <cpu> in %s\n", daemon_file_name(path));
	if (xml && !error && f.found->len)
		return f.found;
	g_clear_error(&error);
	g_ptr_array_unref(f.found);
	return NULL;
}

static bool of_hypervisor(const struct invocation *invocation)
{
	return g_str_has_prefix(invocation->command->name, "hypervisor-");
}

/* What guests get is asked by those who may change things, by the protocol's rule. */
static unsigned open_flags(const struct invocation *invocation)
{
	return of_hypervisor(invocation) ? 0 : LODGE_OPEN_READ_ONLY;
}

static int compare(const struct invocation *invocation)
{
	static const char *const answers[] = {
		"is not there: it lacks something that the file asks for",
		"is what the file asks for",
		"has what the file asks for, and more",
	};
	g_autoptr(GPtrArray) cpus = read_processors(argument(invocation, 0));
	struct lodge_connection *c;
	int answer;

	if (!cpus)
		return 1;
	c = daemon_connect(invocation, open_flags(invocation));
	answer = c ? lodge_connection_compare_cpu(c, cpus->pdata[0], of_hypervisor(invocation),
						  invocation_has(invocation, "--error"))
		   : -1;
	if (answer >= 0 && answer < (int)G_N_ELEMENTS(answers))
		printf("The processor that %s %s\n",
		       of_hypervisor(invocation) ? "guests get" : "the host has", answers[answer]);
	return daemon_end(c, answer >= 0) || !answer;
}

static int baseline(const struct invocation *invocation)
{
	g_autoptr(GPtrArray) cpus = read_processors(argument(invocation, 0));
	unsigned flags = (invocation_has(invocation, "--features") ? 1 : 0) |
			 (invocation_has(invocation, "--migratable") ? 2 : 0);
	struct lodge_connection *c;
	char *cpu;
	int status;

	if (!cpus)
		return 1;
	c = daemon_connect(invocation, open_flags(invocation));
	cpu = c ? lodge_connection_baseline_cpu(c, (const char *const *)cpus->pdata, cpus->len,
						of_hypervisor(invocation), flags)
		: NULL;
	if (cpu)
		printf("%s%s", cpu, g_str_has_suffix(cpu, "\n") ? "" : "\n");
	status = daemon_end(c, cpu);
	free(cpu);
	return status;
}

static const struct command_option compare_options[] = {
	{ "--error", VALUE_NONE, NULL, "say what is lacking" },
	CONNECT_OPTION,
	{},
};
static const struct command_option baseline_options[] = {
	{ "--features", VALUE_NONE, NULL, "name those that the model means, too" },
	{ "--migratable", VALUE_NONE, NULL, "without features that keep a guest on its host" },
	CONNECT_OPTION,
	{},
};

#define FILE_ARGUMENT \
	.arguments = "FILE.xml", .kind = ARGUMENT_FILE, .arguments_min = 1, .arguments_max = 1

const struct command commands_processors[] = {
	{ .name = "cpu-compare",
	  FILE_ARGUMENT,
	  .summary = "compare the host's processor with the one in a file",
	  .description =
		  "Compares the host's processor with the first <cpu> in a file, which may be "
		  "a guest's definition\nor what 'lodge capabilities' says. Exit status 1: it "
		  "lacks something.",
	  .options = compare_options,
	  .action = compare },
	{ .name = "cpu-baseline",
	  FILE_ARGUMENT,
	  .summary = "what several hosts' processors have in common",
	  .description = "Makes a <cpu> out of all that are in a file, as the outputs of 'lodge "
			 "capabilities' on several\nhosts: what runs on each of them.",
	  .options = baseline_options,
	  .action = baseline },
	{ .name = "hypervisor-cpu-compare",
	  FILE_ARGUMENT,
	  .summary = "compare what guests get with the processor in a file",
	  .options = compare_options,
	  .action = compare },
	{ .name = "hypervisor-cpu-baseline",
	  FILE_ARGUMENT,
	  .summary = "what guests on several hosts have in common",
	  .options = baseline_options,
	  .action = baseline },
	{},
};
